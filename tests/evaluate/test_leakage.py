"""The leak audit: what looks ahead is found, what looks back is not."""

import numpy as np
import pytest

from bascule.core import ConfigError, DataError, Panel
from bascule.evaluate import suspicion, truncation
from tests.markets import random_panel


def _momentum(panel: Panel) -> np.ndarray:
    close = panel["close"]
    past = np.full_like(close, np.nan)
    past[5:] = close[5:] / close[:-5] - 1
    return past


def _tomorrow(panel: Panel) -> np.ndarray:
    """The next bar's return with a little noise: the classic leak."""
    values = -_momentum(panel)
    opens = panel["open"]
    values[:-2] += 20 * (opens[2:] / opens[1:-1] - 1)
    return values


def _centred(panel: Panel) -> np.ndarray:
    """Distance to a moving average that is centred instead of trailing."""
    close = panel["close"].astype(float)
    values = np.full(close.shape, np.nan)
    for t in range(12, len(close) - 12):
        values[t] = close[t - 12 : t + 13].mean(axis=0) / close[t] - 1
    return values.astype(np.float32)


def test_truncation_passes_what_looks_back_only() -> None:
    panel = random_panel(0, 300, 8, missing=0.01)
    report = truncation(_momentum, panel)
    assert report.ok
    assert len(report.cuts) >= 3


@pytest.mark.parametrize("leaky", [_tomorrow, _centred])
def test_truncation_catches_a_look_ahead_and_says_where(leaky) -> None:  # type: ignore[no-untyped-def]
    report = truncation(leaky, random_panel(0, 300, 8), [150, 200])
    assert not report.ok
    first = report.mismatches[0]
    assert first.cut == 150
    assert 137 <= first.index[0] < 150
    assert first.cells > 0


def test_truncation_catches_a_scaler_fitted_on_the_whole_history() -> None:
    def scaled(panel: Panel) -> np.ndarray:
        values = _momentum(panel)
        return np.stack([values, (values - np.nanmean(values)) / np.nanstd(values)])

    report = truncation(scaled, random_panel(0, 300, 8), [200])
    assert [m.index[0] for m in report.mismatches] == [1]
    assert report.mismatches[0].largest > 0


def test_truncation_checks_what_it_is_given() -> None:
    panel = random_panel(0, 50, 4)
    with pytest.raises(ConfigError, match="inside"):
        truncation(_momentum, panel, [50])
    with pytest.raises(ConfigError, match="inside"):
        truncation(_momentum, panel.rows(0, 1))
    with pytest.raises(DataError, match="last two axes"):
        truncation(lambda p: p["close"].T, panel, [20])


def test_leaky_values_are_suspicious_and_honest_ones_are_not() -> None:
    random = np.random.default_rng(8)
    signal = random.standard_normal((1500, 20))
    panel = random_panel(3, 1500, 20, drive=signal * 0.0006)
    honest = [_momentum(panel), signal.astype(np.float32), random.standard_normal((1500, 20))]
    names = ["momentum", "faint alpha", "noise", "tomorrow", "centred"]
    values = np.stack([*honest, _tomorrow(panel), _centred(panel)]).astype(np.float32)
    found = suspicion(values, names, panel)
    assert {f.name for f in found} == {"tomorrow", "centred"}
    bars = {f.label for f in found if f.name == "tomorrow"}
    assert "bar +1" in bars
    assert all("seen the future" in f.message for f in found)


def test_a_faint_leak_of_one_single_bar_stands_out() -> None:
    """One tenth of signal in the noise stays below the plain limit, but no neighbour shares it."""
    panel = random_panel(3, 4000, 20)
    opens = panel["open"]
    values = np.random.default_rng(0).standard_normal(panel.shape).astype(np.float32)
    values[:-4] += 12 * (opens[4:] / opens[3:-1] - 1)
    found = suspicion(values[None], ["smuggled"], panel)
    assert [(f.rule, f.label) for f in found] == [("spike", "bar +3")]
