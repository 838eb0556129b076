"""Everything that turns a panel into signals, apart from data and fitted models."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from bascule.core import ConfigError, Settings, Timeframe
from bascule.data.universe import UniverseSettings
from bascule.factors.processors import ProcessorSettings
from bascule.portfolio import PortfolioSettings
from bascule.risk import RiskSettings


class FactorText(Settings):
    """A factor: its name and its expression."""

    name: str = Field(min_length=1, description="unique name, the model's feature name")
    text: str = Field(min_length=1, description="expression, e.g. Mean($close, 5) / $close")
    timeframe: str | None = Field(
        default=None,
        description="longer candles that it is computed on; their values appear when they close",
    )


class StopSettings(Settings):
    """The stop: some standard deviations of the horizon's return, fewer where risk is high.

    ``distance = clip(m · σ · √(horizon / year), floor, cap)``; *m* goes linearly from ``calm`` at risk score
    0 to ``stressed`` at risk score 1, σ is the annual volatility of the instrument. An unknown score counts
    as 1, an unknown volatility gives ``cap``.
    """

    calm: float = Field(default=4.0, gt=0, le=20, description="standard deviations at risk score 0")
    stressed: float = Field(default=2.0, gt=0, le=20, description="standard deviations at risk score 1")
    floor: float = Field(default=0.02, gt=0, lt=1, description="smallest distance, fraction of the price")
    cap: float = Field(default=0.25, gt=0, lt=1, description="largest distance, fraction of the price")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.floor > self.cap:
            raise ValueError(f"floor {self.floor} is above cap {self.cap}")
        if self.stressed > self.calm:
            raise ValueError(f"stressed {self.stressed} is wider than calm {self.calm}")
        return self


class RuleSettings(Settings):
    """When to enter and leave. Short side: the same, mirrored (rank 0 = best short).

    Ranks count where weights follow from ranks; constructed portfolios are entered and left by their weights.

    Defaults of freqtrade's hyper-optimisable parameters of the same names.
    """

    entry_rank: float = Field(default=0.8, gt=0.5, le=1, description="enter at this alpha rank or above")
    exit_rank: float = Field(default=0.5, ge=0, le=1, description="leave below this alpha rank (alpha decay)")
    risk_limit: float = Field(default=0.9, gt=0, le=1, description="no entry at this risk score or above")
    portfolio_limit: float = Field(
        default=0.9, gt=0, le=1, description="no entry at this portfolio risk or above"
    )
    critical_risk: float = Field(default=0.98, gt=0, le=1, description="leave at this risk score or above")
    critical_portfolio: float = Field(
        default=0.98, gt=0, le=1, description="leave everything at this portfolio risk or above"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.exit_rank > self.entry_rank:
            raise ValueError(f"exit_rank {self.exit_rank} is above entry_rank {self.entry_rank}")
        if self.critical_risk < self.risk_limit or self.critical_portfolio < self.portfolio_limit:
            raise ValueError("a critical level is below the limit for entries")
        return self


class SignalSettings(Settings):
    """The recipe of signals apart from its factors; a run's configuration has these keys too."""

    timeframe: str = Field(default="1h", description="candle length")
    market: Literal["spot", "futures"] = Field(default="spot", description="spot trades long only")
    vwap: Literal["typical", "quote"] = Field(
        default="typical", description="what $vwap is; only typical can be computed from live candles"
    )
    horizon: int = Field(default=24, ge=1, le=10_000, description="holding horizon of the label, in bars")
    smoothing: int = Field(
        default=1, ge=1, le=10_000, description="alpha is the mean of the model's last outputs, in bars"
    )
    breadth: int = Field(default=3, ge=2, description="fewer instruments with an alpha than this: no signals")
    skill: float = Field(
        default=0.03, ge=0, le=1, description="information coefficient assumed in the expected return"
    )
    processors: tuple[ProcessorSettings, ...] = Field(
        default=(), description="what is done with factor values before models see them, in order"
    )
    universe: UniverseSettings = Field(default=UniverseSettings(), description="who may be traded, when")
    risk: RiskSettings = Field(default=RiskSettings(), description="risk scores")
    portfolio: PortfolioSettings = Field(default=PortfolioSettings(), description="target weights")
    stop: StopSettings = Field(default=StopSettings(), description="stop distance")
    rules: RuleSettings = Field(default=RuleSettings(), description="entries and exits")

    @field_validator("timeframe")
    @classmethod
    def _known_timeframe(cls, value: str) -> str:
        try:
            Timeframe.parse(value)
        except ConfigError as error:
            raise ValueError(error.message) from None
        return value

    @model_validator(mode="after")
    def _sides(self) -> Self:
        construction = self.portfolio.construction
        if self.market == "spot" and construction is not None and construction.limits.side != "long":
            raise ValueError("spot trades long only: portfolio.construction.limits.side must be long")
        return self

    @property
    def by_weight(self) -> bool:
        """True if what has a target weight is held, whatever its rank: the weights are constructed."""
        return self.portfolio.construction is not None

    @property
    def bar(self) -> Timeframe:
        """The candle length as a `Timeframe`."""
        return Timeframe.parse(self.timeframe)


class SignalSpec(SignalSettings):
    """The whole recipe of signals, the same in research and live. Part of every bundle."""

    factors: tuple[FactorText, ...] = Field(min_length=1, description="the features of the model, in order")

    @field_validator("factors")
    @classmethod
    def _named_once(cls, value: tuple[FactorText, ...]) -> tuple[FactorText, ...]:
        names = [factor.name for factor in value]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"factor names must be unique; doubled: {', '.join(doubled)}")
        return value

    @model_validator(mode="after")
    def _longer(self) -> Self:
        for factor in self.factors:
            if factor.timeframe is None:
                continue
            try:
                longer = Timeframe.parse(factor.timeframe)
            except ConfigError as error:
                raise ValueError(f"factor {factor.name}: {error.message}") from None
            if longer <= self.bar or longer.seconds % self.bar.seconds:
                raise ValueError(
                    f"factor {factor.name}: {longer} candles cannot be made of {self.timeframe} candles"
                )
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """The factor expressions, in order."""
        return tuple(factor.text for factor in self.factors)

    @property
    def names(self) -> tuple[str, ...]:
        """The factor names, in order."""
        return tuple(factor.name for factor in self.factors)
