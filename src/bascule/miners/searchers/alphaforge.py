"""AlphaForge, stage one: a generator of texts, trained against a predictor of their scores.

Shi et al.: "AlphaForge: A Framework to Mine and Dynamically Combine Formulaic Alpha Factors" (arXiv
2406.18394); thresholds as in its code.

1. The first texts are typed random draws.
2. A text's score is |IC| less a standard error (the paper: |IC|), or 0 where it resembles a member of the
   pool (|correlation| above 0.7) or has the same signal as an earlier one. A convolutional *predictor* of
   scores is fitted anew to all texts so far, the latest counting double, until its error on a fifth held
   back stops falling.
3. A *generator* maps noise to log-odds of actions at every place, on top of the grammar's own odds. A text is
   drawn place by place (Gumbel), each masked by what its beginning leaves legal; gradients pass straight
   through to the softmax. With the predictor frozen the generator is trained to raise the predicted score
   and to keep pairs of texts apart, in their actions and in the predictor's hidden layer.
4. The next texts come from the generator, but for a share of random draws; texts seen before are drawn again,
   after a few rounds at random. After every `refit` texts back to 2.

What passes the thresholds of |IC|, |IC/deviation| and correlation forms the `zoo`, for stage two (weights
that follow recent ICs: `bascule.models.combine`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import Settings
from bascule.expr import Node
from bascule.miners.canonical import canonical
from bascule.miners.contract import Arrays, Outcome, State
from bascule.miners.grammar import Grammar
from bascule.miners.pool import Pool
from bascule.miners.searchers.policy import IntArray, Texts, Writer
from bascule.miners.searchers.torched import (
    functional,
    nn,
    one_thread,
    packed,
    seeded,
    torch,
    unpack,
)

_SCALE = 10.0  # the best score so far is 10 for the predictor


class AlphaForgeSettings(Settings):
    """Generator, predictor and acceptance."""

    odds: float = Field(default=1.0, ge=0, le=4, description="weight of the grammar's odds; 0: uniform start")
    noise: int = Field(default=100, ge=1, le=1000, description="numbers that a text is made from")
    hidden: int = Field(default=128, ge=4, le=1024, description="channels of the generator")
    warmup: int = Field(default=256, ge=8, description="random texts before the first fit")
    refit: int = Field(default=128, ge=1, description="texts between fits")
    explore: float = Field(default=0.3, ge=0, le=1, description="share of random draws after the first fit")
    rate: float = Field(default=1e-3, gt=0, le=1, description="learning rate of Adam, both networks")
    epochs: int = Field(default=60, ge=1, description="most times over the texts, predictor")
    patience: int = Field(default=5, ge=1, description="epochs without a smaller error held back")
    batch: int = Field(default=64, ge=2, description="texts of a step of the predictor")
    keep: int = Field(default=20_000, ge=16, description="most texts that the predictor is fitted to")
    steps: int = Field(default=40, ge=1, description="of the generator at each fit")
    drawn: int = Field(default=32, ge=4, description="texts of such a step; its halves are to differ")
    softness: float = Field(default=1.0, gt=0, le=10, description="temperature of the softmax gradients pass")
    apart: float = Field(default=10.0, ge=0, description="weight of likeness in actions")
    apart_hidden: float = Field(default=10.0, ge=0, description="weight of likeness in the hidden layer")
    alike_from: float = Field(default=0.4, ge=0, le=1, description="likeness that costs nothing")
    least_ic: float = Field(default=0.03, ge=0, le=1, description="|IC| of the zoo")
    least_ir: float = Field(default=0.1, ge=0, description="|IC over its deviation| of the zoo, by row")
    most_alike: float = Field(default=0.7, gt=0, le=1, description="|correlation| with the pool's members")


class Predictor(nn.Module):
    """Score of a text from its actions, one-hot ``[B, S, A]``."""

    def __init__(self, size: int, length: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(size, 96, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True),
            nn.Conv1d(96, 128, 3, padding=1), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.latent = nn.Sequential(nn.Linear(128 * math.ceil(length / 2), 256), nn.Dropout(0.2), nn.ReLU())
        self.score = nn.Linear(256, 1)

    def forward(self, texts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores ``[B]`` and the hidden layer ``[B, 256]``."""
        hidden = self.latent(self.convolutions(texts.transpose(1, 2)))
        return self.score(hidden)[:, 0], hidden


class Generator(nn.Module):
    """Log-odds of actions at every place ``[B, S, A]`` from noise ``[B, Z]``."""

    def __init__(self, noise: int, hidden: int, size: int, length: int) -> None:
        super().__init__()
        self._shape = (hidden, length)
        self.spread = nn.Linear(noise, hidden * length)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(), nn.Conv1d(hidden, hidden, 5, padding=2),
                nn.ReLU(), nn.Conv1d(hidden, hidden, 5, padding=2),
            )
            for _ in range(2)
        )  # fmt: skip
        self.head = nn.Conv1d(hidden, size, 1)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """See the class."""
        found = self.spread(noise).view(-1, *self._shape)
        for block in self.blocks:
            found = found + 0.3 * block(found)
        logits: torch.Tensor = self.head(found).transpose(1, 2)
        return logits


class AlphaForge:
    """See the module.

    Args:
        grammar: of the texts.
        seed: of all randomness.
        settings: how it learns.
    """

    name = "alphaforge"

    def __init__(self, grammar: Grammar, seed: int, settings: AlphaForgeSettings | None = None) -> None:
        self.grammar = grammar
        self.settings = settings or AlphaForgeSettings()
        self.zoo: list[str] = []
        self._rng = np.random.default_rng(seed)
        size, self._length = len(grammar.actions), grammar.settings.length + 1
        with seeded(seed):
            self.generator = Generator(self.settings.noise, self.settings.hidden, size, self._length)
            self.predictor = Predictor(size, self._length)
        self._actions = np.empty((0, self._length), np.int64)
        self._scores = np.empty(0)
        self._seen: set[str] = set()  # canonical
        self._fitted = 0  # texts that the last fit knew
        self._fits = 0
        self._texts: Texts | None = None
        self._shown: dict[str, float] = {}

    # -- proposing ---------------------------------------------------------------------------------

    @one_thread()
    def propose(self, count: int) -> Sequence[Node]:
        """Random draws at first, then mostly the generator's, fresh ones as far as they can be had."""
        free = count if not self._fits else int(self._rng.binomial(count, self.settings.explore))
        parts = [self._fresh(free, learned=False), self._fresh(count - free, learned=True)]
        self._texts = Texts.joined([part for part in parts if len(part.nodes)])
        return self._texts.nodes

    def _fresh(self, count: int, *, learned: bool) -> Texts:
        """Texts not seen before, in whatever words; what a few rounds do not give is drawn at random."""
        parts: list[Texts] = []
        for attempt in range(4):
            texts = self._drawn(count, learned=learned and attempt < 3)[0]
            rows = []
            for row, node in enumerate(texts.nodes):
                text = str(canonical(node))
                if text not in self._seen or attempt == 3:
                    self._seen.add(text)
                    rows.append(row)
            parts.append(texts.take(np.array(rows, np.int64)))
            count -= len(rows)
            if not count:
                break
        return Texts.joined(parts)

    def _drawn(self, count: int, *, learned: bool = True) -> tuple[Texts, torch.Tensor]:
        """Texts with their actions one-hot ``[B, S, A]``, gradients straight through to the generator."""
        noise = torch.from_numpy(self._rng.standard_normal((count, self.settings.noise)).astype(np.float32))
        logits = self.generator(noise) * float(learned)
        plain = logits.detach().numpy()
        gumbel = self._rng.gumbel(size=plain.shape).astype(np.float32)
        writer = Writer(self.grammar, count, self.settings.odds)
        for step in range(self._length):
            if writer.done:
                break
            writer.write(step, (writer.offer(step) + plain[:, step] + gumbel[:, step]).argmax(1))
        texts = writer.texts()
        soft = torch.softmax((logits + torch.from_numpy(texts.base + gumbel)) / self.settings.softness, -1)
        return texts, self._one_hot(texts.actions) + soft - soft.detach()

    def _one_hot(self, actions: IntArray) -> torch.Tensor:
        return functional.one_hot(torch.from_numpy(actions), len(self.grammar.actions)).float()

    # -- learning ----------------------------------------------------------------------------------

    @one_thread()
    def observe(self, outcomes: Sequence[Outcome], pool: Pool) -> None:
        """Remember scores, fill the zoo; fit both networks when it is time."""
        assert self._texts is not None, "observe comes after propose"
        scores = np.array([self._score(outcome) for outcome in outcomes])
        self._actions = np.concatenate([self._actions, self._texts.actions])[-self.settings.keep :]
        self._scores = np.concatenate([self._scores, scores])[-self.settings.keep :]
        self._fitted = min(self._fitted, len(self._scores))
        self._texts = None
        passed = [one.score.text for one in outcomes if one.score is not None and self._accepts(one)]
        self.zoo = list(dict.fromkeys([*self.zoo, *passed]))
        self._shown |= {"score": float(scores.mean()), "zoo": float(len(self.zoo))}
        fresh = len(self._scores) - self._fitted
        if fresh >= (self.settings.refit if self._fits else self.settings.warmup):
            self._fit()

    def _score(self, outcome: Outcome) -> float:
        if outcome.score is None or outcome.alike > self.settings.most_alike:
            return 0.0
        return outcome.score.cautious

    def _accepts(self, outcome: Outcome) -> bool:
        score = outcome.score
        return (
            score is not None
            and score.usable
            and abs(score.ic) >= self.settings.least_ic
            and abs(score.ir) >= self.settings.least_ir
            and outcome.alike <= self.settings.most_alike
        )

    def _fit(self) -> None:
        """Predictor, then generator."""
        with seeded(int(self._rng.integers(2**31))):  # drop-out and fresh parameters draw from torch
            self._fit_predictor()
            self._fit_generator()
        self._fitted = len(self._scores)
        self._fits += 1

    def _fit_predictor(self) -> None:
        """Anew, until the error on a fifth held back stops falling."""
        self.predictor = Predictor(len(self.grammar.actions), self._length)
        goal = self._scores / max(float(self._scores.max()), 1e-12) * _SCALE
        y = torch.from_numpy(goal.astype(np.float32))
        weight = torch.ones(len(y))
        weight[self._fitted :] = 2.0
        order = self._rng.permutation(len(y))
        held, taught = order[: len(y) // 5], order[len(y) // 5 :]
        adam = torch.optim.Adam(self.predictor.parameters(), self.settings.rate)
        best, stale, kept = math.inf, 0, copy.deepcopy(self.predictor.state_dict())
        for _ in range(self.settings.epochs):
            self.predictor.train()
            shuffled = self._rng.permutation(taught)
            for first in range(0, len(shuffled), self.settings.batch):
                rows = shuffled[first : first + self.settings.batch]
                told, _ = self.predictor(self._one_hot(self._actions[rows]))
                adam.zero_grad()
                (weight[rows] * (told - y[rows]) ** 2).mean().backward()
                adam.step()
            self.predictor.eval()
            with torch.no_grad():
                told, _ = self.predictor(self._one_hot(self._actions[held]))
                error = float((weight[held] * (told - y[held]) ** 2).mean())
            if error < best - 1e-5:
                best, stale, kept = error, 0, copy.deepcopy(self.predictor.state_dict())
            else:
                stale += 1
            if stale >= self.settings.patience:
                break
        self.predictor.load_state_dict(kept)
        self.predictor.eval()
        spread = float((weight[held] * (y[held] - y[held].mean()) ** 2).mean())
        self._shown["predictor R2"] = 1.0 - best / max(spread, 1e-12)

    def _fit_generator(self) -> None:
        """Against the frozen predictor; the halves of each step's texts are to differ."""
        adam = torch.optim.Adam(self.generator.parameters(), self.settings.rate)
        self.predictor.requires_grad_(False)
        half = self.settings.drawn // 2
        for _ in range(self.settings.steps):
            texts = self._drawn(2 * half)[1]
            told, hidden = self.predictor(texts)
            alike = (texts[:half] * texts[half:]).sum(-1).mean(1)
            hidden_alike = functional.cosine_similarity(hidden[:half], hidden[half:])
            loss = (
                self.settings.apart * torch.relu(alike - self.settings.alike_from).mean()
                + self.settings.apart_hidden * torch.relu(hidden_alike - self.settings.alike_from).mean()
                - told.mean()
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
        self.predictor.requires_grad_(True)
        self._shown["predicted"] = float(told.detach().mean()) / _SCALE * float(self._scores.max())

    # -- keeping -----------------------------------------------------------------------------------

    def state(self) -> tuple[State, Arrays]:
        """Generator, all texts with their scores, both networks, the zoo."""
        state = {
            "rng": self._rng.bit_generator.state, "zoo": self.zoo, "fitted": self._fitted, "fits": self._fits,
            "shown": self._shown, "seen": sorted(self._seen),
        }  # fmt: skip
        networks = {**packed("generator", self.generator), **packed("predictor", self.predictor)}
        return state, {**networks, "actions": self._actions, "scores": self._scores}

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from there."""
        self._rng.bit_generator.state = state["rng"]
        self.zoo, self._shown = list(state["zoo"]), dict(state["shown"])
        self._seen = set(state["seen"])
        self._fitted, self._fits = state["fitted"], state["fits"]
        self._actions, self._scores = arrays["actions"], arrays["scores"]
        unpack("generator", self.generator, arrays)
        unpack("predictor", self.predictor, arrays)

    def statistics(self) -> dict[str, float]:
        """Mean score of the last batch, size of the zoo, the predictor's R² on what was held back."""
        return dict(self._shown)
