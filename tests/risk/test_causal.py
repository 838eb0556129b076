"""Roles, adjustment sets and refusals of causal graphs; effects, refuters, a suggested graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bascule.core import ConfigError, DataError
from bascule.risk import CausalSettings, Dag, DagSettings, causal_check, check_controls, discover
from bascule.risk.effect import estimate, refute, sample, stable


def dag(*edges: str, unobserved: tuple[str, ...] = ()) -> Dag:
    given = {"treatment": "x", "outcome": "y", "edges": list(edges), "unobserved": list(unobserved)}
    return Dag.of(DagSettings.read(given))


FORK = dag("z -> x", "z -> y", "x -> y")
CHAIN = dag("x -> z", "z -> y", "x -> y")
COLLIDER = dag("x -> z", "y -> z", "x -> y")
M_BIAS = dag("a -> x", "a -> z", "b -> z", "b -> y", "x -> y")
BUTTERFLY = dag("a -> x", "a -> z", "b -> z", "b -> y", "z -> x", "z -> y", "x -> y")


def test_roles_of_the_classic_graphs() -> None:
    assert FORK.roles() == {"z": ("confounder",)}
    assert CHAIN.roles() == {"z": ("mediator",)}
    assert COLLIDER.roles() == {"z": ("collider",)}
    assert M_BIAS.roles() == {"a": ("neutral",), "b": ("neutral",), "z": ("collider",)}
    assert BUTTERFLY.roles()["z"] == ("confounder", "collider")
    assert BUTTERFLY.roles()["a"] == ("confounder",)
    # a collider of an M stays one though another back door is open (a naive test says neutral)
    busy = dag("a -> x", "a -> z", "b -> z", "b -> y", "c -> x", "c -> y", "x -> y")
    assert busy.roles()["z"] == ("collider",) and busy.roles()["c"] == ("confounder",)
    far = dag("x -> m", "m -> y", "m -> proxy", "x -> z", "y -> z", "z -> child", "u -> x", "w -> y")
    assert far.roles() == {
        "m": ("mediator",),
        "proxy": ("mediator",),
        "z": ("collider",),
        "child": ("collider",),
        "u": ("neutral",),
        "w": ("neutral",),
    }


def test_minimal_adjustment_sets() -> None:
    assert FORK.adjustment_sets() == (("z",),)
    assert CHAIN.adjustment_sets() == ((),)
    assert COLLIDER.adjustment_sets() == ((),)
    assert M_BIAS.adjustment_sets() == ((),)
    assert BUTTERFLY.adjustment_sets() == (("a", "z"), ("b", "z"))
    hidden = dag("u -> x", "u -> y", "x -> y", unobserved=("u",))
    assert hidden.adjustment_sets() == ()
    two = dag("u -> a", "u -> b", "a -> x", "b -> y", "x -> y", unobserved=("u",))
    assert two.adjustment_sets() == (("a",), ("b",))
    assert M_BIAS.valid(["z", "a"]) and not M_BIAS.valid(["z"]) and not CHAIN.valid(["z"])


def test_a_model_with_a_collider_is_refused_unless_overridden() -> None:
    for graph, says in ((COLLIDER, "z is an effect of y"), (M_BIAS, "opens x <- a -> z <- b -> y")):
        with pytest.raises(ConfigError, match=says) as caught:
            check_controls(graph, ["z"])
        assert "override" in str(caught.value.remedy)
        assert check_controls(graph, ["z"], override=True)[0].kind == "collider"
    with pytest.raises(ConfigError, match=r"control for \{a, z\} or \{b, z\}"):
        check_controls(BUTTERFLY, ["z"])
    assert check_controls(M_BIAS, ["z", "b"]) == ()  # the opened path is closed again
    assert check_controls(BUTTERFLY, ["z", "a"]) == ()
    assert [p.kind for p in check_controls(CHAIN, ["z"])] == ["mediator"]
    assert [p.kind for p in check_controls(FORK, [])] == ["open"]
    with pytest.raises(ConfigError, match="'w' is not an observed control"):
        check_controls(FORK, ["w"])


def test_graphs_are_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "dag.yaml"
    path.write_text("treatment: x\noutcome: y\nedges: [z -> x, z->y, x -> y]\n")
    assert Dag.read(path) == FORK
    for text, says in (
        ("treatment: x\noutcome: y\nedges: [x -> y, y -> x]", "a cycle: "),
        ("treatment: x\noutcome: y\nedges: [x => y]", "not an arrow"),
        ("treatment: q\noutcome: y\nedges: [x -> y]", "the treatment 'q'"),
        ("treatment: x\noutcome: x\nedges: [x -> y]", "the same"),
        ("treatment: x\noutcome: y\nedges: [x -> y]\nunobserved: [u]", "unknown unobserved node 'u'"),
        ("treatment: x\noutcome: y", "required"),
        ("[", "cannot be read"),
        ("3", "no mapping"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=says):
            Dag.read(path)


def mirage(seed: int = 0, rows: int = 1500, width: int = 20) -> tuple[Dag, dict[str, np.ndarray]]:
    """Liquidity confounds a factor; crowding is an effect of factor and return. The true effect is 0.5."""
    random = np.random.default_rng(seed)
    shape = (rows, width)
    liquidity = random.standard_normal(shape)
    factor = 0.8 * liquidity + random.standard_normal(shape)
    returns = 0.5 * factor - 0.6 * liquidity + 2.0 * random.standard_normal(shape)
    crowding = factor + returns + 0.7 * random.standard_normal(shape)
    graph = Dag.of(
        _settings("factor", "return", "liquidity -> factor", "liquidity -> return", "factor -> return",
                  "factor -> crowding", "return -> crowding")
    )  # fmt: skip
    data = {"factor": factor, "liquidity": liquidity, "return": returns, "crowding": crowding}
    return graph, data


def _settings(treatment: str, outcome: str, *edges: str) -> DagSettings:
    return DagSettings.read({"treatment": treatment, "outcome": outcome, "edges": list(edges)})


def test_the_mirage_more_r2_and_a_wrong_sign() -> None:
    graph, data = mirage()
    data["liquidity"][3, 4] = np.nan
    with pytest.raises(ConfigError, match="crowding is an effect of return"):
        causal_check(graph, data, controls=["liquidity", "crowding"])
    settings = CausalSettings(lags=2, repeats=10, block=50, override=True)
    halves = np.arange(1500)[:, None] < 750
    slices = {
        "periods": {
            "first": halves & np.ones((1500, 20), bool),
            "second": ~halves & np.ones((1500, 20), bool),
        },
        "coins": {f"coin {n}": np.arange(20)[None] % 4 == n + np.zeros((1500, 1)) for n in range(4)},
    }
    found = causal_check(graph, data, settings, controls=["liquidity", "crowding"], slices=slices)
    assert found.sets == (("liquidity",),)
    assert found.adjusted is not None and found.given is not None
    assert abs(found.adjusted.coefficient - 0.5) < 3 * found.adjusted.error
    assert found.naive.coefficient == pytest.approx(0.5 - 0.6 * 0.8 / 1.64, abs=0.04)
    # the collider makes the fit look better and the coefficient worse
    assert found.given.r2 > 2 * found.adjusted.r2
    assert found.given.coefficient < 0 < found.adjusted.coefficient
    assert found.roles["crowding"] == ("collider",) and found.problems[0].node == "crowding"
    assert all(one.passed for one in found.refutations), found.refutations
    assert found.slices["periods"].q_p_value > 0.01 and found.slices["coins"].same_sign == 1
    assert len(found.slices["coins"].effects) == 4


def test_refuters_refute_what_is_not_there() -> None:
    random = np.random.default_rng(1)
    data = {"x": random.standard_normal((800, 10)), "y": random.standard_normal((800, 10))}
    cells = sample(data, "x", "y", ())
    verdicts = {one.name: one for one in refute(cells, 0, repeats=30, block=20)}
    assert not verdicts["placebo treatment"].passed
    assert not verdicts["block permutation of time"].passed
    assert verdicts["placebo treatment"].mean == pytest.approx(0, abs=0.01)
    # an effect in one half of time only is not stable
    data["y"][400:] += data["x"][400:]
    late = np.repeat(np.arange(800)[:, None] >= 400, 10, axis=1)
    masks = {"early": ~late, "late": late}
    assert stable(data, "x", "y", (), masks, lags=0).q_p_value < 1e-6


def test_errors_and_robustness_equal_their_references() -> None:
    import statsmodels.api as sm

    random = np.random.default_rng(2)
    x, z = random.standard_normal((2, 400))
    y = 0.3 * x + 0.2 * z + random.standard_normal(400)
    found = estimate(sample({"x": x, "y": y, "z": z}, "x", "y", ["z"]), 5)
    design = sm.add_constant(np.column_stack([x, z]))
    fit = sm.OLS(y, design).fit(cov_type="HAC", cov_kwds={"maxlags": 5, "use_correction": False})
    assert (found.coefficient, found.error) == pytest.approx((fit.params[1], fit.bse[1]))
    assert found.r2 == pytest.approx(fit.rsquared)
    # a confounder of exactly that strength on both sides brings the effect to 0 (Cinelli & Hazlett 2020,
    # eq. 14)
    plain = sm.OLS(y, design).fit()
    rv, free = found.robustness, 400 - 3
    bias = plain.bse[1] * np.sqrt(free * rv * rv / (1 - rv))
    assert bias == pytest.approx(abs(plain.params[1]), rel=1e-9)


def test_dense_panels_have_clustered_errors() -> None:
    """The same shock for all instruments of a row: cells are not independent, and the error says so."""
    random = np.random.default_rng(3)
    common, factor = random.standard_normal((2, 500, 1))
    data = {"x": np.repeat(factor, 30, axis=1), "y": np.repeat(common, 30, axis=1)}
    found = estimate(sample(data, "x", "y", (), within=False), 0)
    assert found.error == pytest.approx(1 / np.sqrt(500), rel=0.15)
    with pytest.raises(DataError, match="no data for 'q'"):
        sample(data, "q", "y", ())
    with pytest.raises(DataError, match="shapes differ"):
        sample({**data, "y": data["y"][:5]}, "x", "y", ())
    with pytest.raises(DataError, match="cells in which"):
        sample({"x": np.full((9, 9), np.nan), "y": np.ones((9, 9))}, "x", "y", ())


def test_discovery_finds_colliders_and_leaves_the_rest_open() -> None:
    random = np.random.default_rng(4)
    a, b, e = random.standard_normal((3, 5000))
    c = a + b + 0.5 * e
    d = c + random.standard_normal(5000)
    found = discover({"a": a, "b": b, "c": c, "d": d})
    assert found.directed == (("a", "c"), ("b", "c"), ("c", "d")) and found.undirected == ()
    z = random.standard_normal(5000)
    x = z + random.standard_normal(5000)
    y = z + random.standard_normal(5000)
    loose = discover({"x": x, "y": y, "z": z})
    assert loose.directed == () and loose.undirected == (("x", "z"), ("y", "z"))
    timed = discover({"x": x, "y": y, "z": z}, later=["y"])
    assert ("z", "y") in timed.directed
    with pytest.raises(DataError, match="does not vary"):
        discover({"x": x, "y": np.ones(5000)})
