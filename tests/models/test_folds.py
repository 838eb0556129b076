"""Walk-forward folds: purge, embargo, and windows that appended rows do not change."""

from datetime import date
from itertools import pairwise

import numpy as np
import pytest

from bascule.core import ConfigError, Timeframe
from bascule.models import WalkForwardSettings, folds

HOUR = np.timedelta64(3600, "s")


def _axis(start: str, days: int, timeframe: str = "1h") -> np.ndarray:
    step = Timeframe.parse(timeframe)
    first = np.datetime64(start, "ns")
    return step.axis(first, first + np.timedelta64(days, "D") - step.delta)


def _settings(**changes: object) -> WalkForwardSettings:
    values = {"first_test": date(2021, 1, 1), "train_days": 120, "min_train_days": 30, "embargo_bars": 3}
    return WalkForwardSettings.read({**values, **changes})


@pytest.mark.parametrize("horizon", [1, 24])
@pytest.mark.parametrize("embargo", [0, 3])
def test_the_last_label_learned_from_ends_exactly_at_the_embargo(horizon: int, embargo: int) -> None:
    time = _axis("2020-06-01", 300)
    for fold in folds(time, _settings(embargo_bars=embargo), horizon):
        row = {name: np.searchsorted(time, getattr(fold, name)) for name in ("train", "valid", "test")}
        for learned, first_after in ((row["train"], row["valid"][0]), (row["valid"], row["test"][0])):
            last = learned[1] - 1
            assert last + 1 + horizon == first_after - embargo
        assert fold.purge == horizon + 1
        assert fold.horizon == horizon
        assert fold.train[0] < fold.train[1] < fold.valid[0] < fold.valid[1] < fold.test[0]


def test_test_windows_join_without_gap_or_overlap() -> None:
    found = folds(_axis("2020-06-01", 400), _settings(), 24)
    assert [f.id for f in found] == [f"2021-0{month}" for month in range(1, 8)]
    for before, after in pairwise(found):
        assert before.test[1] == after.test[0]
    assert found[0].test[0] == np.datetime64("2021-01-01")
    assert found[-1].test[1] == np.datetime64("2021-08-01")


def test_appended_rows_add_folds_and_change_none() -> None:
    time = _axis("2020-06-01", 400)
    whole = folds(time, _settings(), 24)
    for cut in (5200, 6000, 7001, 8000):
        part = folds(time[:cut], _settings(), 24)
        assert part == whole[: len(part)]


def test_windows_in_days_and_an_expanding_history() -> None:
    settings = _settings(test_months=None, test_days=10, train_days=None, first_test=date(2021, 1, 5))
    found = folds(_axis("2020-06-01", 250, "4h"), settings, 6)
    assert found[0].id == "2021-01-05"
    assert found[1].test[0] - found[0].test[0] == np.timedelta64(10, "D")
    assert {f.train[0] for f in found} == {np.datetime64("2020-06-01", "ns")}
    assert found[1].train[1] > found[0].train[1]


def test_the_training_window_has_its_length_and_the_valid_share_is_its_end() -> None:
    fold = folds(_axis("2020-01-01", 500), _settings(train_days=200, valid_share=0.25), 24)[0]
    assert fold.test[0] - fold.train[0] == np.timedelta64(200, "D")
    valid = (fold.valid[1] - fold.valid[0]) / HOUR
    assert valid == round(0.25 * (200 * 24 - 27))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first_test": date(2030, 1, 1)}, "after the last row"),
        ({"first_test": date(2020, 7, 1)}, "fewer than 30 days"),
        ({"first_test": date(2020, 1, 1)}, "fewer than 30 days"),
    ],
)
def test_impossible_folds_are_one_clear_error(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        folds(_axis("2020-06-01", 300), _settings(**changes), 24)
    assert caught.value.where == "walk_forward.first_test"
    assert caught.value.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"test_months": None},
        {"test_days": 5},
        {"first_test": date(2021, 1, 2)},
        {"valid_share": 0.0},
        {"embargo_bars": -1},
        {"tset_months": 1},
    ],
)
def test_settings_are_validated(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        _settings(**changes)
