"""qlib's boosted trees of other libraries: XGBoost and CatBoost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bascule.core import BundleError
from bascule.core.panel import FloatArray
from bascule.models.kind import Float64Array, Kind, Lesson, Predict, shares


class XGBoostKind(Kind):
    """``XGBModel``; stored in XGBoost's binary JSON, cut to its best round (qlib's is not)."""

    name = "XGBModel"
    prefix = "xgb"
    module = "qlib.contrib.model.xgboost"
    cls = "XGBModel"
    parameters = frozenset(
        [
            "num_boost_round", "early_stopping_rounds", "eta", "max_depth", "min_child_weight", "gamma",
            "subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode", "lambda", "alpha",
            "max_bin", "grow_policy", "max_leaves",
        ]
    )  # fmt: skip
    complete = False
    weighted = True
    warm = True
    extra = "models"
    packages: ClassVar[tuple[str, ...]] = ("pyqlib", "xgboost", "numpy")

    def defaults(self, samples: int) -> dict[str, Any]:
        return {
            "num_boost_round": 400,
            "early_stopping_rounds": 40,
            "eta": 0.03,
            "max_depth": 5,
            "min_child_weight": max(20, samples // 200),
            "subsample": 0.7,
            "colsample_bytree": 0.5,
            "lambda": 10.0,
            "max_bin": 64,
        }

    def fit(self, params: Mapping[str, Any], lesson: Lesson, start: Path | None) -> Any:
        import xgboost
        from qlib.contrib.model.xgboost import XGBModel

        from bascule.models.dataset import array_dataset, reweighter

        chosen = dict(params)
        rounds = {name: chosen.pop(name) for name in ("num_boost_round", "early_stopping_rounds")}
        model = XGBModel(**chosen, seed=lesson.seed, nthread=lesson.threads, tree_method="hist", verbosity=0)
        more = {}
        if start is not None:
            before = xgboost.Booster()
            before.load_model(start)
            more["xgb_model"] = before
        model.fit(
            array_dataset(lesson), verbose_eval=False, evals_result={}, reweighter=reweighter(lesson),
            **rounds, **more,
        )  # fmt: skip
        model.model = model.model[: model.model.best_iteration + 1]
        return model

    def save(self, model: Any, folder: Path) -> str:
        model.model.save_model(folder / "model.ubj")
        return "model.ubj"

    def load(self, path: Path) -> Predict:
        booster = _xgboost_booster(path)

        def predict(features: FloatArray) -> Float64Array:
            return np.asarray(booster.inplace_predict(np.ascontiguousarray(features)), np.float64)

        return predict

    def importance(self, model: Any) -> list[float]:
        gain = model.model.get_score(importance_type="total_gain")
        return shares(np.array([gain.get(f"f{f}", 0.0) for f in range(model.model.num_features())]))

    def contributions(self, path: Path) -> Callable[[FloatArray], Float64Array]:
        import xgboost

        booster = _xgboost_booster(path)
        return lambda features: np.asarray(
            booster.predict(xgboost.DMatrix(np.ascontiguousarray(features)), pred_contribs=True), np.float64
        )


def _xgboost_booster(path: Path) -> Any:
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(path)
    except xgboost.core.XGBoostError as error:
        raise BundleError(str(error), where=str(path), remedy="train again") from error
    return booster


class CatBoostKind(Kind):
    """``CatBoostModel``; stored in CatBoost's own binary form."""

    name = "CatBoostModel"
    prefix = "cat"
    module = "qlib.contrib.model.catboost_model"
    cls = "CatBoostModel"
    parameters = frozenset(
        [
            "num_boost_round", "early_stopping_rounds", "learning_rate", "depth", "l2_leaf_reg", "rsm",
            "subsample", "border_count", "min_data_in_leaf", "random_strength", "bagging_temperature",
            "grow_policy", "bootstrap_type",
        ]
    )  # fmt: skip
    complete = False
    weighted = True
    extra = "models"
    packages: ClassVar[tuple[str, ...]] = ("pyqlib", "catboost", "numpy")

    def defaults(self, samples: int) -> dict[str, Any]:
        return {
            "num_boost_round": 300,
            "early_stopping_rounds": 40,
            "learning_rate": 0.05,
            "depth": 5,
            "l2_leaf_reg": 10.0,
            "rsm": 0.5,
            "border_count": 63,
            "bootstrap_type": "Bernoulli",
            "subsample": 0.7,
        }

    def fit(self, params: Mapping[str, Any], lesson: Lesson, start: Path | None) -> Any:
        from qlib.contrib.model.catboost_model import CatBoostModel

        from bascule.models.dataset import array_dataset, reweighter

        chosen = dict(params)
        rounds = {name: chosen.pop(name) for name in ("num_boost_round", "early_stopping_rounds")}
        model = CatBoostModel(
            **chosen,
            random_seed=lesson.seed,
            thread_count=lesson.threads or -1,
            allow_writing_files=False,
        )
        model.fit(
            array_dataset(lesson),
            verbose_eval=False,
            evals_result={},
            reweighter=reweighter(lesson),
            **rounds,
        )
        return model

    def save(self, model: Any, folder: Path) -> str:
        about = model.model.get_metadata()
        for name in ("model_guid", "train_finish_time"):  # same training, same bytes
            about[name] = ""
        model.model.save_model(str(folder / "model.cbm"))
        return "model.cbm"

    def load(self, path: Path) -> Predict:
        model = _catboost_model(path)

        def predict(features: FloatArray) -> Float64Array:
            return np.asarray(model.predict(np.ascontiguousarray(features), thread_count=1), np.float64)

        return predict

    def importance(self, model: Any) -> list[float]:
        return shares(np.asarray(model.model.get_feature_importance()))

    def contributions(self, path: Path) -> Callable[[FloatArray], Float64Array]:
        import catboost

        model = _catboost_model(path)
        return lambda features: np.asarray(
            model.get_feature_importance(catboost.Pool(np.ascontiguousarray(features)), type="ShapValues"),
            np.float64,
        )


def _catboost_model(path: Path) -> Any:
    import catboost

    model = catboost.CatBoost()
    try:
        model.load_model(str(path))
    except catboost.CatBoostError as error:
        raise BundleError(str(error), where=str(path), remedy="train again") from error
    return model
