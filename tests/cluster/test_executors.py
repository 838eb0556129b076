"""Spread work gives what unspread work gives, survives dead workers, and goes on after being cut off."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bascule import cluster
from bascule.cluster import Executor
from bascule.cluster.local import _undisturbed
from bascule.core import BasculeError, ConfigError
from tests.cluster import work
from tests.markets import random_panel


@pytest.fixture(scope="module", params=["in process", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with cluster.connect("local", workers=1 if request.param == "in process" else 2) as one:
        yield one


def test_results_come_in_the_order_of_the_tasks(executor: Executor) -> None:
    seen: list[tuple[int, int]] = []
    found = executor.map(
        work.slow_first,
        {f"t{k}": k for k in range(6)},
        progress=lambda done, total, note="": seen.append((done, total)),
    )
    assert list(found.items()) == [(f"t{k}", k) for k in range(6)]
    assert seen == [(k, 6) for k in range(7)]


def test_nothing_to_do(executor: Executor) -> None:
    assert executor.map(work.double, {}) == {}


def test_same_seeds_same_bits(executor: Executor) -> None:
    matrix = np.random.default_rng(0).standard_normal((1000, 40))
    tasks = {f"seed {k}": k for k in range(5)}
    found = executor.map(work.draw, tasks, shared={"matrix": matrix})
    for k in range(5):
        assert np.array_equal(found[f"seed {k}"], work.draw(k, {"matrix": matrix}))


def test_factors_of_a_shared_panel_are_those_of_one_process(executor: Executor) -> None:
    panel = random_panel(0, 900, 40)
    texts = {"a": ["Mean($close,5)/$close", "CSRank($volume)"], "b": ["Corr($close,$volume,10)"]}
    found = executor.map(work.factors, texts, shared={"panel": panel})
    for name, one in texts.items():
        np.testing.assert_array_equal(found[name], work.factors(one, {"panel": panel}))


def test_an_error_of_a_task_is_raised_with_its_name(executor: Executor) -> None:
    with pytest.raises(ConfigError, match="three is too many") as caught:
        executor.map(work.refuse, {f"t{k}": k for k in range(5)})
    assert caught.value.__notes__ == ["in task t3"]


def test_a_function_that_workers_cannot_import_is_refused(executor: Executor) -> None:
    with pytest.raises(ConfigError, match="cannot import"):
        executor.map(lambda task, shared: task, {"a": 1})


def test_cut_off_work_goes_on_where_it_stopped(executor: Executor, tmp_path: Path) -> None:
    tasks = {f"t{k}": (k, str(tmp_path)) for k in range(6)}
    (tmp_path / "stop").touch()
    with pytest.raises(ConfigError, match="stopped"):
        executor.map(work.count_calls, tasks, journal=tmp_path / "journal.sqlite")
    (tmp_path / "stop").unlink()
    before = (tmp_path / "calls").read_text().split()
    found = executor.map(work.count_calls, tasks, journal=tmp_path / "journal.sqlite")
    assert found == {f"t{k}": 10 * k for k in range(6)}
    again = (tmp_path / "calls").read_text().split()[len(before) :]
    assert "0" in before and "0" not in again and "3" in again
    assert executor.map(work.count_calls, tasks, journal=tmp_path / "journal.sqlite") == found
    assert len((tmp_path / "calls").read_text().split()) == len(before) + len(again)


def test_a_journal_of_other_work_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with cluster.connect("local", workers=1) as one:
        one.map(work.double, {"a": 1}, journal=path)
        with pytest.raises(ConfigError, match="other work"):
            one.map(work.refuse, {"a": 1}, journal=path)
        with pytest.raises(ConfigError, match="other work or other data"):
            one.map(work.double, {"a": 1}, shared={"x": np.arange(3)}, journal=path)
        with pytest.raises(ConfigError, match="was another one"):
            one.map(work.double, {"a": 2}, journal=path)
        path.write_text("no database, but long enough to be one " * 40)
        with pytest.raises(ConfigError, match="not a journal"):
            one.map(work.double, {"a": 1}, journal=path)


def test_workers_map_arrays_and_cannot_change_them() -> None:
    matrix = np.zeros((400, 400))
    with cluster.connect("local", workers=2) as executor:
        found = executor.map(work.address, {str(k): k for k in range(4)}, shared={"matrix": matrix})
    assert {kind for _, kind, _ in found.values()} == {"memmap"}
    assert not any(writeable for _, _, writeable in found.values())


def test_a_killed_worker_is_replaced_and_its_task_done_again(tmp_path: Path) -> None:
    with cluster.connect("local", workers=2) as executor:
        found = executor.map(work.die_once, {f"t{k}": (k, str(tmp_path)) for k in range(6)})
    assert found == {f"t{k}": k for k in range(6)}
    assert (tmp_path / "died").exists()


def test_a_task_that_always_kills_its_worker_is_named() -> None:
    with (
        cluster.connect("local", workers=2, retries=1) as executor,
        pytest.raises(BasculeError, match=r"task t2: .*died 2 times"),
    ):
        executor.map(work.die_always, {f"t{k}": k for k in range(5)})


def test_ctrl_c_waits_until_the_pool_was_looked_at() -> None:
    before, steps = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), _undisturbed():
        signal.raise_signal(signal.SIGINT)
        steps.append("to the end of the block")
    assert steps == ["to the end of the block"]
    with pytest.raises(KeyboardInterrupt), _undisturbed():  # also where the pool is found broken meanwhile
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is before


def test_wrong_settings_are_told() -> None:
    with pytest.raises(ConfigError, match="cluster"):
        cluster.connect("local", workers=-1)
    with pytest.raises(ConfigError, match="did you mean 'workers'"):
        cluster.connect("local", worker=2)
