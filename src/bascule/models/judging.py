"""Settings of retraining, and its judgement: whether a challenger may take the champion's place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import Settings
from bascule.evaluate import mean_interval
from bascule.models.drift import DriftSettings


class RetrainSettings(Settings):
    """When a model is trained again, and when it may serve."""

    check_days: float = Field(default=1.0, gt=0, description="days between two checks")
    schedule_days: float | None = Field(
        default=30.0,
        gt=0,
        description="train when the champion is this old; None: only when something drifts",
    )
    drift: DriftSettings | None = Field(
        default=DriftSettings(), description="what counts as drift; null: nothing is watched"
    )
    recent_days: float = Field(default=14.0, gt=0, description="days watched for drift")
    rest_days: float = Field(default=7.0, ge=0, description="fewest days between two trainings")
    train_days: float = Field(default=180.0, gt=0, description="history of training and validation")
    valid_share: float = Field(
        default=0.2, ge=0.05, le=0.5, description="its newest share stops the training"
    )
    judge_days: float = Field(
        default=21.0, gt=0, description="days that champion and challenger are judged on"
    )
    embargo_bars: int = Field(default=1, ge=0, description="rows kept free beyond the purge")
    warm_start: bool = Field(default=False, description="go on from the champion where the kind can")
    min_gain: float = Field(default=0.0, ge=0, description="rank IC by which a challenger must be better")
    confidence: float = Field(
        default=0.8, ge=0.5, lt=1, description="one-sided confidence that it is better at all"
    )
    min_ic: float = Field(default=0.0, ge=-1, lt=1, description="rank IC that every champion needs")


@dataclass(frozen=True)
class Verdict:
    """Champion against challenger.

    Attributes:
        promote: True if the challenger may serve.
        challenger: its mean rank IC on the judging window.
        champion: the champion's, or None.
        low: lower end of the one-sided interval of the difference.
        reason: in a sentence.
    """

    promote: bool
    challenger: float
    champion: float | None
    low: float
    reason: str


def judge(
    challenger: NDArray[np.float64],
    champion: NDArray[np.float64] | None,
    horizon: int,
    settings: RetrainSettings,
    seed: int,
) -> Verdict:
    """Decide by the rank IC series of both on the judging window."""
    mean = float(np.nanmean(challenger)) if np.isfinite(challenger).any() else float("nan")
    if champion is None or not np.isfinite(champion).any():
        good = bool(mean > settings.min_ic)
        why = f"first champion: rank IC {mean:.4f}, {settings.min_ic:g} is needed"
        return Verdict(good, mean, None, float("nan"), why)
    gap = challenger - champion
    # a two-sided interval of level 2c − 1 has the one-sided bound of confidence c as its lower end
    level = max(2.0 * settings.confidence - 1.0, 1e-6)
    span = mean_interval(gap, horizon, level=level, reps=500, seed=seed)
    good = bool(span.mean >= settings.min_gain and span.low > 0.0 and mean > settings.min_ic)
    was = float(np.nanmean(champion))
    why = f"rank IC {mean:.4f} against {was:.4f}; the difference is above {span.low:+.4f} with " + (
        f"{settings.confidence:.0%} confidence"
    )
    return Verdict(good, mean, was, span.low, why)
