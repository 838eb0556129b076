"""FreqAI's outlier detection, of each row by what is known at that row.

Two of datasieve's transforms depend on the other rows of a call. In a backtest these are later rows, so that
a verdict could change when later candles come; here it cannot:

1. datasieve's DBSCAN clusters training samples and all new samples together. `PointwiseDBSCAN` gives the
   verdict that it gives on training samples and one new sample alone, for each.
2. The distances behind the dissimilarity index differ in their last bits with the number of rows.
   `SteadyDI` rounds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import datasieve.transforms as ds
import numpy as np
from datasieve.pipeline import Pipeline
from datasieve.transforms import SKLearnWrapper
from numpy.typing import NDArray

from bascule.evaluate.rows import Float64Array

DIGITS = 6  # decimals of the dissimilarity index


class SteadyDI(ds.DissimilarityIndex):
    """The dissimilarity index: distance to the nearest training sample / mean distance among them."""

    di_values: Any

    def transform(self, X: Any, *args: Any, **kwargs: Any) -> Any:
        """As datasieve's; `di_values` are rounded."""
        found = super().transform(X, *args, **kwargs)
        self.di_values = np.round(self.di_values, DIGITS)
        return found


class PointwiseDBSCAN(ds.DBSCAN):
    """DBSCAN whose verdict on a new sample does not depend on other new samples."""

    def transform(
        self,
        X: Float64Array,
        y: Any = None,
        sample_weight: Any = None,
        feature_list: Any = None,
        outlier_check: bool = False,
        **kwargs: Any,
    ) -> Any:
        """As datasieve's: a sample is an inlier if it is a core point, or near to one.

        It is a core point if it has ``min_samples`` samples within ``eps``, itself included; a training
        sample near to it may have become one by its coming.
        """
        from datasieve.utils import remove_outliers

        inliers = self.near(np.asarray(X, np.float64)).astype(np.int_)
        if not outlier_check:
            X, y, sample_weight = remove_outliers(X, y, sample_weight, inliers)
        else:
            y += inliers
            y -= 1
        return X, y, sample_weight, feature_list

    def near(self, samples: Float64Array) -> NDArray[np.bool_]:
        """Whether each of the samples is an inlier ``[n]``."""
        from sklearn.metrics import pairwise_distances_chunked

        train = np.asarray(self.train_features, np.float64)
        eps, least = self._skl.eps, self._skl.min_samples
        within = [(part <= eps).sum(axis=1) for part in pairwise_distances_chunked(train)]
        core = np.concatenate(within) + 1 >= least  # with one more neighbour
        found = []
        for part in pairwise_distances_chunked(samples, train):
            close = part <= eps
            found.append((close.sum(axis=1) + 1 >= least) | (close & core).any(axis=1))
        return np.concatenate(found) if found else np.empty(0, np.bool_)


def pipeline(parameters: Mapping[str, Any], threads: int, *, reduce: bool = True) -> Pipeline:
    """FreqAI's data pipeline with the transforms of this module.

    Args:
        parameters: FreqAI's ``feature_parameters``.
        threads: of the searches for neighbours.
        reduce: drop constant features and (if asked for) rotate to principal components; False keeps all
            columns in place, for models that read them as windows of times.
    """
    from sklearn.preprocessing import MinMaxScaler

    scaler = ("scaler", SKLearnWrapper(MinMaxScaler(feature_range=(-1, 1))))
    steps: list[tuple[str, Any]] = (
        [("const", ds.VarianceThreshold(threshold=0)), scaler] if reduce else [scaler]
    )
    if parameters.get("principal_component_analysis", False) and reduce:
        steps.append(("pca", ds.PCA(n_components=0.999)))
        steps.append(("post-pca-scaler", SKLearnWrapper(MinMaxScaler(feature_range=(-1, 1)))))
    if parameters.get("use_SVM_to_remove_outliers", False):
        # shuffling draws from the process-wide generator: two runs would differ
        chosen = {"shuffle": False, "nu": 0.01, **parameters.get("svm_params", {})}
        steps.append(("svm", ds.SVMOutlierExtractor(**chosen)))
    if parameters.get("DI_threshold", 0):
        steps.append(("di", SteadyDI(di_threshold=parameters["DI_threshold"], n_jobs=threads)))
    if parameters.get("use_DBSCAN_to_remove_outliers", False):
        steps.append(("dbscan", PointwiseDBSCAN(n_jobs=threads)))
    if parameters.get("noise_standard_deviation", 0):
        steps.append(("noise", ds.Noise(sigma=parameters["noise_standard_deviation"])))
    return Pipeline(steps)


def judges(parameters: Mapping[str, Any]) -> bool:
    """Whether any outlier detection is switched on."""
    names = ("use_SVM_to_remove_outliers", "DI_threshold", "use_DBSCAN_to_remove_outliers")
    return any(parameters.get(name, 0) for name in names)
