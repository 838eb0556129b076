"""A policy that writes texts action by action, shared by QuantFactor REINFORCE, PPO and GFlowNet.

1. What is written so far goes through an LSTM over action ids (2 layers of 128, as AlphaGen's shared encoder,
   arXiv 2306.12964).
2. A head adds its logits to the log-odds of the grammar's own random draw (`Grammar.odds`). It starts near
   zero: the policy starts as typed random search and learns what to change. `odds=0` starts uniform over
   legal actions, as the papers' do.
3. Illegal actions (`Derivation.mask`) get no chance. After a text's end only the end is legal, with chance 1.
4. `sample` advances all texts of a batch at once: one network step an action, masks in NumPy. `score` gives
   the log-probabilities of whole texts again, with gradients.

`PolicySearcher` is what the three have in common: propose by sampling, turn outcomes into rewards, keep all
state as arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import Settings
from bascule.core.panel import FloatArray
from bascule.expr import Node
from bascule.miners.contract import Arrays, Outcome, State
from bascule.miners.grammar import Derivation, Grammar
from bascule.miners.pool import Pool
from bascule.miners.searchers.torched import (
    nn,
    one_thread,
    packed,
    packed_adam,
    seeded,
    torch,
    unpack,
    unpack_adam,
)

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
_NEVER = -1e9  # log-odds of what is illegal; finite, so that 0 · log 0 is 0


class PolicySettings(Settings):
    """Size and start of the policy."""

    layers: int = Field(default=2, ge=1, le=8, description="of the LSTM")
    width: int = Field(default=128, ge=4, le=2048, description="of each layer")
    odds: float = Field(
        default=1.0, ge=0, le=4, description="weight of the grammar's own odds; 0: uniform over legal actions"
    )


@dataclass(frozen=True)
class Texts:
    """Some texts as the policy wrote them.

    Attributes:
        actions: ``[B, S]``, S the grammar's length + 1; after a text's end, the end.
        lengths: actions of each text, its end included ``[B]``.
        base: log-odds before anything was learned ``[B, S, A]``; `_NEVER` where illegal.
        nodes: the texts.
    """

    actions: IntArray
    lengths: IntArray
    base: FloatArray
    nodes: tuple[Node, ...]

    @property
    def written(self) -> NDArray[np.bool_]:
        """Which actions belong to the texts ``[B, S]``."""
        inside: NDArray[np.bool_] = np.arange(self.actions.shape[1]) < self.lengths[:, None]
        return inside

    def take(self, rows: IntArray) -> Texts:
        """Some of them."""
        nodes = tuple(self.nodes[row] for row in rows)
        return Texts(self.actions[rows], self.lengths[rows], self.base[rows], nodes)

    @classmethod
    def joined(cls, parts: Sequence[Texts]) -> Texts:
        """One after the other."""
        return cls(
            np.concatenate([part.actions for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([part.base for part in parts]),
            tuple(node for part in parts for node in part.nodes),
        )


class Writer:
    """Texts in the making, all of the same number of actions so far."""

    def __init__(self, grammar: Grammar, count: int, odds: float) -> None:
        size = len(grammar.actions)
        steps = grammar.settings.length + 1
        self._grammar, self._odds = grammar, odds
        self._states: list[Derivation] = [grammar.begin()] * count
        self.actions = np.full((count, steps), grammar.end, np.int64)
        self.base = np.full((count, steps, size), _NEVER, np.float32)
        self.base[:, :, grammar.end] = 0.0

    @property
    def done(self) -> bool:
        """Whether every text has its end."""
        return all(state.done for state in self._states)

    def offer(self, step: int) -> FloatArray:
        """Log-odds of the legal next actions ``[B, A]``."""
        for row, state in enumerate(self._states):
            if not state.done:
                legal = state.mask()
                self.base[row, step] = _NEVER
                self.base[row, step, legal] = 0.0
                if self._odds:
                    odds = self._grammar.odds(state, legal)[legal]
                    self.base[row, step, legal] = self._odds * np.log(np.maximum(odds, 1e-12))
        here: FloatArray = self.base[:, step]
        return here

    def write(self, step: int, chosen: IntArray) -> None:
        """One action each; that of an ended text is not looked at."""
        for row, state in enumerate(self._states):
            if not state.done:
                self.actions[row, step] = chosen[row]
                self._states[row] = state.step(int(chosen[row]))

    def texts(self) -> Texts:
        """When all are done."""
        lengths = np.array([state.used + 1 for state in self._states], np.int64)
        return Texts(self.actions, lengths, self.base, tuple(state.node for state in self._states))


def rewritten(grammar: Grammar, actions: IntArray, odds: float) -> Texts:
    """Texts from their actions, as kept in a state."""
    writer = Writer(grammar, len(actions), odds)
    for step in range(actions.shape[1]):
        if writer.done:
            break
        writer.offer(step)
        writer.write(step, actions[:, step])
    return writer.texts()


class SequencePolicy(nn.Module):
    """Chances of the next action, and (for PPO) the reward to be expected.

    Args:
        grammar: of the texts.
        settings: size and start.
        seed: of the parameters at the start.
    """

    def __init__(self, grammar: Grammar, settings: PolicySettings, seed: int) -> None:
        super().__init__()
        self.grammar, self.settings = grammar, settings
        size = len(grammar.actions)
        with seeded(seed):
            self.embedding = nn.Embedding(size + 1, settings.width)  # one more for the beginning
            self.encoder = nn.LSTM(settings.width, settings.width, settings.layers, batch_first=True)
            self.head = nn.Linear(settings.width, size)
            self.value = nn.Linear(settings.width, 1)
            for last in (self.head, self.value):
                nn.init.normal_(last.weight, std=0.01)
                nn.init.zeros_(last.bias)

    @torch.no_grad()
    def sample(self, count: int, rng: np.random.Generator, *, greedy: int = 0, explore: float = 0.0) -> Texts:
        """Write texts.

        Args:
            count: how many.
            rng: all randomness.
            greedy: so many of them, the last ones, take the likeliest action at every step.
            explore: chance of an action taken by the grammar's odds, whatever was learned.
        """
        writer = Writer(self.grammar, count, self.settings.odds)
        last = torch.full((count, 1), len(self.grammar.actions))
        memory: tuple[torch.Tensor, torch.Tensor] | None = None
        for step in range(writer.actions.shape[1]):
            if writer.done:
                break
            base = writer.offer(step)
            hidden, memory = self.encoder(self.embedding(last), memory)
            learned = self.head(hidden[:, 0]).numpy()
            noise = rng.gumbel(size=base.shape)
            free = rng.random(count) < explore
            noise[count - greedy :] = 0.0
            free[count - greedy :] = False
            logits = np.where(free[:, None], 0.0, learned) + base
            writer.write(step, (logits + noise).argmax(1))  # a draw by its odds (Gumbel)
            last = torch.from_numpy(writer.actions[:, step : step + 1])
        return writer.texts()

    def score(self, texts: Texts) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log-probability, entropy and expected reward at every action ``[B, S]``; 0 after the end."""
        longest = int(texts.lengths.max())
        actions = torch.from_numpy(texts.actions[:, :longest])
        begin = torch.full((len(actions), 1), len(self.grammar.actions))
        hidden, _ = self.encoder(self.embedding(torch.cat([begin, actions[:, :-1]], 1)))
        chances = torch.log_softmax(self.head(hidden) + torch.from_numpy(texts.base[:, :longest]), -1)
        entropy = -(chances.exp() * chances).sum(-1)
        written = torch.from_numpy(texts.written[:, :longest])
        chosen = chances.gather(-1, actions[..., None])[..., 0]
        return chosen * written, entropy * written, self.value(hidden)[..., 0] * written


class RewardSettings(Settings):
    """What a policy is paid for."""

    repeat: float = Field(default=0.0, ge=0, le=1, description="share of the reward of a text seen before")
    least: float = Field(
        default=0.5, ge=0, le=10, description="taken off, in usual rewards, where a text has no value at all"
    )
    memory: float = Field(default=0.9, ge=0, lt=1, description="of the usual reward, from batch to batch")


@dataclass
class Rewards:
    """From outcomes to rewards of about unit size.

    A text is paid the square root of its gain, which is the IC that it adds beyond the pool; in units of the
    root of the mean square of what texts were paid lately, since gains fall as the pool fills.

    Attributes:
        settings: what is paid.
        total: running sum of squares.
        weight: of how many texts, forgetting counted.
    """

    settings: RewardSettings
    total: float = 0.0
    weight: float = 0.0

    @property
    def usual(self) -> float:
        """The unit: an IC."""
        return math.sqrt(self.total / self.weight) if self.total > 0 else 1.0

    def paid(self, outcomes: Sequence[Outcome]) -> Float64Array:
        """ICs beyond the pool ``[B]``; NaN for what has no value."""
        return np.array([self._ic(outcome) for outcome in outcomes], np.float64)

    def _ic(self, outcome: Outcome) -> float:
        if outcome.score is None or not math.isfinite(outcome.score.ic):
            return math.nan
        share = 1.0 if outcome.new else self.settings.repeat
        return share * math.sqrt(max(outcome.gain, 0.0))

    def learn(self, paid: Float64Array) -> None:
        """Take these into account for the unit."""
        fine = paid[np.isfinite(paid)]
        self.total = self.settings.memory * self.total + float((fine**2).sum())
        self.weight = self.settings.memory * self.weight + len(fine)

    def scaled(self, paid: Float64Array) -> Float64Array:
        """In units of the usual; what has no value gets less than anything else of the batch."""
        fine = np.isfinite(paid)
        scaled = np.where(fine, paid / self.usual, 0.0)
        result: Float64Array = np.where(fine, scaled, min(scaled.min(), 0.0) - self.settings.least)
        return result


class PolicySearcher:
    """A search by a learned policy; what it learns, and how, is its subclass's.

    Args:
        grammar: of the texts.
        seed: of all randomness.
        policy: size and start of the network.
        reward: what it is paid for.
        rate: of Adam.
    """

    name = "policy"

    def __init__(
        self, grammar: Grammar, seed: int, policy: PolicySettings, reward: RewardSettings, rate: float
    ) -> None:
        self.grammar = grammar
        self.policy = SequencePolicy(grammar, policy, seed)
        self.rewards = Rewards(reward)
        self._rng = np.random.default_rng(seed)
        self._adam = torch.optim.Adam(self.policy.parameters(), rate)
        self._texts: Texts | None = None
        self._shown: dict[str, float] = {}

    @one_thread()
    def propose(self, count: int) -> Sequence[Node]:
        """Texts of the policy as it stands."""
        self._texts = self._sampled(count)
        return self._texts.nodes

    @one_thread()
    def observe(self, outcomes: Sequence[Outcome], pool: Pool) -> None:
        """Learn from what was proposed last."""
        assert self._texts is not None, "observe comes after propose"
        paid = self.rewards.paid(outcomes)
        self.rewards.learn(paid)
        self._shown = {
            "reward": float(np.nan_to_num(paid).mean()),
            **self._learn(self._texts, outcomes, paid),
        }
        self._texts = None

    def _sampled(self, count: int) -> Texts:
        return self.policy.sample(count, self._rng)

    def _learn(self, texts: Texts, outcomes: Sequence[Outcome], paid: Float64Array) -> dict[str, float]:
        """Learn from one batch; what to show of it."""
        raise NotImplementedError

    def _descend(self, loss: torch.Tensor, max_norm: float) -> None:
        """One step of Adam, the gradient cut to a norm."""
        self._adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._trained(), max_norm)
        self._adam.step()

    def _trained(self) -> list[nn.Parameter]:
        return [one for group in self._adam.param_groups for one in group["params"]]

    def state(self) -> tuple[State, Arrays]:
        """Generator, unit of reward, network and optimiser."""
        state = {
            "rng": self._rng.bit_generator.state,
            "rewards": [self.rewards.total, self.rewards.weight],
            "shown": self._shown,
        }
        return state, {**packed("policy", self.policy), **packed_adam("adam", self._adam)}

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from there."""
        self._rng.bit_generator.state = state["rng"]
        self.rewards.total, self.rewards.weight = state["rewards"]
        self._shown = dict(state["shown"])
        unpack("policy", self.policy, arrays)
        unpack_adam("adam", self._adam, arrays)

    def statistics(self) -> dict[str, float]:
        """Mean reward (an IC) of the last batch, and what the subclass shows."""
        return dict(self._shown)
