"""FreqAI's feature time: Alpha158 from our engine against the same features written the stock way.

    python benchmarks/freqtrade.py freqai

Both go through FreqAI's own `FreqaiDataKitchen.use_strategy_to_populate_indicators`, pair by pair, in one
process, taking turns. The stock strategy computes the 158 features with pandas and TA-Lib inside
``feature_engineering_expand_all`` (rolling ones, which FreqAI expands over the windows 5, 10, 20, 30, 60) and
``feature_engineering_expand_basic`` (the rest). Ours has the library ``alpha158`` by name. Printed are CPU
seconds of all pairs (medians over rounds), the ratio, and how many features agree. IMAX, IMIN and IMXD do
not wherever highs or lows are equal: qlib counts the first of them, TA-Lib the last.
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import talib.abstract as ta
from freqtrade.enums import RunMode
from freqtrade.freqai.data_kitchen import FreqaiDataKitchen
from freqtrade.strategy import IStrategy

from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.freqai import BasculeFreqaiModel, FreqaiFactorStrategy, FreqaiRecipe
from bascule.bridge.freqtrade.freqai.runs import Schedule, configure
from bascule.core import Instrument
from bascule.data.synthetic import SyntheticSettings, generate

WINDOWS = (5, 10, 20, 30, 60)
TINY = 1e-12
LIVE = 1_000  # candles of a live window
Frames = dict[str, pd.DataFrame]


class Stock(IStrategy):
    """Alpha158 as a FreqAI user writes it: vectorised pandas, TA-Lib where it has the function."""

    timeframe = "1h"

    def feature_engineering_expand_all(
        self, dataframe: pd.DataFrame, period: int, metadata: dict[str, Any], **kwargs: Any
    ) -> pd.DataFrame:
        """The 29 rolling features of one window."""
        c, h, low, v = (dataframe[name] for name in ("close", "high", "low", "volume"))
        before = c.shift(1)
        top, bottom = ta.MAX(h, period), ta.MIN(low, period)
        place = pd.Series(np.arange(len(c), dtype=float), c.index)
        first = place - period
        high_at = ta.MAXINDEX(h, period) - first
        low_at = ta.MININDEX(low, period) - first
        move, change = c - before, v - v.shift(1)
        up, down = move.clip(lower=0).rolling(period).sum(), (-move).clip(lower=0).rolling(period).sum()
        path = move.abs().rolling(period).sum() + TINY
        rise, fall = change.clip(lower=0).rolling(period).sum(), (-change).clip(lower=0).rolling(period).sum()
        flow = change.abs().rolling(period).sum() + TINY
        more, less = (c > before).rolling(period).mean(), (c < before).rolling(period).mean()
        weight = (c / before - 1).abs() * v
        found = {
            "ROC": c.shift(period) / c,
            "MA": c.rolling(period).mean() / c,
            "STD": c.rolling(period).std() / c,
            "BETA": ta.LINEARREG_SLOPE(c, period) / c,
            "RSQR": ta.CORREL(c, place, period) ** 2,
            "RESI": (c - ta.LINEARREG(c, period)) / c,
            "MAX": top / c,
            "MIN": bottom / c,
            "QTLU": c.rolling(period).quantile(0.8) / c,
            "QTLD": c.rolling(period).quantile(0.2) / c,
            "RANK": c.rolling(period).rank(pct=True),
            "RSV": (c - bottom) / (top - bottom + TINY),
            "IMAX": high_at / period,
            "IMIN": low_at / period,
            "IMXD": (high_at - low_at) / period,
            "CORR": c.rolling(period).corr(np.log(v + 1)),
            "CORD": (c / before).rolling(period).corr(np.log(v / v.shift(1) + 1)),
            "CNTP": more,
            "CNTN": less,
            "CNTD": more - less,
            "SUMP": up / path,
            "SUMN": down / path,
            "SUMD": (up - down) / path,
            "VMA": v.rolling(period).mean() / (v + TINY),
            "VSTD": v.rolling(period).std() / (v + TINY),
            "WVMA": weight.rolling(period).std() / (weight.rolling(period).mean() + TINY),
            "VSUMP": rise / flow,
            "VSUMN": fall / flow,
            "VSUMD": (rise - fall) / flow,
        }
        named = pd.DataFrame({f"%-{name}-period": value for name, value in found.items()})
        return pd.concat([dataframe, named], axis=1)

    def feature_engineering_expand_basic(
        self, dataframe: pd.DataFrame, metadata: dict[str, Any], **kwargs: Any
    ) -> pd.DataFrame:
        """The 13 features of a single candle."""
        o, h, low, c = (dataframe[name] for name in ("open", "high", "low", "close"))
        span, high, bottom = h - low + TINY, np.maximum(o, c), np.minimum(o, c)
        found = {
            "KMID": (c - o) / o,
            "KLEN": (h - low) / o,
            "KMID2": (c - o) / span,
            "KUP": (h - high) / o,
            "KUP2": (h - high) / span,
            "KLOW": (bottom - low) / o,
            "KLOW2": (bottom - low) / span,
            "KSFT": (2 * c - h - low) / o,
            "KSFT2": (2 * c - h - low) / span,
            "OPEN0": o / c,
            "HIGH0": h / c,
            "LOW0": low / c,
            "VWAP0": (h + low + c) / 3 / c,
        }
        return pd.concat([dataframe, pd.DataFrame({f"%-{k}": v for k, v in found.items()})], axis=1)

    def feature_engineering_standard(
        self, dataframe: pd.DataFrame, metadata: dict[str, Any], **kwargs: Any
    ) -> pd.DataFrame:
        """Nothing further."""
        return dataframe

    def populate_indicators(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Not called here."""
        return dataframe


def market(pairs: int, days: int) -> Frames:
    """Candles without holes, as freqtrade serves them."""
    settings = SyntheticSettings(
        instruments=pairs, days=days, late=0, delisted=0, missing=0, quiet=0, sectors=min(5, pairs)
    )
    frame = generate(settings).frame
    found = {}
    for name, part in frame.groupby("instrument", observed=True):
        columns = {
            field: part[field].to_numpy(np.float64) for field in ("open", "high", "low", "close", "volume")
        }
        date = pd.DatetimeIndex(part["time"]).as_unit("ms")
        found[Instrument.parse(str(name)).pair] = pd.DataFrame({"date": date, **columns})
    return found


def config(frames: Frames, folder: Path, factors: list[str], periods: tuple[int, ...]) -> dict[str, Any]:
    """A backtest's configuration over all candles but the training window."""
    recipe = FreqaiRecipe.read(
        {"pairs": list(frames), "factors": factors, "universe": {"volume_days": 1, "min_age_days": 0}}
    )
    schedule = Schedule(identifier="bench", train_days=10, retrain_days=7, periods=periods)
    values = configure(recipe, schedule, TradeSettings(), exchange={"name": "binance"})
    dates = next(iter(frames.values()))["date"]
    span = [int(one.timestamp()) for one in (dates.iloc[0] + pd.Timedelta(days=20), dates.iloc[-1])]
    (folder / "config.json").write_text("{}")
    return {
        **values,
        "runmode": RunMode.BACKTEST,
        "user_data_dir": folder,
        "datadir": folder,
        "timerange": "-".join(map(str, span)),
        "config_files": [folder / "config.json"],
        "candle_type_def": "spot",
    }


def provider(frames: Frames) -> Any:
    """As much of a data provider as features need."""
    return SimpleNamespace(runmode=RunMode.BACKTEST, historic_ohlcv=lambda pair, _: frames[pair].copy())


def stock_features(frames: Frames, folder: Path) -> Callable[[], Frames]:
    """Run FreqAI over all pairs with the stock strategy."""
    values = config(frames, folder, ["alpha158"], WINDOWS)
    strategy = Stock(values)
    strategy.dp = provider(frames)

    def run() -> Frames:
        found = {}
        for pair, frame in frames.items():
            kitchen = FreqaiDataKitchen(values, False, pair)
            found[pair] = kitchen.use_strategy_to_populate_indicators(
                strategy, prediction_dataframe=frame, pair=pair
            )
        return found

    return run


def our_features(frames: Frames, folder: Path) -> Callable[[], Frames]:
    """Run FreqAI over all pairs with our strategy."""
    values = config(frames, folder, ["alpha158"], (1,))
    strategy = FreqaiFactorStrategy(values)
    strategy.dp = provider(frames)
    model = strategy.freqai = BasculeFreqaiModel(values)

    def run() -> Frames:
        model._view = None  # as for a new candle
        found = {}
        for pair, frame in frames.items():
            kitchen = FreqaiDataKitchen(values, False, pair)
            found[pair] = kitchen.use_strategy_to_populate_indicators(
                strategy, prediction_dataframe=frame, pair=pair
            )
        return found

    return run


def agreement(stock: Frames, ours: Frames) -> tuple[int, int, str]:
    """Features that agree (999 of 1000 cells within 1e-3 of the feature's spread), of how many; the worst."""
    pair = next(iter(stock))
    left, right = stock[pair].iloc[200:], ours[pair].iloc[200:]
    names = [name for name in right if name.startswith("%-")]
    good, worst = 0, ("", 0.0)
    for name in names:
        plain = name.removeprefix("%-")
        letters = plain.rstrip("0123456789")
        window = plain[len(letters) :]
        rolling = f"%-{letters}-period_{window}_{pair}_1h"
        other = left[rolling if rolling in left else f"%-{plain}_gen_{pair}_1h"].to_numpy(np.float64)
        mine = right[name].to_numpy(np.float64)
        both = np.isfinite(other) & np.isfinite(mine)
        spread = float(np.std(other[both])) or 1.0
        share = float((np.abs(other[both] - mine[both]) > 1e-3 * spread).mean())
        good += share <= 1e-3 and both.mean() > 0.95
        worst = max(worst, (plain, share), key=lambda one: one[1])
    return good, len(names), f"{worst[0]} ({worst[1]:.1%} of cells differ)"


def measure(ways: dict[str, Callable[[], Frames]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each way, taking turns."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.process_time()
            way()
            spent[name].append(time.process_time() - begin)
    return {name: float(np.median(values)) for name, values in spent.items()}


def compare(pairs: int, days: int, rounds: int) -> None:
    """Measure and print."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    print(", ".join(f"{name} {version(name)}" for name in ("freqtrade", "pandas", "TA-Lib", "numpy")))
    whole = market(pairs, days)
    recent = {pair: frame.tail(LIVE).reset_index(drop=True) for pair, frame in whole.items()}
    with tempfile.TemporaryDirectory() as folder:
        for label, frames in (("backtest", whole), ("live, one candle", recent)):
            place = Path(folder) / label.partition(",")[0]
            (place / "stock").mkdir(parents=True)
            (place / "ours").mkdir()
            ways = {
                "stock": stock_features(frames, place / "stock"),
                "ours": our_features(frames, place / "ours"),
            }
            if label == "backtest":
                good, total, worst = agreement(ways["stock"](), ways["ours"]())
                print(f"{good} of {total} features agree; farthest: {worst}")
            found = measure(ways, rounds)
            rows = len(next(iter(frames.values())))
            print(
                f"{label}: {pairs} pairs x {rows} candles x 158 features: stock {found['stock']:.2f} CPU s, "
                f"ours {found['ours']:.2f} CPU s, ratio {found['stock'] / found['ours']:.1f}"
            )
