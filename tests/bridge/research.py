"""A small piece of research, from candles to a bundle, shared by the tests of signals and bridge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from bascule.core import Instrument, Panel
from bascule.core.panel import FloatArray
from bascule.data.export import to_freqtrade
from bascule.data.store import Store
from bascule.signals import Bundle, FactorText, SignalFrame, SignalSpec, features, finish, write_bundle
from bascule.signals.compute import with_members
from tests.bridge.panels import START, market

if TYPE_CHECKING:
    from bascule.models import ModelSettings

FACTORS = (
    ("momentum", "$close / Ref($close, 12) - 1"),
    ("reversal", "1 - $close / Mean($close, 5)"),
    ("range", "Mean(($high - $low) / $close, 8)"),
    ("flow", "$volume / Mean($volume, 24)"),
    ("gap", "$vwap / $close - 1"),
)
DAYS = 100


@dataclass(frozen=True)
class Research:
    """Everything between raw candles and the bundle."""

    raw: Panel
    panel: Panel
    spec: SignalSpec
    features: FloatArray
    signals: SignalFrame
    models: tuple[Path, ...]
    bundle: Bundle
    datadir: Path


def holes(panel: Panel) -> Panel:
    """A few quiet candles (no volume, flat), some missing ones, and one late listing."""
    rng = np.random.default_rng(11)
    fields = {name: values.copy() for name, values in panel.fields.items()}
    quiet = rng.random(panel.shape) < 0.004
    for name in ("open", "high", "low", "close"):
        before = np.vstack([fields["close"][:1], fields["close"][:-1]])
        fields[name][quiet] = before[quiet]
    fields["volume"][quiet] = 0
    missing = rng.random(panel.shape) < 0.004
    missing[:600, 2] = True  # listed on the 26th day
    for values in fields.values():
        values[missing] = np.nan
    listed = panel.listed.copy()
    listed[2] = panel.time[np.flatnonzero(~missing[:, 2])[0]]
    return Panel(panel.timeframe, panel.time, panel.instruments, fields, listed)


def spec(kind: str, **changes: Any) -> SignalSpec:
    """A recipe for the small market."""
    values: dict[str, Any] = {
        "market": kind,
        "horizon": 6,
        "factors": tuple(FactorText(name=name, text=text) for name, text in FACTORS),
        "smoothing": 2,
        "universe": {"top": 5, "volume_days": 3, "min_age_days": 2},
        "risk": {
            "volatility_days": 3,
            "half_life_days": 1,
            "beta_days": 4,
            "illiquidity_days": 3,
            "history_days": 4,
            "trend_days": 2,
        },
        "portfolio": {"top": 3, "min_members": 3, "side": "long" if kind == "spot" else "long_short"},
        "rules": {"entry_rank": 0.75, "exit_rank": 0.5},
    }
    return SignalSpec.read(values | changes)


def build(
    folder: Path,
    kind: str,
    start: np.datetime64 = START,
    days: int = DAYS,
    candles: Panel | None = None,
    model: ModelSettings | None = None,
    **changes: Any,
) -> Research:
    """Candles, features, walk-forward models of 20 days each, signals, bundle, and freqtrade's files.

    ``candles``: the raw ones; default a small market drawn from a seed.
    ``model``: the learner; default a few trees.
    """
    from bascule.evaluate import forward_return
    from bascule.models import ModelSettings, WalkForwardSettings, folds, train_walk_forward

    raw = candles if candles is not None else holes(market(24 * days, futures=kind == "futures", start=start))
    recipe = spec(kind, **changes)
    store = Store.create(folder / "store")
    store.write(long(raw), raw.timeframe)
    store.build_provider(raw.timeframe)
    to_freqtrade(store, raw.timeframe, folder / "data", market=recipe.market)
    panel = with_members(store.panel(raw.timeframe), recipe)
    values = features(panel, recipe)
    walk = WalkForwardSettings(
        first_test=(start + np.timedelta64(40, "D")).astype("datetime64[D]").item(),
        test_months=None,
        test_days=20,
        train_days=None,
        min_train_days=10,
    )
    predicted = train_walk_forward(
        values,
        recipe.names,
        forward_return(panel, recipe.horizon),
        panel,
        folds(panel.time, walk, recipe.horizon),
        model or ModelSettings(params={"num_boost_round": 20}, threads=1, min_samples=200),
        folder / "folds",
        seed=3,
    )
    signals = finish(panel, predicted.values, recipe, model_id=predicted.model_id)
    models = tuple(predicted.folder / fold for fold in predicted.folds)
    bundle = write_bundle(
        folder / "bundles",
        spec=recipe,
        panel=panel,
        signals=signals,
        models=models,
        data_fingerprint=store.fingerprint(raw.timeframe),
        created=raw.time[-1],
    )
    return Research(raw, panel, recipe, values, signals, models, bundle, folder / "data")


def long(panel: Panel) -> pd.DataFrame:
    """The canonical long frame of a raw panel; futures with a mark price and funding every eight hours."""
    t, n = np.nonzero(np.isfinite(panel["close"]))
    frame = pd.DataFrame(
        {
            "time": pd.DatetimeIndex(panel.time[t]).tz_localize("UTC"),
            "instrument": np.array(panel.instruments)[n],
            **{name: values[t, n] for name, values in panel.fields.items()},
        }
    )
    if Instrument.parse(panel.instruments[0]).is_future:
        settled = frame["time"].dt.hour % 8 == 0
        frame["funding_rate"] = np.where(settled, np.float32(0.0001), np.float32(np.nan))
        frame["mark"] = frame["close"]
    return frame.sort_values(["instrument", "time"], ignore_index=True)


_STASH: pytest.StashKey[dict[str, Research]] = pytest.StashKey()


def shared(request: pytest.FixtureRequest, factory: pytest.TempPathFactory, kind: str) -> Research:
    """The research of this test session, built once."""
    stash = request.config.stash
    if _STASH not in stash:
        stash[_STASH] = {}
    if kind not in stash[_STASH]:
        stash[_STASH][kind] = build(factory.mktemp(f"research_{kind}"), kind)
    return stash[_STASH][kind]
