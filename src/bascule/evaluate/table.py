"""All factors against all horizons.

1. Labels of every horizon are computed, centred and ranked once.
2. Factor by factor: centre and rank, correlate with each label (rows whose cells coincide, nearly all of
   them, cost one product; the rest are ranked anew), summarise.
3. Turnover is 1 − the correlation of a row's ranks with its ranks one bar, and one horizon, earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bascule.core import ConfigError, DataError, Panel, Progress, silent
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate.ic import summarise
from bascule.evaluate.labels import Labels
from bascule.evaluate.rows import MIN_BREADTH, Cells, CrossSection, Float64Array, finite_mean

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "ic",
    "rank_ic",
    "icir",
    "rank_icir",
    "t",
    "rank_t",
    "hit_rate",
    "n",
    "turnover",
    "turnover_horizon",
    "coverage",
)


def table(
    values: FloatArray,
    names: Sequence[str],
    panel: Panel,
    horizons: Sequence[int],
    progress: Progress = silent,
    *,
    min_breadth: int = MIN_BREADTH,
    labels: Labels | None = None,
) -> pd.DataFrame:
    """IC statistics of every factor at every horizon.

    Args:
        values: factor values ``[F, T, N]``.
        names: their names ``[F]``.
        panel: gives opens and members; ICs are computed over members only.
        horizons: label lengths in bars.
        progress: told after every factor.
        min_breadth: fewest instruments in a row that gives an IC.
        labels: of this panel, where more is measured with them.

    Returns:
        One row per (factor, horizon) with `COLUMNS`: mean IC and rank IC, their IRs and Newey-West ts, hit
        rate of the rank IC, rows ``n``, turnover of the ranks over one bar and over the horizon (0 = same
        order, 1 = unrelated), coverage (share of member cells with a value).

    Raises:
        DataError: shapes or names do not fit.
    """
    import pandas as pd

    if values.ndim != 3 or values.shape[1:] != panel.shape or len(names) != len(values):
        raise DataError(
            f"values {list(values.shape)} with {len(names)} names do not fit panel {list(panel.shape)}",
            where="evaluate.table",
            remedy="pass values [factor, time, instrument] of this panel and one name per factor",
        )
    known = labels or Labels(panel)
    records: list[tuple[float, ...]] = []
    for done, factor in enumerate(values):
        records += _evaluate(factor, known, horizons, min_breadth)
        progress(done + 1, len(values), names[done])
    index = pd.MultiIndex.from_product([list(names), list(horizons)], names=["factor", "horizon"])
    return pd.DataFrame.from_records(records, index=index, columns=COLUMNS).astype({"n": np.int64})


def _evaluate(
    factor: FloatArray, labels: Labels, horizons: Sequence[int], min_breadth: int
) -> list[tuple[float, ...]]:
    members = labels.panel.members
    plain = CrossSection.of(factor, members, rank=False)
    ranked = CrossSection.of(factor, members, rank=True)
    coverage = float(plain.counted.sum() / max(1, members.sum()))
    one_bar = finite_mean(1.0 - rank_autocorrelation(ranked, 1, min_breadth))
    records: list[tuple[float, ...]] = []
    for horizon in horizons:
        ic = summarise(plain.correlate(labels.section(horizon, rank=False), min_breadth), horizon)
        rank = summarise(ranked.correlate(labels.section(horizon, rank=True), min_breadth), horizon)
        over_horizon = (
            one_bar if horizon == 1 else finite_mean(1.0 - rank_autocorrelation(ranked, horizon, min_breadth))
        )
        records.append(
            (
                ic.mean,
                rank.mean,
                ic.ir,
                rank.ir,
                ic.t,
                rank.t,
                rank.hit_rate,
                float(rank.n),
                one_bar,
                over_horizon,
                coverage,
            )
        )
    return records


def rank_autocorrelation(ranked: CrossSection, lag: int, min_breadth: int = MIN_BREADTH) -> Float64Array:
    """Correlation of each row's ranks with those ``lag`` rows before, over instruments in both ``[T − lag]``.

    Each row keeps the ranks of its own cross-section, as in alphalens (``factor_rank_autocorrelation``).

    Raises:
        ConfigError: the lag is below 1.
    """
    if lag < 1:
        raise ConfigError(
            f"a lag of {lag}", where="rank autocorrelation", remedy="use lags of at least 1 bar"
        )
    if lag >= len(ranked.count):
        return np.zeros(0)
    now, before = ranked.rows(slice(lag, None)), ranked.rows(slice(None, -lag))
    result = now.dot(before, min_breadth)
    differ = np.flatnonzero((now.counted != before.counted).any(axis=1))
    if len(differ):
        common = now.counted[differ] & before.counted[differ]
        left = CrossSection.of(now.centred[differ], common, rank=False)
        right = CrossSection.of(before.centred[differ], common, rank=False)
        result[differ] = left.dot(right, min_breadth)
    return result


def turnover(factor: Cells, mask: BoolArray | None = None, lag: int = 1) -> float:
    """Mean of 1 − rank autocorrelation at ``lag`` bars, at least 1."""
    return finite_mean(1.0 - rank_autocorrelation(CrossSection.of(factor, mask, rank=True), lag))


def autocorrelation(factor: Cells, mask: BoolArray | None, lags: Sequence[int]) -> dict[int, float]:
    """Mean rank autocorrelation at each of ``lags`` (bars, at least 1); NaN beyond the panel's length."""
    ranked = CrossSection.of(factor, mask, rank=True)
    return {lag: finite_mean(rank_autocorrelation(ranked, lag)) for lag in lags}
