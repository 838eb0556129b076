"""Sources: everything that comes from outside, behind one interface.

1. `registry.SOURCES` lists them; `open_source` builds one from plain settings. A user's own come from
   extensions (`own.RangeSource` is the short way to one).
2. A `Source` fetches a range and gives a canonical frame (`spec.Fetched`): ``time``, ``available_time``,
   ``instrument``, float32 fields; units, frequency and publication lag are in its `spec.SourceSpec`.
3. `chunked` is the common way: cut the range, take finished chunks from the `journal`, pull the others,
   join, `canonical`: sort, make unique, drop what was not available yet, report.
4. `retry` and `http` bear with servers: back-off with jitter, ``Retry-After``, time-outs, pacing. Exchanges
   go through ccxt (`venues`) under the same policy.
5. What no server keeps is recorded as it comes (`recorder`, `recordings`) and read as any other source.
6. `context` brings time, pause and chance as arguments; base URLs are settings. Tests run against a local
   server that speaks each wire format.

``available_time`` is the law: the moment a value became known. Slow data is joined by it, never by ``time``.
"""

from bascule.data.sources.context import Context
from bascule.data.sources.own import RangeSource, candles
from bascule.data.sources.recorder import LiquidationRecorder, RecorderSettings
from bascule.data.sources.recordings import compact
from bascule.data.sources.registry import SOURCES, Entry, open_source
from bascule.data.sources.spec import GLOBAL, Fetched, FetchReport, FieldSpec, Source, SourceSpec

__all__ = [
    "GLOBAL",
    "SOURCES",
    "Context",
    "Entry",
    "FetchReport",
    "Fetched",
    "FieldSpec",
    "LiquidationRecorder",
    "RangeSource",
    "RecorderSettings",
    "Source",
    "SourceSpec",
    "candles",
    "compact",
    "open_source",
]
