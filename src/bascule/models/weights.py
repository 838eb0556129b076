"""How much each training sample counts.

1. *Recency*: a sample counts ½^(age / half-life), age measured from the newest training row.
2. *Uniqueness* (López de Prado 2018, ch. 4.4): the label of row t is earned over the bars t + 1 … t + h.
   Where labels of several sampled rows of an instrument cover a bar, they share it. A sample counts the mean
   over its bars of 1 / (labels that cover the bar).
3. Weights are scaled to mean 1 over the training samples, so that regularisation keeps its meaning.
"""

from __future__ import annotations

import numpy as np

from bascule.core import Panel
from bascule.core.panel import FloatArray
from bascule.models.samples import Samples
from bascule.models.settings import WeightSettings

_DAY_NS = 86_400_000_000_000


def sample_weights(
    train: Samples, valid: Samples, panel: Panel, horizon: int, settings: WeightSettings
) -> tuple[FloatArray, FloatArray] | None:
    """Weights of the samples of train and valid, float32 ``[n]``; None if all count alike."""
    if settings.plain:
        return None
    newest = int(train.row.max())
    raw = [_raw(one, panel, horizon, settings, newest) for one in (train, valid)]
    scale = raw[0].mean()
    return (raw[0] / scale).astype(np.float32), (raw[1] / raw[1].mean()).astype(np.float32)


def _raw(samples: Samples, panel: Panel, horizon: int, settings: WeightSettings, newest: int) -> np.ndarray:
    found = np.ones(len(samples))
    if settings.half_life_days is not None:
        age = (panel.time[newest] - panel.time[samples.row]).astype(np.int64) / _DAY_NS
        # validation rows are newer than the newest training row: all of them count fully
        found *= 0.5 ** (np.maximum(age, 0.0) / settings.half_life_days)
    if settings.uniqueness:
        found *= uniqueness(samples.row, samples.column, panel.shape[1], horizon)
    return found


def uniqueness(row: np.ndarray, column: np.ndarray, width: int, horizon: int) -> np.ndarray:
    """Average uniqueness of each sample's label, in (0, 1] ``[n]``.

    Args:
        row: row number of each sample.
        column: its instrument.
        width: number of instruments.
        horizon: bars of the label.
    """
    first = int(row.min())
    change = np.zeros((int(row.max()) - first + horizon + 2, width))
    np.add.at(change, (row - first, column), 1.0)
    np.add.at(change, (row - first + horizon, column), -1.0)
    cover = np.cumsum(change, axis=0)
    shared = np.cumsum(np.divide(1.0, cover, out=np.zeros_like(cover), where=cover > 0.5), axis=0)
    shared = np.vstack([np.zeros((1, width)), shared])
    at = row - first
    found: np.ndarray = (shared[at + horizon, column] - shared[at, column]) / horizon
    return found
