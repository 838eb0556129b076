"""Settings of the risk scores and the windows that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from bascule.core import Settings, Timeframe


class RiskSettings(Settings):
    """What risk is measured over, and how its parts are weighed.

    Windows are in days. They shrink in proportion where together they would need more than ``max_bars``
    candles, so that the live path, to which an exchange gives few candles, can always compute them.
    """

    volatility_days: float = Field(default=15, gt=0, description="window of the volatility and the drawdown")
    half_life_days: float = Field(default=3, gt=0, description="half-life of the volatility's weights")
    beta_days: float = Field(default=30, gt=0, description="window of the regression on the market")
    beta_prior_sd: float = Field(
        default=0.5, gt=0, description="spread of betas around 1 before any data (Vasicek 1973)"
    )
    illiquidity_days: float = Field(default=15, gt=0, description="window of the Amihud illiquidity")
    history_days: float = Field(default=25, gt=0, description="own past that levels are compared with")
    trend_days: float = Field(default=7, gt=0, description="window whose market return gives the direction")
    max_bars: int = Field(default=1000, ge=100, description="most candles of history that a row may need")
    min_bars: int = Field(default=24, ge=10, description="shortest window in candles")
    min_share: float = Field(
        default=0.25, gt=0, le=1, description="share of a window that must have traded for a value"
    )
    market: Literal["equal", "volume"] = Field(
        default="equal", description="market factor: equal- or dollar-volume-weighted return of the members"
    )
    leader: str | None = Field(
        default=None, description="use this instrument's return as the market factor instead, e.g. BTC_USDT"
    )
    weight_volatility: float = Field(default=0.35, ge=0, description="weight in an instrument's score")
    weight_beta: float = Field(default=0.2, ge=0, description="weight in an instrument's score")
    weight_illiquidity: float = Field(default=0.25, ge=0, description="weight in an instrument's score")
    weight_history: float = Field(default=0.2, ge=0, description="weight in an instrument's score")
    weight_market_volatility: float = Field(default=0.5, ge=0, description="weight in the portfolio score")
    weight_drawdown: float = Field(default=0.3, ge=0, description="weight in the portfolio score")
    weight_correlation: float = Field(default=0.2, ge=0, description="weight in the portfolio score")
    calm: float = Field(default=0.35, gt=0, lt=1, description="portfolio scores below this are calm")
    stressed: float = Field(default=0.7, gt=0, lt=1, description="portfolio scores above this are stressed")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.calm >= self.stressed:
            raise ValueError("calm must be below stressed")
        parts = (
            self.weight_volatility + self.weight_beta + self.weight_illiquidity + self.weight_history,
            self.weight_market_volatility + self.weight_drawdown + self.weight_correlation,
        )
        if min(parts) <= 0:
            raise ValueError("the weights of a score must not all be 0")
        return self


@dataclass(frozen=True)
class Windows:
    """Windows in candles of one timeframe; names as in `RiskSettings`."""

    volatility: int
    half_life: float
    beta: int
    illiquidity: int
    history: int
    trend: int
    volume_market: bool

    @property
    def lookback(self) -> int:
        """Candles before row t that its values need."""
        factor = self.illiquidity if self.volume_market else 0
        return max(self.illiquidity, factor + max(self.volatility + self.history, self.beta, self.trend))


def windows(settings: RiskSettings, timeframe: Timeframe) -> Windows:
    """The settings' windows in candles, shrunk to ``max_bars`` where needed."""

    def scaled(share: float) -> Windows:
        def bars(days: float) -> int:
            return max(settings.min_bars, int(timeframe.bars(days) * share))

        return Windows(
            bars(settings.volatility_days),
            max(1.0, settings.half_life_days * 86_400 / timeframe.seconds * share),
            bars(settings.beta_days),
            bars(settings.illiquidity_days),
            bars(settings.history_days),
            bars(settings.trend_days),
            settings.market == "volume" and settings.leader is None,
        )

    whole = scaled(1.0)
    return whole if whole.lookback <= settings.max_bars else scaled(settings.max_bars / whole.lookback)


def lookback(settings: RiskSettings, timeframe: Timeframe) -> int:
    """Candles of history before row t that its risk values need."""
    return windows(settings, timeframe).lookback
