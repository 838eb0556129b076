"""Windows, and the stability of parameters, without a run of freqtrade."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from bascule.bridge.freqtrade.hyperopt import Epoch, Fold, HyperoptSettings, Outcome, folds, stability
from bascule.core import ConfigError, DataError, Timeframe

HOUR = Timeframe(3_600)
START = np.datetime64("2023-01-01", "ns")


def day(number: int) -> np.datetime64:
    return START + np.timedelta64(number * 24, "h")


def test_windows_follow_each_other_and_never_overlap() -> None:
    settings = HyperoptSettings(train_days=30, test_days=10, embargo_bars=3)
    found = folds(START, day(75), settings, HOUR)
    assert [one.number for one in found] == [0, 1, 2, 3]
    for one in found:
        assert one.train[1] - one.train[0] == np.timedelta64(30 * 24, "h")
        assert one.test[0] - one.train[1] == np.timedelta64(3, "h")
    for before, after in pairwise(found):
        assert after.test[0] == before.test[1]
    assert found[-1].test[1] <= day(75)
    anchored = folds(START, day(75), settings.model_copy(update={"anchored": True}), HOUR)
    assert {one.train[0] for one in anchored} == {START}
    assert [one.test for one in anchored] == [one.test for one in found]


def test_no_room_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"90 \+ 30 days do not fit"):
        folds(START, day(100), HyperoptSettings(), HOUR)


def outcome(number: int, seed: int, centre: float, width: float, *, epochs: int = 120) -> Outcome:
    """A fold whose loss falls towards ``centre`` within ``width``, and is flat noise elsewhere."""
    random = np.random.default_rng(seed)
    tried = []
    for _ in range(epochs):
        level, idle = random.uniform(0, 1, 2)
        loss = -np.exp(-(((level - centre) / width) ** 2)) + 0.05 * random.standard_normal()
        tried.append(Epoch(float(loss), {"level": level, "idle": idle, "kind": "a", "fixed": 1.0}, 10, 0.0))
    best = int(np.argmin([one.loss for one in tried]))
    empty: dict[str, float | None] = {}
    fold = Fold(number, (day(0), day(1)), (day(1), day(2)))
    return Outcome(fold, 0, tuple(tried), best, empty, empty, (), (), ())


def test_a_plateau_that_stays_is_stable() -> None:
    found = stability([outcome(k, k, 0.6, 0.25) for k in range(4)])
    assert [one.name for one in found.parameters] == ["level", "idle"]  # text and constants are left out
    level, idle = found.parameters
    assert level.verdict == "stable" and abs(np.mean(level.chosen) - 0.6) < 0.12
    assert level.drift < 0.15 and level.sensitivity > 0.4
    assert idle.sensitivity < level.sensitivity / 2
    assert found.verdict == "plateau"
    assert (level.good[:, 0] <= level.good[:, 1]).all()


def test_luck_is_not_called_stable() -> None:
    """Losses that have nothing to do with the parameters."""
    random = np.random.default_rng(1)
    noise = []
    for k in range(6):
        one = outcome(k, 100 + k, 0.5, 0.3)
        losses = random.standard_normal(len(one.epochs))
        tried = tuple(
            Epoch(float(loss), e.params, 10, 0.0) for loss, e in zip(losses, one.epochs, strict=True)
        )
        noise.append(Outcome(one.fold, 0, tried, int(np.argmin(losses)), {}, {}, (), (), ()))
    found = stability(noise)
    assert found.verdict == "peak"
    assert abs(np.nanmean(found.neighbourhood) - 0.5) < 0.12
    assert all(one.verdict != "stable" for one in found.parameters)


def test_moving_optima_are_unstable() -> None:
    found = stability([outcome(k, k, centre, 0.2) for k, centre in enumerate((0.1, 0.9, 0.15, 0.85))])
    level = next(one for one in found.parameters if one.name == "level")
    assert level.drift > 0.5 and level.verdict != "stable"


def test_a_fold_without_a_choice_counts_for_nothing() -> None:
    good = [outcome(k, k, 0.6, 0.25) for k in range(3)]
    last = outcome(3, 3, 0.6, 0.25)
    without = Outcome(last.fold, 0, last.epochs, -1, {}, {}, (), (), ())
    found = stability([*good, without])
    assert np.isnan(found.neighbourhood[3]) and np.isnan(found.parameters[0].chosen[3])
    assert found.parameters[0].verdict == "stable"


def test_nothing_to_measure_is_one_clear_error() -> None:
    single = outcome(0, 0, 0.5, 0.2, epochs=1)
    with pytest.raises(DataError, match="no numeric parameter"):
        stability([single])
