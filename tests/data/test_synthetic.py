"""The synthetic market: reproducible, consistent, and with the alphas in it that it says it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import ConfigError, Panel
from bascule.data.planted import PLANTED, Bars, PlantedAlpha
from bascule.data.synthetic import SyntheticMarket, SyntheticSettings, generate

SMALL: dict[str, Any] = {"instruments": 16, "days": 120, "seed": 3, "missing": 0.002}


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return generate(SyntheticSettings(**SMALL))


def ic(market: SyntheticMarket, alpha: PlantedAlpha) -> tuple[float, float]:
    """Mean cross-sectional IC at the alpha's horizon, and its t from blocks longer than the horizon."""
    panel = Panel.from_long(market.frame, market.timeframe)
    bars = Bars(*(panel[name].astype(float) for name in ("open", "high", "low", "close", "volume")))
    h = alpha.horizon
    series = []
    for t in range(alpha.window - 1, len(panel.time) - 1 - h):
        with np.errstate(divide="ignore", invalid="ignore"):
            value = alpha.value(bars, t)
        later = bars.open[t + 1 + h] / bars.open[t + 1] - 1
        both = np.isfinite(value) & np.isfinite(later)
        if both.sum() >= 5:
            series.append(np.corrcoef(value[both], later[both])[0, 1])
    blocks = np.array([np.mean(part) for part in np.array_split(series, len(series) // (4 * h))])
    return float(np.mean(series)), float(blocks.mean() / blocks.std(ddof=1) * np.sqrt(len(blocks)))


def test_same_settings_same_market_and_another_seed_another(market: SyntheticMarket) -> None:
    again = generate(SyntheticSettings(**SMALL))
    pd.testing.assert_frame_equal(market.frame, again.frame)
    other = generate(SyntheticSettings(**{**SMALL, "seed": 4}))
    assert not np.array_equal(market.frame["close"].head(100), other.frame["close"].head(100))


def test_frame_is_canonical(market: SyntheticMarket) -> None:
    frame = market.frame
    assert str(frame["time"].dtype) == "datetime64[ns, UTC]"
    assert (frame.dtypes.drop(["time", "instrument"]) == np.float32).all()
    ordered = frame.sort_values(["instrument", "time"], ignore_index=True)
    pd.testing.assert_frame_equal(frame, ordered)
    assert not frame.duplicated(["time", "instrument"]).any()
    assert all(name.startswith("SYN") for name in frame["instrument"].unique())


def test_candles_are_possible(market: SyntheticMarket) -> None:
    f = market.frame
    assert (f["low"] > 0).all()
    assert (f["high"] >= f[["open", "close"]].max(axis=1)).all()
    assert (f["low"] <= f[["open", "close"]].min(axis=1)).all()
    quiet = f[f["volume"] == 0]
    assert 0 < len(quiet) < 0.01 * len(f)
    assert (quiet["high"] == quiet["low"]).all()
    assert np.isfinite(f[["open", "high", "low", "close", "volume"]].to_numpy()).all()


def test_late_listings_delistings_and_holes(market: SyntheticMarket) -> None:
    panel = Panel.from_long(market.frame, market.timeframe)
    first = panel.traded.argmax(axis=0)
    last = len(panel.time) - 1 - panel.traded[::-1].argmax(axis=0)
    assert (first > 0).sum() == round(0.25 * 16)
    assert (last < len(panel.time) - 1).sum() == round(0.1 * 16)
    inside = np.arange(len(panel.time))[:, None]
    inside = (inside >= first) & (inside <= last)
    assert 0 < (inside & ~panel.traded).sum() < 0.01 * inside.sum()


def test_returns_have_the_character_of_crypto(market: SyntheticMarket) -> None:
    wide = market.frame.pivot(index="time", columns="instrument", values="close").dropna(axis=1, thresh=2_500)
    moves = np.log(wide).diff().dropna()
    kurtosis = ((moves / moves.std()) ** 4).mean()
    assert kurtosis.median() > 5  # a normal has 3
    size = moves.abs()
    assert np.mean([size[c].autocorr(24) for c in size]) > 0.03  # clusters
    assert moves.corr().to_numpy()[np.triu_indices(moves.shape[1], 1)].mean() > 0.15  # a market factor
    by_hour = size.groupby(size.index.hour).mean().mean(axis=1)
    assert by_hour[13:18].mean() > 1.2 * by_hour[1:6].mean()  # a season
    magnitude = np.log10(wide.median())
    assert magnitude.max() - magnitude.min() > 4


def test_volume_goes_with_moves(market: SyntheticMarket) -> None:
    one = market.frame[market.frame["instrument"] == "SYNBTC_USDT"]
    move = np.log(one["close"] / one["open"]).abs()
    assert move.corr(np.log(one["quote_volume"].clip(lower=1)), method="spearman") > 0.2


@pytest.mark.parametrize("alpha", PLANTED, ids=lambda a: a.name)
def test_planted_alpha_is_there_and_is_not_without_strength(alpha: PlantedAlpha) -> None:
    settings = {"instruments": 20, "days": 240, "seed": 11, "strength": 2.0}
    mean, t = ic(_cached(**settings), alpha)
    assert np.sign(mean) == alpha.sign
    assert abs(t) > 4
    assert 0.03 < abs(mean) < 0.15
    null, t = ic(_cached(**{**settings, "strength": 0.0}), alpha)
    assert abs(t) < 3
    assert abs(null) < 0.02


_MARKETS: dict[str, SyntheticMarket] = {}


def _cached(**settings: Any) -> SyntheticMarket:
    key = repr(settings)
    if key not in _MARKETS:
        _MARKETS[key] = generate(SyntheticSettings(**settings))
    return _MARKETS[key]


def test_formulas_look_back_only_as_far_as_they_say() -> None:
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (400, 6)), axis=0))
    bars = Bars(close, close * 1.01, close * 0.99, close, rng.lognormal(size=close.shape))
    for alpha in PLANTED:
        t = 300
        full = alpha.value(bars, t)
        hidden = Bars(*(np.full_like(close, np.nan) for _ in range(5)))
        rows = slice(t - alpha.window + 1, t + 1)
        for name in ("open", "high", "low", "close", "volume"):
            getattr(hidden, name)[rows] = getattr(bars, name)[rows]
        np.testing.assert_array_equal(alpha.value(hidden, t), full)
        assert np.isfinite(full).all()


def test_nothing_is_planted_without_strength() -> None:
    market = generate(SyntheticSettings(instruments=4, days=12, strength=0))
    assert market.planted == ()


def test_futures_have_funding_at_settlements_and_mark() -> None:
    market = generate(SyntheticSettings(instruments=4, days=12, market="futures"))
    frame = market.frame
    assert set(frame["instrument"]) <= {"SYNBTC_USDT_USDT", *(f"SYN{i:02d}_USDT_USDT" for i in range(4))}
    settles = frame["time"].dt.hour % 8 == 0
    assert frame.loc[settles, "funding_rate"].notna().all()
    assert frame.loc[~settles, "funding_rate"].isna().all()
    assert (np.abs(frame["mark"] / frame["close"] - 1) < 0.01).all()


def test_lasting_differences_in_funding_leave_the_rest_as_it_is() -> None:
    settings = SyntheticSettings(instruments=12, days=200, market="futures", late=0, delisted=0)
    plain = generate(settings).frame
    found = generate(settings.model_copy(update={"carry": 0.6})).frame
    rest = [name for name in plain if name != "funding_rate"]
    pd.testing.assert_frame_equal(plain[rest], found[rest])
    a_year = 3 * 365 * found.groupby("instrument")["funding_rate"].mean()
    before = 3 * 365 * plain.groupby("instrument")["funding_rate"].mean()
    assert before.std() < 0.05 and 0.1 < a_year.std() < 0.6


@pytest.mark.parametrize("timeframe", ["15m", "4h", "1d"])
def test_other_timeframes(timeframe: str) -> None:
    market = generate(SyntheticSettings(instruments=5, days=30, timeframe=timeframe))
    panel = Panel.from_long(market.frame, market.timeframe)
    assert len(panel.time) == 30 * panel.timeframe.bars_a_day
    daily = np.nanstd(np.diff(np.log(panel["close"]), axis=0)) * np.sqrt(panel.timeframe.bars_a_day)
    assert 0.01 < daily < 0.2


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than"):
        SyntheticSettings.read({"instruments": 400, "days": 5_000})
    with pytest.raises(ConfigError, match="unknown timeframe"):
        SyntheticSettings.read({"timeframe": "hourly"})
    with pytest.raises(ConfigError, match="did you mean 'strength'"):
        SyntheticSettings.read({"strenght": 1})
