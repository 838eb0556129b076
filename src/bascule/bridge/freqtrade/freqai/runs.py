"""FreqAI runs of the real freqtrade, offline: configuration, backtest, and the two analyses of bias."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from bascule.bridge.exchange import ReplayExchange, exchange_config
from bascule.bridge.freqtrade import bias, config, datafiles, results, run
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.freqai import SHIMS, FreqaiRecipe, Plan
from bascule.core import Moment, Settings, moment
from bascule.core.files import atomic_folder, fingerprint
from bascule.data.synthetic import SyntheticSettings

STRATEGY = "FreqaiFactorStrategy"
MODEL = "BasculeFreqaiModel"
_SHIM = (SHIMS / f"{STRATEGY}.py").read_text


class Schedule(Settings):
    """FreqAI's own block, as far as it is not written down by the recipe."""

    identifier: str = Field(default="bascule", pattern=r"^[\w.-]+$", description="folder of the models")
    train_days: int = Field(default=60, ge=1, description="days of candles that a training learns from")
    retrain_days: int = Field(default=7, ge=1, description="days from one training to the next")
    live_retrain_hours: float = Field(
        default=1.0, ge=0, description="how often a live run looks whether the next training is due"
    )
    expiration_hours: float = Field(default=0.0, ge=0, description="older models are not used; 0: no limit")
    test_share: float = Field(
        default=0.2, ge=0.05, le=0.5, description="share of the window that stops the training"
    )
    dissimilarity: float = Field(
        default=0.0, ge=0, description="threshold of the dissimilarity index; 0: off"
    )
    svm: bool = Field(default=False, description="one-class SVM tells outliers")
    dbscan: bool = Field(default=False, description="DBSCAN tells outliers")
    timeframes: tuple[str, ...] = Field(default=(), description="further ones, for expand and basic")
    periods: tuple[int, ...] = Field(default=(1,), min_length=1, description="of expand's {period}")
    shifts: int = Field(default=0, ge=0, description="past candles of expanded features")
    related: tuple[str, ...] = Field(default=(), description="include_corr_pairlist")


class Order(Settings):
    """A FreqAI run as one file says it (``bascule freqai``)."""

    recipe: FreqaiRecipe = Field(description="what is learned and how it trades")
    schedule: Schedule = Field(default=Schedule(), description="when, and outlier detection")
    trade: TradeSettings = Field(default=TradeSettings(), description="wallet and costs")
    synthetic: SyntheticSettings | None = Field(
        default=None, description="embedded market that a backtest without candles of its own trades"
    )
    start: str | None = Field(default=None, description="a backtest's first day traded, UTC")
    end: str | None = Field(default=None, description="a backtest's first day not traded any more, UTC")
    exchange: dict[str, Any] = Field(
        default_factory=lambda: {"name": "binance"}, description="freqtrade's exchange block, without secrets"
    )

    @field_validator("start", "end", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        """YAML makes a date of a day without quotes."""
        return value.isoformat() if isinstance(value, date) else value


def generated(settings: SyntheticSettings, recipe: FreqaiRecipe) -> SyntheticSettings:
    """The embedded market of a recipe: size and seed are the settings', timeframe and market the recipe's."""
    return settings.model_copy(update={"timeframe": recipe.timeframe, "market": recipe.market})


def embedded(settings: SyntheticSettings, recipe: FreqaiRecipe, folder: Path) -> Path:
    """Candles of the embedded market as freqtrade keeps them, for a recipe's timeframe and market.

    Args:
        settings: size and seed; timeframe and market are the recipe's.
        recipe: who asks.
        folder: receives the store ``store`` and freqtrade's data folder ``data``; taken as it is if it is
            there already.

    Returns:
        freqtrade's data folder.
    """
    from bascule.data.export import to_freqtrade
    from bascule.data.store import Store
    from bascule.data.synthetic import generate

    whole = generated(settings, recipe)
    place = folder / f"embedded-{fingerprint(whole.model_dump(mode='json'))}"
    if not place.exists():
        with atomic_folder(place) as aside:
            store = Store.create(aside / "store")
            store.write(generate(whole).frame, recipe.bar)
            to_freqtrade(store, recipe.bar, aside / "data", market=recipe.market)
    return place / "data"


def configure(
    recipe: FreqaiRecipe,
    schedule: Schedule,
    trade: TradeSettings,
    *,
    exchange: Mapping[str, Any],
    pairs: Iterable[str] | None = None,
) -> dict[str, Any]:
    """A configuration that freqtrade takes as it is.

    Args:
        recipe: what is learned and how it trades.
        schedule: when, and FreqAI's outlier detection.
        trade: wallet and costs.
        exchange: freqtrade's exchange block without pairs.
        pairs: instruments to trade; default the whole universe.

    Raises:
        BridgeError: as `bascule.bridge.freqtrade.config.build`.
        ConfigError: the recipe cannot be computed from candles.
    """
    block = {
        "enabled": True,
        "identifier": schedule.identifier,
        "train_period_days": schedule.train_days,
        "backtest_period_days": schedule.retrain_days,
        "live_retrain_hours": schedule.live_retrain_hours,
        "expiration_hours": schedule.expiration_hours,
        "purge_old_models": 2,
        "save_backtest_models": False,
        "activate_tensorboard": False,
        "data_kitchen_thread_count": 1,
        "feature_parameters": {
            "include_timeframes": [recipe.timeframe, *schedule.timeframes],
            "include_corr_pairlist": list(schedule.related),
            "label_period_candles": recipe.horizon,
            "include_shifted_candles": schedule.shifts,
            "indicator_periods_candles": list(schedule.periods),
            "DI_threshold": schedule.dissimilarity,
            "use_SVM_to_remove_outliers": schedule.svm,
            "use_DBSCAN_to_remove_outliers": schedule.dbscan,
            "buffer_train_data_candles": 0,
            "shuffle_after_split": False,
        },
        "data_split_parameters": {"test_size": schedule.test_share, "shuffle": False},
        "model_training_parameters": {},
    }
    written = recipe.model_dump(mode="json")
    plan = Plan.of({"freqai": block, "bascule": {"freqai": written}})
    values = config.build(
        plan,  # type: ignore[arg-type]  # has what build reads of a bundle
        trade,
        exchange=exchange,
        pairs=pairs,
        strategy=STRATEGY,
        assume_tiers=True,
    )
    del values["bascule"]["bundle"]
    values["bascule"] |= {"freqai": written, "mode": "computed"}
    return {**values, "freqai": block, "freqaimodel": MODEL, "freqaimodel_path": str(SHIMS)}


@dataclass(frozen=True)
class Job:
    """A run.

    Attributes:
        recipe: what is learned and how it trades.
        schedule: when.
        folder: user_data folder of the run.
        datadir: freqtrade's data folder with the candles (feather).
        start: first candle to trade.
        end: candle to stop before.
        settings: wallet and costs.
        pairs: instruments to trade, None = the whole universe.
        source: text of the strategy file, None = `FreqaiFactorStrategy` as it is.
        timeout: seconds after which freqtrade is killed.
    """

    recipe: FreqaiRecipe
    schedule: Schedule
    folder: Path
    datadir: Path
    start: Moment
    end: Moment
    settings: TradeSettings = field(default_factory=TradeSettings)
    pairs: tuple[str, ...] | None = None
    source: str | None = None
    timeout: float | None = None

    @property
    def timerange(self) -> str:
        """freqtrade's ``--timerange``."""
        return run.timerange(moment(self.start), moment(self.end), self.recipe.bar)


def backtest(job: Job) -> results.BacktestResult:
    """Backtest with ``freqtrade backtesting``: FreqAI trains as it goes.

    Raises:
        BridgeError: files are missing, or freqtrade failed; with its own words.
    """
    with _ready(job) as space:
        return run.backtested(space, partial(run.perform, job, space), job.datadir)


def lookahead(job: Job, *, trades: int = 10, least: int = 5) -> bias.LookaheadReport:
    """Ask ``freqtrade lookahead-analysis`` about the strategy, training included.

    Raises:
        BridgeError: as `backtest`, or there were too few trades.
    """
    with _ready(job) as space:
        return run.looked_ahead(space, partial(run.perform, job, space), trades=trades, least=least)


def recursive(job: Job, *, startup: Iterable[int] = (199,)) -> bias.RecursiveReport:
    """Ask ``freqtrade recursive-analysis`` whether values depend on the number of start-up candles.

    Raises:
        BridgeError: as `backtest`.
    """
    with _ready(job) as space:
        return run.compared(partial(run.perform, job, space), startup)


def prepare(folder: Path, values: dict[str, Any]) -> run.Workspace:
    """A user_data folder with configuration and strategy; what else an existing one holds is kept."""
    return run.workspace(folder, values, strategy=STRATEGY, source=_SHIM("utf-8"))


@contextmanager
def _ready(job: Job) -> Iterator[run.Workspace]:
    spec = job.recipe
    traded = job.recipe.pairs if job.pairs is None else job.pairs
    datafiles.require(job.datadir, traded, spec.bar, spec.market, start=job.start, end=job.end)
    datafiles.require(job.datadir, job.recipe.pairs, spec.bar, spec.market, funding=False)
    with ReplayExchange(list(_ids(job.recipe)), market=spec.market) as exchange:
        values = configure(
            job.recipe,
            job.schedule,
            job.settings,
            exchange=exchange_config(exchange.url, spec.market),
            pairs=job.pairs,
        )
        source = job.source if job.source is not None else _SHIM("utf-8")
        yield run.workspace(job.folder, values, strategy=STRATEGY, source=source)


def _ids(recipe: FreqaiRecipe) -> Iterator[str]:
    from bascule.core import Instrument

    return (Instrument.parse(pair).id for pair in recipe.pairs)
