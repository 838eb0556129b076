"""What a robustness study tries, and what it asks for."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bascule.core import Settings

KeyPoint = Literal["base", "costs", "delay", "start"]


class Limits(Settings):
    """Where *passes* ends and *fragile* begins, and where *fragile* ends and *fails* begins."""

    sharpe_real: tuple[float, float] = Field(
        default=(0.95, 0.5), description="probability that the Sharpe ratio is real, all trials counted"
    )
    losing_regimes: tuple[float, float] = Field(
        default=(0.2, 0.5), description="share of time in market regimes in which it loses"
    )
    losing_quarters: tuple[float, float] = Field(
        default=(0.35, 0.5), description="share of calendar quarters that lose"
    )
    loss_probability: tuple[float, float] = Field(
        default=(0.05, 0.2), description="share of resampled trade histories that lose"
    )
    drawdown: tuple[float, float] = Field(
        default=(0.3, 0.5), description="95th percentile of the largest fall over resampled histories"
    )
    cost_multiple: tuple[float, float] = Field(
        default=(2.0, 1.0), description="multiple of the assumed costs at which nothing is left"
    )
    plateau: tuple[float, float] = Field(
        default=(0.8, 0.5), description="share of perturbed parameters that keep half of the Sharpe ratio"
    )
    starts: tuple[float, float] = Field(
        default=(0.9, 0.6), description="share of shifted starts that keep half of the Sharpe ratio"
    )
    delayed: tuple[float, float] = Field(
        default=(0.5, 0.0), description="share of the Sharpe ratio that is left after one candle's delay"
    )
    one_out: tuple[float, float] = Field(
        default=(0.5, 0.0), description="share of the return that is left without the best instrument"
    )
    real_thing: tuple[float, float] = Field(
        default=(0.5, 0.0), description="share of the simulator's Sharpe ratio that freqtrade confirms"
    )


class RobustSettings(Settings):
    """The scenarios of a study. All figures are after costs."""

    fees: tuple[float, ...] = Field(
        default=(0.0, 0.0004, 0.0008, 0.001, 0.0015, 0.002, 0.003),
        min_length=1,
        description="fee grid, a side, fraction of the value",
    )
    slippages: tuple[float, ...] = Field(
        default=(0.0, 0.00025, 0.0005, 0.001, 0.002, 0.004),
        min_length=1,
        description="slippage grid, a side, fraction of the value",
    )
    delays: tuple[int, ...] = Field(
        default=(1, 2, 3, 6), min_length=1, description="candles by which all signals come late"
    )
    starts: tuple[int, ...] = Field(
        default=(1, 2, 3, 5, 7, 10, 14, 21, 30, 45),
        min_length=1,
        description="days by which the start is shifted; those beyond a third of the period are left out",
    )
    step: float = Field(default=0.05, gt=0, le=0.2, description="smallest change of a threshold")
    scales: tuple[float, ...] = Field(
        default=(0.5, 0.75, 1.25, 1.5), description="factors on stop distances and on position sizes"
    )
    draws: int = Field(default=40, ge=0, le=2_000, description="parameter sets drawn all at once")
    reach: float = Field(default=0.1, gt=0, le=0.3, description="half width of a drawn threshold's range")
    one_out: int = Field(default=8, ge=0, le=100, description="best instruments that are left out in turn")
    histories: int = Field(default=2_000, ge=100, le=100_000, description="resampled trade histories")
    block: int | None = Field(
        default=None, ge=1, description="mean length of a block of trades; default: chosen from the data"
    )
    seed: int = Field(default=0, ge=0, description="of drawn parameters and resampled histories")
    keypoints: tuple[KeyPoint, ...] = Field(
        default=("base", "costs", "delay", "start"), description="scenarios for the real freqtrade"
    )
    harsh: float = Field(default=2.0, gt=1, le=10, description="multiple of the costs at key point costs")
    late_start: int = Field(default=7, ge=1, description="days of shift at key point start")
    limits: Limits = Field(default=Limits(), description="what a verdict needs")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        for name in ("fees", "slippages"):
            grid = getattr(self, name)
            if min(grid) < 0 or max(grid) > 0.05 or list(grid) != sorted(set(grid)):
                raise ValueError(f"{name} must ascend and lie between 0 and 0.05")
        if min(self.delays) < 1 or min(self.starts) < 1:
            raise ValueError("delays and starts must be at least 1")
        if any(not 0 < one <= 10 for one in self.scales):
            raise ValueError("scales must be above 0 and at most 10")
        return self
