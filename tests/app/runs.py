"""A run small enough for tests: few instruments, few factors, a linear model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "data": {"source": {"kind": "synthetic", "synthetic": {"seed": 3, "instruments": 8, "days": 75}}},
    "universe": {"top": 6, "min_age_days": 3, "volume_days": 3},
    "factors": [
        {"name": "reversal", "text": "$close/Ref($close,5)-1"},
        {"name": "shock", "text": "Log($volume/Mean($volume,48))"},
        {"name": "trend", "text": "$close/Mean($close,24)-1"},
    ],
    "horizon": 6,
    "smoothing": 3,
    "evaluation": {"horizons": [1, 6]},
    "model": {"kind": "LinearModel", "min_samples": 200},
    "walk_forward": {
        "first_test": "2022-02-20",
        "test_months": None,
        "test_days": 10,
        "train_days": 30,
        "min_train_days": 15,
    },
    "risk": {"max_bars": 240},
    "portfolio": {"top": 3, "min_members": 3},
}


def write_run(path: Path, **changes: Any) -> Path:
    """A small run's YAML file in the folder ``path``, top-level keys replaced by ``changes``."""
    file = path / "run.yaml"
    file.write_text(yaml.safe_dump({**SMALL, "folder": str(path / "run"), **changes}))
    return file
