"""The leak audit: two ways to catch a factor or a model that has seen the future.

1. `truncation` cuts the panel at several rows, computes again and compares the bits: what changes when later
   rows are missing used them. It finds every look-ahead of a *computation*.
2. `suspicion` judges *values* whose making is unknown. It correlates them with the return of each single bar
   ahead and with a cumulative one. Honest foresight of liquid markets is faint and fades: an IC that is
   strong, or steady beyond belief, or far stronger on a later bar than on all nearer ones, is not believed.
   The IC with the candle's own return stands beside it in the report. A faint leak of the very next bar looks
   like honest foresight; only `truncation` finds that one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import ConfigError, DataError, Panel, Progress, Settings, silent
from bascule.core.panel import FloatArray
from bascule.evaluate.ic import ICSummary, summarise
from bascule.evaluate.labels import forward_return
from bascule.evaluate.rows import CrossSection

Compute = Callable[[Panel], NDArray[np.float32]]


@dataclass(frozen=True)
class Mismatch:
    """A value that changed when later rows were cut away.

    Attributes:
        cut: rows that the shorter panel had.
        index: first position that differs (factor, row, instrument; or row, instrument).
        cells: how many differ.
        largest: largest absolute difference among those finite on both sides.
    """

    cut: int
    index: tuple[int, ...]
    cells: int
    largest: float


@dataclass(frozen=True)
class TruncationReport:
    """Outcome of `truncation`: which cuts were tried and what changed."""

    cuts: tuple[int, ...]
    mismatches: tuple[Mismatch, ...]

    @property
    def ok(self) -> bool:
        """True if no value changed."""
        return not self.mismatches


def truncation(
    compute: Compute,
    panel: Panel,
    cuts: Sequence[int] | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> TruncationReport:
    """Compute on the whole panel and on its first ``cut`` rows, and compare every bit of the common rows.

    Args:
        compute: panel → values whose last two axes are time and instrument.
        panel: the whole.
        cuts: numbers of rows to keep; default: five, drawn from the second half of the panel.
        seed: for drawing the default cuts.
        progress: told after each cut.
    """
    rows = panel.shape[0]
    if cuts is None:
        random = np.random.default_rng(seed)
        cuts = sorted({int(c) for c in random.integers(max(1, rows // 2), rows, 5)}) if rows > 1 else []
    if not cuts or min(cuts) < 1 or max(cuts) >= rows:
        raise ConfigError(
            f"cuts {list(cuts)} of a panel of {rows} rows", where="truncation", remedy="cut inside the panel"
        )
    whole = _computed(compute, panel)
    found = []
    for done, cut in enumerate(cuts):
        part = _computed(compute, panel.rows(0, cut))
        mismatch = _compare(whole[..., :cut, :], part, cut)
        if mismatch is not None:
            found.append(mismatch)
        progress(done + 1, len(cuts), f"{cut} rows")
    return TruncationReport(tuple(cuts), tuple(found))


def _computed(compute: Compute, panel: Panel) -> NDArray[np.float32]:
    values = np.asarray(compute(panel))
    if values.ndim < 2 or values.shape[-2:] != panel.shape:
        raise DataError(
            f"computed {list(values.shape)} on a panel of {list(panel.shape)}",
            where="truncation",
            remedy="return values whose last two axes are time and instrument",
        )
    return values


def _compare(whole: NDArray[np.float32], part: NDArray[np.float32], cut: int) -> Mismatch | None:
    if whole.shape != part.shape:
        raise DataError(
            f"{list(part.shape)} values on the first {cut} rows, {list(whole.shape)} expected",
            where="truncation",
            remedy="return the same number of factors for every panel",
        )
    differ = ~((whole == part) | (np.isnan(whole) & np.isnan(part)))
    if not differ.any():
        return None
    gap = np.abs(whole[differ].astype(np.float64) - part[differ])
    gap = gap[np.isfinite(gap)]
    first = tuple(int(i) for i in np.argwhere(differ)[0])
    return Mismatch(cut, first, int(differ.sum()), float(gap.max()) if len(gap) else 0.0)


class SuspicionSettings(Settings):
    """What is too good to be true. Defaults suit liquid crypto pairs from minutes to days."""

    future: int = Field(default=6, ge=2, description="bars ahead that are tested one by one")
    horizon: int = Field(default=24, ge=1, description="bars of the cumulative return, tested as well")
    max_ic: float = Field(default=0.15, gt=0, lt=1, description="largest believable |mean rank IC|")
    max_ir: float = Field(default=1.0, gt=0, description="largest believable |mean / std| of the rank IC")
    min_t: float = Field(default=5.0, ge=0, description="a finding has at least this |t|: noise is none")
    spike: float = Field(
        default=4.0, gt=1, description="how many times a later bar's |IC| may exceed that of nearer bars"
    )
    spike_ic: float = Field(default=0.05, gt=0, lt=1, description="smallest |IC| that counts as a spike")


@dataclass(frozen=True)
class Suspicion:
    """One reason not to believe a factor.

    Attributes:
        name: the factor.
        rule: ``ic``, ``ir`` or ``spike``.
        label: which return, e.g. ``bar +1`` or ``24 bars``.
        summary: its rank IC.
        contemporaneous: mean rank IC with the candle's own return, for comparison.
        message: the finding in a sentence.
    """

    name: str
    rule: str
    label: str
    summary: ICSummary
    contemporaneous: float
    message: str


def suspicion(
    values: FloatArray,
    names: Sequence[str],
    panel: Panel,
    settings: SuspicionSettings | None = None,
    *,
    progress: Progress = silent,
) -> tuple[Suspicion, ...]:
    """Find factors whose foresight is implausible.

    Args:
        values: ``[F, T, N]`` factor values or predictions.
        names: their names.
        panel: gives opens, closes and members.
        settings: the limits.
        progress: told after each factor.
    """
    settings = settings or SuspicionSettings()
    if values.ndim != 3 or values.shape[1:] != panel.shape or len(names) != len(values):
        raise DataError(
            f"values {list(values.shape)} with {len(names)} names do not fit panel {list(panel.shape)}",
            where="suspicion",
            remedy="pass values [factor, time, instrument] of this panel and one name per factor",
        )
    bars = [_ranked(forward_return(panel, 1, delay=k), panel) for k in range(settings.future)]
    long = _ranked(forward_return(panel, settings.horizon), panel)
    own = _ranked(_candle_return(panel), panel)
    found: list[Suspicion] = []
    for done, (name, factor) in enumerate(zip(names, values, strict=True)):
        ranked = _ranked(factor, panel)
        profile = [summarise(ranked.correlate(bar), 1) for bar in bars]
        cumulative = summarise(ranked.correlate(long), settings.horizon)
        found += _judge(name, profile, cumulative, summarise(ranked.correlate(own), 1).mean, settings)
        progress(done + 1, len(names), name)
    return tuple(found)


def _ranked(values: FloatArray, panel: Panel) -> CrossSection:
    return CrossSection.of(values, panel.members, rank=True)


def _candle_return(panel: Panel) -> FloatArray:
    """Close over open of the same candle, less 1: all of it known at the row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return panel["close"] / panel["open"] - np.float32(1.0)


def _judge(
    name: str,
    profile: Sequence[ICSummary],
    cumulative: ICSummary,
    own: float,
    settings: SuspicionSettings,
) -> list[Suspicion]:
    labels = [f"bar +{k + 1}" for k in range(len(profile))] + [f"{settings.horizon} bars"]
    sizes = np.abs([summary.mean for summary in profile])
    found = []
    for k, (label, summary) in enumerate(zip(labels, (*profile, cumulative), strict=True)):
        if not abs(summary.t) >= settings.min_t:
            continue
        size = abs(summary.mean)
        rule = ""
        if size > settings.max_ic:
            rule, why = "ic", f"|rank IC| {size:.3f} exceeds {settings.max_ic:g}"
        elif abs(summary.ir) > settings.max_ir:
            rule, why = "ir", f"|rank IC / its deviation| {abs(summary.ir):.2f} exceeds {settings.max_ir:g}"
        elif k < len(profile) and size > settings.spike_ic:
            nearer = float(np.nanmax(sizes[:k], initial=0.0))
            if k and size > settings.spike * nearer:
                rule, why = "spike", f"|rank IC| {size:.3f} stands out (nearer bars: {nearer:.4f} at most)"
        if rule:
            text = f"{name}: {why} on {label} (t = {summary.t:.1f}); has it seen the future?"
            found.append(Suspicion(name, rule, label, summary, own, text))
    return found
