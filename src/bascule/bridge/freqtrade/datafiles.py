"""The candle files that a freqtrade backtest will read: all there, and futures with funding.

freqtrade goes on without funding or mark prices and books no funding at all; a backtest of perpetuals without
funding is wrong, so we refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bascule.core import Instrument, Moment, SetupError, Timeframe, moment

if TYPE_CHECKING:
    import pandas as pd

FUNDING_TIMEFRAME = "1h"  # at which freqtrade keeps funding rates and mark prices of Binance
# settlements are at most eight hours apart; twice that is a hole
LONGEST_FUNDING_GAP_HOURS = 16


def require(
    folder: Path,
    pairs: Iterable[str],
    timeframe: Timeframe,
    market: str,
    *,
    funding: bool = True,
    start: Moment | None = None,
    end: Moment | None = None,
) -> None:
    """Check that every pair has its files, and for futures that funding covers the candles.

    Args:
        folder: freqtrade's data folder of the exchange (``datadir``), feather files.
        pairs: instruments in any spelling.
        timeframe: of the candles.
        market: ``spot`` or ``futures``.
        funding: False asks of futures only the candles, for pairs that are looked at but not traded.
        start: funding must cover candles from here on; None = from the first.
        end: and before here; None = to the last.

    Raises:
        BridgeError: names the first gap and how many more there are.
    """
    wanted = [Instrument.parse(name) for name in pairs]
    kinds = [""] if market == "spot" else ["futures", "funding_rate", "mark"] if funding else ["futures"]
    missing = [
        path.name
        for one in wanted
        for kind in kinds
        if not (path := file(folder, one, timeframe, kind)).is_file()
    ]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        silent = missing[0].endswith(("-funding_rate.feather", "-mark.feather"))
        reason = "; freqtrade would silently count its funding as zero" if silent else ""
        raise SetupError(
            f"{missing[0]} is missing{more}{reason}",
            where=str(folder),
            remedy="export the store again, or run freqtrade download-data for all pairs",
        )
    if market == "futures" and funding:
        for one in wanted:
            _require_funding(folder, one, timeframe, start, end)


def file(folder: Path, instrument: Instrument, timeframe: Timeframe, kind: str = "") -> Path:
    """Path of one feather file as freqtrade names it; ``kind`` is empty for spot candles."""
    name = instrument.pair.replace("/", "_").replace(":", "_")
    if not kind:
        return folder / f"{name}-{timeframe}.feather"
    frame = str(timeframe) if kind == "futures" else FUNDING_TIMEFRAME
    return folder / "futures" / f"{name}-{frame}-{kind}.feather"


def _require_funding(
    folder: Path, instrument: Instrument, timeframe: Timeframe, start: Moment | None, end: Moment | None
) -> None:
    import pandas as pd

    candles = _dates(file(folder, instrument, timeframe, "futures"))
    if start is not None:
        candles = candles[candles >= pd.Timestamp(moment(start), tz="UTC")]
    if end is not None:
        candles = candles[candles < pd.Timestamp(moment(end), tz="UTC")]
    if not len(candles):
        return  # listed later or gone before: nothing is traded
    for kind in ("funding_rate", "mark"):
        path = file(folder, instrument, timeframe, kind)
        dates = _dates(path)
        dates = dates[(dates >= candles.min()) & (dates <= candles.max())]
        edges = pd.DatetimeIndex([candles.min(), *dates, candles.max()])
        # a range shorter than that, as freqtrade's recursive analysis takes, may hold no settlement
        gap = edges.sort_values().to_series().diff().max()
        if gap > pd.Timedelta(hours=LONGEST_FUNDING_GAP_HOURS):
            raise SetupError(
                f"{path.name} leaves a hole of {gap} in {candles.min()} … {candles.max()}; freqtrade would "
                "silently count funding as zero there",
                where=str(folder),
                remedy="complete the file, or shorten the candles to the time that it covers",
            )


def _dates(path: Path) -> pd.DatetimeIndex:
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.DatetimeIndex(pd.read_feather(path, columns=["date"])["date"])
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise SetupError(
            f"cannot be read: {error}", where=str(path), remedy="export or download it again"
        ) from None
