"""qlib's dataset interface over arrays in memory. Importing this module imports qlib.

1. `ArrayDataset` serves samples as frames, as a `DatasetH` does.
2. `WindowDataset` serves them as windows of times, as a `TSDatasetH` does, for qlib's ``_ts`` models.
3. `ArrayReweighter` hands out weights that were computed before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qlib.data.dataset import DatasetH, TSDatasetH
from qlib.data.dataset.weight import Reweighter

from bascule.core import Panel
from bascule.core.panel import FloatArray
from bascule.models.kind import Lesson
from bascule.models.samples import Samples


class ArrayDataset(DatasetH):  # type: ignore[misc]
    """Named segments of samples, served to qlib models as the frames that they ask for.

    Rows are (datetime, instrument), columns (``feature``, name) and (``label``, ``target``), as a
    `DataHandlerLP` would serve them, but without its copies per processor and its sorted look-ups: groups are
    views of the samples. There are no processors, so every ``data_key`` gives the same frame.
    """

    def __init__(self, panel: Panel, names: Sequence[str], segments: Mapping[str, Samples]) -> None:
        # DatasetH's constructor would build a handler, and through it load and copy everything
        self.segments = dict(segments)
        self.handler = None
        self._time = pd.DatetimeIndex(panel.time)
        self._instruments = pd.Index(panel.instruments)
        self._names = list(names)

    def prepare(
        self,
        segments: str | Sequence[str],
        col_set: str | Sequence[str] = "__all",
        data_key: str = "infer",
        **kwargs: Any,
    ) -> pd.DataFrame | list[pd.DataFrame]:
        """Frames of one or several segments.

        Args:
            segments: a name, or several for a list.
            col_set: ``feature`` or ``label`` gives that group with plain columns; a list or ``__all`` gives
                both levels.
            data_key: ignored.
            **kwargs: ignored.
        """
        if not isinstance(segments, str):
            return [self._frame(self.segments[name], col_set) for name in segments]
        return self._frame(self.segments[segments], col_set)

    def _frame(self, samples: Samples, col_set: str | Sequence[str]) -> pd.DataFrame:
        concat: Any = pd.concat  # pandas' stubs do not know its copy
        index = _index(self._time, self._instruments, samples)
        groups = {
            "feature": pd.DataFrame(samples.features, index, self._names, copy=False),
            "label": pd.DataFrame(np.reshape(samples.target, (-1, 1)), index, ["target"], copy=False),
        }
        if isinstance(col_set, str) and col_set in groups:
            return groups[col_set]
        wanted = groups if isinstance(col_set, str) else {name: groups[name] for name in col_set}
        joined: pd.DataFrame = concat(wanted, axis=1, copy=False)
        return joined


def _index(time: pd.DatetimeIndex, instruments: pd.Index, samples: Samples) -> Any:
    make_index: Any = pd.MultiIndex  # pandas' stubs do not know arrays as codes
    return make_index(
        levels=[time, instruments],
        codes=[samples.row, samples.column],
        names=["datetime", "instrument"],
        verify_integrity=False,
    )


class Windows:
    """Samples as qlib's ``TSDataSampler`` gives them: ``[steps, F + 1]`` each, the label in the end."""

    def __init__(self, index: Any, samples: Samples, steps: int) -> None:
        self._index = index
        width = samples.features.shape[1] // steps
        self._data = np.empty((len(samples), steps, width + 1), np.float32)
        self._data[:, :, :-1] = windows(samples.features, steps)
        self._data[:, :, -1] = samples.target[:, None]

    @property
    def empty(self) -> bool:
        """True without samples."""
        return not len(self._data)

    def config(self, **kwargs: Any) -> None:
        """What qlib would fill missing values with; there are none."""

    def get_index(self) -> Any:
        """(datetime, instrument) of each sample."""
        return self._index

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, at: Any) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._data[at]
        return found


def windows(features: FloatArray, steps: int) -> NDArray[np.float32]:
    """Columns that hold feature after feature, each for ``steps`` times → ``[n, steps, features]``."""
    return features.reshape(len(features), -1, steps).transpose(0, 2, 1)


class WindowDataset(TSDatasetH):  # type: ignore[misc]
    """Named segments of samples, served as `Windows`."""

    def __init__(self, panel: Panel, segments: Mapping[str, Samples], steps: int) -> None:
        self.segments = dict(segments)
        self.handler = None
        self._time = pd.DatetimeIndex(panel.time)
        self._instruments = pd.Index(panel.instruments)
        self.step_len = steps

    def prepare(self, segments: str | Sequence[str], **kwargs: Any) -> Any:
        """`Windows` of one or several segments; ``kwargs`` (columns, processors) change nothing."""
        if not isinstance(segments, str):
            return [self.prepare(name) for name in segments]
        samples = self.segments[segments]
        return Windows(_index(self._time, self._instruments, samples), samples, self.step_len)


class ArrayReweighter(Reweighter):  # type: ignore[misc]
    """Weights of the train and valid samples (or both, one after the other), told apart by number and row."""

    def __init__(self, lesson: Lesson) -> None:
        assert lesson.weights is not None
        train, valid = lesson.weights
        self._parts = [
            (lesson.train.row, train),
            (lesson.valid.row, valid),
            (lesson.train.row, np.concatenate([train, valid])),
        ]
        self._time = pd.DatetimeIndex(lesson.panel.time)

    def reweight(self, data: Any) -> pd.Series:
        """The weights of one segment's samples, in their order."""
        index = data.get_index() if isinstance(data, Windows) else data.index
        for rows, weights in self._parts:
            if len(index) == len(weights) and index[0][0] == self._time[rows[0]]:
                return pd.Series(weights, index)
        raise ValueError("weights were asked for samples that have none")


def segments(lesson: Lesson) -> dict[str, Samples]:
    """Train and valid; valid again for the models that read a test segment, and only log its size."""
    return {"train": lesson.train, "valid": lesson.valid, "test": lesson.valid}


def array_dataset(lesson: Lesson) -> ArrayDataset:
    """The lesson as frames."""
    return ArrayDataset(lesson.panel, lesson.names(), segments(lesson))


def reweighter(lesson: Lesson) -> ArrayReweighter | None:
    """The lesson's weights for qlib, if it has any."""
    return None if lesson.weights is None else ArrayReweighter(lesson)
