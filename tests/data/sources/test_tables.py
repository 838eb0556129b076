"""Tables of the user: each mistake has its line, column and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bascule.core import DataError
from bascule.data.sources import Context, Fetched, open_source
from bascule.data.sources.counterparty import EXAMPLE

HEADER = "venue,as_of,score,insurance_fund_usd,published,source\n"


def fetch(path: Path, start: str = "2023-01-01", end: str = "2025-01-01") -> Fetched:
    context = Context(np.random.default_rng(0), lambda: np.datetime64("2025-06-01", "ns"))
    return open_source("counterparty", {"path": path}, context).fetch(start, end)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a CSV table"),
        ("venue,as_of,score\nbinance,2024-01-01,0.5\n", "missing insurance_fund_usd"),
        (HEADER.replace("source", "origin") + "binance,2024-01-01,0.5,1,,\n", "unknown origin"),
        (HEADER + "binance,2024-01-01,0.5,1,,\nokx,2024-01-01,1.5,1,,\n", "row 2 has '1.5'"),
        (HEADER + "binance,2024-01-01,0.5,-1,,\n", "row 1 has '-1'"),
        (HEADER + "binance,2024-01-01,0.5,many,,\n", "row 1 has 'many'"),
        (HEADER + "binance,2024-01-01,0.5,inf,,\n", "row 1 has 'inf'"),
        (HEADER + "binance,New Year,0.5,1,,\n", "row 1 has 'New Year'"),
        (HEADER + "binance,2024-01-01,,1,,\n", "row 1 is empty"),
        (HEADER + "binance,2024-01-01,0.5,1,,\nbinance,2024-01-01,0.6,1,,\n", "two rows of binance"),
    ],
)
def test_mistakes_are_named(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=complaint) as caught:
        fetch(path)
    assert str(path) in (caught.value.where or "") and caught.value.remedy


def test_publication_decides_when_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(HEADER + "okx,2024-01-01,0.5,1,2024-02-01T06:00Z,web\nokx,2024-03-01,0.4,1,,\n")
    frame = fetch(path).frame
    known = [str(t) for t in frame["available_time"]]
    assert known == ["2024-02-01 06:00:00+00:00", "2024-03-02 00:00:00+00:00"]


def test_the_example_is_marked_as_one() -> None:
    context = Context(np.random.default_rng(0), lambda: np.datetime64("2025-06-01", "ns"))
    fetched = open_source("counterparty", {}, context).fetch("2024-01-01", "2025-01-01")
    assert "made up" in fetched.report.notes[0]
    first = EXAMPLE.read_text("utf-8").splitlines()[0]
    assert first.startswith("#") and "EXAMPLE of 2024-01-01" in first and "made up" in first
