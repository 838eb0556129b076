"""qlib's models on LightGBM: plain, high-frequency, and the double ensemble."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bascule.core import BundleError
from bascule.core.panel import FloatArray
from bascule.models.kind import Float64Array, Kind, Lesson, Predict, shares

_LIGHTGBM = frozenset(
    [
        "learning_rate", "num_leaves", "max_depth", "min_data_in_leaf", "min_sum_hessian_in_leaf",
        "min_gain_to_split", "feature_fraction", "feature_fraction_bynode", "bagging_fraction",
        "bagging_freq", "lambda_l1", "lambda_l2", "max_bin", "min_data_in_bin", "path_smooth", "extra_trees",
        "monotone_constraints", "interaction_constraints", "bin_construct_sample_cnt",
    ]
)  # fmt: skip


def _lightgbm() -> Any:
    """Import LightGBM so that its threads sleep while they wait, unless the user chose otherwise.

    OpenMP's default is to spin. On two cores with a load of nine, one fold of 158 features took 260 s and 57
    CPU-seconds spinning, 35 s and 11 CPU-seconds sleeping. OpenMP reads the variable when it is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import lightgbm

    # LightGBM prints to stdout unless given a logger
    lightgbm.register_logger(logging.getLogger("lightgbm"))
    return lightgbm


def _fixed(lesson: Lesson) -> dict[str, Any]:
    """Same bytes at every run and every number of threads."""
    return {
        "seed": lesson.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": lesson.threads,
    }


def _booster(text: str, where: Path) -> Any:
    lightgbm = _lightgbm()
    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise BundleError(str(error), where=str(where), remedy="train again") from error


class LightGBMKind(Kind):
    """``LGBModel``; stored as LightGBM's text."""

    name = "LGBModel"
    prefix = "lgb"
    module = "qlib.contrib.model.gbdt"
    cls = "LGBModel"
    parameters = _LIGHTGBM | {"num_boost_round", "early_stopping_rounds"}
    complete = False
    weighted = True
    warm = True
    packages: ClassVar[tuple[str, ...]] = ("pyqlib", "lightgbm", "numpy")

    def defaults(self, samples: int) -> dict[str, Any]:
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
            # edges of 63 bins from 20,000 samples lie a tenth of a bin from those of all (median); to sort
            # all took as long as 60 rounds of boosting
            "bin_construct_sample_cnt": 20_000,
        }

    def fit(self, params: Mapping[str, Any], lesson: Lesson, start: Path | None) -> Any:
        lightgbm = _lightgbm()
        from qlib.contrib.model.gbdt import LGBModel

        from bascule.models.dataset import array_dataset, reweighter

        model = LGBModel(**{**params, **_fixed(lesson)})
        more = {} if start is None else {"init_model": lightgbm.Booster(model_file=str(start))}
        model.fit(array_dataset(lesson), reweighter=reweighter(lesson), **more)
        return model

    def save(self, model: Any, folder: Path) -> str:
        model.model.save_model(str(folder / "model.txt"))
        return "model.txt"

    def load(self, path: Path) -> Predict:
        booster = _booster(path.read_text("utf-8"), path)

        def predict(features: FloatArray) -> Float64Array:
            return np.asarray(booster.predict(features), np.float64)

        return predict

    def importance(self, model: Any) -> list[float]:
        return shares(model.model.feature_importance("gain"))

    def contributions(self, path: Path) -> Callable[[FloatArray], Float64Array] | None:
        booster = _booster(path.read_text("utf-8"), path)
        return lambda features: np.asarray(booster.predict(features, pred_contrib=True), np.float64)


class HighFrequencyKind(LightGBMKind):
    """``HFLGBModel``: LightGBM asked which instruments beat the mean of their time; stored as text."""

    name = "HFLGBModel"
    prefix = "hflgb"
    module = "qlib.contrib.model.highfreq_gdbt_model"
    cls = "HFLGBModel"
    weighted = False
    warm = False

    def fit(self, params: Mapping[str, Any], lesson: Lesson, start: Path | None) -> Any:
        _lightgbm()
        from qlib.contrib.model.highfreq_gdbt_model import HFLGBModel

        from bascule.models.dataset import array_dataset

        chosen = dict(params)
        rounds = {name: chosen.pop(name) for name in ("num_boost_round", "early_stopping_rounds")}
        model = HFLGBModel(loss="binary", **{**chosen, **_fixed(lesson), "verbosity": -1})
        model.fit(array_dataset(lesson), evals_result={}, **rounds)
        return model

    def contributions(self, path: Path) -> None:
        """None: its parts sum to log-odds, and it predicts a probability."""
        return


class DoubleEnsembleKind(Kind):
    """``DEnsembleModel`` (Zhang et al. 2020, arXiv 2010.01265); stored as LightGBM's texts in one JSON file.

    qlib takes the chosen features from a set of texts, whose order changes from process to process; here they
    are put back in order, so that the same seed gives the same model.
    """

    name = "DEnsembleModel"
    prefix = "double"
    module = "qlib.contrib.model.double_ensemble"
    cls = "DEnsembleModel"
    parameters = _LIGHTGBM | {
        "num_models", "enable_sr", "enable_fs", "alpha1", "alpha2", "bins_sr", "bins_fs", "decay",
        "sample_ratios", "sub_weights", "epochs", "early_stopping_rounds",
    }  # fmt: skip
    complete = False
    packages: ClassVar[tuple[str, ...]] = ("pyqlib", "lightgbm", "numpy")

    def defaults(self, samples: int) -> dict[str, Any]:
        return {
            "num_models": 3,
            "sub_weights": [1, 1, 1],
            "epochs": 100,
            "early_stopping_rounds": 20,
            "enable_sr": True,
            "enable_fs": True,
            "alpha1": 1.0,
            "alpha2": 1.0,
            "bins_sr": 10,
            "bins_fs": 5,
            "decay": 0.5,
            "sample_ratios": [0.8, 0.7, 0.6, 0.5, 0.4],
            "learning_rate": 0.05,
            "num_leaves": 31,
            "min_data_in_leaf": max(20, samples // 200),
            "feature_fraction": 0.5,
            "lambda_l2": 10.0,
            "max_bin": 63,
            # edges of 63 bins from 20,000 samples lie a tenth of a bin from those of all (median); to sort
            # all took as long as 60 rounds of boosting
            "bin_construct_sample_cnt": 20_000,
        }

    def fit(self, params: Mapping[str, Any], lesson: Lesson, start: Path | None) -> Any:
        import pandas as pd

        _lightgbm()
        from qlib.contrib.model.double_ensemble import DEnsembleModel

        from bascule.models.dataset import array_dataset

        class Ordered(DEnsembleModel):  # type: ignore[misc]
            def feature_selection(self, df_train: Any, loss_values: Any) -> Any:
                chosen = set(super().feature_selection(df_train, loss_values))
                return pd.Index([name for name in df_train["feature"].columns if name in chosen])

        model = Ordered(**{**params, **_fixed(lesson), "verbosity": -1})
        model.fit(array_dataset(lesson))
        return model

    def save(self, model: Any, folder: Path) -> str:
        content = {
            "weights": [float(weight) for weight in model.sub_weights],
            "features": [[int(name[1:]) for name in names] for names in model.sub_features],
            "models": [booster.model_to_string() for booster in model.ensemble],
        }
        (folder / "model.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        return "model.json"

    def load(self, path: Path) -> Predict:
        parts, total = _ensemble(path)

        def predict(features: FloatArray) -> Float64Array:
            found = np.zeros(len(features))
            for booster, columns, weight in parts:
                found += weight * np.asarray(booster.predict(features[:, columns]))
            return found / total

        return predict

    def importance(self, model: Any) -> list[float]:
        width = max(max(int(name[1:]) for name in names) for names in model.sub_features) + 1
        gain = np.zeros(width)
        for booster, names, weight in zip(model.ensemble, model.sub_features, model.sub_weights, strict=True):
            own = np.asarray(booster.feature_importance("gain"), np.float64)
            gain[[int(name[1:]) for name in names]] += weight * own / max(own.sum(), 1e-300)
        return shares(gain)

    def contributions(self, path: Path) -> Callable[[FloatArray], Float64Array]:
        parts, total = _ensemble(path)

        def explain(features: FloatArray) -> Float64Array:
            found = np.zeros((len(features), features.shape[1] + 1))
            for booster, columns, weight in parts:
                own = np.asarray(booster.predict(features[:, columns], pred_contrib=True))
                found[:, [*columns, -1]] += weight * own
            return found / total

        return explain


def _ensemble(path: Path) -> tuple[list[tuple[Any, list[int], float]], float]:
    content = json.loads(path.read_text("utf-8"))
    parts = [
        (_booster(text, path), columns, weight)
        for text, columns, weight in zip(
            content["models"], content["features"], content["weights"], strict=True
        )
    ]
    return parts, float(sum(content["weights"]))
