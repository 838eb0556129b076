"""freqtrade's own verdicts on bias, read from what its analyses write."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from bascule.core import BridgeError


@dataclass(frozen=True)
class LookaheadReport:
    """Outcome of ``freqtrade lookahead-analysis`` for one strategy.

    Attributes:
        has_bias: True if a signal or an indicator changed when later candles were taken away.
        signals: number of trades that were replayed on truncated data.
        biased_entries: how many of their entries were not found again.
        biased_exits: how many of their exits were not found again.
        biased_indicators: columns whose values changed.
    """

    has_bias: bool
    signals: int
    biased_entries: int
    biased_exits: int
    biased_indicators: tuple[str, ...]


@dataclass(frozen=True)
class RecursiveReport:
    """Outcome of ``freqtrade recursive-analysis`` for one strategy.

    Attributes:
        startup: the strategy's own number of start-up candles.
        variance: column → start-up candles → relative difference from the value on full history, as freqtrade
            prints it (``nan%`` where one of both is missing). Columns without any difference do not appear.
        lookahead: columns whose value changed when later candles were taken away.
    """

    startup: int | None
    variance: dict[str, dict[int, str]]
    lookahead: tuple[str, ...]

    def unstable(self, startup: int) -> tuple[str, ...]:
        """Columns that differ with this many start-up candles."""
        return tuple(sorted(name for name, cells in self.variance.items() if startup in cells))


def read_lookahead(path: Path, output: str) -> LookaheadReport:
    """Read the CSV of ``--lookahead-analysis-exportfilename``.

    Args:
        path: the file.
        output: what the command wrote, for the reason if there is no verdict.

    Raises:
        BridgeError: freqtrade came to no verdict (too few trades, or an error).
    """
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines())) if path.is_file() else []
    if len(rows) != 1:
        few = re.search(r"too few trades[^│\n]*", output)
        raise BridgeError(
            f"lookahead-analysis came to no verdict: {few[0].strip() if few else f'{len(rows)} rows'}",
            where=str(path),
            remedy="choose a longer time range or more pairs, or lower the number of trades asked for",
        )
    row = rows[0]
    return LookaheadReport(
        has_bias=row["has_bias"].strip().lower() == "true",
        signals=int(row["total_signals"]),
        biased_entries=int(row["biased_entry_signals"]),
        biased_exits=int(row["biased_exit_signals"]),
        biased_indicators=tuple(name.strip() for name in row["biased_indicators"].split(",") if name.strip()),
    )


def read_recursive(output: str) -> RecursiveReport:
    """Read what ``recursive-analysis`` printed: a table of differences, and lines on look-ahead.

    Raises:
        BridgeError: neither a table nor the line that says that there is nothing to tell.
    """
    found = tuple(sorted(set(re.findall(r"found lookahead in indicator (\S+)", output))))
    if "Start checking for lookahead bias on indicators only" not in output:
        raise BridgeError(
            "recursive-analysis did not come to its end",
            where="recursive-analysis",
            remedy="see its log",
        )
    table = [
        [cell.strip() for cell in re.split(r"[│┃|]", line)[1:-1]]
        for line in output.splitlines()
        if re.match(r"\s*[│┃|].*[│┃|]\s*$", line)
    ]
    head = next((row for row in table if row and row[0] == "Indicators"), None)
    if head is None:
        if "No variance on indicator(s) found" not in output:
            raise BridgeError(
                "recursive-analysis printed no table", where="recursive-analysis", remedy="see its log"
            )
        return RecursiveReport(None, {}, found)
    counts = [int(re.match(r"\d+", cell)[0]) for cell in head[1:]]  # type: ignore[index]
    own = [count for count, cell in zip(counts, head[1:], strict=True) if "from strategy" in cell]
    variance = {
        row[0]: {count: cell for count, cell in zip(counts, row[1:], strict=True) if cell != "-"}
        for row in table[table.index(head) + 1 :]
        if len(row) == len(head)
    }
    return RecursiveReport(own[0] if own else None, variance, found)
