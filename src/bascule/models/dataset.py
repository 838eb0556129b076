"""qlib's dataset interface over arrays in memory. Importing this module imports qlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from qlib.data.dataset import DatasetH

from bascule.core import Panel
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
        # pandas' stubs know neither arrays as codes nor concat's copy
        make_index: Any = pd.MultiIndex
        concat: Any = pd.concat
        index = make_index(
            levels=[self._time, self._instruments],
            codes=[samples.row, samples.column],
            names=["datetime", "instrument"],
            verify_integrity=False,
        )
        groups = {
            "feature": pd.DataFrame(samples.features, index, self._names, copy=False),
            "label": pd.DataFrame(np.reshape(samples.target, (-1, 1)), index, ["target"], copy=False),
        }
        if isinstance(col_set, str) and col_set in groups:
            return groups[col_set]
        wanted = groups if isinstance(col_set, str) else {name: groups[name] for name in col_set}
        joined: pd.DataFrame = concat(wanted, axis=1, copy=False)
        return joined
