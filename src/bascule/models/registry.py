"""The kinds of model: one table.

A kind wraps one of qlib's own model classes and says how its result is kept in an open, native form (never a
pickle), so that predicting needs neither qlib nor the code that trained.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import BundleError, ConfigError
from bascule.core.panel import FloatArray

Predict = Callable[[FloatArray], NDArray[np.float64]]


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    Attributes:
        name: qlib's class name.
        prefix: short form for model ids, ``lgb`` in ``lgb-2021-01``.
        parameters: names that a user may set; LightGBM itself ignores a misspelt one in silence.
        defaults: (training samples) → default parameters; the user's go on top.
        build: (parameters, seed, threads) → an unfitted qlib model.
        save: write the fitted model into a folder, return the file's name.
        load: that file → a function features ``[n, F]`` → predictions ``[n]``.
        importance: fitted model → weight of each feature ``[F]`` (gain, or |coefficient|), summing to 1.
        complete: True if the model cannot take missing values and needs features compared within each time.
        packages: distributions whose versions are written beside the model.
    """

    name: str
    prefix: str
    parameters: frozenset[str]
    defaults: Callable[[int], dict[str, Any]]
    build: Callable[[Mapping[str, Any], int, int], Any]
    save: Callable[[Any, Path], str]
    load: Callable[[Path], Predict]
    importance: Callable[[Any], Sequence[float]]
    complete: bool
    packages: tuple[str, ...]

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse unknown parameters.

        Raises:
            ConfigError: the first one, with the nearest known name.
        """
        for name in params:
            if name not in self.parameters:
                near = get_close_matches(name, self.parameters, n=1)
                raise ConfigError(
                    f"{self.name} has no parameter {name!r} to set",
                    where=f"model.params.{name}",
                    remedy=f"did you mean {near[0]!r}?"
                    if near
                    else f"known: {', '.join(sorted(self.parameters))}",
                )


def kind(name: str) -> Kind:
    """Look a kind up.

    Raises:
        ConfigError: unknown.
    """
    try:
        return KINDS[name]
    except KeyError:
        raise ConfigError(
            f"unknown kind of model {name!r}", where="model.kind", remedy=f"known: {', '.join(sorted(KINDS))}"
        ) from None


def _shares(weights: NDArray[Any]) -> list[float]:
    total = float(np.abs(weights).sum())
    return [float(abs(w)) / total if total else 0.0 for w in weights]


# -- LightGBM ------------------------------------------------------------------------------------------


_LIGHTGBM = frozenset(
    [
        "num_boost_round",
        "early_stopping_rounds",
        "learning_rate",
        "num_leaves",
        "max_depth",
        "min_data_in_leaf",
        "min_sum_hessian_in_leaf",
        "min_gain_to_split",
        "feature_fraction",
        "feature_fraction_bynode",
        "bagging_fraction",
        "bagging_freq",
        "lambda_l1",
        "lambda_l2",
        "max_bin",
        "min_data_in_bin",
        "path_smooth",
        "extra_trees",
        "monotone_constraints",
        "interaction_constraints",
    ]
)


def _lightgbm_defaults(samples: int) -> dict[str, Any]:
    """Returns are nearly all noise: shallow steps, large leaves, few features a tree, coarse bins."""
    return {
        "num_boost_round": 400,
        "early_stopping_rounds": 40,
        "learning_rate": 0.03,
        "num_leaves": 31,
        "min_data_in_leaf": max(20, samples // 200),
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 10.0,
        "max_bin": 63,
    }


def _lightgbm() -> Any:
    """Import LightGBM so that its threads sleep while they wait, unless the user chose otherwise.

    OpenMP's default is to spin. On two cores with a load of nine, one fold of 158 features took 260 s and 57
    CPU-seconds spinning, 35 s and 11 CPU-seconds sleeping. OpenMP reads the variable when it is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import lightgbm

    return lightgbm


def _lightgbm_build(params: Mapping[str, Any], seed: int, threads: int) -> Any:
    lightgbm = _lightgbm()
    from qlib.contrib.model.gbdt import LGBModel

    # LightGBM prints to stdout unless given a logger
    lightgbm.register_logger(logging.getLogger("lightgbm"))
    # same bytes at every run and every number of threads
    fixed = {"seed": seed, "deterministic": True, "force_row_wise": True, "num_threads": threads}
    return LGBModel(**{**params, **fixed})


def _lightgbm_save(model: Any, folder: Path) -> str:
    model.model.save_model(str(folder / "model.txt"))
    return "model.txt"


def _lightgbm_load(path: Path) -> Predict:
    lightgbm = _lightgbm()
    try:
        booster = lightgbm.Booster(model_file=str(path))
    except lightgbm.basic.LightGBMError as error:
        raise BundleError(str(error), where=str(path), remedy="train again") from error

    def predict(features: FloatArray) -> NDArray[np.float64]:
        return np.asarray(booster.predict(features), np.float64)

    return predict


def _lightgbm_importance(model: Any) -> list[float]:
    return _shares(model.model.feature_importance("gain"))


# -- linear --------------------------------------------------------------------------------------------


def _linear_defaults(samples: int) -> dict[str, Any]:
    return {"estimator": "ridge", "alpha": samples / 100.0, "fit_intercept": False, "include_valid": True}


def _linear_build(params: Mapping[str, Any], seed: int, threads: int) -> Any:
    from qlib.contrib.model.linear import LinearModel

    return LinearModel(**params)


def _linear_save(model: Any, folder: Path) -> str:
    content = {"coefficients": [float(c) for c in model.coef_], "intercept": float(model.intercept_)}
    (folder / "model.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return "model.json"


def _linear_load(path: Path) -> Predict:
    content = json.loads(path.read_text("utf-8"))
    weights, intercept = np.array(content["coefficients"], np.float64), float(content["intercept"])

    def predict(features: FloatArray) -> NDArray[np.float64]:
        # feature by feature, not BLAS: a sample's bits must not depend on the samples beside it
        total = np.full(len(features), intercept)
        for f, weight in enumerate(weights):
            total += weight * features[:, f]
        return total

    return predict


def _linear_importance(model: Any) -> list[float]:
    return _shares(np.asarray(model.coef_))


KINDS: Mapping[str, Kind] = {
    "LGBModel": Kind(
        "LGBModel",
        "lgb",
        _LIGHTGBM,
        _lightgbm_defaults,
        _lightgbm_build,
        _lightgbm_save,
        _lightgbm_load,
        _lightgbm_importance,
        complete=False,
        packages=("pyqlib", "lightgbm", "numpy"),
    ),
    "LinearModel": Kind(
        "LinearModel",
        "linear",
        frozenset({"estimator", "alpha", "fit_intercept", "include_valid"}),
        _linear_defaults,
        _linear_build,
        _linear_save,
        _linear_load,
        _linear_importance,
        complete=True,
        packages=("pyqlib", "scikit-learn", "numpy"),
    ),
}
