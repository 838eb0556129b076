"""The signals of many instruments over many candles, as arrays and as a table."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bascule.core import BundleError, Timeframe
from bascule.core.panel import FloatArray
from bascule.core.timeframe import TimeArray

if TYPE_CHECKING:
    import pandas as pd

# one value an instrument and candle, in the order of the table's columns
BY_INSTRUMENT = ("alpha", "alpha_rank", "expected_return", "risk_score", "target_weight", "stop_distance")
BY_TIME = ("portfolio_risk", "regime", "model_id")
COLUMNS = ("time", "instrument", *BY_INSTRUMENT, *BY_TIME)
NO_REGIME = -1


@dataclass(frozen=True, eq=False)
class SignalFrame:
    """What the strategy acts on. Row *t* is known at the close of candle *t*, for trades from the next open.

    Attributes:
        timeframe: candle length.
        time: candle open times ``[T]``, regular.
        instruments: store ids ``[N]``, sorted.
        alpha: the model's output, smoothed ``[T, N]``.
        alpha_rank: cross-sectional rank of alpha in [0, 1], 1 = best; NaN outside the universe ``[T, N]``.
        expected_return: over the horizon, fraction ``[T, N]``.
        risk_score: in [0, 1], 1 = worst ``[T, N]``.
        target_weight: signed fraction of equity; 0 = no position ``[T, N]``.
        stop_distance: stop below (above, for shorts) the entry price, fraction of it ``[T, N]``.
        portfolio_risk: in [0, 1] ``[T]``.
        regime: market regime, -1 = unknown ``[T]`` int8.
        model_id: the model behind the row, ``""`` = none ``[T]``.
    """

    timeframe: Timeframe
    time: TimeArray
    instruments: tuple[str, ...]
    alpha: FloatArray
    alpha_rank: FloatArray
    expected_return: FloatArray
    risk_score: FloatArray
    target_weight: FloatArray
    stop_distance: FloatArray
    portfolio_risk: FloatArray
    regime: NDArray[np.int8]
    model_id: NDArray[np.str_]

    def __post_init__(self) -> None:
        shape = (len(self.time), len(self.instruments))
        for name in BY_INSTRUMENT:
            values = getattr(self, name)
            if values.shape != shape or values.dtype != np.float32:
                raise ValueError(
                    f"{name} is {values.dtype}{list(values.shape)}, expected float32{list(shape)}"
                )
        for name in BY_TIME:
            if getattr(self, name).shape != shape[:1]:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape[:1]}")

    def rows(self, start: int | None, stop: int | None) -> SignalFrame:
        """The rows ``start:stop``."""
        cut = slice(start, stop)
        arrays = {
            f.name: getattr(self, f.name)[cut]
            for f in fields(self)
            if f.name not in ("timeframe", "instruments")
        }
        return replace(self, **arrays)

    @classmethod
    def nothing(cls, timeframe: Timeframe, instruments: tuple[str, ...]) -> SignalFrame:
        """A frame without rows."""
        none = np.empty((0, len(instruments)), np.float32)
        return cls(
            timeframe,
            np.empty(0, "datetime64[ns]"),
            instruments,
            **dict.fromkeys(BY_INSTRUMENT, none),
            portfolio_risk=np.empty(0, np.float32),
            regime=np.empty(0, np.int8),
            model_id=np.empty(0, np.str_),
        )

    @property
    def covered(self) -> NDArray[np.bool_]:
        """True in rows that a model stands behind ``[T]``."""
        covered: NDArray[np.bool_] = self.model_id != ""
        return covered

    def to_long(self) -> pd.DataFrame:
        """One row per covered candle and instrument that has a value, with the columns `COLUMNS`."""
        import pandas as pd

        present = np.zeros((len(self.time), len(self.instruments)), np.bool_)
        for name in ("alpha", "risk_score", "target_weight", "stop_distance"):
            present |= np.isfinite(getattr(self, name))
        t, n = np.nonzero(present & self.covered[:, None])
        data: dict[str, object] = {
            "time": pd.DatetimeIndex(self.time[t]).tz_localize("UTC"),
            "instrument": np.array(self.instruments, object)[n],
        }
        data |= {name: getattr(self, name)[t, n] for name in BY_INSTRUMENT}
        data |= {name: getattr(self, name)[t] for name in BY_TIME}
        return pd.DataFrame(data)[list(COLUMNS)]

    @classmethod
    def from_long(
        cls, table: pd.DataFrame, timeframe: Timeframe, instruments: tuple[str, ...]
    ) -> SignalFrame:
        """The arrays behind a table of `to_long`.

        Raises:
            BundleError: a column is missing, an instrument is unknown, a time is off the grid or doubled, or
                there is no row.
        """
        import pandas as pd

        missing = [name for name in COLUMNS if name not in table.columns]
        if missing or table.empty:
            raise BundleError(
                "columns are missing: " + ", ".join(missing) if missing else "there are no rows"
            )
        stamps = (
            pd.DatetimeIndex(table["time"]).tz_convert("UTC").tz_localize(None).to_numpy("datetime64[ns]")
        )
        axis = timeframe.axis(stamps.min(), stamps.max())
        t, off = np.divmod((stamps - axis[0]).astype(np.int64), timeframe.delta.astype(np.int64))
        n = pd.Index(instruments).get_indexer(pd.Index(table["instrument"].astype(str)))
        if off.any() or (n < 0).any() or len(np.unique(t * len(instruments) + n)) != len(t):
            raise BundleError(
                "rows are doubled, off the time grid, or of instruments outside the bundle's universe"
            )
        dense = {name: np.full((len(axis), len(instruments)), np.nan, np.float32) for name in BY_INSTRUMENT}
        for name, values in dense.items():
            values[t, n] = table[name].to_numpy(np.float32)
        portfolio = np.full(len(axis), np.nan, np.float32)
        portfolio[t] = table["portfolio_risk"].to_numpy(np.float32)
        regime = np.full(len(axis), NO_REGIME, np.int8)
        regime[t] = table["regime"].to_numpy(np.int8)
        names = table["model_id"].astype(str).to_numpy(np.str_)
        model = np.full(len(axis), "", names.dtype)
        model[t] = names
        return cls(
            timeframe, axis, instruments, **dense, portfolio_risk=portfolio, regime=regime, model_id=model
        )
