"""qlib's linear models: least squares, ridge, lasso, non-negative least squares."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bascule.core.panel import FloatArray
from bascule.models.kind import Float64Array, Kind, Lesson, Predict, shares


class LinearKind(Kind):
    """``LinearModel``; stored as its coefficients."""

    name = "LinearModel"
    prefix = "linear"
    module = "qlib.contrib.model.linear"
    cls = "LinearModel"
    parameters = frozenset({"estimator", "alpha", "fit_intercept", "include_valid"})
    weighted = True
    packages: ClassVar[tuple[str, ...]] = ("pyqlib", "scikit-learn", "numpy")

    def defaults(self, samples: int) -> dict[str, Any]:
        return {"estimator": "ridge", "alpha": samples / 100.0, "fit_intercept": False, "include_valid": True}

    def fit(self, params: Mapping[str, Any], lesson: Lesson, start: Path | None) -> Any:
        from qlib.contrib.model.linear import LinearModel

        from bascule.models.dataset import array_dataset, reweighter

        model = LinearModel(**params)
        model.fit(array_dataset(lesson), reweighter=reweighter(lesson))
        return model

    def save(self, model: Any, folder: Path) -> str:
        content = {
            "coefficients": [float(c) for c in model.coef_],
            "intercept": float(model.intercept_),
        }
        (folder / "model.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        return "model.json"

    def load(self, path: Path) -> Predict:
        weights, intercept = _read(path)

        def predict(features: FloatArray) -> Float64Array:
            # feature by feature, not BLAS: a sample's bits must not depend on the samples beside it
            total = np.full(len(features), intercept)
            for f, weight in enumerate(weights):
                total += weight * features[:, f]
            return total

        return predict

    def importance(self, model: Any) -> list[float]:
        return shares(np.asarray(model.coef_))

    def contributions(self, path: Path) -> Callable[[FloatArray], Float64Array]:
        weights, intercept = _read(path)

        def parts(features: FloatArray) -> Float64Array:
            base = np.full((len(features), 1), intercept)
            return np.hstack([features.astype(np.float64) * weights, base])

        return parts


def _read(path: Path) -> tuple[Float64Array, float]:
    content = json.loads(path.read_text("utf-8"))
    return np.array(content["coefficients"], np.float64), float(content["intercept"])
