"""QuantFactor REINFORCE: a policy without critic, measured against its own greedy text.

Zhao, Zhang, Qin, Yang: "QuantFactor REINFORCE: Mining Steady Formulaic Alpha Factors with Variance-bounded
REINFORCE" (arXiv 2409.05144). What a text becomes is certain once its actions are, and paid at its end only;
so a critic has nothing to add but bias.

1. Each batch holds texts sampled from the policy and one greedy text, which takes the likeliest action at
   every step.
2. Reward of a text, in ICs: what it adds beyond the pool, less λ where its information ratio (mean IC over
   its deviation, by row) is at most clip((n − α) η, 0, δ), n the texts so far: steadiness is asked for late.
   The paper's ratio is that of the combination, ours the text's own, sign apart. Its values (λ 0.02, α
   180,000 steps, η 1e-6, δ 0.3) belong to daily stocks and a longer training; ours are settings.
3. Gradient: mean over texts of ∇ log π(text) · (reward − reward of the greedy text), in units of the usual
   reward. Optional: an entropy bonus, which the paper has not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import Settings
from bascule.miners.contract import Arrays, Outcome, State
from bascule.miners.grammar import Grammar
from bascule.miners.searchers.policy import (
    Float64Array,
    PolicySearcher,
    PolicySettings,
    RewardSettings,
    Texts,
)
from bascule.miners.searchers.torched import torch


class ReinforceSettings(Settings):
    """QuantFactor REINFORCE."""

    policy: PolicySettings = Field(default=PolicySettings())
    reward: RewardSettings = Field(default=RewardSettings())
    rate: float = Field(default=3e-3, gt=0, le=1, description="learning rate of Adam")
    entropy: float = Field(default=0.01, ge=0, le=1, description="bonus for the policy's entropy per action")
    max_norm: float = Field(default=0.5, gt=0, description="gradients are cut to this norm")
    penalty: float = Field(default=0.02, ge=0, le=1, description="λ: taken off for unsteadiness, an IC")
    delay: int = Field(default=500, ge=0, description="α: texts before steadiness is asked for")
    slope: float = Field(default=5e-5, ge=0, description="η: growth of the least ratio, per text")
    steady: float = Field(default=0.05, ge=0, description="δ: least information ratio at last, per row")


class Reinforce(PolicySearcher):
    """See the module.

    Args:
        grammar: of the texts.
        seed: of all randomness.
        settings: how it learns.
    """

    name = "qfr"

    def __init__(self, grammar: Grammar, seed: int, settings: ReinforceSettings | None = None) -> None:
        self.settings = settings or ReinforceSettings()
        super().__init__(grammar, seed, self.settings.policy, self.settings.reward, self.settings.rate)
        self._count = 0
        self._greedy = 0.0  # reward of the last greedy text

    @property
    def threshold(self) -> float:
        """The information ratio that is asked for by now."""
        grown = (self._count - self.settings.delay) * self.settings.slope
        return min(max(grown, 0.0), self.settings.steady)

    def _sampled(self, count: int) -> Texts:
        return self.policy.sample(count, self._rng, greedy=1 if count > 1 else 0)

    def _learn(self, texts: Texts, outcomes: Sequence[Outcome], paid: Float64Array) -> dict[str, float]:
        reward = self.rewards.scaled(self._shaped(outcomes, paid))
        self._count += len(outcomes)
        if len(reward) > 1:
            self._greedy = float(reward[-1])
            sampled = texts.take(np.arange(len(reward) - 1))
            reward = reward[:-1]
        else:
            sampled = texts
        advantage = torch.from_numpy((reward - self._greedy).astype(np.float32))
        log_p, entropy, _ = self.policy.score(sampled)
        mean_entropy = entropy.sum() / float(sampled.lengths.sum())
        loss = -(advantage * log_p.sum(1)).mean() - self.settings.entropy * mean_entropy
        self._descend(loss, self.settings.max_norm)
        return {"greedy": self._greedy, "entropy": float(mean_entropy.detach()), "least IR": self.threshold}

    def _shaped(self, outcomes: Sequence[Outcome], paid: Float64Array) -> Float64Array:
        """Rewards less the penalty of the unsteady ``[B]``; NaN stays."""
        ratios = [abs(outcome.score.ir) if outcome.score is not None else math.nan for outcome in outcomes]
        unsteady = np.array(ratios) <= self.threshold
        result: Float64Array = paid - self.settings.penalty * unsteady
        return result

    def state(self) -> tuple[State, Arrays]:
        """And the count of texts, and the last baseline."""
        state, arrays = super().state()
        return {**state, "count": self._count, "greedy": self._greedy}, arrays

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from there."""
        super().restore(state, arrays)
        self._count, self._greedy = state["count"], state["greedy"]
