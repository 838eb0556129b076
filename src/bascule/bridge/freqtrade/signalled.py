"""The strategy's eyes: which bundle, which signals beside which candle, and where they say enter and leave.

1. On loading, the bundle is opened and verified; it must fit the configuration (timeframe, market, pairs).
   Live trading takes signed bundles and API keys that cannot withdraw only (`trust.py`).
2. `populate_indicators` puts the signals beside the candles of a pair. *stored* joins the bundle's
   out-of-sample signals by date. *computed* computes them from the candles of the bundle's whole universe,
   once a candle, shared by all pairs (`trading/source.py`). Signals of coarser timeframes are joined by their
   close (`trading/fusion.py`); volatility and beta come from the candles where a part needs them.
3. Entries: alpha rank at or above the threshold, a target weight on that side, risk score and portfolio risk
   below their limits, and a candle that traded. Shorts (futures only) mirror longs. A live run that computes
   enters no pair whose candles are unhealthy (`watch.py`; thresholds: configuration key ``bascule.health``).
4. Exits: the rank fell below the exit threshold (alpha decay), the instrument left the universe, or risk is
   critical.
5. What was analysed is kept by pair (`trading/rows.py`): later steps ask for a column at a time.
"""

from __future__ import annotations

import logging
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from freqtrade.configuration import TimeRange
from freqtrade.enums import RunMode
from freqtrade.exceptions import OperationalException
from freqtrade.strategy import DecimalParameter, IStrategy

from bascule import __version__
from bascule.bridge.freqtrade import datafiles, feed
from bascule.bridge.freqtrade.trading import TradingSettings, fusion, garbage
from bascule.bridge.freqtrade.trading.rows import Rows
from bascule.bridge.freqtrade.trading.source import Source
from bascule.bridge.freqtrade.trust import require_least_privilege, require_trusted
from bascule.bridge.freqtrade.watch import Watch
from bascule.core import BasculeError, Instrument, SetupError
from bascule.core.panel import FloatArray
from bascule.data.issues import HealthSettings
from bascule.signals import Bundle, SignalFrame, unavailable_live

log = logging.getLogger(__name__)

LIVE_MODES = (RunMode.DRY_RUN, RunMode.LIVE)


class SignalStrategy(IStrategy):
    """Reads signals. See `FactorStrategy` for its attributes."""

    INTERFACE_VERSION = 3
    bundle: str | Path | None = None
    trading: ClassVar[dict[str, Any] | None] = None

    minimal_roi: ClassVar[dict[str, float]] = {"0": 100.0}  # never: exits are the signals' matter
    stoploss = -0.99
    use_custom_stoploss = True
    use_exit_signal = True
    exit_profit_only = False
    process_only_new_candles = True

    entry_rank = DecimalParameter(0.5, 1.0, default=0.8, decimals=3, space="buy")
    risk_limit = DecimalParameter(0.0, 1.0, default=0.9, decimals=3, space="buy")
    portfolio_limit = DecimalParameter(0.0, 1.0, default=0.9, decimals=3, space="buy")
    exit_rank = DecimalParameter(0.0, 1.0, default=0.5, decimals=3, space="sell")
    critical_risk = DecimalParameter(0.0, 1.0, default=0.98, decimals=3, space="sell")
    critical_portfolio = DecimalParameter(0.0, 1.0, default=0.98, decimals=3, space="sell")

    plot_config: ClassVar[dict[str, Any]] = {
        "subplots": {
            "alpha": {"alpha_rank": {}},
            "risk": {"risk_score": {}, "portfolio_risk": {}},
            "weight": {"target_weight": {}},
        }
    }

    def __init__(self, config: dict[str, Any]) -> None:
        options = dict(config.get("bascule") or {})
        try:
            given = options.get("trading") or self.trading or {}
            self._trading = TradingSettings.read(given, where="bascule.trading")
            self._bundle = self._open(options)
            require_trusted(self._bundle, config)
            self._mode = self._choose_mode(config, options)
            self._check_fit(config)
            self._live = config.get("runmode") in LIVE_MODES
            self._coarse = tuple(self._open_coarse(one, config) for one in self._trading.fusion)
            health = HealthSettings.read(options.get("health") or {}, where="bascule.health")
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        spec = self._bundle.spec
        self.timeframe = spec.timeframe
        self.can_short = spec.market == "futures"
        self._source = Source(self._bundle, stored=self._mode == "stored", live=self._live)
        self._rows: dict[str, Rows] = {}
        # one candle more, so that a window that starts between two candles still covers the look-back
        self.startup_candle_count = 1 + self._history(self._bundle)
        watched = self._mode == "computed" and self._live
        self._watch = Watch(spec.bar, health) if watched else None
        self._adopt_rules()
        super().__init__(config)

    # -- fitting bundle and configuration --------------------------------------------------------------

    def _open(self, options: dict[str, Any]) -> Bundle:
        return Bundle.open(self._bundle_path(options))

    def _bundle_path(self, options: dict[str, Any]) -> str | Path:
        path = self.bundle or options.get("bundle")
        if not path:
            raise SetupError(
                "no bundle is named",
                where=type(self).__name__,
                remedy="set 'bundle' in the strategy, or 'bascule': {'bundle': …} in the configuration",
            )
        return path

    def _open_coarse(self, settings: fusion.FusionSettings, config: dict[str, Any]) -> Source:
        coarse, own = Bundle.open(settings.bundle), self._bundle.spec
        require_trusted(coarse, config)
        bar = coarse.spec.bar
        if (
            bar.seconds <= own.bar.seconds
            or bar.seconds % own.bar.seconds
            or coarse.spec.market != own.market
        ):
            raise SetupError(
                f"a {coarse.spec.market} bundle of {bar} cannot be fused into one of {own.market}, {own.bar}",
                where=f"bascule.trading: fusion, {settings.bundle}",
                remedy="use a bundle of the same market whose timeframe is a multiple",
            )
        if self._mode == "computed":
            self._require_live(coarse)
        return Source(coarse, stored=self._mode == "stored", live=self._live)

    def _history(self, bundle: Bundle) -> int:
        """Candles before the first one that is traded."""
        needs = [bundle.lookback] if self._mode == "computed" or self._trading.reads_risk else [0]
        if self._mode == "computed":
            needs += [coarse.bundle.lookback for coarse in self._coarse]
        return max(needs)

    def _choose_mode(self, config: dict[str, Any], options: dict[str, Any]) -> str:
        live = config.get("runmode") in LIVE_MODES
        mode = options.get("mode") or ("computed" if live else "stored")
        if mode not in ("stored", "computed"):
            raise SetupError(
                f"unknown mode {mode!r}", where="bascule.mode", remedy="choose stored or computed"
            )
        if mode == "computed":
            self._require_live(self._bundle)
        return str(mode)

    def _require_live(self, bundle: Bundle) -> None:
        missing = unavailable_live(bundle.spec)
        if missing:
            raise SetupError(
                f"the factors read {', '.join(missing)}, which the exchange's candles do not give",
                where=str(bundle.path),
                remedy="use factors of open, high, low, close, volume and typical vwap, or mode stored",
            )

    def _check_fit(self, config: dict[str, Any]) -> None:
        spec = self._bundle.spec
        timeframe = config.get("timeframe")
        if timeframe and timeframe != spec.timeframe:
            raise SetupError(
                f"the bundle's timeframe is {spec.timeframe}, the configuration says {timeframe}",
                where="timeframe",
                remedy=f"set timeframe {spec.timeframe}",
            )
        market = getattr(config.get("trading_mode"), "value", config.get("trading_mode")) or "spot"
        if market != spec.market:
            raise SetupError(
                f"the bundle is of the {spec.market} market, the configuration trades {market}",
                where="trading_mode",
                remedy=f"set trading_mode {spec.market}, or use a bundle of the {market} market",
            )

    def _adopt_rules(self, before: Bundle | None = None) -> None:
        """Thresholds of the bundle become the parameters' defaults, unless the user's class sets its own.

        Args:
            before: the bundle that served until now; a value that differs from its rules was set by somebody
                (hyper-optimisation) and stays.
        """
        for name, value in self._bundle.spec.rules.model_dump().items():
            declared = getattr(type(self), name)
            if declared is not getattr(SignalStrategy, name):
                continue
            if before is not None and getattr(self, name).value != getattr(before.spec.rules, name):
                continue
            parameter = deepcopy(declared)
            parameter.default = parameter.value = value
            setattr(self, name, parameter)

    def bot_start(self, **kwargs: Any) -> None:
        """Check the pairs, and in a backtest the files, before anything is computed."""
        try:
            whitelist = self.dp.current_whitelist()
            self._require_pairs(self._bundle, whitelist)
            self._check_key()
            if not self._live:
                spec, folder = self._bundle.spec, self.config["datadir"]
                traded = TimeRange.parse_timerange(self.config.get("timerange"))
                span = {"start": traded.startdt, "end": traded.stopdt}
                datafiles.require(folder, whitelist, spec.bar, spec.market, **span)
                read = [self._source] if self._mode == "computed" or self._trading.reads_risk else []
                read += self._coarse if self._mode == "computed" else ()
                for source in read:
                    pairs, bar = source.pairs(self.dp), source.timeframe
                    datafiles.require(folder, pairs, bar, spec.market, funding=False)
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        if self._live:
            garbage.set_aside()

    def _check_key(self) -> None:
        found = require_least_privilege(self.dp, self.config)
        if found is None:
            return
        if found.withdraw is None:
            log.warning("What the API key may do could not be found out: %s", found.said)
        elif found.bound is False:
            log.warning("The API key works from any address; bind it to this machine's")

    def _require_pairs(self, bundle: Bundle, whitelist: list[str]) -> None:
        foreign = [pair for pair in whitelist if Instrument.parse(pair).id not in bundle.instruments]
        if foreign:
            own = [Instrument.parse(name).pair for name in bundle.instruments[:8]]
            raise SetupError(
                f"the bundle has no signals for {', '.join(foreign)}",
                where="pair_whitelist",
                remedy=f"trade pairs of its universe: {', '.join(own)}, …",
            )

    def version(self) -> str:
        """Version of package and bundle, shown by freqtrade."""
        return f"{__version__}+{self._bundle.id}"

    # -- signals -----------------------------------------------------------------------------------------

    def informative_pairs(self) -> list[tuple[str, str]]:
        """The whole universe where candles of it are read; pairs that left the exchange are left out."""
        found: list[tuple[str, str]] = []
        if self._mode == "computed" or self._trading.reads_risk:
            found += [(pair, self.timeframe) for pair in self._source.pairs(self.dp)]
        if self._mode == "computed":
            for coarse in self._coarse:
                found += [(pair, str(coarse.timeframe)) for pair in coarse.pairs(self.dp)]
        return found

    def _signals(self) -> SignalFrame:
        """Signals of all pairs, computed once a candle."""
        if self._mode == "stored":
            return self._bundle.signals
        frame, fresh = self._source.signals(self.dp, self.config)
        if fresh and self._watch is not None:
            for news in self._watch.look(self._source.candles(self.dp)):
                self.dp.send_msg(news)
        return frame

    def populate_indicators(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Put the signals beside the candles."""
        pair, dates = metadata["pair"], dataframe["date"]
        try:
            columns = self._columns(pair, dates)
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        return dataframe.assign(**columns)

    def _columns(self, pair: str, dates: pd.Series) -> dict[str, FloatArray]:
        columns = feed.join(self._signals(), pair, dates)
        if self._trading.reads_risk:
            columns |= self._source.risk(self.dp, self.config).join(pair, dates)
        opens = feed.utc(dates) if self._coarse else np.empty(0, "datetime64[ns]")
        for k, (settings, source) in enumerate(zip(self._trading.fusion, self._coarse, strict=True)):
            frame, _ = source.signals(self.dp, self.config)
            rank = fusion.coarse_rank(frame, pair, opens, self._bundle.spec.bar)
            columns[f"coarse_rank_{k}"] = rank
            columns["target_weight"] *= fusion.factor(rank, columns["target_weight"], settings)
        if self._watch is not None:
            columns["untradable"] = self._watch.marks(pair, dates)
        return columns

    def populate_entry_trend(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Mark entries."""
        allowed = (
            (dataframe["volume"] > 0)
            & (dataframe["risk_score"] < self.risk_limit.value)
            & (dataframe["portfolio_risk"] < self.portfolio_limit.value)
        )
        if "untradable" in dataframe:
            allowed &= dataframe["untradable"] == 0
        rank, weight = dataframe["alpha_rank"], dataframe["target_weight"]
        by_weight = self._bundle.spec.by_weight
        high, low = rank >= self.entry_rank.value, rank <= 1 - self.entry_rank.value
        long = allowed & (high | by_weight) & (weight > 0) & self._confirmed(dataframe, 1)
        dataframe.loc[long, ["enter_long", "enter_tag"]] = (1, "alpha_long")
        if self.can_short:
            short = allowed & (low | by_weight) & (weight < 0)
            short &= self._confirmed(dataframe, -1)
            dataframe.loc[short, ["enter_short", "enter_tag"]] = (1, "alpha_short")
        return dataframe

    def _confirmed(self, dataframe: pd.DataFrame, side: int) -> Any:
        found = np.ones(len(dataframe), np.bool_)
        for k, settings in enumerate(self._trading.fusion):
            found &= fusion.agrees(dataframe[f"coarse_rank_{k}"].to_numpy(), side, settings)
        return found

    def populate_exit_trend(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Mark exits; where several reasons hold, the last one below is the one reported."""
        rank, covered = dataframe["alpha_rank"], dataframe["covered"] > 0
        traded = dataframe["volume"] > 0
        reasons = [
            ("left_universe", covered & traded & rank.isna(), covered & traded & rank.isna()),
            ("alpha_decay", rank < self.exit_rank.value, rank > 1 - self.exit_rank.value),
        ]
        if self._bundle.spec.by_weight:
            weight, known = dataframe["target_weight"], covered & traded
            reasons[1:] = [("no_weight", known & ~(weight > 0), known & ~(weight < 0))]
        for name, column, level in (
            ("risk", "risk_score", self.critical_risk.value),
            ("portfolio_risk", "portfolio_risk", self.critical_portfolio.value),
        ):
            critical = dataframe[column] >= level
            reasons.append((name, critical, critical))
        for name, leave_long, leave_short in reasons:
            dataframe.loc[leave_long, ["exit_long", "exit_tag"]] = (1, name)
            if self.can_short:
                dataframe.loc[leave_short, ["exit_short", "exit_tag"]] = (1, name)
        return dataframe

    def advise_exit(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """freqtrade's last step of the analysis of a pair, in every mode and process: keep what came out."""
        analysed: pd.DataFrame = super().advise_exit(dataframe, metadata)
        self._rows[metadata["pair"]] = Rows(analysed, self._bundle.spec.bar.seconds, live=self._live)
        return analysed

    def _latest(self, pair: str, column: str, now: datetime) -> float:
        """A column of the pair's newest candle that was closed; NaN where there is none.

        Args:
            pair: the pair.
            column: of the analysed candles.
            now: the time of the callback.
        """
        rows = self._rows.get(pair)
        if rows is not None:
            return rows.value(column, now.timestamp())
        frame, _ = self.dp.get_analyzed_dataframe(pair, self.timeframe)
        return float(frame[column].iat[-1]) if len(frame) and column in frame else float("nan")

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without what every process can compute or read again."""
        return {**self.__dict__, "_rows": {}}
