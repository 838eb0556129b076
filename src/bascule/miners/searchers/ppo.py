"""Proximal policy optimisation, as AlphaGen searches (Yu et al., arXiv 2306.12964, and its code).

1. Texts are collected until they make up a roll-out of 2,048 actions.
2. Each is paid at its end: what it adds to the pool beyond what the pool knows. Advantages are generalised
   (λ 0.95, no discount) over the value head's expectations, which shares the encoder with the policy.
3. Ten times over the roll-out, in minibatches of about 128 actions: one step of Adam (3e-4) on the clipped
   objective (0.2), plus half the value's squared error, less 0.01 of the entropy; advantages are standardised
   in each minibatch, gradients cut to norm 0.5. These are AlphaGen's settings, and where it sets nothing
   those of stable-baselines3, which it runs on.

The loop is our own: stable-baselines3 steps environments one action at a time and scores each text as it
ends, while texts here are written, and evaluated, in batches, and the state must be kept as arrays.
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
from bascule.miners.searchers.torched import torch


class PPOSettings(Settings):
    """Proximal policy optimisation."""

    policy: PolicySettings = Field(default=PolicySettings())
    reward: RewardSettings = Field(default=RewardSettings())
    rate: float = Field(default=3e-4, gt=0, le=1, description="learning rate of Adam")
    rollout: int = Field(default=2048, ge=1, description="actions to collect before learning")
    minibatch: int = Field(default=128, ge=1, description="actions of a step, about; whole texts are taken")
    epochs: int = Field(default=10, ge=1, le=100, description="times over a roll-out")
    clip: float = Field(default=0.2, gt=0, lt=1, description="how far a chance may move, as a ratio")
    decay: float = Field(default=0.95, ge=0, le=1, description="λ of the generalised advantage")
    entropy: float = Field(default=0.01, ge=0, le=1, description="bonus for entropy per action")
    value: float = Field(default=0.5, ge=0, description="weight of the value's squared error")
    max_norm: float = Field(default=0.5, gt=0, description="gradients are cut to this norm")


def advantages(
    values: NDArray[np.float32], reward: NDArray[np.float32], lengths: NDArray[np.int64], decay: float
) -> NDArray[np.float32]:
    """Generalised advantages without discount (Schulman et al., arXiv 1506.02438), reward at the end only.

    Args:
        values: expected before each action ``[B, S]``.
        reward: of each text ``[B]``.
        lengths: actions of each text ``[B]``.
        decay: λ.

    Returns:
        ``[B, S]``, 0 after the end.
    """
    found = np.zeros_like(values)
    running = np.zeros(len(values), np.float32)
    after = np.zeros(len(values), np.float32)
    for step in range(values.shape[1] - 1, -1, -1):
        last = lengths == step + 1
        delta = np.where(last, reward, after) - values[:, step]
        running = np.where(lengths > step, delta + np.where(last, 0.0, decay * running), 0.0).astype(
            np.float32
        )
        after = values[:, step]
        found[:, step] = running
    return found


class PPO(PolicySearcher):
    """See the module.

    Args:
        grammar: of the texts.
        seed: of all randomness.
        settings: how it learns.
    """

    name = "ppo"

    def __init__(self, grammar: Grammar, seed: int, settings: PPOSettings | None = None) -> None:
        self.settings = settings or PPOSettings()
        super().__init__(grammar, seed, self.settings.policy, self.settings.reward, self.settings.rate)
        self._rollout: list[tuple[Texts, Float64Array]] = []

    def _learn(self, texts: Texts, outcomes: Sequence[Outcome], paid: Float64Array) -> dict[str, float]:
        self._rollout.append((texts, paid))
        shown: dict[str, float] = {
            key: self._shown[key] for key in ("value error", "entropy") if key in self._shown
        }
        if sum(int(part.lengths.sum()) for part, _ in self._rollout) < self.settings.rollout:
            return shown
        together = Texts.joined([part for part, _ in self._rollout])
        reward = self.rewards.scaled(np.concatenate([part for _, part in self._rollout]))
        self._rollout = []
        return self._improve(together, reward.astype(np.float32))

    def _improve(self, texts: Texts, reward: NDArray[np.float32]) -> dict[str, float]:
        """All epochs over one roll-out."""
        with torch.no_grad():  # the policy is still the one that wrote them
            old, _, values = (one.numpy() for one in self.policy.score(texts))
        advantage = advantages(values, reward, texts.lengths, self.settings.decay)
        target = (advantage + values).astype(np.float32)
        size = max(math.ceil(self.settings.minibatch / float(texts.lengths.mean())), 2)
        shown: dict[str, float] = {}
        for _ in range(self.settings.epochs):
            order = self._rng.permutation(len(reward))
            for first in range(0, len(order), size):
                rows = order[first : first + size]
                if len(rows) > 1:  # one text alone has no spread to standardise by
                    shown = self._step(texts.take(rows), old[rows], advantage[rows], target[rows])
        return shown

    def _step(
        self,
        texts: Texts,
        old: NDArray[np.float32],
        advantage: NDArray[np.float32],
        target: NDArray[np.float32],
    ) -> dict[str, float]:
        log_p, entropies, value = self.policy.score(texts)
        steps = log_p.shape[1]
        written = texts.written[:, :steps]
        inside = advantage[:, :steps][written]
        scaled = torch.from_numpy((advantage[:, :steps] - inside.mean()) / (inside.std() + 1e-8) * written)
        ratio = (log_p - torch.from_numpy(old[:, :steps])).exp()
        count = float(written.sum())
        low, high = 1 - self.settings.clip, 1 + self.settings.clip
        gain = torch.minimum(ratio * scaled, ratio.clamp(low, high) * scaled).sum() / count
        error = ((value - torch.from_numpy(target[:, :steps] * written)) ** 2).sum() / count
        entropy = entropies.sum() / count
        self._descend(
            self.settings.value * error - gain - self.settings.entropy * entropy, self.settings.max_norm
        )
        return {"value error": float(error.detach()), "entropy": float(entropy.detach())}

    def state(self) -> tuple[State, Arrays]:
        """And the roll-out as far as it is collected."""
        state, arrays = super().state()
        if self._rollout:
            arrays["rollout.actions"] = np.concatenate([texts.actions for texts, _ in self._rollout])
            arrays["rollout.paid"] = np.concatenate([paid for _, paid in self._rollout])
        return state, arrays

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from there."""
        super().restore(state, arrays)
        self._rollout = []
        if "rollout.actions" in arrays:
            texts = rewritten(self.grammar, arrays["rollout.actions"], self.settings.policy.odds)
            self._rollout.append((texts, arrays["rollout.paid"]))
