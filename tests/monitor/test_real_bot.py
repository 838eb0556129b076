"""The monitor and a real freqtrade with its real API: measures, a halt, positions that are reduced."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from bascule.bridge.freqtrade import emergency
from bascule.monitor.loop import Monitor
from bascule.monitor.read import Reader
from bascule.monitor.settings import MonitorSettings
from tests.e2e.realbot import PASSWORD, USER, real_bot
from tests.e2e.test_freqtrade_live import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
RULES = {
    "rules": [
        {
            "name": "too-many", "metric": "bot.open_trades", "above": 0.5, "level": "critical",
            "actions": ["alert", {"do": "reduce", "share": 0.5}],
        }
    ]
}  # fmt: skip


def test_a_real_bot_is_measured_halted_and_reduced(tmp_path: Path) -> None:
    with real_bot(tmp_path) as mine:
        space, log = mine.space, mine.log

        def amounts() -> list[float]:
            query = "select amount from trades where is_open = 1 and amount > 0 order by id"
            return [float(row[0]) for row in mine.rows(query)]

        (tmp_path / "password").write_text(PASSWORD)
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
        bot = {
            "name": "main", "url": mine.url, "username": USER,
            "password": {"file": str(tmp_path / "password")}, "userdir": str(space.folder),
        }  # fmt: skip
        settings = MonitorSettings.read(
            {"home": str(tmp_path), "state": "m.sqlite", "rules": "rules.yaml", "bots": [bot],
             "research": {"store": "store", "bundles": "bundles", "recent_days": 7, "reference_days": 20,
                          "tail": {"window": 50}}}
        )  # fmt: skip
        reader = Reader(tmp_path / "m.sqlite")
        with mine.running() as process:
            wait_for(lambda: len(amounts()) >= 1, 120, process, log)
            before = amounts()
            with closing(Monitor(settings)) as monitor:
                now = datetime.now(UTC)
                monitor.cycle(now, patience=60.0)
                # it may have bought once more meanwhile
                wait_for(lambda: amounts()[0] < 0.75 * before[0], 60, process, log)
                monitor.cycle(now + timedelta(hours=1), patience=30.0)  # nothing is sold a second time
                wait_for(lambda: emergency.obeyed(space.folder, 1) is not None, 60, process, log)
            after = amounts()
    (seen,) = reader.bots()
    assert seen.values["bot.up"] == seen.values["bot.running"] == 1.0
    assert seen.values["bot.open_trades"] >= 1 and seen.values["bot.equity"] > 0
    assert 0 <= seen.values["bot.loop_age_seconds"] < 3_700
    assert seen.values["fills.filled"] == pytest.approx(1.0) and abs(seen.values["fills.slippage_bps"]) < 500
    series = {one.name: one.values[-1] for one in reader.series()}
    assert 0 < float(series["book.gross main"] or 0) <= 1.01
    assert emergency.in_force(space.folder).state is emergency.State.HALT
    # the bot may have bought once more before it was halted; that comes after those seen before
    assert [round(now / then, 2) for now, then in zip(after, before, strict=False)] == [0.5] * len(before)
    (deed,) = reader.deeds()
    assert deed.action == "reduce" and "positions reduced" in deed.outcome
    assert PASSWORD not in log.read_text() + str(reader.alerts())
