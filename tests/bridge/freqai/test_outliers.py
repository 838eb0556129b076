"""Verdicts that do not depend on the other rows of a call."""

from __future__ import annotations

import numpy as np
import pytest

from bascule.evaluate.rows import Float64Array

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def samples() -> tuple[Float64Array, Float64Array]:
    """Two clouds to learn from; new samples near, between and far."""
    random = np.random.default_rng(4)
    train = np.concatenate([random.normal(0, 1, (60, 3)), random.normal(6, 1, (40, 3))])
    fresh = np.concatenate(
        [random.normal(0, 1.4, (30, 3)), random.uniform(-4, 10, (40, 3)), [[50.0, 50, 50]]]
    )
    return train, fresh


def test_dbscan_judges_each_sample_as_if_it_were_alone() -> None:
    import datasieve.transforms as ds

    from bascule.bridge.freqtrade.freqai.outliers import PointwiseDBSCAN

    train, fresh = samples()
    ours = PointwiseDBSCAN(n_jobs=1, backend="threading")
    ours.fit(train)
    found = ours.near(fresh)
    assert 5 < found.sum() < len(fresh) - 5 and not found[-1]
    for row, verdict in zip(fresh, found, strict=True):
        stock = ds.DBSCAN(n_jobs=1, backend="threading")
        stock.fit(train)
        _, alone, _, _ = stock.transform(row[None], np.ones(1), outlier_check=True)
        assert bool(alone[0] == 1) == bool(verdict)


def test_verdicts_and_index_are_the_same_one_by_one() -> None:
    import pandas as pd

    from bascule.bridge.freqtrade.freqai.outliers import pipeline

    train, fresh = samples()
    names = ["a", "b", "c"]
    switches = {
        "use_SVM_to_remove_outliers": True,
        "DI_threshold": 0.5,
        "use_DBSCAN_to_remove_outliers": True,
    }
    sieve = pipeline(switches, 1)
    sieve.fit_transform(pd.DataFrame(train, columns=names))
    _, together, _ = sieve.transform(pd.DataFrame(fresh, columns=names), outlier_check=True)
    index = sieve["di"].di_values
    assert 0 < (np.asarray(together) == 1).sum() < len(fresh)
    for place, row in enumerate(fresh):
        _, alone, _ = sieve.transform(pd.DataFrame(row[None], columns=names), outlier_check=True)
        assert alone[0] == together[place] and sieve["di"].di_values[0] == index[place]


def test_all_three_at_once_object_to_what_each_objects_to() -> None:
    import pandas as pd

    from bascule.bridge.freqtrade.freqai.outliers import pipeline

    train, fresh = samples()
    names = ["a", "b", "c"]
    switches: dict[str, dict[str, object]] = {
        "svm": {"use_SVM_to_remove_outliers": True},
        "di": {"DI_threshold": 0.3},
        "dbscan": {"use_DBSCAN_to_remove_outliers": True},
    }
    everything = {key: value for part in switches.values() for key, value in part.items()}
    kept = {}
    for name, one in {**switches, "all": everything}.items():
        sieve = pipeline(one, 1)
        sieve.fit_transform(pd.DataFrame(train, columns=names))
        _, verdict, _ = sieve.transform(pd.DataFrame(fresh, columns=names), outlier_check=True)
        kept[name] = np.asarray(verdict) > 0
    together = [step for step, _ in sieve.steps]
    assert together[-3:] == ["svm", "di", "dbscan"]
    assert all(0 < kept[name].sum() < len(fresh) for name in kept)
    # the SVM comes first, fitted on the same samples; the others are fitted on what it leaves
    assert not (kept["all"] & ~kept["svm"]).any()
    assert kept["all"].sum() <= min(kept[name].sum() for name in switches)
    assert not any(one[-1] for one in kept.values())  # the far one


def test_windows_of_times_keep_their_columns() -> None:
    from bascule.bridge.freqtrade.freqai.outliers import pipeline

    switches = {"principal_component_analysis": True, "DI_threshold": 1.0}
    assert [name for name, _ in pipeline(switches, 1).steps] == [
        "const",
        "scaler",
        "pca",
        "post-pca-scaler",
        "di",
    ]
    assert [name for name, _ in pipeline(switches, 1, reduce=False).steps] == ["scaler", "di"]
