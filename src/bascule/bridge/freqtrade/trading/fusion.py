"""Signals of a coarser timeframe beside those of the strategy's own.

1. The coarser signals come from a bundle of their own, stored or computed like the strategy's.
2. A candle of the strategy that closes at *c* sees the coarse candle that closed last at or before *c*, and
   only that one: if it is missing there is no opinion. The candle still open is never seen.
3. *confirm*: a long needs a coarse rank of at least ``rank``, a short one of at most 1 − ``rank``.
   *scale*: the target weight is multiplied by ``floor`` + (1 − ``floor``) · r, r the coarse rank of a long, 1
   minus it of a short.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from bascule.bridge.freqtrade import feed
from bascule.core import Instrument, Settings
from bascule.core.panel import BoolArray, FloatArray
from bascule.core.timeframe import TimeArray, Timeframe
from bascule.signals.frame import SignalFrame


class FusionSettings(Settings):
    """One coarser timeframe."""

    bundle: str = Field(min_length=1, description="bundle of a coarser timeframe, same market")
    mode: Literal["confirm", "scale"] = Field(default="confirm", description="what it does")
    rank: float = Field(default=0.5, ge=0, le=1, description="confirm: coarse rank that a long needs")
    floor: float = Field(default=0.25, ge=0, lt=1, description="scale: factor at the worst coarse rank")
    missing: Literal["refuse", "pass"] = Field(
        default="refuse", description="what no opinion of the coarser timeframe means"
    )


def coarse_rank(frame: SignalFrame, pair: str, opens: TimeArray, timeframe: Timeframe) -> FloatArray:
    """Rank in the coarse candle that closed last, at each candle ``[len(opens)]``; NaN = no opinion.

    Args:
        frame: signals of the coarser timeframe.
        pair: any spelling.
        opens: open times of the strategy's candles.
        timeframe: of the strategy's candles.
    """
    result = np.full(len(opens), np.nan, np.float32)
    name = Instrument.parse(pair).id
    if name not in frame.instruments or not len(frame.time):
        return result
    column = frame.alpha_rank[:, frame.instruments.index(name)]
    step = frame.timeframe.delta.astype(np.int64)
    closes = (opens + timeframe.delta).astype("datetime64[ns]").astype(np.int64)
    wanted = (closes // step * step - step).astype("datetime64[ns]")
    hit, row = feed.rows_at(frame.time, wanted)
    result[hit] = column[row]
    return result


def agrees(rank: FloatArray, side: int, settings: FusionSettings) -> BoolArray:
    """Where an entry of a side is allowed."""
    known = np.isfinite(rank)
    along = rank if side > 0 else 1 - rank
    with np.errstate(invalid="ignore"):
        good = along >= settings.rank if settings.mode == "confirm" else known
    found: BoolArray = np.where(known, good, settings.missing == "pass")
    return found


def factor(rank: FloatArray, weight: FloatArray, settings: FusionSettings) -> FloatArray:
    """What target weights are multiplied by; the sign of the weight says whose rank counts."""
    if settings.mode == "confirm":
        return np.ones(len(rank), np.float32)
    along = np.where(weight >= 0, rank, 1 - rank)
    found: FloatArray = np.where(
        np.isfinite(rank), settings.floor + (1 - settings.floor) * along, np.float32(1.0)
    ).astype(np.float32)
    return found
