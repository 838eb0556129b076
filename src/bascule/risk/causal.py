"""The causal check of a factor model: the graph, the effect with and without controls, and attempts to
refute it.

1. Controls are classed by the graph; the minimal adjustment sets follow (`dag.py`).
2. A control set that conditions on a collider is refused, unless the caller overrides it.
3. The naive coefficient, that of the smallest adjustment set, and that of the caller's controls stand side
   by side (`effect.py`), with the robustness to an unseen confounder.
4. Refuters and slices say how far to trust it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from bascule.core import ConfigError, Settings
from bascule.core.panel import BoolArray
from bascule.risk.dag import Dag, Problem, Role
from bascule.risk.effect import Data, Effect, Refutation, Stable, estimate, refute, sample, stable


class CausalSettings(Settings):
    """How effects are estimated and attacked."""

    lags: int = Field(
        default=24, ge=0, description="rows over which errors may be correlated: horizon − 1 at least"
    )
    within: bool = Field(default=True, description="compare instruments within each row")
    repeats: int = Field(default=20, ge=5, le=1000, description="repeats of each refuter")
    block: int = Field(default=168, ge=1, description="rows that stay together when time is permuted")
    seed: int = Field(default=0, description="of the refuters")
    override: bool = Field(default=False, description="estimate even with a collider among the controls")


@dataclass(frozen=True)
class CausalReport:
    """What is known of an effect.

    Attributes:
        roles: of every node.
        sets: minimal adjustment sets; empty = the effect cannot be had from these data.
        problems: of the caller's controls.
        naive: without controls.
        adjusted: with the smallest adjustment set, None if there is none.
        given: with the caller's controls, None if there were none.
        refutations: of the adjusted effect (of the naive one if there is no set).
        slices: stability, by kind of slice.
    """

    roles: dict[str, tuple[Role, ...]]
    sets: tuple[tuple[str, ...], ...]
    problems: tuple[Problem, ...]
    naive: Effect
    adjusted: Effect | None
    given: Effect | None
    refutations: tuple[Refutation, ...]
    slices: dict[str, Stable]


def check_controls(dag: Dag, controls: Sequence[str], *, override: bool = False) -> tuple[Problem, ...]:
    """Problems of a set of controls.

    Raises:
        ConfigError: it conditions on a collider and ``override`` is not set, or names no control of the
        graph.
    """
    found = dag.problems(controls)
    colliders = [one for one in found if one.kind == "collider"]
    if colliders and not override:
        sets = dag.adjustment_sets(3)
        better = (
            " or ".join("{" + ", ".join(one) + "}" for one in sets) or "none is known: look for other data"
        )
        raise ConfigError(
            f"refused: {colliders[0].text}",
            where=f"controls {', '.join(controls)}",
            remedy=f"control for {better}; or override the check",
        )
    return found


def causal_check(
    dag: Dag,
    data: Data,
    settings: CausalSettings | None = None,
    *,
    controls: Sequence[str] | None = None,
    slices: Mapping[str, Mapping[str, BoolArray]] | None = None,
) -> CausalReport:
    """Check one effect.

    Args:
        dag: what causes what.
        data: arrays ``[T, N]`` or ``[T]`` by node name; nodes that no regression uses may be missing.
        settings: errors and refuters.
        controls: what the caller's model controls for, None = nothing particular.
        slices: kind (coins, periods, venues) → name → mask.

    Raises:
        ConfigError: the controls hold a collider.
        DataError: data are missing or too few.
    """
    settings = settings or CausalSettings()
    problems = () if controls is None else check_controls(dag, controls, override=settings.override)
    # a set counts only where there are data for all of it
    sets = tuple(one for one in dag.adjustment_sets() if all(name in data for name in one))

    def at(names: Sequence[str]) -> Effect:
        cells = sample(data, dag.treatment, dag.outcome, names, within=settings.within)
        return estimate(cells, settings.lags)

    best = sets[0] if sets else ()
    cells = sample(data, dag.treatment, dag.outcome, best, within=settings.within)
    attacked = refute(
        cells, settings.lags, repeats=settings.repeats, block=settings.block, seed=settings.seed
    )
    cut = {
        kind: stable(
            data, dag.treatment, dag.outcome, best, masks, lags=settings.lags, within=settings.within
        )
        for kind, masks in (slices or {}).items()
    }
    return CausalReport(
        dag.roles(),
        sets,
        problems,
        at(()),
        estimate(cells, settings.lags) if sets else None,
        None if controls is None else at(controls),
        attacked,
        cut,
    )
