"""The configuration of a run: one YAML file, composed of the settings of each floor.

Paths in the file are relative to the file. Every key has a default but ``name``; `schema` exports the JSON
Schema that editors understand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from bascule.app.extending import extend
from bascule.app.trials import DEFAULT, RUNS
from bascule.app.yamlfile import override
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.core import ConfigError, Settings, moment, yaml_value
from bascule.data.health import HealthSettings
from bascule.data.repair import Repair
from bascule.data.synthetic import SyntheticSettings
from bascule.models import ModelSettings, WalkForwardSettings
from bascule.signals import SignalSettings, SignalSpec, factor_texts


class SourceSettings(Settings):
    """Where the candles come from."""

    kind: Literal["synthetic", "store", "freqtrade", "long"] = Field(
        default="synthetic",
        description="embedded market; a store; a freqtrade data folder; a long parquet or CSV panel",
    )
    path: Path | None = Field(default=None, description="folder (store, freqtrade) or file (long)")
    columns: dict[str, str] = Field(
        default={}, description="long: our name → the file's column, e.g. {time: ts}"
    )
    quote: str | None = Field(
        default=None, description="long: quote asset where symbols are bare coins (BTC)"
    )
    settle: str | None = Field(
        default=None, description="long: margin asset of futures that are written like spot"
    )
    assume_utc: bool = Field(default=False, description="long: times without a zone are UTC")
    synthetic: SyntheticSettings = Field(
        default=SyntheticSettings(), description="size of the embedded market"
    )

    @model_validator(mode="after")
    def _path_where_needed(self) -> Self:
        if (self.path is None) != (self.kind == "synthetic"):
            raise ValueError(
                f"source kind {self.kind!r} {'needs a' if self.path is None else 'takes no'} path"
            )
        return self


class DataSettings(Settings):
    """What is read, and how it is checked."""

    source: SourceSettings = Field(default=SourceSettings(), description="where the candles come from")
    start: str | None = Field(default=None, description="first day read, UTC; default all")
    end: str | None = Field(default=None, description="first day not read any more, UTC; default all")
    instruments: tuple[str, ...] = Field(default=(), description="only these (any spelling); default all")
    repair: tuple[Repair, ...] = Field(
        default=(),
        description="defects that may be mended on the way in, counted and reported; default: refuse them",
    )
    health: HealthSettings = Field(default=HealthSettings(), description="thresholds of the health checks")

    @field_validator("start", "end", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        return _moment(value)


def _moment(value: Any) -> Any:
    """A day as text; YAML makes a date of one without quotes."""
    if isinstance(value, date):
        value = value.isoformat()
    return str(moment(value).astype("datetime64[s]")) if isinstance(value, str) else value


class EvaluationSettings(Settings):
    """Which statistics of the factors are computed."""

    horizons: tuple[int, ...] = Field(default=(1, 4, 12, 24, 72), description="label horizons in candles")
    quantiles: int = Field(default=5, ge=2, le=20, description="buckets of the quantile returns")

    @field_validator("horizons")
    @classmethod
    def _ordered(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 1 or list(value) != sorted(set(value)):
            raise ValueError("horizons must be rising numbers of candles, at least 1")
        return value


class BacktestSettings(TradeSettings):
    """The freqtrade backtest of the signals."""

    start: str | None = Field(
        default=None, description="first day, UTC; default the first out-of-sample candle"
    )
    end: str | None = Field(
        default=None, description="first day not traded any more, UTC; default the last candle"
    )

    @field_validator("start", "end", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        return _moment(value)


class RunConfig(SignalSettings):
    """A whole run, data to backtest: the recipe of signals, and what surrounds it."""

    name: str = Field(description="name of the run and of its folder", pattern=r"^[A-Za-z0-9][\w.-]{0,63}$")
    folder: Path | None = Field(default=None, description="where the run lives; default runs/<name>")
    ledger: Path | None = Field(
        default=None, description="where trials are counted; default trials.sqlite beside the run's folder"
    )
    seed: int = Field(default=7, ge=0, description="seed of everything random")
    extensions: tuple[str, ...] = Field(
        default=(), description="your own operators, factors, models: Python files, modules, installed names"
    )
    data: DataSettings = Field(default=DataSettings(), description="input and its checks")
    factors: tuple[str | dict[str, str], ...] = Field(
        default=("alpha158",),
        min_length=1,
        description="libraries, YAML files of factors, or {name, text}; "
        "alpha158@4h or {name, text, timeframe} on longer candles",
    )
    evaluation: EvaluationSettings = Field(default=EvaluationSettings(), description="factor statistics")
    model: ModelSettings = Field(default=ModelSettings(), description="the learner")
    walk_forward: WalkForwardSettings = Field(description="training and test windows")
    backtest: BacktestSettings = Field(default=BacktestSettings(), description="the freqtrade backtest")

    @property
    def home(self) -> Path:
        """The run's folder."""
        return self.folder or RUNS / self.name

    @property
    def ledger_file(self) -> Path:
        """The ledger of trials."""
        return self.ledger or self.home.parent / DEFAULT.name

    def recipe(self) -> SignalSpec:
        """The signal recipe with its factors looked up.

        Raises:
            ConfigError, ExpressionError: a library is unknown, or a factor text is malformed or looks ahead.
        """
        shared = {name: getattr(self, name) for name in SignalSettings.model_fields}
        steps = self.model.steps if self.model.unroll else 1
        found = factor_texts(self.factors, steps=steps)
        return SignalSpec.read({**shared, "factors": found}, where="factors")


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run from YAML.

    Args:
        path: the file; relative paths inside it are taken from its folder.
        overrides: ``key.sub=value`` texts that win over the file (values are YAML).

    Raises:
        ConfigError: no such file, not YAML, or a key or value is wrong.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "no such file", where=str(path), remedy="give the path of a run's YAML file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot be read: {error}", where=str(path), remedy="give a YAML text file"
        ) from None
    values = yaml_value(text, str(path))
    if not isinstance(values, dict):
        raise ConfigError("a run is a mapping of settings", where=str(path), remedy="see examples/")
    for one in overrides:
        override(values, one)
    extend(values, path.resolve().parent, str(path))
    config = RunConfig.read(values, where=str(path))
    return _rooted(config, path.resolve().parent)


def _rooted(config: RunConfig, root: Path) -> RunConfig:
    """Relative paths become absolute, seen from the folder of the file that named them."""
    updates: dict[str, Any] = {}
    source = config.data.source
    if source.path is not None:
        rooted = source.model_copy(update={"path": root / source.path.expanduser()})
        updates["data"] = config.data.model_copy(update={"source": rooted})
    if config.ledger is not None:
        updates["ledger"] = root / config.ledger.expanduser()
    updates["factors"] = tuple(
        str(root / entry)
        if isinstance(entry, str) and entry.partition("@")[0].endswith((".yaml", ".yml"))
        else entry
        for entry in config.factors
    )
    return config.model_copy(update=updates)


def schema() -> Mapping[str, Any]:
    """The JSON Schema of a run's file."""
    return RunConfig.model_json_schema()
