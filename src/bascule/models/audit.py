"""The classic leaks, refused where they can be known beforehand and found where they cannot.

1. *Overlapping labels*: a row is learned from though its label reaches into rows that stop or judge the
   model. `refuse_overlap` compares folds with the horizon, and the horizon with the label's own end: a label
   of h bars is unknown in the last h + 1 rows.
2. *A scaler fitted on everything, a future universe, a candle that was not closed*: all of these make values
   of a row depend on later rows. `audit` computes universe and features on the panel and on the panel cut at
   several rows (`evaluate.truncation`), and reports every value that changed.
3. *A feature that is the label in disguise*: `evaluate.suspicion` judges the values themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bascule.core import ConfigError, Panel, Progress, silent
from bascule.core.panel import BoolArray, FloatArray
from bascule.evaluate import SuspicionSettings, suspicion, truncation
from bascule.models.folds import Fold
from bascule.models.settings import ModelSettings


@dataclass(frozen=True)
class Finding:
    """One leak.

    Attributes:
        kind: ``universe``, ``features`` or ``suspicion``.
        message: what was seen, in a sentence.
    """

    kind: str
    message: str


def refuse_overlap(folds: Sequence[Fold], panel: Panel, label: FloatArray, settings: ModelSettings) -> None:
    """Refuse folds in which a label reaches into rows that it must not know.

    Raises:
        ConfigError: the first such fold.
    """
    step = panel.timeframe.delta
    reach = label_reach(label, panel)
    for fold in folds:
        held = fold.horizon * step
        for name, last, first in (
            ("valid", fold.train[1], fold.valid[0]),
            ("test", fold.valid[1], fold.test[0]),
            ("test", fold.train[1], fold.test[0]),
        ):
            if last + held > first:
                raise ConfigError(
                    f"labels of rows until {last} end after the {name} window's start {first}",
                    where=f"fold {fold.id}",
                    remedy="cut folds with models.folds, which purges by the horizon",
                )
        needed = settings.reach(max(1, reach - 1) if reach is not None else 1)
        if fold.horizon < needed:
            raise ConfigError(
                f"labels reach {needed} bars ahead, the fold is purged for {fold.horizon}",
                where=f"fold {fold.id}",
                remedy="make folds with models.folds(time, settings, model.reach(horizon))",
            )


def label_reach(label: FloatArray, panel: Panel) -> int | None:
    """Rows at the end that have opens but no label: horizon + 1 of a forward return.

    None where nothing can be told: no label at all, or candles that end before the panel does, whose labels
    may be missing for that reason.
    """
    rows = np.flatnonzero(np.isfinite(label).any(axis=1))
    opens = np.isfinite(panel["open"])
    alive = np.flatnonzero(opens.any(axis=1))
    if not len(rows) or not len(alive):
        return None
    gap = int(alive[-1] - rows[-1])
    # an instrument that traded all the way would have a later label if the horizon were shorter
    return gap if opens[rows[-1] + 1 : alive[-1] + 1].all(axis=0).any() else None


def audit(
    panel: Panel,
    *,
    universe: Callable[[Panel], BoolArray] | None = None,
    features: Callable[[Panel], FloatArray] | None = None,
    names: Sequence[str] = (),
    cuts: Sequence[int] | None = None,
    limits: SuspicionSettings | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Finding, ...]:
    """Look for leaks in how universe and features are made.

    Args:
        panel: the whole history.
        universe: panel → membership ``[T, N]``.
        features: panel → values ``[F, T, N]``, every scaling included.
        names: names of the features, for messages; with them their values are judged too.
        cuts: rows at which history is cut; default five at random.
        limits: what foresight is believable.
        seed: of the random cuts.
        progress: told after each cut.

    Returns:
        What was found; empty if nothing was.
    """
    found: list[Finding] = []
    if universe is not None:

        def members(cut: Panel) -> FloatArray:
            return universe(cut).astype(np.float32)

        report = truncation(members, panel, cuts, seed=seed, progress=progress)
        found += [
            Finding("universe", f"with only {one.cut} rows, {one.cells} memberships of earlier rows change")
            for one in report.mismatches
        ]
    if features is not None:
        report = truncation(features, panel, cuts, seed=seed, progress=progress)
        for one in report.mismatches:
            which = one.index[0]
            shown = names[which] if which < len(names) else f"feature {which}"
            found.append(
                Finding(
                    "features",
                    f"with only {one.cut} rows, {one.cells} earlier values change, first of {shown} in row "
                    f"{one.index[1]}",
                )
            )
        if names:
            values = np.asarray(features(panel), np.float32)
            found += [Finding("suspicion", one.message) for one in suspicion(values, names, panel, limits)]
    return tuple(found)
