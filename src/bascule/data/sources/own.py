"""The short way to a user's own source: say what it delivers, and read a range of it.

Order, types, doubles, rows outside of the range or from the future, the report: all that is common to sources
is done here (`chunked`, `canonical`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.core import ConfigError, DataError, Settings, Timeframe
from bascule.data.sources.chunked import Chunk, ChunkedSource, Note
from bascule.data.sources.context import Context
from bascule.data.sources.fields import PRICES, VOLUMES
from bascule.data.sources.spec import FieldSpec, SourceSpec

if TYPE_CHECKING:
    import pandas as pd


def candles(
    name: str,
    timeframe: str | Timeframe,
    publisher: str = "user",
    fields: tuple[FieldSpec, ...] = (*PRICES, VOLUMES[0]),
) -> SourceSpec:
    """What a source of candles delivers: fields of instruments, known at each candle's close.

    Args:
        name: of the source.
        timeframe: candle length, e.g. ``1h``.
        publisher: who publishes them.
        fields: columns; default OHLC and volume.
    """
    step = Timeframe.of(timeframe)
    return SourceSpec(
        name=f"{name}:{step}",
        publisher=publisher,
        scope="instrument",
        frequency=str(step),
        period=step.delta,
        lag=np.timedelta64(0, "s"),
        lag_reason="a candle is known at its close",
        fields=fields,
    )


class RangeSource(ChunkedSource):
    """Base of a user's own source; a subclass says how to `read` a range.

    Args:
        spec: what it delivers (`candles`, or a `SourceSpec`).
        context: time, pause, dice.
    """

    def __init__(self, spec: SourceSpec, context: Context) -> None:
        super().__init__(spec, context.without_journal())

    @abstractmethod
    def read(self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]) -> pd.DataFrame:
        """Rows whose ``time`` is in ``[start, end)``; more does no harm.

        Args:
            start: first time (UTC), included.
            end: last time, excluded.
            instruments: what is asked for; empty = all.

        Returns:
            Columns ``time``, ``instrument`` and the spec's fields. A column ``available_time`` says when a
            row became known, where that is not the end of its period and the spec's lag.
        """

    def _chunks(
        self, start: np.datetime64, end: np.datetime64, instruments: Sequence[str]
    ) -> Sequence[Chunk]:
        return [Chunk(",".join(instruments), start, end)]

    def _pull(self, chunk: Chunk, note: Note) -> pd.DataFrame:
        import pandas as pd

        wanted = chunk.instrument.split(",") if chunk.instrument else []
        frame = self.read(chunk.start, chunk.end, wanted)
        if not isinstance(frame, pd.DataFrame):
            raise DataError(
                f"read() gave a {type(frame).__name__}",
                where=self.spec.name,
                remedy="return a pandas.DataFrame with time, instrument and the fields of the spec",
            )
        # without the column it is refused with all that is missing (`typed`)
        named = wanted and "instrument" in frame.columns
        return frame[frame["instrument"].isin(wanted)] if named else frame


def accept(name: str, part: Any, folder: Path) -> Any:
    """An extension's source: an `Entry`.

    Raises:
        ConfigError: it is none.
    """
    from bascule.data.sources.registry import Entry

    if not isinstance(part, Entry):
        raise ConfigError(
            f"it is a {type(part).__name__}",
            remedy="give an Entry(settings, build, summary) of bascule.data.sources",
        )
    if not (isinstance(part.settings, type) and issubclass(part.settings, Settings)):
        raise ConfigError(
            "its settings are no class of Settings", remedy="derive them from bascule.core.Settings"
        )
    if not callable(part.build) or not part.summary.strip():
        raise ConfigError(
            "build or summary is missing", remedy="build makes the source of settings and context"
        )
    return part
