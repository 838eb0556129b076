"""The two providers that ``qlib.init(**bascule.qlib(…))`` registers.

`ExpressionProvider` makes qlib's expression objects of field texts without running them (`texts`).
`DatasetProvider` answers a whole request (``D.features``, and all that is built upon it):

1. every text becomes an expression object, or is refused; then a `columns.Column`, or is left to qlib;
2. the engine computes all columns over all instruments (`evaluation`);
3. what is left to qlib goes through qlib's own `dataset_processor`, columns by the instruments concerned, and
   is put in place; one warning names each operator that this happens for;
4. the frame is built (`frame`); 2 to 4 run over some instruments after others.

Nothing is remembered but texts and plans: files are read at every request. The calendar and the instruments
are those of qlib's memory cache ``H`` until ``H.clear()``.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from qlib.data import data as qlib_data
from qlib.data.base import Expression
from qlib.data.cache import H
from qlib.data.data import DatasetProvider as QlibDatasetProvider
from qlib.data.data import LocalDatasetProvider, LocalExpressionProvider, LocalFeatureProvider
from qlib.data.dataset.processor import InstProcessor
from qlib.data.ops import Operators
from qlib.data.storage.file_storage import FileFeatureStorage
from qlib.utils import init_instance_by_config, remove_fields_space

from bascule.bridge.qlib import LeftToQlib, texts
from bascule.bridge.qlib.columns import Column, Unplanned, column, column_of_ours
from bascule.bridge.qlib.evaluation import Computed, computed
from bascule.bridge.qlib.files import Files, Place
from bascule.bridge.qlib.frame import Frame
from bascule.core import ExpressionError
from bascule.core.panel import BoolArray
from bascule.expr import parse, walk

# values that are computed at once: so few that they are still in cache when they go into the frame, and so
# many that the calls do not count
_BYTES, _FEWEST = 1 << 24, 16

# a plain list, or spans by instrument
Instruments = list[str] | dict[str, Any]


class ExpressionProvider(LocalExpressionProvider):
    """qlib's provider of single expressions, with a parser that runs nothing."""

    def get_expression_instance(self, field: Any) -> Any:
        """qlib's expression object of a field text.

        Raises:
            ExpressionError: the text is not of qlib's language.
        """
        text = str(field)
        if text not in self.expression_instance_cache:
            self.expression_instance_cache[text] = texts.build(text, Operators._ops, Expression)
        return self.expression_instance_cache[text]


class DatasetProvider(LocalDatasetProvider):
    """qlib's provider of data frames, on the engine."""

    def __init__(self, align_time: bool = True) -> None:
        super().__init__(align_time)
        self._columns: dict[str, Column | Unplanned] = {}
        self._told: set[str] = set()

    def dataset(
        self, instruments: Any, fields: Any, start_time: Any = None, end_time: Any = None, freq: str = "day",
        disk_cache: int | None = None, inst_processors: Sequence[Any] = (),
    ) -> pd.DataFrame:  # fmt: skip
        """As qlib's; ``disk_cache`` is taken and has no effect, there is nothing to cache on disk."""
        found: pd.DataFrame = super().dataset(
            instruments, fields, start_time, end_time, freq, list(inst_processors)
        )
        return found

    def dataset_processor(
        self, instruments_d: Instruments, column_names: Sequence[str], start_time: Any, end_time: Any,
        freq: str, inst_processors: Sequence[Any] = (),
    ) -> pd.DataFrame:  # fmt: skip
        """As qlib's.

        Raises:
            ExpressionError: a text is not of qlib's language; nothing has been computed then.
        """
        wanted = remove_fields_space(list(column_names))
        known = {text: self._column(text) for text in dict.fromkeys(wanted)}
        place = self._place(freq)
        names = sorted(set(instruments_d)) if all(isinstance(n, str) for n in instruments_d) else []
        if place is None or not names or not self.align_time:
            return _qlibs(instruments_d, column_names, start_time, end_time, freq, inst_processors)
        request = _Request(self.tell, names, instruments_d, start_time, end_time, freq)
        labels = [str(name) for name in column_names]
        try:
            if not inst_processors:
                data = request.frame(known, wanted, labels, place)
                return data if len(data) else _empty(labels)
            # a processor sees the columns as qlib orders them
            plain = request.frame(known, sorted(known), sorted(known), place)
        except _NotJoined:
            return _qlibs(instruments_d, column_names, start_time, end_time, freq, inst_processors)
        done = _processed(plain, names, inst_processors)
        if done is None:
            return _empty(labels)
        data = pd.DataFrame(done.loc[:, wanted])
        data.columns = pd.Index(labels)
        return data

    def tell(self, operator: str, reason: str, text: str) -> None:
        """Warn, once for each operator, that qlib computes it."""
        if operator in self._told:
            return
        self._told.add(operator)
        shown = text if len(text) <= 60 else text[:57] + "..."
        warnings.warn(
            f"{operator} is left to qlib ({reason}), first in {shown!r}: the same values at qlib's speed",
            LeftToQlib,
            stacklevel=2,
        )

    def _column(self, text: str) -> Column | Unplanned:
        if text not in self._columns:
            self._columns[text] = _column(text)
        found = self._columns[text]
        if isinstance(found, Unplanned):
            self.tell(found.operator, found.reason, text)
        return found

    def _place(self, freq: str) -> Place | None:
        """The folder of features, or None where they do not lie in qlib's plain files."""
        provider = qlib_data.FeatureD._provider
        if type(provider) is LocalFeatureProvider:
            storage = provider.backend_obj(instrument="any", field="any", freq=freq)
            if type(storage) is FileFeatureStorage:
                return Place(storage.uri.parent.parent, f".{freq.lower()}.bin")
        self.tell("the feature provider", "only qlib's plain files are read by the engine", "provider")
        return None


def _column(text: str) -> Column | Unplanned:
    """How a text is computed.

    Raises:
        ExpressionError: neither qlib nor the engine knows it.
    """
    try:
        expression = qlib_data.ExpressionD.get_expression_instance(text)
    except ExpressionError:
        try:
            node = parse(text)
        except ExpressionError:
            node = None
        # an operator that qlib knows has been refused with a reason
        if node is None or not {type(item).__name__ for item in walk(node)} - set(Operators._ops):
            raise
        return column_of_ours(text, node)
    try:
        return column(text, expression)
    except Unplanned as reason:
        return reason


def _qlibs(
    instruments_d: Instruments, columns: Sequence[str], start: Any, end: Any, freq: str,
    inst_processors: Sequence[Any] = (),
) -> pd.DataFrame:  # fmt: skip
    """qlib's own path."""
    found: pd.DataFrame = QlibDatasetProvider.dataset_processor(
        instruments_d, list(columns), start, end, freq, list(inst_processors)
    )
    return found


def _empty(columns: Sequence[str]) -> pd.DataFrame:
    index = pd.MultiIndex.from_arrays([[], []], names=("instrument", "datetime"))
    return pd.DataFrame(index=index, columns=[str(name) for name in columns], dtype=np.float32)


def _processed(data: pd.DataFrame, names: Sequence[str], processors: Sequence[Any]) -> pd.DataFrame | None:
    """qlib's processors of single instruments, applied as qlib does; None: no row is left."""
    parts = {}
    there = set(data.index.unique(0))
    for name in names:
        part = data.loc[name] if name in there else data.iloc[:0].droplevel(0)
        for processor in processors:
            if processor:
                made = init_instance_by_config(processor, accept_types=InstProcessor)
                part = made(part, instrument=name)
        if len(part):
            parts[name] = part
    return pd.concat(parts, names=["instrument"], sort=False) if parts else None


class _NotJoined(Exception):
    """What qlib gave for a column has rows off the calendar, or is not of numbers."""


class _Request:
    """One call: its instruments, rows and spans."""

    def __init__(
        self, tell: Callable[[str, str, str], None], names: list[str], instruments: Instruments, start: Any,
        end: Any, freq: str,
    ) -> None:  # fmt: skip
        self._tell = tell
        self._names = names
        self._instruments = instruments
        self._asked = (start, end, freq)
        _, _, self._first, self._last = qlib_data.Cal.locate_index(
            pd.Timestamp(start), pd.Timestamp(end), freq=freq, future=False
        )
        self._time = _calendar(freq)
        self._spans = self._ranges() if isinstance(instruments, dict) else None

    def _ranges(self) -> dict[str, list[tuple[int, int]]]:
        """The spans of each name, as ranges of calendar rows."""
        assert isinstance(self._instruments, dict)
        spans = [(name, span) for name in self._names for span in self._instruments[name]]
        # all at once: converting times one by one costs more than computing a column
        begins = self._time.searchsorted(pd.DatetimeIndex([begin for _, (begin, _) in spans]), "left")
        ends = self._time.searchsorted(pd.DatetimeIndex([end for _, (_, end) in spans]), "right")
        found: dict[str, list[tuple[int, int]]] = {name: [] for name in self._names}
        for (name, _), begin, end in zip(spans, begins.tolist(), ends.tolist(), strict=True):
            found[name].append((begin, end))
        return found

    def _allowed(self, names: Sequence[str], low: int, high: int) -> BoolArray | None:
        """The calendar rows ``[low, high)`` that lie in spans ``[rows, N]``; None: there are none."""
        if self._spans is None:
            return None
        found = np.zeros((len(names), high - low), np.bool_)
        for row, name in zip(found, names, strict=True):
            for begin, end in self._spans[name]:
                row[max(0, begin - low) : max(0, end - low)] = True
        return found.T

    def frame(
        self, known: Mapping[str, Column | Unplanned], texts: Sequence[str], labels: Sequence[str],
        place: Place,
    ) -> pd.DataFrame:  # fmt: skip
        """The data frame, computed some instruments after others so that their values stay in cache.

        Args:
            known: all columns by text.
            texts: which ones, in order; one may come twice.
            labels: their names.
            place: where the files are.

        Raises:
            _NotJoined: qlib must answer the whole request.
        """
        first, end = self._first, self._last + 1
        rows = end - first
        everywhere = self._allowed(self._names, first, end)
        most = rows * len(self._names) if everywhere is None else int(np.count_nonzero(everywhere))
        found = Frame(labels, self._time[first:end], most)
        step = len(self._names)
        if all(isinstance(item, Column) and not item.crosses for item in known.values()):
            step = max(_FEWEST, _BYTES // (4 * rows * len(known)))
        for start in range(0, len(self._names), step):
            names = self._names[start : start + step]
            values = self._values(names, known, place)
            allowed = None if everywhere is None else everywhere[:, start : start + step]
            found.add(names, [values[text] for text in texts], allowed)
        return found.finish()

    def _values(
        self, names: list[str], known: Mapping[str, Column | Unplanned], place: Place
    ) -> dict[str, Computed]:
        """All columns of some instruments by text."""
        planned = [item for item in known.values() if isinstance(item, Column)]
        shape = (self._last + 1 - self._first, len(names))
        found: dict[str, Computed] = {}
        if planned:
            # whoever is ranked must have traded
            extra = {(None, "close")} if any(item.crosses for item in planned) else set()
            files = Files(place, names, {leaf for item in planned for leaf in item.leaves} | extra)

            def universe(low: int, high: int) -> BoolArray:
                members = np.zeros((high - low, len(files.names)), np.bool_)
                allowed = self._allowed(names, low, high)
                members[:, files.asked] = True if allowed is None else allowed
                return members

            found = computed(planned, files, self._first, self._last, universe)
        left = defaultdict(list)
        for text, item in known.items():
            if isinstance(item, Unplanned):
                values = np.full(shape, np.nan, np.float32)
                found[text] = Computed(values, np.zeros(shape, np.bool_), np.ones(len(names), np.bool_))
            for operator, reason in found[text].reasons:
                self._tell(operator, reason, text)
            if found[text].left.any():
                left[found[text].left.tobytes()].append(text)
        for some in left.values():
            self._from_qlib(names, {text: found[text] for text in some})
        return found

    def _from_qlib(self, names: list[str], columns: dict[str, Computed]) -> None:
        """Have qlib compute columns for the names that they leave to it, and put that in place."""
        where = np.flatnonzero(next(iter(columns.values())).left)
        some: Instruments = [names[index] for index in where]
        if isinstance(self._instruments, dict):
            some = {name: self._instruments[name] for name in some}
        data = _qlibs(some, list(columns), *self._asked)
        at = pd.Index(names).get_indexer(data.index.get_level_values(0))
        rows = self._time.get_indexer(data.index.get_level_values(1)) - self._first
        inside = (rows >= 0) & (rows <= self._last - self._first) & (at >= 0)
        if not inside.all() or any(dtype != np.float32 for dtype in data.dtypes):
            raise _NotJoined
        for text, item in columns.items():
            item.values, item.present = item.values.copy(), item.present.copy()
            item.values[:, where] = np.nan
            item.present[:, where] = False
            item.values[rows, at] = data[text].to_numpy()
            item.present[rows, at] = True


def _calendar(freq: str) -> pd.DatetimeIndex:
    """qlib's calendar; lives and dies with qlib's own copy in ``H``."""
    key = f"{freq}_bascule"
    if key not in H["c"]:
        H["c"][key] = pd.DatetimeIndex(qlib_data.Cal.calendar(freq=freq))
    found: pd.DatetimeIndex = H["c"][key]
    return found
