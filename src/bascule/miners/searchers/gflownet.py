"""A generative flow network: texts come in proportion to their reward, so it is trained for diversity.

Trajectory balance (Malkin et al., arXiv 2201.13259; on formulaic alphas: the alpha-gfn repository, whose
reward is the squared IC).

1. A text grows at its end only, so every text has one way to come about and the backward policy is 1.
2. Balance: log Z + log π(text) = log m(text) + log R(text) for every text, log Z learned beside the policy;
   the loss is the mean squared difference.
3. R = (floor + (r + w·c in usual rewards))^sharpness > 0, r what it adds beyond the pool, c its own |IC| less
   a standard error. The larger the sharpness (an inverse temperature), the more the best are preferred.
4. m is the grammar's own chance of the text: rewards tilt typed random search. With m = 1, as in alpha-gfn,
   long texts, which outnumber short ones by a power of the vocabulary, make up nearly all of Z, whatever
   they earn. (`measure=False` gives that.)
5. Balance holds for texts from anywhere: each step also trains on a draw of earlier ones with what they were
   paid, and a few actions of each new text are taken at random.
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
    rewritten,
)
from bascule.miners.searchers.torched import nn, torch


class GFlowNetSettings(Settings):
    """Trajectory balance."""

    policy: PolicySettings = Field(default=PolicySettings())
    reward: RewardSettings = Field(default=RewardSettings(repeat=0.3))
    rate: float = Field(default=3e-3, gt=0, le=1, description="learning rate of Adam for the policy")
    rate_z: float = Field(default=5e-2, gt=0, le=1, description="learning rate of Adam for log Z")
    sharpness: float = Field(default=4.0, gt=0, le=100, description="power of the reward")
    floor: float = Field(default=0.1, gt=0, description="added to rewards, in usual rewards: all is > 0")
    own_ic: float = Field(
        default=0.25, ge=0, le=1, description="weight of a text's own IC beside what the pool gains"
    )
    measure: bool = Field(default=True, description="tilt the grammar's own chances, not all texts alike")
    explore: float = Field(default=0.02, ge=0, le=1, description="share of actions at random")
    entropy: float = Field(default=0.0, ge=0, le=10, description="bonus for entropy per action")
    replay: int = Field(default=512, ge=0, description="earlier texts kept to learn from again")
    steps: int = Field(default=4, ge=1, le=100, description="of Adam for a batch")
    max_norm: float = Field(default=1.0, gt=0, description="gradients are cut to this norm")


class GFlowNet(PolicySearcher):
    """See the module.

    Args:
        grammar: of the texts.
        seed: of all randomness.
        settings: how it learns.
    """

    name = "gflownet"

    def __init__(self, grammar: Grammar, seed: int, settings: GFlowNetSettings | None = None) -> None:
        self.settings = settings or GFlowNetSettings()
        super().__init__(grammar, seed, self.settings.policy, self.settings.reward, self.settings.rate)
        self.log_z = nn.Parameter(torch.zeros(()))
        self._adam.add_param_group({"params": [self.log_z], "lr": self.settings.rate_z})
        self._kept: Texts | None = None
        self._worth = np.zeros(0)  # ICs of the kept, NaN: none

    def _sampled(self, count: int) -> Texts:
        return self.policy.sample(count, self._rng, explore=self.settings.explore)

    def log_reward(self, worth: Float64Array) -> Float64Array:
        """Of ICs, NaN where a text has no value."""
        reward = self.settings.floor + np.maximum(np.nan_to_num(self.rewards.scaled(worth)), 0.0)
        result: Float64Array = self.settings.sharpness * np.log(reward)
        return result

    def _learn(self, texts: Texts, outcomes: Sequence[Outcome], paid: Float64Array) -> dict[str, float]:
        own = [one.score.cautious if one.score is not None else 0.0 for one in outcomes]
        worth = paid + self.settings.own_ic * np.array(own)
        shown: dict[str, float] = {}
        for _ in range(self.settings.steps):
            batch, of = texts, worth
            if self._kept is not None:
                drawn = self._rng.integers(0, len(self._worth), len(worth))
                batch = Texts.joined([texts, self._kept.take(drawn)])
                of = np.concatenate([worth, self._worth[drawn]])
            shown = self._balance(batch, self.log_reward(of))
        self._keep(texts, worth)
        return shown

    def _balance(self, texts: Texts, log_reward: Float64Array) -> dict[str, float]:
        log_p, entropies, _ = self.policy.score(texts)
        target = torch.from_numpy(log_reward.astype(np.float32))
        if self.settings.measure:
            target = target + self._measure(texts)
        difference = self.log_z + log_p.sum(1) - target
        entropy = entropies.sum() / float(texts.lengths.sum())
        self._descend((difference**2).mean() - self.settings.entropy * entropy, self.settings.max_norm)
        return {
            "log Z": float(self.log_z.detach()),
            "imbalance": math.sqrt(float((difference.detach() ** 2).mean())),
            "entropy": float(entropy.detach()),
        }

    def _measure(self, texts: Texts) -> torch.Tensor:
        """Log-chances of texts under the policy that has learned nothing ``[B]``."""
        base = torch.from_numpy(texts.base)
        chosen = torch.from_numpy(texts.actions)[..., None]
        return torch.log_softmax(base, -1).gather(-1, chosen)[..., 0].sum(1)

    def _keep(self, texts: Texts, worth: Float64Array) -> None:
        if not self.settings.replay:
            return
        kept = texts if self._kept is None else Texts.joined([self._kept, texts])
        worth = np.concatenate([self._worth, worth])
        last = np.arange(max(len(worth) - self.settings.replay, 0), len(worth))
        self._kept, self._worth = kept.take(last), worth[last]

    def state(self) -> tuple[State, Arrays]:
        """And log Z, and the texts kept."""
        state, arrays = super().state()
        arrays["log_z"] = self.log_z.detach().numpy().copy()
        if self._kept is not None:
            arrays["kept.actions"], arrays["kept.worth"] = self._kept.actions, self._worth
        return state, arrays

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from there."""
        super().restore(state, arrays)
        with torch.no_grad():
            self.log_z.copy_(torch.tensor(arrays["log_z"]))
        self._kept, self._worth = None, np.zeros(0)
        if "kept.actions" in arrays:
            self._kept = rewritten(self.grammar, arrays["kept.actions"], self.settings.policy.odds)
            self._worth = arrays["kept.worth"]
