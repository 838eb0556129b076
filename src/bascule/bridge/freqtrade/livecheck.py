"""Live against backtest: the same period, trade by trade.

1. `read_trades` and `read_orders` read a bot's own database (SQLite, freqtrade's tables), also while it runs.
2. `match` pairs trades of the same instrument and side whose entries are at most ``tolerance`` candles apart,
   each at most once, the nearest first. What the backtest has and live has not is *missed*, the reverse is
   *extra*.
3. Price differences are in basis points and positive where live was worse. The backtest fills at candle opens
   and charges slippage as a fee; so the differences are the slippage that was really paid.
4. A missed trade says why, as far as the database knows: live held the pair already, an order was placed and
   did not fill, or no order was placed at all.
5. The profits of both sides are split into what matched trades made differently, what extra trades made and
   what missed ones would have made; the three add up to the whole difference.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from bascule.core import BridgeError, SetupError, Timeframe

if TYPE_CHECKING:
    import pandas as pd

TRADE = (
    "pair",
    "is_short",
    "open_date",
    "close_date",
    "open_rate",
    "close_rate",
    "stake_amount",
    "profit_abs",
    "profit_ratio",
    "exit_reason",
)
_SQL_TRADES = """
SELECT id, pair, is_short, open_date, close_date, open_rate, close_rate, stake_amount, amount, leverage,
       close_profit_abs AS profit_abs, close_profit AS profit_ratio, exit_reason, enter_tag, is_open
FROM trades ORDER BY open_date, id
"""
_SQL_ORDERS = """
SELECT ft_trade_id AS trade, ft_pair AS pair, order_id, ft_order_side AS side, order_type AS kind, status,
       ft_is_open AS open, price, average, amount, filled, order_date, order_filled_date,
       ft_cancel_reason AS cancelled
FROM orders ORDER BY order_date, id
"""
_DATES = ("open_date", "close_date", "order_date", "order_filled_date")


def read_trades(database: Path) -> pd.DataFrame:
    """All trades of a bot: `TRADE` and ``id, amount, leverage, enter_tag, is_open``; dates are UTC.

    Raises:
        BridgeError: there is no such database, or it is none of freqtrade.
    """
    found = _read(database, _SQL_TRADES)
    return found.astype({"is_short": bool, "is_open": bool})


def read_orders(database: Path) -> pd.DataFrame:
    """All orders of a bot, whatever became of them; dates are UTC.

    Raises:
        BridgeError: as `read_trades`.
    """
    return _read(database, _SQL_ORDERS).astype({"open": bool})


def _read(database: Path, sql: str) -> pd.DataFrame:
    import pandas as pd

    if not database.is_file():
        raise SetupError(
            "there is no such database", where=str(database), remedy="name the bot's .sqlite file"
        )
    try:
        # read-only: a running bot is not disturbed
        uri = f"file:{quote(str(database.resolve()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=30)) as connection:
            cursor = connection.execute(sql)
            names = [column[0] for column in cursor.description]
            table = pd.DataFrame(cursor.fetchall(), columns=names)
    except sqlite3.Error as error:
        raise SetupError(
            f"cannot be read: {error}", where=str(database), remedy="name a database of freqtrade"
        ) from None
    for name in _DATES:
        if name in table:
            table[name] = pd.to_datetime(table[name], utc=True, format="ISO8601")
    return table


@dataclass(frozen=True, eq=False)
class LiveCheck:
    """Trades of both sides beside each other.

    Attributes:
        matched: one row a pair of trades: ``pair, is_short, open_live, open_backtest, close_live,
            close_backtest, late`` (seconds from the candle's open to the live entry), ``entry_bps, exit_bps``
            (live worse: positive), ``profit_live, profit_backtest, exit_live, exit_backtest``.
        missed: the backtest's trades without a live one, with ``why``.
        extra: live trades without one in the backtest.
        timeframe: candle length.
    """

    matched: pd.DataFrame
    missed: pd.DataFrame
    extra: pd.DataFrame
    timeframe: Timeframe

    @property
    def same(self) -> float:
        """Share of all trades, of either side, that have their counterpart."""
        total = len(self.matched) + len(self.missed) + len(self.extra)
        return len(self.matched) / total if total else float("nan")

    def summary(self) -> dict[str, float]:
        """The figures of a report; basis points and stake currency; NaN where there is nothing to say."""
        closed = self.matched[np.isfinite(self.matched["profit_live"].astype(float))]
        matched = float((closed["profit_live"] - closed["profit_backtest"]).sum())
        extra = float(self.extra["profit_abs"].fillna(0.0).sum())
        missed = float(self.missed["profit_abs"].fillna(0.0).sum())
        return {
            "matched": len(self.matched),
            "missed": len(self.missed),
            "extra": len(self.extra),
            "same": self.same,
            **{f"{side}_bps_{name}": value for side in ("entry", "exit") for name, value in self._bps(side)},
            "late_median": _median(self.matched["late"]),
            "profit_live": float(closed["profit_live"].sum()) + extra,
            "profit_backtest": float(closed["profit_backtest"].sum()) + missed,
            "difference_matched": matched,
            "difference_extra": extra,
            "difference_missed": -missed,
        }

    def _bps(self, side: str) -> list[tuple[str, float]]:
        values = self.matched[f"{side}_bps"].dropna().to_numpy(np.float64)
        if not len(values):
            return [("mean", float("nan")), ("median", float("nan")), ("p95", float("nan"))]
        return [
            ("mean", float(values.mean())),
            ("median", float(np.median(values))),
            ("p95", float(np.quantile(values, 0.95))),
        ]


def match(
    live: pd.DataFrame,
    backtest: pd.DataFrame,
    timeframe: Timeframe,
    *,
    orders: pd.DataFrame | None = None,
    tolerance: int = 1,
) -> LiveCheck:
    """Pair the trades of both sides.

    Args:
        live: of `read_trades`.
        backtest: of `results.load`.
        timeframe: candle length.
        orders: of `read_orders`, to say why trades were missed.
        tolerance: candles by which entries may differ.

    Raises:
        BridgeError: a column is missing, or ``tolerance`` is negative.
    """
    import pandas as pd

    for name, table in (("live", live), ("backtest", backtest)):
        lacking = sorted(set(TRADE) - {"stake_amount"} - set(table.columns)) if len(table) else []
        if lacking:
            raise BridgeError(f"{name} trades lack {', '.join(lacking)}", where="livecheck")
    if tolerance < 0:
        raise SetupError(f"a tolerance of {tolerance}", where="livecheck", remedy="0 or more candles")
    step = pd.Timedelta(seconds=timeframe.seconds)
    pairs: list[tuple[Any, Any]] = []
    for key in _keys(live) | _keys(backtest):
        ours, theirs = _of(live, key), _of(backtest, key)
        gaps = [
            (abs(a["open_date"].floor(step) - b["open_date"].floor(step)), i, j)
            for i, a in ours.iterrows()
            for j, b in theirs.iterrows()
        ]
        taken: tuple[set[Any], set[Any]] = (set(), set())
        for gap, i, j in sorted(gaps):
            if gap <= tolerance * step and i not in taken[0] and j not in taken[1]:
                taken[0].add(i)
                taken[1].add(j)
                pairs.append((i, j))
    pairs.sort(key=lambda pair: (live.loc[pair[0], "open_date"], live.loc[pair[0], "pair"]))
    rows = [_beside(live.loc[i], backtest.loc[j], step) for i, j in pairs]
    missed = backtest.drop(index=[j for _, j in pairs]).copy()
    missed["why"] = [_why(one, live, orders, step) for _, one in missed.iterrows()]
    columns = list(_beside_columns())
    return LiveCheck(
        pd.DataFrame(rows, columns=columns), missed, live.drop(index=[i for i, _ in pairs]), timeframe
    )


def _keys(table: pd.DataFrame) -> set[tuple[str, bool]]:
    if not len(table):
        return set()
    return {(str(p), bool(s)) for p, s in zip(table["pair"], table["is_short"], strict=True)}


def _of(table: pd.DataFrame, key: tuple[str, bool]) -> pd.DataFrame:
    if not len(table):
        return table
    return table[(table["pair"] == key[0]) & (table["is_short"].astype(bool) == key[1])]


def _beside_columns() -> tuple[str, ...]:
    return (
        "pair",
        "is_short",
        "open_live",
        "open_backtest",
        "close_live",
        "close_backtest",
        "late",
        "entry_bps",
        "exit_bps",
        "profit_live",
        "profit_backtest",
        "exit_live",
        "exit_backtest",
    )


def _beside(live: pd.Series, back: pd.Series, step: pd.Timedelta) -> tuple[Any, ...]:
    import pandas as pd

    side = -1.0 if bool(live["is_short"]) else 1.0
    closed = pd.notna(live["close_date"]) and pd.notna(live["close_rate"])
    return (
        live["pair"],
        bool(live["is_short"]),
        live["open_date"],
        back["open_date"],
        live["close_date"],
        back["close_date"],
        (live["open_date"] - live["open_date"].floor(step)).total_seconds(),
        side * (float(live["open_rate"]) / float(back["open_rate"]) - 1.0) * 1e4,
        -side * (float(live["close_rate"]) / float(back["close_rate"]) - 1.0) * 1e4 if closed else np.nan,
        float(live["profit_abs"]) if closed else np.nan,
        float(back["profit_abs"]),
        live["exit_reason"],
        back["exit_reason"],
    )


def _why(missed: pd.Series, live: pd.DataFrame, orders: pd.DataFrame | None, step: pd.Timedelta) -> str:
    """Why live has no such trade."""
    opened = missed["open_date"]
    if len(live):
        same = live[live["pair"] == missed["pair"]]
        ends = same["close_date"].fillna(opened + step)
        if ((same["open_date"] < opened) & (ends >= opened)).any():
            return "live held the pair"
    if orders is None or not len(orders):
        return "no order was placed"
    near = orders[(orders["pair"] == missed["pair"]) & (orders["order_date"] >= opened)]
    near = near[near["order_date"] < opened + 2 * step]
    unfilled = near[near["filled"].fillna(0.0) <= 0.0]
    if len(unfilled):
        reason = unfilled["cancelled"].dropna()
        return f"the order did not fill ({reason.iloc[0] if len(reason) else unfilled['status'].iloc[0]})"
    return "no order was placed"


def _median(values: pd.Series) -> float:
    return float(np.median(values.to_numpy(np.float64))) if len(values) else float("nan")
