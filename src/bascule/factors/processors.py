"""Processors: factor values made comparable and tame within each row, before a model sees them.

Every processor looks at one row at a time, at its members only, so that nothing is fitted, nothing leaks from
other times, and a live row is processed as the stored one was. With ``tiers`` it works within each liquidity
tier (`data.universe.tiers`), for models that shall not tell coins apart by their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from bascule.core import Panel, Settings
from bascule.core.panel import FloatArray
from bascule.data.universe import UniverseSettings, tiers
from bascule.kernels import cross, robust

Kind = Literal["zscore", "rank", "mad_zscore", "rank_gauss", "winsorize", "trimmed_demean"]


class ProcessorSettings(Settings):
    """One step; steps are taken in order."""

    kind: Kind = Field(description="what is done with each factor in each row")
    q: float = Field(
        default=0.01, ge=0, lt=0.5, description="winsorize, trimmed_demean: share of each tail that is cut"
    )
    limit: float | None = Field(
        default=None, gt=0, description="mad_zscore: largest absolute score; default none"
    )
    tiers: tuple[int, ...] = Field(
        default=(), description="sizes of the liquidity tiers to work within; default the whole universe"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.limit is not None and self.kind != "mad_zscore":
            raise ValueError(f"limit is for mad_zscore, not for {self.kind}")
        if self.tiers and min(self.tiers) < 1:
            raise ValueError("a tier has at least one instrument")
        return self

    @property
    def transform(self) -> robust.Transform:
        """The kernel: values and members ``[T, N]`` to values ``[T, N]``."""
        kernels: dict[str, robust.Transform] = {
            "zscore": cross.zscore,
            "rank": cross.rank,
            "mad_zscore": partial(robust.mad_zscore, limit=self.limit),
            "rank_gauss": robust.rank_gauss,
            "winsorize": partial(robust.winsorize, q=self.q),
            "trimmed_demean": partial(robust.trimmed_demean, q=self.q),
        }
        return kernels[self.kind]


def process(
    values: FloatArray, panel: Panel, steps: Sequence[ProcessorSettings], universe: UniverseSettings
) -> FloatArray:
    """Factor values after all steps, float32 ``[F, T, N]``; NaN outside the universe.

    Args:
        values: ``[F, T, N]``.
        panel: the panel they are of, with its membership; for steps with tiers its rows need
            `data.universe.lookback` candles before them, as membership does.
        steps: what to do, in order; without any the values are given back as they are.
        universe: whose dollar volumes make the tiers.

    Raises:
        ConfigError: tiers of candles longer than a day.
    """
    if not steps:
        return values
    members = panel.members
    groups = {step.tiers: tiers(panel, universe, step.tiers) for step in steps if step.tiers}
    found = np.empty_like(values)
    for f, factor in enumerate(values):
        row: FloatArray = factor
        for step in steps:
            if step.tiers:
                done = robust.within(step.transform, row, groups[step.tiers], members)
            else:
                done = step.transform(row, members)
            row = done.astype(np.float32)
        found[f] = row
    return found
