"""Live against backtest as one page: what was missed, what was extra, what prices cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule import __version__
from bascule.app.figures import ALPHA, MUTED, RISK, blank
from bascule.app.page import Card, Cell, Figure, Page, Section, Table, number

if TYPE_CHECKING:
    import pandas as pd

    from bascule.bridge.freqtrade.livecheck import LiveCheck
    from bascule.bridge.freqtrade.livesignals import Difference

_ROWS = 400  # of a table on the page


def live_page(
    check: LiveCheck,
    *,
    title: str,
    span: tuple[str, str],
    followed: pd.DataFrame,
    difference: Difference | None,
    assumed_bps: float,
    currency: str,
) -> Page:
    """The page.

    Args:
        check: the trades beside each other.
        title: what the bot is called.
        span: first moment and the one after the last.
        followed: of `livesignals.followed`.
        difference: of recomputed and stored signals.
        assumed_bps: slippage that the backtest charged, a side.
        currency: stake currency.
    """
    figure = check.summary()
    return Page(
        title="Live against backtest",
        subtitle=f"{title}, {span[0]} to {span[1]} UTC",
        cards=_cards(check, figure, assumed_bps),
        sections=[
            _money(figure, currency),
            _prices(check, figure, assumed_bps),
            _signals(followed, difference),
            _trades(check, currency),
        ],
        footer=f"Bascule {__version__}",
    )


def _cards(check: LiveCheck, figure: dict[str, float], assumed: float) -> list[Card]:
    paid = figure["entry_bps_mean"]
    worse = "bad" if paid > 2 * assumed else "fair" if paid > assumed else "good"
    return [
        Card("trades that have their counterpart", number(check.same, ".0%")),
        Card("matched · missed · extra", f"{len(check.matched)} · {len(check.missed)} · {len(check.extra)}"),
        Card(f"entry slippage, bp (assumed {assumed:.1f})", number(paid, "+.1f"), worse),  # type: ignore[arg-type]
        Card("exit slippage, bp", number(figure["exit_bps_mean"], "+.1f")),
    ]


def _money(figure: dict[str, float], currency: str) -> Section:
    rows = [
        ["live, closed trades", number(figure["profit_live"], "+,.2f")],
        ["backtest, the same trades and those missed", number(figure["profit_backtest"], "+,.2f")],
        ["difference of matched trades", number(figure["difference_matched"], "+,.2f")],
        ["extra trades", number(figure["difference_extra"], "+,.2f")],
        ["missed trades", number(figure["difference_missed"], "+,.2f")],
    ]
    note = "The last three add up to the difference of the first two. After fees on both sides."
    return Section("Money", note, tables=[Table(("", currency), rows)])


def _prices(check: LiveCheck, figure: dict[str, float], assumed: float) -> Section:
    rows = [
        [side, *(number(figure[f"{side}_bps_{name}"], "+.1f") for name in ("mean", "median", "p95"))]
        for side in ("entry", "exit")
    ]
    note = (
        "Basis points by which live was worse than the candle's open, at which the backtest fills. The "
        f"backtest charges {assumed:.1f} bp a side for it. Median delay of an entry after the candle's open: "
        f"{number(figure['late_median'], '.0f')} s."
    )
    pictures = [
        Figure(f"{side.capitalize()} slippage", _histogram(check.matched[f"{side}_bps"], assumed))
        for side in ("entry", "exit")
        if check.matched[f"{side}_bps"].notna().any()
    ]
    return Section("Prices", note, pictures, [Table(("bp", "mean", "median", "95 %"), rows)])


def _histogram(values: pd.Series, assumed: float) -> Any:
    import plotly.graph_objects as go

    known = values.dropna().to_numpy(np.float64)
    limit = float(np.quantile(np.abs(known), 0.99)) if len(known) else 1.0
    figure = blank(280)
    figure.add_trace(
        go.Histogram(x=np.clip(known, -limit, limit), nbinsx=40, marker_color=ALPHA, showlegend=False)
    )
    figure.add_vline(x=assumed, line={"color": RISK, "dash": "dash", "width": 2})
    figure.add_vline(x=0, line={"color": MUTED, "width": 1})
    figure.update_xaxes(title="bp worse than the backtest (dashed: assumed)")
    figure.update_yaxes(title="trades")
    return figure


def _signals(followed: pd.DataFrame, difference: Difference | None) -> Section:
    counts = followed["outcome"].value_counts()
    rows = [[name, f"{int(counts.get(name, 0)):,}"] for name in ("entered", "held", "nothing")]
    tables = [Table(("wishes to enter", "candles"), rows)]
    if difference is not None:
        gaps = [[name, f"{value:.2g}"] for name, value in difference.largest.items()]
        gaps.append(["decisions to enter that differ", f"{difference.entries} of {difference.of}"])
        tables.append(Table(("computed from candles against stored", f"{difference.rows:,} candles"), gaps))
    nothing = followed[followed["outcome"] == "nothing"]
    if len(nothing):
        head = ("candle", "pair", "side", "rank", "weight")
        body = [
            [
                f"{one['time']:%Y-%m-%d %H:%M}",
                one["pair"],
                "short" if one["is_short"] else "long",
                f"{one['alpha_rank']:.2f}",
                f"{one['target_weight']:+.3f}",
            ]
            for one in _records(nothing)
        ]
        tables.append(Table(head, body, title="wishes that live did nothing about", folded=True))
    note = (
        "Each candle whose signals ask for an entry, and what live made of it: entered within the next "
        "candle, held the pair already, or did nothing."
    )
    return Section("Signals", note, tables=tables)


def _trades(check: LiveCheck, currency: str) -> Section:
    matched = [
        [
            one["pair"],
            "short" if one["is_short"] else "long",
            _day(one["open_live"]),
            _day(one["open_backtest"]),
            _signed(one["entry_bps"]),
            _signed(one["exit_bps"]),
            number(float(one["profit_live"]), "+,.2f"),
            number(float(one["profit_backtest"]), "+,.2f"),
            f"{one['exit_live'] or 'open'} / {one['exit_backtest']}",
        ]
        for one in _records(check.matched)
    ]
    head = (
        "pair",
        "side",
        "live",
        "backtest",
        "entry bp",
        "exit bp",
        f"live {currency}",
        f"backtest {currency}",
        "exit",
    )
    return Section(
        "Trades",
        tables=[
            Table(head, matched, title=f"{len(check.matched)} matched"),
            Table((*_ALONE, "why"), _alone(check.missed, "why"), title=f"{len(check.missed)} missed"),
            Table(
                (*_ALONE, "entry tag"), _alone(check.extra, "enter_tag"), title=f"{len(check.extra)} extra"
            ),
        ],
    )


_ALONE = ("pair", "side", "opened", "closed", "profit")


def _alone(table: pd.DataFrame, last: str) -> list[Sequence[str | Cell]]:
    return [
        [
            one["pair"],
            "short" if one["is_short"] else "long",
            _day(one["open_date"]),
            _day(one["close_date"]),
            number(float("nan") if one["profit_abs"] is None else float(one["profit_abs"]), "+,.2f"),
            str(one[last] or "–"),
        ]
        for one in _records(table)
    ]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The first rows of a table."""
    return [{str(name): value for name, value in one.items()} for one in table.head(_ROWS).to_dict("records")]


def _signed(value: float) -> Cell:
    tone = "" if np.isnan(value) else "bad" if value > 0 else "good"
    return Cell(number(float(value), "+.1f"), tone)  # type: ignore[arg-type]


def _day(when: Any) -> str:
    import pandas as pd

    return "–" if pd.isna(when) else f"{when:%Y-%m-%d %H:%M}"
