"""A bundle with any kind of model: live from a window of candles, the bot gets what research stored."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from bascule.data.prepare import prepare
from bascule.evaluate import forward_return
from bascule.factors import Factor
from bascule.models import KINDS, ModelSettings, WalkForwardSettings, folds, sequence, train_walk_forward, zoo
from bascule.signals import Bundle, FactorText, SignalSpec, features, finish, write_bundle
from bascule.signals.compute import with_members
from tests.markets import random_panel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
TEXTS = {
    "mom": "$close / Ref($close, 12) - 1",
    "rev": "$close / Mean($close, 5)",
    "vol": "Std($close, 8) / $close",
}
STEPS = 4


def _bundle(kind: str, folder: Path) -> tuple[Bundle, object]:
    steps = STEPS if KINDS[kind].extra == "torch" else 1
    factors = sequence([Factor(name, text) for name, text in TEXTS.items()], steps)
    spec = SignalSpec.read(
        {
            "timeframe": "4h",
            "horizon": 3,
            "factors": tuple(FactorText(name=one.name, text=one.text) for one in factors),
            "smoothing": 2,
            "universe": {"top": 8, "volume_days": 3, "min_age_days": 2},
            "risk": {
                "volatility_days": 3, "half_life_days": 1, "beta_days": 4, "illiquidity_days": 3,
                "history_days": 4, "trend_days": 2,
            },
            "portfolio": {"top": 3, "min_members": 3},
        }
    )  # fmt: skip
    raw = random_panel(3, 700, 10, timeframe="4h", missing=0.01)
    panel = with_members(prepare(raw), spec)
    values = features(panel, spec)
    walk = WalkForwardSettings(
        first_test=date(2021, 3, 15), test_days=20, test_months=None, train_days=60, min_train_days=20
    )
    settings = ModelSettings(
        kind=kind, params=zoo.brief(kind), steps=steps, min_samples=200, threads=1, device="cpu"
    )
    got = train_walk_forward(
        values, spec.names, forward_return(panel, 3), panel, folds(panel.time, walk, 3), settings,
        folder / "folds", seed=1,
    )  # fmt: skip
    bundle = write_bundle(
        folder / "bundles",
        spec=spec,
        panel=panel,
        signals=finish(panel, got.values, spec, model_id=got.model_id),
        models=[got.folder / fold for fold in got.folds],
        data_fingerprint=panel.fingerprint(),
        created=raw.time[-1],
    )
    return bundle, raw


def _check(kind: str, folder: Path) -> None:
    written, raw = _bundle(kind, folder)
    bundle = Bundle.open(written.path)
    stored = bundle.signals
    for stop in (560, 640, 700):
        window = raw.rows(stop - bundle.lookback - 3, stop)
        live = bundle.live(window)
        rows = np.searchsorted(stored.time, live.time)
        assert len(rows) == 3
        assert np.array_equal(stored.time[rows], live.time)
        for name in ("alpha", "alpha_rank", "target_weight"):
            ours, theirs = getattr(live, name), getattr(stored, name)[rows]
            assert np.allclose(ours, theirs, rtol=0, atol=1e-6, equal_nan=True)
        assert np.isfinite(live.alpha).any()
        assert list(live.model_id) == list(stored.model_id[rows])


def test_live_signals_are_the_stored_ones(tmp_path: Path) -> None:
    _check("XGBModel", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["TransformerModel_ts", "CatBoostModel", "DEnsembleModel", "GATs_ts", "TabnetModel", "TemporalFusion"],
)
def test_live_signals_of_further_kinds_are_the_stored_ones(kind: str, tmp_path: Path) -> None:
    _check(kind, tmp_path)
