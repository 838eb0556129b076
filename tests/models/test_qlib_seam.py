"""The seam to qlib: its real recorder interface and its real dataset interface."""

import numpy as np
import pandas as pd
import pytest

from bascule.models.samples import gather
from tests.markets import random_panel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_qlib_logs_into_memory_and_gets_its_recorder_back() -> None:
    from qlib.workflow import R

    from bascule.models.recording import recording

    before = getattr(R, "exp_manager", None)
    with recording() as metrics:
        R.log_metrics(step=0, loss=0.5)
        R.log_metrics(step=1, loss=0.25)
        R.log_params(depth=3)
        assert R.get_recorder().list_metrics() == {"loss": 0.25}
        assert R.get_recorder().list_params() == {"depth": 3}
    assert metrics == {"loss": [0.5, 0.25]}
    assert getattr(R, "exp_manager", None) is before


def test_an_error_inside_leaves_no_run_behind() -> None:
    from qlib.workflow import R

    from bascule.models.recording import recording

    before = getattr(R, "exp_manager", None)
    with pytest.raises(ZeroDivisionError), recording():
        raise ZeroDivisionError
    assert getattr(R, "exp_manager", None) is before
    with recording() as metrics:
        R.log_metrics(loss=1.0)
    assert metrics == {"loss": [1.0]}


def test_the_callers_own_experiment_receives_the_metrics() -> None:
    from qlib.workflow import R

    from bascule.models.recording import recording

    with recording() as outer:
        manager = R.exp_manager
        with recording() as inner:
            assert R.exp_manager is manager
            R.log_metrics(loss=2.0)
        assert R.exp_manager is manager
    assert inner == {}
    assert outer == {"loss": [2.0]}


def test_the_dataset_serves_what_qlibs_handler_would() -> None:
    from qlib.data.dataset import DatasetH
    from qlib.data.dataset.handler import DataHandlerLP

    from bascule.models.dataset import ArrayDataset

    panel = random_panel(0, 30, 6, missing=0.1)
    random = np.random.default_rng(1)
    values = random.standard_normal((3, 30, 6)).astype(np.float32)
    samples = gather(values, np.arange(5, 20), panel.members, values[0])
    ours = ArrayDataset(panel, ["a", "b", "c"], {"train": samples})

    frame = ours.prepare("train", col_set=["feature", "label"], data_key=DataHandlerLP.DK_L)
    assert isinstance(frame, pd.DataFrame)
    alone = ours.prepare("train", col_set="feature")
    assert np.shares_memory(alone.values, samples.features)  # type: ignore[union-attr]
    window = (panel.time[5], panel.time[19])
    theirs = DatasetH(DataHandlerLP.from_df(frame), {"train": window})
    for col_set in (["feature", "label"], "feature", "label"):
        got = ours.prepare("train", col_set=col_set, data_key=DataHandlerLP.DK_L)
        expected = theirs.prepare("train", col_set=col_set, data_key=DataHandlerLP.DK_L)
        pd.testing.assert_frame_equal(got, expected, check_freq=False)
    both = ours.prepare(["train", "train"], col_set="feature")
    assert isinstance(both, list)
    assert len(both) == 2
    assert np.array_equal(frame["label"].values[:, 0], samples.target)
    assert frame.index[0] == (pd.Timestamp(panel.time[samples.row[0]]), panel.instruments[samples.column[0]])
