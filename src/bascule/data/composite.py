"""One candle from many venues: volume-weighted, without the venues that are wrong.

For each instrument, candle by candle (a row never looks at another row):

1. **Present**: a venue takes part when it has a close and did trade. Volume 0 is no trade, a missing row is a
   missing venue; the others carry on without it.
2. **Units**: volumes become coins. Some venues count contracts (perpetuals of OKX and Gate) or quote
   currency; `VolumeUnit` says so. A venue whose unit is not known lends its price only, and only where no
   other does.
3. **Rejection**: with three venues or more, a venue is out when one of its prices lies further from the
   median of the venues than ``max(floor, deviation × 1.4826 × MAD)``, in logarithms (median absolute
   deviation: Hampel 1974, "The influence curve and its role in robust estimation", JASA 69; 1.4826 makes it a
   standard deviation for normal data). Highs and lows may differ ``wick`` times more. With two venues nobody
   can tell who is wrong: when they disagree by more than ``floor``, the first by priority is taken and the
   row is disputed.
4. **Composite**: prices weighted by coins traded. The same weights for open, high, low and close keep
   ``low <= open, close <= high``. Volumes are the sums of the venues that were used.
5. **Spreads**: each present venue's close over the composite's, minus 1, rejected venues included: a venue in
   trouble shows itself there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bascule.core import DataError, Progress, Settings, silent
from bascule.data.checks import NORMAL

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
PRICES = ("open", "high", "low", "close")


class VolumeUnit(Settings):
    """In what a venue counts volume."""

    unit: Literal["base", "quote", "contracts", "unknown"] = Field(
        "base", description="coins, quote currency, contracts, or not known"
    )
    sizes: Mapping[str, float] = Field({}, description="coins in one contract, a store id (for contracts)")

    @model_validator(mode="after")
    def _sizes_of_contracts(self) -> Self:
        if self.sizes and self.unit != "contracts":
            raise ValueError("sizes belong to unit: contracts")
        if any(not size > 0 for size in self.sizes.values()):
            raise ValueError("sizes must be above 0")
        return self


class CompositeSettings(Settings):
    """How venues are joined."""

    deviation: float = Field(5.0, gt=0, le=100, description="robust deviations from the median that reject")
    floor: float = Field(0.01, gt=0, lt=1, description="relative distance that is never rejected")
    wick: float = Field(3.0, ge=1, le=100, description="how much further highs and lows may lie")
    priority: tuple[str, ...] = Field(
        (), description="venues, most trusted first; default: the order in which they are given"
    )
    volumes: Mapping[str, VolumeUnit] = Field({}, description="venue → unit of volume; default: coins")


@dataclass(frozen=True)
class VenueReport:
    """What became of one venue.

    Attributes:
        rows: candles given.
        used: candles that went into the composite.
        rejected: candles that were too far off.
        idle: candles without volume.
        absent: composite candles for which this venue had none.
        unweighted: candles whose volume has no known unit.
    """

    rows: int
    used: int
    rejected: int
    idle: int
    absent: int
    unweighted: int


@dataclass(frozen=True, eq=False)
class Composite:
    """Composite candles.

    Attributes:
        frame: canonical long frame: ``time``, ``instrument``, the prices that the venues have, ``volume``
            (coins), ``venues`` (how many were used), ``rejected`` (how many were not), ``disputed`` (1 where
            two disagree), ``venue_spread`` (highest over lowest close of all present, minus 1), and
            ``spread_<venue>`` each. Spreads are a pure number, NaN where the venue is absent.
        venues: what became of each.
    """

    frame: pd.DataFrame
    venues: Mapping[str, VenueReport]


def composite(
    venues: Mapping[str, pd.DataFrame],
    settings: CompositeSettings | None = None,
    *,
    progress: Progress = silent,
) -> Composite:
    """Join venues.

    Args:
        venues: name (letters, digits, ``_``) → long frame with ``time``, ``instrument``, ``close``,
            ``volume`` and perhaps ``open high low``. All of one kind: spot with spot, perpetuals with
            perpetuals.
        settings: see there.
        progress: called per instrument.

    Raises:
        DataError: no venue, a missing column, duplicate rows, or a contract of unknown size.
    """
    settings = settings or CompositeSettings.read({})
    prices = _check(venues, settings)
    order = _ranked(venues, settings)
    tables = {name: _by_instrument(name, venues[name], prices) for name in order}
    instruments = sorted({key for table in tables.values() for key in table})
    parts, tallies = [], np.zeros((len(order), 6), np.int64)
    for done, instrument in enumerate(instruments):
        progress(done, len(instruments), f"composite {instrument}")
        part, tally = _one(instrument, order, tables, prices, settings)
        parts.append(part)
        tallies += tally
    progress(len(instruments), len(instruments), "composite")
    reports = {name: VenueReport(*(int(n) for n in row)) for name, row in zip(order, tallies, strict=True)}
    return Composite(_joined(parts), reports)


# -- checks and shapes -------------------------------------------------------------------------------------


def _check(venues: Mapping[str, pd.DataFrame], settings: CompositeSettings) -> tuple[str, ...]:
    """The prices that all venues have."""
    if not venues:
        raise DataError("no venue was given", where="composite", remedy="give at least one")
    for name, frame in venues.items():
        if not name.isidentifier():
            raise DataError(f"{name!r} is no venue name", where="composite", remedy="use letters, digits, _")
        missing = [c for c in ("time", "instrument", "close", "volume") if c not in frame.columns]
        if missing:
            raise DataError(
                f"lacks {', '.join(missing)}", where=f"composite: {name}", remedy="give a long frame"
            )
        if frame.duplicated(["time", "instrument"]).any():
            raise DataError(
                "has duplicate rows", where=f"composite: {name}", remedy="drop them (data health names them)"
            )
    unknown = [name for name in (*settings.priority, *settings.volumes) if name not in venues]
    if unknown:
        raise DataError(
            f"unknown venue {unknown[0]!r} in the settings",
            where="composite",
            remedy=f"venues: {', '.join(venues)}",
        )
    return tuple(p for p in PRICES if all(p in frame.columns for frame in venues.values()))


def _ranked(venues: Mapping[str, pd.DataFrame], settings: CompositeSettings) -> tuple[str, ...]:
    """All venues, most trusted first."""
    return (*settings.priority, *(name for name in venues if name not in settings.priority))


def _by_instrument(name: str, frame: pd.DataFrame, prices: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    indexed = frame[[*prices, "volume"]].astype(np.float64)
    indexed.index = pd.DatetimeIndex(pd.to_datetime(frame["time"], utc=True)).as_unit("ns")
    groups = indexed.groupby(frame["instrument"].astype(str).to_numpy())
    return {str(key): part.sort_index() for key, part in groups}


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.concat(parts, ignore_index=True)
    return frame.sort_values(["instrument", "time"], kind="stable", ignore_index=True)


# -- one instrument ------------------------------------------------------------------------------------------


def _one(
    instrument: str,
    order: tuple[str, ...],
    tables: Mapping[str, dict[str, pd.DataFrame]],
    prices: tuple[str, ...],
    settings: CompositeSettings,
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The composite of one instrument, and the `VenueReport` counts ``[V, 6]``."""
    import pandas as pd

    mine = [tables[name].get(instrument) for name in order]
    # an outer join of the venues' times, sorted; venues without the instrument have no rows
    times = pd.DatetimeIndex([], tz="UTC")
    for table in mine:
        if table is not None:
            times = (
                times.union(pd.DatetimeIndex(table.index)) if len(times) else pd.DatetimeIndex(table.index)
            )
    shape = (len(times), len(order))
    price = {name: np.full(shape, np.nan) for name in prices}
    volume = np.full(shape, np.nan)
    given = np.zeros(shape, bool)
    for v, table in enumerate(mine):
        if table is None:
            continue
        rows = times.get_indexer(table.index)
        given[rows, v] = True
        volume[rows, v] = table["volume"].to_numpy()
        for name in prices:
            price[name][rows, v] = table[name].to_numpy()
    whole = np.logical_and.reduce([np.isfinite(p) & (p > 0) for p in price.values()])
    coins = np.column_stack(
        [
            _coins(name, instrument, volume[:, v], price["close"][:, v], settings)
            for v, name in enumerate(order)
        ]
    )
    present = given & whole & ~(volume == 0)
    rejected, disputed = reject(price, present, settings)
    used = present & ~rejected
    weight = _weights(coins, used)
    keep = used.any(axis=1)
    frame = _frame(instrument, times, order, price, coins, present, used, weight, keep)
    frame["disputed"] = disputed[keep].astype(np.float32)
    counts = [
        given.sum(axis=0),
        ((weight > 0) & keep[:, None]).sum(axis=0),
        (rejected & present).sum(axis=0),
        (given & (volume == 0)).sum(axis=0),
        (keep[:, None] & ~present).sum(axis=0),
        (present & ~np.isfinite(coins)).sum(axis=0),
    ]
    return frame, np.column_stack(counts).astype(np.int64)


def _coins(name: str, instrument: str, volume: Floats, close: Floats, settings: CompositeSettings) -> Floats:
    """Volume in coins ``[T]``, NaN where the unit is not known."""
    one = settings.volumes.get(name)
    if one is None or one.unit == "base":
        return volume
    if one.unit == "quote":
        return np.divide(volume, close, out=np.full_like(volume, np.nan), where=close > 0)
    if one.unit == "unknown":
        return np.full_like(volume, np.nan)
    if instrument not in one.sizes and np.isfinite(volume).any():
        raise DataError(
            f"the contract size of {instrument} is not known",
            where=f"composite: volumes.{name}.sizes",
            remedy="give the coins in one contract, or set unit: unknown to use its prices only",
        )
    return volume * one.sizes.get(instrument, np.nan)


def reject(
    price: Mapping[str, Floats], present: Flags, settings: CompositeSettings
) -> tuple[Flags, NDArray[np.bool_]]:
    """Step 3: venues that are too far off ``[T, V]``, and rows in dispute ``[T]``.

    Args:
        price: name → prices ``[T, V]``, venues in the order of priority.
        present: which take part ``[T, V]``.
        settings: thresholds.
    """
    count = present.sum(axis=1)
    rejected = np.zeros_like(present)
    disputed = np.zeros(len(present), bool)
    many, two = count >= 3, count == 2
    for name, values in price.items():
        loose = settings.wick if name in ("high", "low") else 1.0
        logs = np.log(np.where(present, values, np.nan), where=present, out=np.full(values.shape, np.nan))
        if many.any():
            rows = logs[many]
            away = np.abs(rows - np.nanmedian(rows, axis=1, keepdims=True))
            scale = NORMAL * np.nanmedian(away, axis=1, keepdims=True)
            limit = loose * np.maximum(np.log1p(settings.floor), settings.deviation * scale)
            rejected[many] |= away > limit
        if two.any():
            rows = logs[two]
            apart = np.nanmax(rows, axis=1) - np.nanmin(rows, axis=1)
            disputed[two] |= apart > loose * np.log1p(settings.floor)
    first = np.argmax(present, axis=1)
    second = present & (np.arange(present.shape[1])[None, :] != first[:, None])
    rejected |= second & disputed[:, None]
    return rejected, disputed


def _weights(coins: Floats, used: Flags) -> Floats:
    """Weights of used venues ``[T, V]``, each row summing to 1 (to 0 where none is used)."""
    known = np.where(used & np.isfinite(coins), coins, 0.0)
    total = known.sum(axis=1, keepdims=True)
    # nobody's volume is known: equal weights
    fallback = used / np.maximum(used.sum(axis=1, keepdims=True), 1)
    weights: Floats = np.where(total > 0, known / np.where(total > 0, total, 1.0), fallback)
    return weights


def _frame(
    instrument: str,
    times: pd.DatetimeIndex,
    order: tuple[str, ...],
    price: Mapping[str, Floats],
    coins: Floats,
    present: Flags,
    used: Flags,
    weight: Floats,
    keep: Flags,
) -> pd.DataFrame:
    """Steps 4 and 5 for the rows of ``keep``."""
    import pandas as pd

    part = weight > 0
    columns: dict[str, Floats] = {}
    for name, values in price.items():
        columns[name] = (np.where(part, values, 0.0) * weight).sum(axis=1)
    known = used & np.isfinite(coins)
    columns["volume"] = np.where(known.any(axis=1), np.where(known, coins, 0.0).sum(axis=1), np.nan)
    columns["venues"] = part.sum(axis=1).astype(float)
    columns["rejected"] = (present & ~used).sum(axis=1).astype(float)
    close = np.where(present, price["close"], np.nan)
    low = np.min(close, axis=1, initial=np.inf, where=present)
    high = np.max(close, axis=1, initial=0.0, where=present)
    columns["venue_spread"] = np.divide(high, low, out=np.ones_like(high), where=present.any(axis=1)) - 1
    middle = np.where(keep, columns["close"], np.nan)
    for v, name in enumerate(order):
        columns[f"spread_{name}"] = close[:, v] / middle - 1
    frame = pd.DataFrame({name: values[keep].astype(np.float32) for name, values in columns.items()})
    frame.insert(0, "time", times[keep])
    frame.insert(1, "instrument", instrument)
    return frame
