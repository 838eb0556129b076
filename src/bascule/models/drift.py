"""Has the world moved away from what a model learned? Three watches.

1. *Features*: each one's recent values against those it learned from, by the population stability index (PSI,
   over the reference's quantile bins) and the Kolmogorov-Smirnov distance. Values compared within their row
   are the same in every market; watch the raw ones.
2. *IC decay*: the mean rank IC of recent rows against that of the reference rows.
3. *Errors*: the mean squared error of recent predicted ranks against that of the reference rows. It notices a
   model that has become too sure of itself while its order of instruments still holds.

For 2 and 3 the difference must be large and, by a Newey-West t-statistic of the recent rows, no accident.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import DataError, Panel, Settings
from bascule.core.panel import FloatArray
from bascule.evaluate import ic_series, newey_west_lags, newey_west_t, percentiles
from bascule.evaluate.rows import IntArray

Float64Array = NDArray[np.float64]


class DriftSettings(Settings):
    """What counts as drift."""

    psi: float = Field(default=0.25, gt=0, description="PSI of a feature that has moved")
    ks: float = Field(default=0.2, gt=0, lt=1, description="KS distance of a feature that has moved")
    share: float = Field(default=0.3, gt=0, le=1, description="share of moved features that counts as drift")
    bins: int = Field(default=10, ge=2, le=100, description="bins of the PSI")
    ic_share: float = Field(
        default=0.5, ge=0, le=1, description="recent mean rank IC below this share of the reference's: decay"
    )
    error_ratio: float = Field(
        default=1.1, gt=1, description="recent mean squared error above this multiple of the reference's"
    )
    min_t: float = Field(default=2.0, ge=0, description="a change has at least this |t|")
    min_rows: int = Field(default=50, ge=10, description="fewest recent rows with a label for 2 and 3")


@dataclass(frozen=True)
class Trigger:
    """One reason to train again.

    Attributes:
        kind: ``features``, ``ic`` or ``error``; of retraining also ``first``, ``schedule`` or ``resumed``.
        value: what was measured.
        limit: what was allowed.
        message: the finding in a sentence.
    """

    kind: str
    value: float
    limit: float
    message: str


@dataclass(frozen=True)
class FeatureDrift:
    """How far a feature has moved.

    Attributes:
        name: the feature.
        psi: population stability index.
        ks: Kolmogorov-Smirnov distance.
        moved: True if either exceeds its limit.
    """

    name: str
    psi: float
    ks: float
    moved: bool


def psi(reference: FloatArray, recent: FloatArray, bins: int = 10) -> float:
    """Population stability index Σ (a − e) ln(a / e) over the reference's quantile bins; NaN values are
    left out.

    NaN with fewer than ``bins`` values on a side. A share of 0 counts as half a value.
    """
    old, new = _known(reference), _known(recent)
    if len(old) < bins or len(new) < bins:
        return float("nan")
    edges = np.unique(np.quantile(old, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    shares = []
    for values in (old, new):
        count = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        shares.append(np.maximum(count, 0.5) / len(values))
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def ks(reference: FloatArray, recent: FloatArray) -> float:
    """Largest distance between two empirical distributions, 0 … 1; NaN if one is empty."""
    old, new = np.sort(_known(reference)), np.sort(_known(recent))
    if not len(old) or not len(new):
        return float("nan")
    points = np.concatenate([old, new])
    gap = np.searchsorted(old, points, "right") / len(old) - np.searchsorted(new, points, "right") / len(new)
    return float(np.abs(gap).max())


def _known(values: FloatArray) -> Float64Array:
    flat = np.asarray(values, np.float64).ravel()
    return flat[np.isfinite(flat)]


def feature_drift(
    reference: FloatArray, recent: FloatArray, names: Sequence[str], settings: DriftSettings | None = None
) -> tuple[FeatureDrift, ...]:
    """How far each feature has moved.

    Args:
        reference: raw values learned from ``[n, F]``.
        recent: raw values of late ``[m, F]``.
        names: of the features.
        settings: limits.

    Raises:
        DataError: shapes and names do not fit.
    """
    limits = settings or DriftSettings()
    if reference.shape[1:] != recent.shape[1:] or reference.shape[1] != len(names):
        raise DataError(
            f"{list(reference.shape)} and {list(recent.shape)} for {len(names)} names",
            where="feature_drift",
            remedy="pass samples [n, feature] of the same features, and one name a feature",
        )
    found = []
    for f, name in enumerate(names):
        stability = psi(reference[:, f], recent[:, f], limits.bins)
        distance = ks(reference[:, f], recent[:, f])
        moved = bool(stability > limits.psi or distance > limits.ks)
        found.append(FeatureDrift(name, stability, distance, moved))
    return tuple(found)


def watch(
    predicted: FloatArray,
    label: FloatArray,
    panel: Panel,
    reference: IntArray,
    recent: IntArray,
    *,
    horizon: int,
    features: tuple[FloatArray, FloatArray, Sequence[str]] | None = None,
    settings: DriftSettings | None = None,
) -> tuple[Trigger, ...]:
    """All reasons to train again; empty if there is none.

    Args:
        predicted: the model's out-of-sample predictions ``[T, N]``.
        label: raw forward returns ``[T, N]``; rows whose label is not known yet are left out.
        panel: gives members.
        reference: rows that show what the model could do.
        recent: later rows.
        horizon: bars of the label.
        features: raw values of reference and recent samples, and their names; None: they are not watched.
        settings: limits.
    """
    limits = settings or DriftSettings()
    found: list[Trigger] = []
    if features is not None:
        moved = [one for one in feature_drift(*features, limits) if one.moved]
        share = len(moved) / max(1, len(features[2]))
        if share >= limits.share:
            worst = max(moved, key=lambda one: one.ks)
            found.append(
                Trigger(
                    "features",
                    share,
                    limits.share,
                    f"{share:.0%} of the features have moved, most of all {worst.name} "
                    f"(KS {worst.ks:.2f}, PSI {worst.psi:.2f})",
                )
            )
    ic = ic_series(predicted, label, panel.members, rank=True)
    error = squared_errors(predicted, label, panel)
    old_ic, new_ic = _finite(ic[reference]), _finite(ic[recent])
    old_error, new_error = _finite(error[reference]), _finite(error[recent])
    if len(new_ic) >= limits.min_rows and len(old_ic):
        expected, now = float(old_ic.mean()), float(new_ic.mean())
        # of a model that was no better than chance nothing is left to decay: it must not be worse
        limit = limits.ic_share * max(expected, 0.0)
        if now < limit and _t(new_ic - max(expected, 0.0), horizon) <= -limits.min_t:
            found.append(Trigger("ic", now, limit, f"mean rank IC {now:.4f}, it was {expected:.4f}"))
    if len(new_error) >= limits.min_rows and len(old_error):
        expected, now = float(old_error.mean()), float(new_error.mean())
        limit = limits.error_ratio * expected
        if now > limit and _t(new_error - expected, horizon) >= limits.min_t:
            found.append(Trigger("error", now, limit, f"mean squared error {now:.4f}, it was {expected:.4f}"))
    return tuple(found)


def squared_errors(predicted: FloatArray, label: FloatArray, panel: Panel) -> Float64Array:
    """Mean squared difference of each row's prediction and its label's rank ``[T]``.

    Ranks are scaled to unit variance, as `samples.target` scales what models learn: a prediction of 0 for all
    has an error of about 1.
    """
    mask = panel.members & np.isfinite(predicted)
    rank = (percentiles(label, mask) - 0.5) * np.sqrt(12.0)
    both = np.isfinite(rank)
    gap = np.where(both, rank - np.where(both, predicted, 0.0), 0.0)
    count = both.sum(axis=1)
    total = (gap**2).sum(axis=1)
    found: Float64Array = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return found


def _finite(series: Float64Array) -> Float64Array:
    return series[np.isfinite(series)]


def _t(series: Float64Array, horizon: int) -> float:
    found = newey_west_t(series, newey_west_lags(len(series), horizon))
    return found if np.isfinite(found) else 0.0
