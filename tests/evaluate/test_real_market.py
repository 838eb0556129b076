"""What is known of the real market must come out of the yardstick."""

import numpy as np
import pytest

from bascule.core import Panel
from bascule.evaluate import forward_return, ic_series, shuffle, summarise, suspicion, truncation
from tests.markets import real_panel

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def panel() -> Panel:
    return real_panel("2022-01-01", "2022-07-01")


def _move(panel: Panel) -> np.ndarray:
    close = panel["close"]
    past = np.full_like(close, np.nan)
    past[1:] = close[1:] / close[:-1] - 1
    return past


def test_hourly_moves_of_coins_revert_against_each_other(panel: Panel) -> None:
    label = forward_return(panel, 1)
    assert summarise(ic_series(_move(panel), label, panel.members, rank=True), 1).t < -5
    control = ic_series(_move(panel), shuffle(label, 0), panel.members, rank=True)
    assert abs(summarise(control, 1).t) < 3


def test_the_leak_audit_passes_honest_and_catches_leaky_values(panel: Panel) -> None:
    assert truncation(_move, panel, [2000]).ok
    leaky = np.nan_to_num(forward_return(panel, 1)) + _move(panel)
    found = suspicion(np.stack([_move(panel), leaky]), ["move", "leaky"], panel)
    assert {f.name for f in found} == {"leaky"}
