"""Membership uses the past only, on one grid, the same bits on every window that covers the look-back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.core import ConfigError, Panel, Timeframe, UniverseError
from bascule.data.prepare import prepare
from bascule.data.synthetic import SyntheticSettings, generate
from bascule.data.universe import UniverseSettings, excluded, lookback, membership, tiers

HOUR = Timeframe.parse("1h")


def build(volumes: np.ndarray, names: tuple[str, ...] | None = None, timeframe: str = "1d") -> Panel:
    """A panel of price 1 whose dollar volumes are given ``[T, N]``; NaN = no candle."""
    frame = Timeframe.parse(timeframe)
    time = np.datetime64("2024-01-01", "ns") + np.arange(len(volumes)) * frame.delta
    values = volumes.astype(np.float32)
    close = np.where(np.isfinite(values), np.float32(1), np.float32(np.nan))
    ids = names or tuple(f"C{n}_USDT" for n in range(volumes.shape[1]))
    first = time[np.isfinite(values).argmax(axis=0)]
    return Panel(frame, time, ids, {"close": close, "volume": values}, first)


def plain(panel: Panel, s: UniverseSettings) -> np.ndarray:
    """The rules of the module, read row by row."""
    out = np.zeros(panel.shape, bool)
    closed = panel.time + panel.timeframe.delta
    for t, now in enumerate(panel.time):
        day = int(now.astype("datetime64[D]").astype(int))
        instant = np.datetime64(day - day % s.rebalance_days, "D").astype("datetime64[ns]")
        score = {}
        for n, name in enumerate(panel.instruments):

            def traded(since: int, n: int = n, instant: np.datetime64 = instant) -> float:
                rows = (closed <= instant) & (panel.time >= instant - np.timedelta64(since, "D"))
                values = panel["close"][rows, n].astype(float) * panel["volume"][rows, n]
                return float(np.nansum(values))

            old = instant - panel.listed[n] >= np.timedelta64(s.min_age_days, "D")
            if old and traded(1) > 0 and not excluded(name, s):
                score[n] = traded(s.volume_days)
        for n in sorted(score, key=lambda n: (-score[n], n))[: s.top]:
            out[t, n] = np.isfinite(panel["close"][t, n])
    return out


@pytest.fixture(scope="module")
def panel() -> Panel:
    market = generate(SyntheticSettings(instruments=12, days=45, late=0.4, delisted=0.2, missing=0.01))
    return prepare(Panel.from_long(market.frame, HOUR))


@pytest.mark.parametrize(
    "choice",
    [
        {"top": 4, "volume_days": 5, "min_age_days": 3},
        {"top": 4, "volume_days": 5, "min_age_days": 0, "rebalance_days": 7},
        {"volume_days": 1, "min_age_days": 10, "rebalance_days": 3},
        {"top": 1, "volume_days": 30, "min_age_days": 0, "exclude": ("SYNBTC",)},
    ],
)
def test_the_rules_read_plainly(panel: Panel, choice: dict[str, object]) -> None:
    s = UniverseSettings.read(choice)
    np.testing.assert_array_equal(membership(panel, s), plain(panel, s))


@settings(max_examples=40, deadline=None)
@given(
    start=st.integers(0, 800),
    rows=st.integers(1, 300),
    top=st.integers(1, 6),
    volume_days=st.integers(1, 12),
    rebalance_days=st.integers(1, 9),
)
def test_any_window_that_covers_the_lookback_agrees(
    panel: Panel, start: int, rows: int, top: int, volume_days: int, rebalance_days: int
) -> None:
    s = UniverseSettings(top=top, volume_days=volume_days, rebalance_days=rebalance_days, min_age_days=2)
    whole = membership(panel, s)
    need = lookback(s, HOUR)
    window = panel.rows(start, start + need + rows)
    inside = whole[start + need : start + need + rows]
    if inside.any():
        np.testing.assert_array_equal(membership(window, s)[need:], inside)


def test_the_lookback_is_not_longer_than_needed() -> None:
    s = UniverseSettings(top=1, volume_days=2, rebalance_days=2, min_age_days=0)
    volumes = np.ones((9, 2))
    volumes[2] = 10, 1  # counts until the end of the last row of the instant of day 4
    days = build(volumes)
    offset = int(days.time[0].astype("datetime64[D]").astype(int)) % 2
    t = 5 - offset  # the last row before the next instant
    need = lookback(s, days.timeframe)
    assert need == 3
    whole = membership(days, s)
    np.testing.assert_array_equal(membership(days.rows(t - need, t + 1), s)[-1], whole[t])


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(30, 1_050))
def test_appended_rows_change_nothing_earlier(panel: Panel, cut: int) -> None:
    s = UniverseSettings(top=3, volume_days=4, min_age_days=0)
    whole = membership(panel, s)
    if whole[:cut].any():
        np.testing.assert_array_equal(membership(panel.rows(0, cut), s), whole[:cut])


def test_the_top_changes_at_the_next_day_only() -> None:
    volumes = np.array([[3.0, 2, 1]] * 4 + [[1.0, 2, 30]] + [[3.0, 2, 1]] * 3)
    members = membership(build(volumes), UniverseSettings(top=1, volume_days=1, min_age_days=0))
    assert members.argmax(axis=1)[1:].tolist() == [0, 0, 0, 0, 2, 0, 0]
    assert not members[0].any()  # nothing is known yet


def test_equal_volumes_go_by_name() -> None:
    members = membership(build(np.ones((5, 4))), UniverseSettings(top=2, volume_days=1, min_age_days=0))
    np.testing.assert_array_equal(members[2], [True, True, False, False])


def test_delisted_coins_leave_and_stay_in_history() -> None:
    volumes = np.ones((10, 2))
    volumes[5:, 0] = np.nan
    volumes[:, 0] *= 9
    members = membership(build(volumes), UniverseSettings(top=1, volume_days=5, min_age_days=0))
    np.testing.assert_array_equal(members[1:5, 0], True)
    assert not members[5:, 0].any()
    # the place is empty on the day of the delisting (nobody knew), and taken the day after
    assert members[:, 1].tolist() == [False] * 6 + [True] * 4


def test_age_counts_from_the_first_candle_ever() -> None:
    volumes = np.ones((20, 2))
    volumes[:5, 1] = np.nan
    s = UniverseSettings(volume_days=2, min_age_days=7)
    days = build(volumes)
    members = membership(days, s)
    assert members.argmax(axis=0).tolist() == [7, 12]
    late = days.rows(10, None)  # keeps `listed`
    np.testing.assert_array_equal(membership(late, s)[3:], members[13:])


def test_exclusions() -> None:
    s = UniverseSettings(exclude=("XMR", "ZEC_USDT"))
    for name in ("USDC_USDT", "EUR_USDT", "BTCUP_USDT", "ETHBEAR_USDT", "BULL_USDT", "SOL3L_USDT", "XMR_BTC"):
        assert excluded(name, s)
    assert excluded("ZEC_USDT", s)
    for name in ("ZEC_BTC", "JUP_USDT", "SYRUP_USDT", "BTC_USDT", "ETH_USDT_USDT", "BULLA_USDT"):
        assert not excluded(name, s)
    for name in ("WBTC_USDT", "STETH_USDT", "PAXG_USDT", "WBETH_ETH"):
        assert excluded(name, s)
        assert not excluded(name, UniverseSettings(exclude_wrapped=False))
    open_to_all = UniverseSettings(exclude_stable=False, exclude_leveraged=False)
    assert not excluded("USDC_USDT", open_to_all)
    assert not excluded("BTCUP_USDT", open_to_all)


def test_the_least_dollar_volume() -> None:
    volumes = np.tile([[10.0, 30.0, 20.0]], (9, 1))
    s = UniverseSettings(volume_days=3, min_age_days=0, min_dollar_volume=20)
    members = membership(build(volumes), s)
    assert members[5].tolist() == [False, True, True]
    assert not members[1].any()  # one day of three
    assert members[2].tolist() == [False, True, False]
    assert members[3].tolist() == [False, True, True]


def test_tiers_divide_the_members_by_volume(panel: Panel) -> None:
    s = UniverseSettings(top=7, volume_days=5, min_age_days=3)
    members = membership(panel, s)
    found = tiers(panel, s, [2, 3])
    np.testing.assert_array_equal(found > 0, members)
    # the first tier is the universe of the two largest, the first two tiers that of the five largest
    for top, tier in ((2, 1), (5, 2)):
        best = membership(panel, s.model_copy(update={"top": top}))
        np.testing.assert_array_equal((found > 0) & (found <= tier), best)
    assert found.max() == 3
    need = lookback(s, HOUR)
    np.testing.assert_array_equal(tiers(panel.rows(100, 600), s, [2, 3])[need:], found[100 + need : 600])
    np.testing.assert_array_equal(tiers(panel.rows(0, 500), s, [2, 3]), found[:500])
    for wrong in ([], [0], [2, -1]):
        with pytest.raises(ConfigError, match="sizes"):
            tiers(panel, s, wrong)


def test_an_empty_universe_is_an_error() -> None:
    with pytest.raises(UniverseError, match="0 of 2 are not excluded") as caught:
        membership(build(np.ones((5, 2)), ("DAI_USDT", "USDC_USDT")), UniverseSettings(min_age_days=0))
    assert caught.value.remedy
    with pytest.raises(UniverseError, match="5 days of data"):
        membership(build(np.ones((5, 2))), UniverseSettings(min_age_days=30))


def test_candles_longer_than_a_day_are_refused() -> None:
    with pytest.raises(ConfigError, match="3d candles"):
        lookback(UniverseSettings(), Timeframe.parse("3d"))
    with pytest.raises(ConfigError, match="exclude"):
        UniverseSettings.read({"exclude": ["btc"]})
