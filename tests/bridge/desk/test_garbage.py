"""What a bot leaves behind is collected once a day; what it starts with is not looked through."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from bascule.bridge.freqtrade.trading import garbage

HOUR, DAY = 3_600, 86_400


class Knot:
    """Garbage that only the collector can find."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    gc.disable()
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.enable()


def left() -> weakref.ref[Knot]:
    return weakref.ref(Knot())


def test_garbage_goes_once_a_day() -> None:
    daily, midnight = garbage.Daily(), 20_000 * DAY
    daily.turn(midnight - 12 * HOUR)
    knot = left()
    for seconds in (midnight - HOUR, midnight, midnight + 600):
        daily.turn(seconds)
        assert knot() is not None  # not when a day's last candle closes
    daily.turn(midnight + 1_800)
    assert knot() is None
    again = left()
    daily.turn(midnight + 12 * HOUR)
    assert again() is not None


def test_what_is_set_aside_is_collected_when_it_is_set_aside_anew() -> None:
    knot = Knot()
    found = weakref.ref(knot)
    garbage.set_aside()
    assert gc.get_freeze_count() > 10_000
    del knot
    gc.collect()
    assert found() is not None
    garbage.set_aside()  # as after /reload_config
    assert found() is None
