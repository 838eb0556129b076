"""From a run's settings to the canonical long frame, and how its health is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from bascule.app.config import RunConfig
from bascule.core import Instrument, UniverseError, files, moment
from bascule.data import readers
from bascule.data.health import HealthReport
from bascule.data.store import Store
from bascule.data.synthetic import SyntheticSettings, generate

if TYPE_CHECKING:
    import pandas as pd

_COLORS = {"error": "red", "warning": "yellow", "info": "dim"}


def read_source(config: RunConfig) -> pd.DataFrame:
    """The candles that a run's settings name, as they are: unrepaired, within its dates and instruments.

    Raises:
        DataError: a file is missing or malformed, or nothing is left of it.
    """
    data = config.data
    source = data.source
    generated = synthetic(config)
    if generated is not None:
        frame = generate(generated).frame
    elif source.kind == "store":
        assert source.path is not None
        frame = Store.open(source.path).frame(config.bar)
    elif source.kind == "freqtrade":
        assert source.path is not None
        frame = readers.read_freqtrade(source.path, config.bar, market=config.market)
    else:
        assert source.path is not None
        frame = readers.read_long(
            source.path,
            columns=source.columns or None,
            quote=source.quote,
            settle=source.settle,
            assume_utc=source.assume_utc,
        )
    return _within(frame, config)


def synthetic(config: RunConfig) -> SyntheticSettings | None:
    """The generated market of a run, in full; None where its candles come from elsewhere."""
    source = config.data.source
    if source.kind != "synthetic":
        return None
    return source.synthetic.model_copy(update={"timeframe": config.timeframe, "market": config.market})


def _within(frame: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    import pandas as pd

    data = config.data
    if data.instruments:
        wanted = {Instrument.parse(text).id for text in data.instruments}
        unknown = sorted(wanted - set(frame["instrument"].unique()))
        if unknown:
            raise UniverseError(
                f"the data holds no {', '.join(unknown)}",
                where="data.instruments",
                remedy="correct the names, or leave the key out to take all instruments",
            )
        frame = frame[frame["instrument"].isin(wanted)]
    if data.start is not None:
        frame = frame[frame["time"] >= pd.Timestamp(moment(data.start), tz="UTC")]
    if data.end is not None:
        frame = frame[frame["time"] < pd.Timestamp(moment(data.end), tz="UTC")]
    if frame.empty:
        raise UniverseError(
            "no candle is left between data.start and data.end", where="data", remedy="widen the dates"
        )
    return frame.reset_index(drop=True)


def source_fingerprint(config: RunConfig) -> Any:
    """What identifies the source's present content: settings, and name, size and time of each file."""
    path = config.data.source.path
    if path is None:
        return config.data.source.synthetic.model_dump(mode="json")
    if config.data.source.kind == "store":
        return Store.open(path).fingerprint(config.bar)
    found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    listing = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in found if p.exists()]
    return files.fingerprint(listing)


def health_table(report: HealthReport) -> Table:
    """The findings as a terminal table, one row a kind, worst first."""
    table = Table(box=None)
    for name in ("severity", "finding", "coins", "count", "first", "last"):
        table.add_column(name, no_wrap=True)
    table.add_column("example", overflow="fold")
    for kind in report.summary():
        color = _COLORS[kind["severity"]]
        table.add_row(
            f"[{color}]{kind['severity']}[/]",
            kind["name"],
            str(kind["instruments"]),
            f"{kind['count']:,}",
            kind["first"][:10],
            kind["last"][:10],
            kind["example"],
        )
    return table
