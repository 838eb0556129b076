"""The report's page: whole, self-contained, escaped, the same for the same figures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from bascule.app import figures
from bascule.app.page import Card, Cell, Figure, Page, Section, Table


def a_page() -> Page:
    time = pd.date_range("2023-11-15", periods=4_000, freq="h")
    rng = np.random.default_rng(0)
    walk = pd.Series(np.exp(np.cumsum(rng.normal(0, 0.01, len(time)))), index=time)
    ic = pd.Series(rng.normal(0.02, 0.1, len(time)), index=time)
    drawn = [
        figures.ic_bars(["KMID", "ROC5"], [0.02, -0.01], [0.004, 0.004]),
        figures.cumulative_ic(ic, ic * 0.9),
        figures.monthly_ic(ic),
        figures.decay([1, 4, 24], {"IC": [0.03, 0.02, 0.01]}, "1h"),
        figures.quantiles([-0.001, 0.0, 0.001], "24 × 1h"),
        figures.equity({"strategy": walk, "BTC": walk[::-1].set_axis(time)}),
        figures.month_table(walk),
        figures.trade_returns(rng.normal(0, 0.02, 300).tolist()),
        figures.risk_over_time(pd.Series(rng.uniform(size=len(time)), index=time), 0.8),
        figures.breadth(pd.Series(30, index=time), pd.Series(64, index=time)),
        figures.importance(["KMID", "ROC5"], [0.6, 0.4]),
    ]
    section = Section(
        "All",
        note="each figure once",
        figures=[Figure(f"figure {i}", figure) for i, figure in enumerate(drawn)],
        tables=[Table(["name", "value"], [["<script>alert(1)</script>", "1"]], title="table")],
        code="a: 1",
        code_title="settings",
    )
    return Page("Title", "subtitle", [Card("Sharpe", "1.2")], [section], warnings=["synthetic"], footer="end")


def test_a_page_holds_everything_and_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    a_page().write(path)
    text = path.read_text("utf-8")
    assert text.count('class="plotly-graph-div"') == 11
    body = re.sub(
        r"<script>.*?</script>", "", text, flags=re.S
    )  # plotly's own code names addresses it may use
    assert not re.findall(r'(?:src|href)\s*=\s*"(?!#)', body)
    assert "&lt;script&gt;alert(1)" in text


def test_cells_and_cards_have_colours_and_are_escaped() -> None:
    table = Table(["a", "b"], [["plain", Cell("<b>0.05</b>", "good")]])
    text = Page("T", "", [Card("IC", "0.1", "bad")], [Section("S", tables=[table])]).render()
    assert '<td class="good">&lt;b&gt;0.05&lt;/b&gt;</td>' in text
    assert "<td>plain</td>" in text
    assert '<b class="bad">0.1</b>' in text


def test_the_same_input_gives_the_same_figures() -> None:
    one, two = (a_page().sections[0].figures[5].figure.to_json() for _ in range(2))
    assert one == two


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    series = pd.Series(np.arange(100_000.0))
    short = figures.thin(series)
    assert len(short) <= figures.MAX_POINTS
    assert (short.iloc[0], short.iloc[-1]) == (0.0, 99_999.0)
    assert figures.thin(series[:10]) is not None and len(figures.thin(series[:10])) == 10
