"""The ``.bin`` files that one request reads: their rows, checked once, and panels of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bascule.bridge.qlib.columns import Leaf
from bascule.core import Panel, Timeframe
from bascule.core.panel import NAT, BoolArray, FloatArray
from bascule.data import bins

Rows = NDArray[np.int64]
# windows count rows of the calendar, whatever their distance in time, so the panel gets an even axis
_STEP = Timeframe.parse("1d")
_EPOCH = np.datetime64(0, "ns")


@dataclass(frozen=True)
class Place:
    """Where qlib keeps the features of one frequency.

    Attributes:
        folder: with one folder for each instrument.
        suffix: of the files, such as ``.60min.bin``.
    """

    folder: Path
    suffix: str

    def home(self, instrument: str) -> str:
        """The folder of one instrument; one whose name is a device's on Windows has qlib's prefix."""
        from qlib.utils import code_to_fname

        return f"{self.folder}/{code_to_fname(instrument).lower()}"


class Files:
    """Fields of instruments.

    Attributes:
        names: the instruments, sorted; those asked for and those that expressions name.
        asked: where those asked for stand.
        fields: what is read of each.
        low: first calendar row in memory.
        high: past the last one.
    """

    def __init__(self, place: Place, asked: Sequence[str], leaves: Iterable[Leaf]) -> None:
        """Look at all files.

        Raises:
            StoreError: one of them is damaged.
        """
        leaves = set(leaves)
        self.names = tuple(sorted({*asked, *(other for other, _ in leaves if other is not None)}))
        self.fields = tuple(sorted({field for _, field in leaves}))
        self._at = {name: index for index, name in enumerate(self.names)}
        self.asked = np.array([self._at[name] for name in asked], np.int64)
        homes = [place.home(name) for name in self.names]
        self._paths = {field: [f"{home}/{field}{place.suffix}" for home in homes] for field in self.fields}
        self._extents = {field: bins.extents(paths) for field, paths in self._paths.items()}
        self.low = self.high = 0
        self._arrays: dict[str, FloatArray] = {}

    def last(self) -> int:
        """Past the last row of any file."""
        return max(int(rows[:, 1].max(initial=0)) for rows in self._extents.values())

    def load(self, low: int, high: int) -> None:
        """Read calendar rows ``[low, high)`` of all fields."""
        self.low, self.high = low, high
        for field, paths in self._paths.items():
            self._arrays[field] = bins.read(paths, self._extents[field], low, high)

    def rows(self, leaf: Leaf, low: int, high: int) -> Rows:
        """The rows of a leaf in ``[low, high)`` for every name ``[N, 2]``; ``(low, low)``: none."""
        other, field = leaf
        found = self._extents[field]
        if other is not None:
            found = np.broadcast_to(found[self._at[other]], found.shape)
        found = np.clip(found, low, high)
        return np.where(found[:, [0]] < found[:, [1]], found, low)

    def panel(self, low: int, high: int, rows: Rows, universe: BoolArray | None) -> Panel:
        """The loaded rows ``[low, high)``, for qlib as if nothing were before them.

        Args:
            low: first calendar row.
            high: past the last one.
            rows: those where each name exists ``[N, 2]``; the first one is its listing.
            universe: members ``[high - low, N]``, or None.
        """
        time = _EPOCH + np.arange(high - low) * _STEP.delta
        listed = np.where(rows[:, 0] < rows[:, 1], _EPOCH + (rows[:, 0] - low) * _STEP.delta, NAT)
        cut = slice(low - self.low, high - self.low)
        arrays = {field: values[cut] for field, values in self._arrays.items()}
        return Panel(_STEP, time, self.names, arrays, listed, universe)
