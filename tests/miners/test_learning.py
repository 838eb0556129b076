"""The learning searchers: legal texts only, they learn, they can be interrupted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bascule.core import StoreError
from bascule.expr import parse
from bascule.miners import (
    EvaluationSettings,
    Evaluator,
    Grammar,
    GrammarSettings,
    Miner,
    Outcome,
    Pool,
    PoolSettings,
    Problem,
    Score,
    Searcher,
    SearchSettings,
    SplitSettings,
)
from bascule.miners.searchers.uniform import RandomSearch
from tests.miners.markets import panel, problem

torch = pytest.importorskip("torch")

from bascule.miners.searchers.alphaforge import AlphaForge, AlphaForgeSettings  # noqa: E402
from bascule.miners.searchers.gflownet import GFlowNet, GFlowNetSettings  # noqa: E402
from bascule.miners.searchers.policy import (  # noqa: E402
    PolicySettings,
    Rewards,
    RewardSettings,
    SequencePolicy,
    Texts,
    rewritten,
)
from bascule.miners.searchers.ppo import PPO, PPOSettings, advantages  # noqa: E402
from bascule.miners.searchers.reinforce import Reinforce, ReinforceSettings  # noqa: E402

GRAMMAR = Grammar(GrammarSettings(windows=(5, 10, 24), lags=(1, 5), length=8))
SMALL = PolicySettings(layers=1, width=32)

Made = Callable[[int], Searcher]


def reinforce(seed: int) -> Reinforce:
    return Reinforce(GRAMMAR, seed, ReinforceSettings(policy=SMALL, rate=1e-2))


def ppo(seed: int) -> PPO:
    return PPO(GRAMMAR, seed, PPOSettings(policy=SMALL, rate=3e-3, rollout=256, epochs=4))


def gflownet(seed: int) -> GFlowNet:
    return GFlowNet(GRAMMAR, seed, GFlowNetSettings(policy=SMALL, rate=3e-3))


def alphaforge(seed: int) -> AlphaForge:
    quick = AlphaForgeSettings(warmup=64, refit=64, hidden=16, epochs=4, steps=4, drawn=8)
    return AlphaForge(GRAMMAR, seed, quick)


def alphaforge_in_earnest(seed: int) -> AlphaForge:
    taught = AlphaForgeSettings(warmup=96, refit=64, hidden=64, rate=3e-3, steps=30, drawn=24)
    return AlphaForge(GRAMMAR, seed, taught)


ALL = pytest.mark.parametrize("make", [reinforce, ppo, gflownet, alphaforge])
IN_EARNEST = pytest.mark.parametrize(
    "make", [reinforce, ppo, gflownet, pytest.param(alphaforge_in_earnest, marks=pytest.mark.slow)]
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def settings(proposals: int, **others: Any) -> SearchSettings:
    return SearchSettings.model_validate({"proposals": proposals, "batch": 16, "look_every": 2, **others})


def mined(make: Made, proposals: int, seed: int = 0) -> list[float]:
    """What each text would add to a pool that stays empty, as an IC."""
    searcher, pool = make(seed), Pool(PoolSettings())
    evaluator = Evaluator(problem().train, EvaluationSettings(screen=1.0))
    gains: list[float] = []
    while len(gains) < proposals:
        nodes = searcher.propose(16)
        new = [evaluator.known(node) is None for node in nodes]
        outcomes = [
            Outcome(node, score, gain=pool.reward(score, np.zeros(0)), new=first)
            for node, score, first in zip(nodes, evaluator.evaluate(nodes), new, strict=True)
        ]
        searcher.observe(outcomes, pool)
        gains += [outcome.gain**0.5 for outcome in outcomes]
    return gains


@IN_EARNEST
def test_learns_what_is_planted(make: Made) -> None:
    thirds = [float(np.mean(third)) for third in np.array_split(mined(make, 400), 3)]
    assert thirds[2] > 1.5 * thirds[0]


@pytest.mark.slow
@IN_EARNEST
def test_beats_random_search_at_what_it_learns(make: Made) -> None:
    ours = np.mean(mined(make, 480, seed=1)[160:])
    random = np.mean(mined(partial(RandomSearch, GRAMMAR), 480, seed=1))
    assert ours > 1.2 * random


@ALL
def test_all_that_is_proposed_is_of_the_grammar(make: Made) -> None:
    searcher = make(5)
    for _ in range(8):  # AlphaForge fits once, PPO learns once or twice on the way
        nodes = searcher.propose(24)
        assert len(nodes) == 24
        assert all(GRAMMAR.accepts(node) for node in nodes)
        searcher.observe([invented(node) for node in nodes], Pool(PoolSettings()))
    assert searcher.statistics()


def invented(node: Any) -> Outcome:
    """Something to learn from, not from any market; now and then nothing at all."""
    text = str(node)
    if len(text) % 11 == 0:
        return Outcome(node, None, refusal="not of the grammar")
    ic = float("nan") if len(text) % 7 == 0 else 0.1 / len(text)
    return Outcome(node, Score(text, ic, ic * 5, ic * 100, True), gain=0.01 / len(text), new=True)


@ALL
def test_same_seed_same_texts(make: Made) -> None:
    one, two, other = (list(make(seed).propose(8)) for seed in (3, 3, 4))
    assert one == two != other


@ALL
def test_a_search_in_pieces_ends_like_one_in_one_go(make: Made, tmp_path: Path) -> None:
    whole = Miner(problem(), make(3), GRAMMAR, settings(160))
    whole.run()
    for proposals, seed in ((32, 3), (112, 99), (160, 98)):  # before, and after, something was learned
        part = Miner(problem(), make(seed), GRAMMAR, settings(proposals), folder=tmp_path / "s")
        part.run()
    assert [s.text for s in part.evaluator.scores()] == [s.text for s in whole.evaluator.scores()]
    assert part.search.texts == whole.search.texts
    ours, theirs = part.searcher.state(), whole.searcher.state()
    assert ours[0] == theirs[0]
    assert ours[1].keys() == theirs[1].keys()
    for key, array in ours[1].items():
        np.testing.assert_array_equal(array, theirs[1][key], err_msg=key)


@ALL
def test_learners_reach_nothing_after_the_train_part(make: Made) -> None:
    """Other prices after the train part: the same proposals and scores, to the bit."""
    market = panel(planted=0.3)
    later = np.arange(900)[:, None] >= 450
    noise = np.random.default_rng(5).uniform(0.5, 2.0, (900, 16)).astype(np.float32)
    changed = {name: np.where(later, values * noise, values) for name, values in market.fields.items()}
    runs = []
    for one in (market, market.with_fields(**changed)):
        miner = Miner(Problem.of(one, SplitSettings(horizon=4)), make(1), GRAMMAR, settings(128))
        miner.run()
        runs.append((list(map(repr, miner.evaluator.scores())), miner.pool.texts))
    assert runs[0] == runs[1]


def test_parameters_of_another_size_are_refused() -> None:
    state, arrays = reinforce(0).state()
    other = Reinforce(GRAMMAR, 0, ReinforceSettings(policy=PolicySettings(width=16)))
    with pytest.raises(StoreError, match="do not fit"):
        other.restore(state, arrays)


def test_without_torch_there_is_one_clear_error() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from bascule.core import ConfigError\n"
        "try:\n    import bascule.miners.searchers.reinforce\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "need torch" in said
    assert "bascule[mining]" in said


# -- the policy --------------------------------------------------------------------------------------


def sampled(count: int, **others: Any) -> tuple[SequencePolicy, Texts]:
    policy = SequencePolicy(GRAMMAR, SMALL, 0)
    with torch.no_grad():  # as if it had learned something
        policy.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    return policy, policy.sample(count, np.random.default_rng(0), **others)


def test_log_probabilities_are_those_of_step_by_step() -> None:
    policy, texts = sampled(6)
    together = policy.score(texts)[0].detach().numpy()
    for row in range(6):
        state, last, memory = GRAMMAR.begin(), torch.tensor([[len(GRAMMAR.actions)]]), None
        for step in range(int(texts.lengths[row])):
            legal = state.mask()
            hidden, memory = policy.encoder(policy.embedding(last), memory)
            logits = policy.head(hidden[0, 0]).detach().numpy()[legal]
            logits = logits + np.log(GRAMMAR.odds(state, legal)[legal])
            chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            action = int(texts.actions[row, step])
            expected = np.log(chances[int(legal[:action].sum())])
            assert together[row, step] == pytest.approx(expected, abs=1e-4)
            state, last = state.step(action), torch.tensor([[action]])
        assert state.done
        assert state.node == texts.nodes[row]
        assert not together[row, int(texts.lengths[row]) :].any()


def test_the_greedy_text_takes_the_likeliest_action_each_time() -> None:
    policy, texts = sampled(8, greedy=1)
    again = policy.sample(2, np.random.default_rng(9), greedy=2)
    assert again.nodes == (texts.nodes[-1], texts.nodes[-1])
    assert texts.nodes[0] != texts.nodes[-1]
    # each of its actions has the best chance of all at its place
    logits = policy.head(
        policy.encoder(
            policy.embedding(
                torch.cat(
                    [torch.tensor([[len(GRAMMAR.actions)]]), torch.from_numpy(again.actions[:1, :-1])], 1
                )
            )
        )[0]
    )[0].detach()
    best = (logits + torch.from_numpy(again.base[0])).argmax(-1).numpy()
    np.testing.assert_array_equal(best[: again.lengths[0]], again.actions[0, : again.lengths[0]])


def test_untaught_it_draws_as_the_grammar_does() -> None:
    policy = SequencePolicy(GRAMMAR, PolicySettings(layers=1, width=8), 0)
    texts = policy.sample(600, np.random.default_rng(0))
    odds = GRAMMAR.odds(GRAMMAR.begin(), GRAMMAR.begin().mask())
    share = np.bincount(texts.actions[:, 0], minlength=len(odds)) / 600
    np.testing.assert_allclose(share, odds, atol=0.07)
    rng = np.random.default_rng(1)
    drawn = np.mean([len(str(GRAMMAR.draw(rng))) for _ in range(600)])
    assert np.mean([len(str(node)) for node in texts.nodes]) == pytest.approx(drawn, rel=0.15)


def test_texts_are_rewritten_from_their_actions() -> None:
    _, texts = sampled(12)
    again = rewritten(GRAMMAR, texts.actions, SMALL.odds)
    assert again.nodes == texts.nodes
    np.testing.assert_array_equal(again.base, texts.base)
    np.testing.assert_array_equal(again.lengths, texts.lengths)


# -- rewards and losses ------------------------------------------------------------------------------


def outcome(ic: float, gain: float, *, new: bool = True, ir: float = 1.0) -> Outcome:
    return Outcome(parse("$close/$open"), Score("x", ic, ir, 3.0, True), gain=gain, new=new)


def test_what_has_no_value_is_paid_least() -> None:
    rewards = Rewards(RewardSettings())
    refused = Outcome(parse("$close/$open"), None, refusal="not of the grammar")
    paid = rewards.paid(
        [
            outcome(0.03, 0.0009),
            outcome(0.0, 0.0),
            outcome(np.nan, 0.0),
            refused,
            outcome(0.03, 9e-4, new=False),
        ]
    )
    rewards.learn(paid)
    scaled = rewards.scaled(paid)
    assert scaled[0] == scaled.max() > 1.0
    assert scaled[1] == scaled[4] == 0.0
    assert scaled[2] == scaled[3] == scaled.min() < 0.0
    punished = rewards.scaled(paid - 0.1)  # as for unsteadiness: to have no value is still the worst
    assert punished[2] == punished[3] < punished[1] < 0.0


def test_rewards_keep_their_size_while_gains_fall() -> None:
    rewards = Rewards(RewardSettings(memory=0.5))
    sizes = []
    for gain in (1e-2, 1e-4, 1e-6):
        for _ in range(12):
            paid = rewards.paid([outcome(0.1, gain * share) for share in (0.25, 1.0)])
            rewards.learn(paid)
        sizes.append(rewards.scaled(paid).mean())
    np.testing.assert_allclose(sizes, sizes[0], rtol=0.05)


def test_steadiness_is_asked_for_late_and_up_to_a_limit() -> None:
    searcher = Reinforce(
        GRAMMAR, 0, ReinforceSettings(policy=SMALL, delay=16, slope=1e-3, steady=0.03, penalty=0.02)
    )
    asked = []
    for _ in range(6):
        nodes = searcher.propose(16)
        asked.append(searcher.threshold)
        searcher.observe([invented(node) for node in nodes], Pool(PoolSettings()))
    assert asked == pytest.approx([0.0, 0.0, 0.016, 0.03, 0.03, 0.03])
    steady, shaky = outcome(0.05, 0.0025, ir=0.04), outcome(0.05, 0.0025, ir=-0.02)
    paid = searcher.rewards.paid([steady, shaky])
    assert searcher._shaped([steady, shaky], paid) - paid == pytest.approx([0.0, -0.02])


def test_advantages_are_the_sums_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 5)).astype(np.float32)
    reward, lengths = np.array([1.0, -1.0, 0.5], np.float32), np.array([5, 3, 1])
    found = advantages(values, reward, lengths, 0.9)
    for row, length in enumerate(lengths):
        for step in range(length):
            expected = 0.0
            for later in range(step, length):
                ahead = values[row, later + 1] if later + 1 < length else reward[row]
                expected += 0.9 ** (later - step) * (ahead - values[row, later])
            assert found[row, step] == pytest.approx(expected, abs=1e-5)
        assert not found[row, length:].any()


@pytest.mark.slow
def test_the_flow_draws_texts_in_proportion_to_their_reward() -> None:
    grammar = Grammar(GrammarSettings(fields=("open", "close"), windows=(5,), lags=(1,), length=3))
    searcher = GFlowNet(
        grammar, 0, GFlowNetSettings(policy=SMALL, rate=5e-3, sharpness=1.0, explore=0.1, own_ic=0.0)
    )

    def ic(text: str) -> float:
        return 0.09 if "Corr" in text else 0.03 if "Div" in text or "/" in text else 0.01

    for _ in range(200):
        nodes = searcher.propose(32)
        told = [
            Outcome(node, Score(str(node), ic(str(node)), 1.0, 9.0, True), gain=ic(str(node)) ** 2, new=True)
            for node in nodes
        ]
        searcher.observe(told, Pool(PoolSettings()))
    texts = searcher.policy.sample(3000, np.random.default_rng(1))
    plain = SequencePolicy(grammar, SMALL, 0).sample(3000, np.random.default_rng(2))
    worth = {
        str(node): float(np.exp(searcher.log_reward(np.array([ic(str(node))]))[0]))
        for node in {*texts.nodes, *plain.nodes}
    }
    mass = {text: worth[text] * sum(str(n) == text for n in plain.nodes) for text in worth}
    for kind in ("Corr", "/"):
        share = np.mean([kind in str(node) for node in texts.nodes])
        expected = sum(m for text, m in mass.items() if kind in text) / sum(mass.values())
        assert share == pytest.approx(expected, abs=0.06)
    assert float(searcher.log_z.detach()) == pytest.approx(np.log(sum(mass.values()) / 3000), abs=0.1)


def test_alphaforge_takes_into_its_zoo_what_passes() -> None:
    searcher = AlphaForge(GRAMMAR, 0)
    nodes = list(searcher.propose(4))
    figures = [(0.05, 0.2, 0.1), (0.02, 0.2, 0.1), (0.05, 0.05, 0.1), (-0.05, -0.2, 0.9)]
    searcher.observe(
        [
            Outcome(node, Score(f"t{n}", ic, ir, 5.0, True), alike=alike, new=True)
            for n, (node, (ic, ir, alike)) in enumerate(zip(nodes, figures, strict=True))
        ],
        Pool(PoolSettings()),
    )
    assert searcher.zoo == ["t0"]
    again = list(searcher.propose(2))
    twice = [Outcome(node, Score("t9", 0.05, 0.2, 5.0, True), alike=0.1) for node in again]
    searcher.observe(twice, Pool(PoolSettings()))
    assert searcher.zoo == ["t0", "t9"]
    np.testing.assert_allclose(searcher.state()[1]["scores"][:4], [0.04, 0.016, 0.04, 0.0])
