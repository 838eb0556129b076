"""The clock of the machine that a bot runs on is set, forward and back, while the bot trades.

Promised: the bot neither crashes nor stops, and says what is wrong; the exchange takes no order from a clock
that is wrong, and none is placed twice; no candle is traded on that only that clock takes for closed; once it
is right again the bot goes on by itself; in the end both know the same orders, and the books agree.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.exchange.market import MarketKind
from bascule.bridge.freqtrade import livecheck
from bascule.core import Instrument
from tests.bridge.research import Research
from tests.chaos import setclock
from tests.chaos.conftest import Tried
from tests.e2e import test_rehearsal as rehearsal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
HOUR = 3_600
# hours after the beginning, and by how many seconds the clock is off
SPANS = [(6.2, 8.2, HOUR), (14.2, 16.2, -HOUR), (22.2, 24.2, -600), (30.2, 31.2, 2 * 24 * HOUR)]
END = 36.2


def newest_candle_says_so(research: Research, trade: dict[Any, Any]) -> None:
    """The candle that had closed last when the trade was opened is one to enter on."""
    signals, rules = research.bundle.signals, research.bundle.spec.rules
    closed = pd.Timestamp(trade["open_date"]).tz_localize(None).floor("h") - pd.Timedelta(hours=1)
    row = int(np.searchsorted(signals.time, closed.to_datetime64()))
    assert signals.time[row] == closed.to_datetime64()
    rank = signals.alpha_rank[row, signals.instruments.index(Instrument.parse(trade["pair"]).id)]
    assert (1 - rank if trade["is_short"] else rank) >= rules.entry_rank - 1e-6, trade


@pytest.mark.parametrize("kind", ["spot", "futures"])
def test_a_bot_whose_clock_is_set_waits_for_the_right_time_and_goes_on(
    spot: Research,
    futures: Research,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: MarketKind,
    tried: Tried,
) -> None:
    begin = float(rehearsal.BEGIN.astype(np.int64))
    spans = [(begin + first * HOUR, begin + last * HOUR, off) for first, last, off in SPANS]
    monkeypatch.setenv(setclock.SPANS, json.dumps(spans))
    research = spot if kind == "spot" else futures
    # as Binance does it, it refuses what is signed with a wrong time
    with rehearsal.exchange_of(research, kind, tmp_path, faults=None) as exchange:
        found = rehearsal.bot(research, tmp_path / "bot", exchange, dry=False)
        found.run(END, "tests.chaos.setclock")
        # it noticed: a test of a clock that was not set would pass without
        assert "-1021" in found.log
        assert found.log.count("WARNING - safe mode, no entries: our clock is ") == len(spans)
        rehearsal.no_crash(found)
        rehearsal.no_secret(found)
        rehearsal.known_and_placed_once(found)
        assert exchange.differences() == []
        placed = np.array([order.created / 1_000 for order in exchange.account.orders.values()])
        for first, last, _ in spans:
            assert not ((first <= placed) & (placed < last)).any()
            # and within two candles it trades on
            assert ((last <= placed) & (placed < last + 3 * HOUR)).any(), (first, last)
        table = livecheck.read_trades(found.database)
        assert len(table) >= 10
        for trade in table.to_dict("records"):
            newest_candle_says_so(research, trade)
    tried("clock set under a bot", len(SPANS))
