"""The loop of R&D-Agent-Quant (arXiv 2505.15155): hypothesis, factors, evaluation, feedback, next.

1. Each batch is a round. A bandit chooses its *branch*: new **factors**, or the **model**. Contextual
   Thompson sampling: a Bayesian linear regression of rewards on the state of the search for each branch;
   coefficients are drawn from both posteriors, and the branch that promises more is taken.
2. The branch states a hypothesis, in words, and writes factor texts that would bear it out. Offline it comes
   from the catalogue below, drawn by what its kin have earned so far; with a language model the model writes
   it, after seeing the last rounds with their feedback.
3. The texts are evaluated; the reward of the round is how much the pool's worth rose, in units of IC.
4. The feedback (what was tried, best IC, what was taken in) is kept for the rounds to come.

The pool's model is linear and is fitted in closed form. So the model branch proposes what a linear model
lacks: interactions of members (one weighed by another, one where another is above its usual level). They are
factor texts again. Model classes as such are compared on the models floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bascule.core import ExpressionError, Settings
from bascule.expr import Node, parse
from bascule.miners.canonical import canonical
from bascule.miners.contract import Arrays, Outcome, State
from bascule.miners.evaluator import Float64Array
from bascule.miners.grammar import Grammar
from bascule.miners.pool import Pool
from bascule.miners.searchers.language import LanguageModel
from bascule.miners.searchers.replies import described, factor_texts, note, quoted
from bascule.miners.trees import Trees, size

BRANCHES = ("factors", "model")
_CONTEXT = 5
_TRIES = 12

# Hypotheses with patterns of texts that would bear them out. {w}: a window, {l}: a longer one, {d}: a lag,
# {p} {q}: prices, {v}: a volume.
CATALOGUE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "reversal": (
        "what has just moved too far comes back",
        ("{p}/Ref({p},{d})", "TSZScore({p},{w})", "({p}-Mean({q},{w}))/Std({p},{w})", "Rank({p},{w})"),
    ),
    "momentum": (
        "what has risen for long goes on rising",
        (
            "Slope({p},{l})/{p}",
            "Ref({p},{d})/Mean({q},{l})",
            "Mean(Delta({p},{d})/{p},{l})",
            "EMA({p},{w})/EMA({p},{l})",
        ),
    ),
    "volume": (
        "unusual volume foretells a move",
        ("{v}/Mean({v},{l})", "TSZScore(Log({v}),{w})", "Mean({v},{w})/Mean({v},{l})", "Slope(Log({v}),{w})"),
    ),
    "pressure": (
        "moves that volume goes with last, others do not",
        (
            "Corr({p},{v},{w})",
            "Corr(Delta({p},{d})/{p},Log({v}),{w})",
            "Delta({p},{d})/{p}*TSZScore({v},{w})",
        ),
    ),
    "volatility": (
        "calm coins are paid otherwise than restless ones",
        (
            "Std({p},{w})/{p}",
            "Mean(($high-$low)/$close,{w})",
            "Std({p},{w})/Std({p},{l})",
            "Mad(Delta({p},{d})/{p},{w})",
        ),
    ),
    "range": (
        "where the price stands in its range tells where it goes",
        (
            "TSMinMaxScale({p},{w})",
            "IdxMax({p},{w})-IdxMin({q},{w})",
            "(Max({p},{l})-{q})/{q}",
            "({p}-Min({q},{w}))/{p}",
        ),
    ),
    "candle": (
        "the shape of candles shows who is in control",
        (
            "($close-$low)/($high-$low)",
            "Mean(($close-$open)/$open,{w})",
            "Mean(Sign(Delta({p},{d})),{w})",
            "$vwap/$close",
        ),
    ),
    "quality": (
        "steady trends last longer than erratic ones",
        (
            "Rsquare({p},{w})*Sign(Delta({p},{w}))",
            "Slope({p},{w})/Std({p},{w})",
            "Skew(Delta({p},{d})/{p},{l})",
        ),
    ),
    "liquidity": (
        "prices of coins that little money moves overreact",
        (
            "Mean(Abs(Delta({p},{d})/{p})/({v}/Mean({v},{l})),{w})",
            "Std(Log({v}),{l})",
            "Corr(Abs(Delta({p},{d})),{v},{l})",
        ),
    ),
}
# model branch: of two members x and y
INTERACTIONS = (
    "{x}*Rank({y},{w})", "{x}*TSZScore({y},{w})", "Greater({x},0)*{y}", "TSZScore({x},{w})*TSZScore({y},{w})",
    "Greater(TSZScore({x},{w}),TSZScore({y},{w}))", "TSZScore({x},{w})-TSZScore({y},{l})", "Mean({x},{w})",
    "{x}*Std({y},{w})",
)  # fmt: skip


class HypothesisSettings(Settings):
    """How rounds go."""

    vary: float = Field(
        default=0.4, ge=0, le=1, description="share of texts that vary what a hypothesis earned"
    )
    noise: float = Field(
        default=0.2, gt=0, description="of rewards, relative to the largest; more: explore more"
    )
    history: int = Field(default=6, ge=0, le=50, description="rounds that a language model is shown")
    texts: int = Field(default=8, ge=1, le=64, description="texts asked of a language model in one reply")


@dataclass
class Round:
    """One turn of the loop.

    Attributes:
        branch: of `BRANCHES`.
        family: of the catalogue; ``model`` for interactions; ``written`` by a language model.
        hypothesis: in words.
        texts: proposed.
        best: largest |IC|.
        admitted: texts that the pool took in.
        reward: rise of √worth.
    """

    branch: str
    family: str
    hypothesis: str
    texts: list[str] = field(default_factory=list)
    best: float = 0.0
    admitted: list[str] = field(default_factory=list)
    reward: float = 0.0


class Bandit:
    """Linear Thompson sampling over two branches.

    Args:
        noise: of rewards.
    """

    def __init__(self, noise: float) -> None:
        self._noise = noise
        self.precision = np.stack([np.eye(_CONTEXT)] * len(BRANCHES))
        self.moment = np.zeros((len(BRANCHES), _CONTEXT))

    def choose(self, context: Float64Array, rng: np.random.Generator) -> int:
        """The branch whose drawn coefficients promise most."""
        promised = []
        for precision, moment in zip(self.precision, self.moment, strict=True):
            cover = np.linalg.inv(precision)
            root = np.linalg.cholesky((cover + cover.T) / 2)
            drawn = cover @ moment + self._noise * root @ rng.standard_normal(_CONTEXT)
            promised.append(float(drawn @ context))
        return int(np.argmax(promised))

    def learn(self, branch: int, context: Float64Array, reward: float) -> None:
        """One more observation."""
        self.precision[branch] += np.outer(context, context)
        self.moment[branch] += reward * context


class HypothesisLoop:
    """R&D-Agent-Quant's loop over texts of the grammar.

    Args:
        grammar: what may be written.
        seed: of all randomness.
        settings: how.
        model: writes hypotheses and factors; None = the catalogue does.
    """

    name = "hypotheses"

    def __init__(
        self,
        grammar: Grammar,
        seed: int,
        settings: HypothesisSettings | None = None,
        model: LanguageModel | None = None,
    ) -> None:
        self._grammar, self._trees, self._model = grammar, Trees(grammar), model
        self._settings = settings or HypothesisSettings()
        self._rng = np.random.default_rng(seed)
        self._bandit = Bandit(self._settings.noise)
        self._rounds: list[Round] = []
        self._now: Round | None = None
        self._context: Float64Array = np.zeros(_CONTEXT)
        self._worth, self._largest, self._stale = 0.0, 1e-6, 0
        self._members: tuple[str, ...] = ()
        self._kin: dict[str, list[str]] = {}  # texts that earned, by family
        self._seen: set[str] = set()

    # -- proposing ---------------------------------------------------------------------------------

    def propose(self, count: int) -> Sequence[Node]:
        """A round: one hypothesis and its texts."""
        self._context = self._situation()
        branch = BRANCHES[self._bandit.choose(self._context, self._rng)]
        if len(self._members) < 2:
            branch = "factors"
        nodes = self._written(branch, count) if self._model is not None else []
        if not nodes:
            family = "model" if branch == "model" else self._family()
            words = "members tell more together than in sum" if branch == "model" else CATALOGUE[family][0]
            self._now = Round(branch, family, words)
            for _ in range(count):
                nodes.append(self._new(self._now))
                self._seen.add(str(canonical(nodes[-1])))
        assert self._now is not None
        self._now.texts = [str(node) for node in nodes]
        return nodes

    def _situation(self) -> Float64Array:
        """What the bandit knows of the state of the search."""
        last = self._rounds[-1].reward / self._largest if self._rounds else 1.0
        return np.array(
            [1.0, min(1.0, len(self._members) / 10), min(1.0, self._stale / 10), last, 10 * self._worth]
        )

    def _family(self) -> str:
        """Thompson sampling over the catalogue: chances of a text that earns."""
        chances = []
        for family in CATALOGUE:
            rounds = [one for one in self._rounds if one.family == family]
            earned = sum(len(one.admitted) for one in rounds)
            chances.append(self._rng.beta(1 + earned, 4 + len(rounds)))
        return list(CATALOGUE)[int(np.argmax(chances))]

    def _new(self, now: Round) -> Node:
        for _ in range(_TRIES):
            node = self._one(now.family)
            if node is None or size(node) > 2 * self._grammar.settings.length:
                continue
            if str(canonical(node)) not in self._seen and self._grammar.accepts(node):
                return node
        return self._grammar.draw(self._rng)

    def _one(self, family: str) -> Node | None:
        kin = self._kin.get(family, [])
        if kin and self._rng.random() < self._settings.vary:
            return self._varied(parse(kin[int(self._rng.integers(len(kin)))]))
        patterns = INTERACTIONS if family == "model" else CATALOGUE[family][1]
        try:
            return parse(self._filled(patterns[int(self._rng.integers(len(patterns)))]))
        except ExpressionError:  # too deep, or a window too short for its operator
            return None

    def _varied(self, node: Node) -> Node | None:
        trees, rng = self._trees, self._rng
        ways: tuple[Callable[[], Node | None], ...] = (
            lambda: trees.window(node, rng), lambda: trees.point(node, rng), lambda: trees.subtree(node, rng)
        )  # fmt: skip
        return ways[int(rng.integers(len(ways)))]()

    def _filled(self, pattern: str) -> str:
        """A pattern with fields, windows and members of the pool in its gaps."""
        settings, rng = self._grammar.settings, self._rng
        windows = sorted(settings.windows)
        short = int(rng.integers(len(windows)))
        units = {name: self._grammar.dimension(parse(f"${name}")) for name in settings.fields}
        prices = [f"${name}" for name, unit in units.items() if unit == self._grammar.units.get("close")]
        volumes = [f"${name}" for name, unit in units.items() if unit == self._grammar.units.get("volume")]

        def any_of(names: Sequence[str]) -> str:
            names = names or [f"${name}" for name in settings.fields]
            return names[int(rng.integers(len(names)))]

        gaps = {
            "w": windows[short], "l": windows[int(rng.integers(short, len(windows)))],
            "d": settings.lags[int(rng.integers(len(settings.lags)))],
            "p": any_of(prices), "q": any_of(prices), "v": any_of(volumes),
        }  # fmt: skip
        if "{x}" in pattern:
            two = rng.choice(len(self._members), 2, replace=False)
            gaps["x"], gaps["y"] = (f"({self._members[int(number)]})" for number in two)
        return pattern.format(**gaps)

    # -- with a language model ---------------------------------------------------------------------

    def _written(self, branch: str, count: int) -> list[Node]:
        """What the language model writes, with its hypothesis as the round; none where it has nothing new."""
        assert self._model is not None
        reply = self._model.ask(described(self._grammar), self._question(branch))
        if reply is None:
            return []
        nodes = factor_texts(reply, self._grammar, min(count, self._settings.texts), self._model.counts)
        nodes = [node for node in nodes if str(canonical(node)) not in self._seen]
        if nodes:
            self._now = Round(branch, "written", note(reply, "hypothesis"))
            self._seen.update(str(canonical(node)) for node in nodes)
        return nodes

    def _question(self, branch: str) -> str:
        asked = {
            "factors": "State one hypothesis on what foretells returns, and factors that would bear it out.",
            "model": "State one hypothesis on how factors in use act together, and factors that join two.",
        }[branch]
        lines = [asked, f"Factors in use: {quoted(self._members)}", "Rounds so far:"]
        for one in (
            self._rounds[len(self._rounds) - self._settings.history :] if self._settings.history else []
        ):
            lines.append(
                f"- {one.branch}: {quoted([one.hypothesis])}; largest |IC| {one.best:.4f}; "
                f"taken in: {quoted(one.admitted) or 'none'}"
            )
        lines.append(f'Answer: {{"hypothesis": "one sentence", "factors": [{self._settings.texts} texts]}}')
        return "\n".join(lines)

    # -- feedback ----------------------------------------------------------------------------------

    def observe(self, outcomes: Sequence[Outcome], pool: Pool) -> None:
        """Close the round: reward, feedback, what its hypothesis earned."""
        assert self._now is not None
        worth = math.sqrt(max(pool.worth, 0.0))
        now = self._now
        now.reward = max(0.0, worth - self._worth)
        now.best = max((abs(o.score.ic) for o in outcomes if o.score and o.score.usable), default=0.0)
        now.admitted = [str(o.node) for o in outcomes if o.admitted]
        self._worth = worth
        self._largest = max(self._largest, now.reward)
        self._stale = 0 if now.admitted else self._stale + 1
        self._bandit.learn(BRANCHES.index(now.branch), self._context, now.reward / self._largest)
        earned = sorted((o for o in outcomes if o.gain > 0), key=lambda o: -o.gain)[:4]
        kin = self._kin.get(now.family, [])
        self._kin[now.family] = [*kin, *(str(o.node) for o in earned)][-20:]
        self._members = tuple(pool.texts)
        self._rounds.append(now)
        self._now = None

    # -- keeping -----------------------------------------------------------------------------------

    def state(self) -> tuple[State, Arrays]:
        """Generator, rounds, and what the bandit knows."""
        return {
            "rng": self._rng.bit_generator.state,
            "rounds": [asdict(one) for one in self._rounds],
            "worth": [self._worth, self._largest, self._stale],
            "members": list(self._members),
            "kin": self._kin,
            "seen": sorted(self._seen),
            "model": None if self._model is None else self._model.state(),
        }, {"precision": self._bandit.precision, "moment": self._bandit.moment}

    def restore(self, state: State, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        self._rng.bit_generator.state = state["rng"]
        self._rounds = [Round(**one) for one in state["rounds"]]
        self._worth, self._largest, self._stale = state["worth"]
        self._members = tuple(state["members"])
        self._kin = {family: list(texts) for family, texts in state["kin"].items()}
        self._seen = set(state["seen"])
        if self._model is not None and state["model"] is not None:
            self._model.restore(state["model"])
        self._bandit.precision = np.array(arrays["precision"], np.float64)
        self._bandit.moment = np.array(arrays["moment"], np.float64)

    def statistics(self) -> dict[str, float]:
        """Rounds and reward by branch; what the language model cost."""
        told: dict[str, float] = {}
        for branch in BRANCHES:
            rounds = [one for one in self._rounds if one.branch == branch]
            told[f"rounds of {branch}"] = float(len(rounds))
            told[f"reward of {branch}"] = float(sum(one.reward for one in rounds))
        return told if self._model is None else told | self._model.statistics()
