"""Sample weights reach every kind that says it takes them, and change what it learns."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from bascule.core import ConfigError
from bascule.models import KINDS, ModelSettings, WalkForwardSettings, WeightSettings, folds, zoo
from bascule.models import train_walk_forward as train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
WALK = WalkForwardSettings(first_test=date(2021, 4, 1), train_days=80, min_train_days=30, valid_share=0.3)
WEIGHTED = sorted(name for name, kind in KINDS.items() if kind.weighted and kind.extra != "torch")
NETS = sorted(name for name, kind in KINDS.items() if kind.weighted and kind.extra == "torch")


def _brief(kind: str) -> dict:
    return {"include_valid": False} if kind == "LinearModel" else zoo.brief(kind)


def _differs(kind: str, folder: Path) -> None:
    values, label, panel = zoo.small_market(*((3, 3) if KINDS[kind].extra == "torch" else (3, 1)))
    names = [f"f{i}" for i in range(len(values))]
    # the first half of the history teaches the opposite: who forgets it quickly learns the truth
    label = label.copy()
    half = int(np.searchsorted(panel.time, np.datetime64("2021-02-10")))
    label[:half] *= -1
    found = folds(panel.time, WALK, 2)[:1]
    scores = {}
    for name, weights in (("plain", WeightSettings()), ("weighted", WeightSettings(half_life_days=4))):
        settings = ModelSettings(
            kind=kind, params=_brief(kind), steps=len(values) // 3, weights=weights, min_samples=200,
            max_samples=4_000, threads=1, device="cpu",
        )  # fmt: skip
        got = train(values, names, label, panel, found, settings, folder / name, seed=1)
        known = np.isfinite(got.values) & np.isfinite(label)
        scores[name] = float(np.corrcoef(got.values[known], label[known])[0, 1])
    assert scores["weighted"] > scores["plain"] + 0.03


@pytest.mark.parametrize("kind", WEIGHTED)
def test_recent_samples_count_more(kind: str, tmp_path: Path) -> None:
    _differs(kind, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETS)
def test_recent_samples_count_more_in_networks(kind: str, tmp_path: Path) -> None:
    _differs(kind, tmp_path)


def test_a_kind_without_weights_refuses_them(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1)
    settings = ModelSettings(kind="DEnsembleModel", weights=WeightSettings(uniqueness=True))
    with pytest.raises(ConfigError, match="takes no sample weights"):
        train(values, ["a", "b", "c"], label, panel, folds(panel.time, WALK, 2), settings, tmp_path, seed=1)
