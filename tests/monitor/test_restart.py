"""A monitor that is killed (kill -9) again and again loses nothing and does nothing twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from bascule.bridge.freqtrade import emergency
from bascule.monitor import schema
from bascule.monitor.schema import Database

SAMPLES = 120
KILLS = 6
WATCH = '''
import sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from bascule.bridge.freqtrade import emergency
from bascule.monitor.loop import Monitor
from bascule.monitor.samples import Sample
from bascule.monitor.settings import MonitorSettings

START = datetime(2026, 1, 1, tzinfo=UTC)


class Past:
    """A reading a minute, from the cursor on; every third value is past the threshold."""

    name, every = "past", 0.0

    def read(self, since, now):
        time.sleep(0.002)
        first = 0 if since is None else round((since - START) / timedelta(minutes=1))
        last = round((now - START) / timedelta(minutes=1))
        return [
            Sample("ic.rank", "current", START + n * timedelta(minutes=1), -1.0 if n % 3 == 0 else 1.0)
            for n in range(first + 1, last + 1)
        ]


home = Path(sys.argv[1])
secret = {"env": "HOME"}
bots = [{"name": "main", "url": "http://127.0.0.1:9", "username": "u", "password": secret, "userdir": "bot"}]
monitor = Monitor(
    MonitorSettings.read({"home": str(home), "state": "m.sqlite", "rules": "rules.yaml", "bots": bots}),
    sources=[Past()],
)
at = monitor.journal.cursor("past") or START
while at < START + timedelta(minutes=int(sys.argv[2])):
    at += timedelta(minutes=1)
    monitor.cycle(at, patience=5.0)
    if emergency.in_force(home / "bot").state is not emergency.State.RUN:  # the operator lets it run again
        emergency.command(home / "bot", "run", reason="again", by="operator", now=at)
(home / "end").touch()
'''
RULES = """
rules:
  - {name: ranks, metric: ic.rank, below: 0, actions: [alert, {do: flatten, bot: main}, retrain]}
"""


def run(home: Path, kills: int, seed: int) -> None:
    """Run to the end, killed on the way ``kills`` times at random moments while it works."""
    (home / "bot").mkdir(parents=True)
    (home / "rules.yaml").write_text(RULES)
    chance = random.Random(seed)
    while not (home / "end").exists():
        process = subprocess.Popen([sys.executable, "-c", WATCH, str(home), str(SAMPLES)])
        if kills:
            kills -= 1
            size, deadline = _progress(home), time.monotonic() + 60
            while _progress(home) == size and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.15))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        else:
            assert process.wait(120) == 0


def _progress(home: Path) -> int:
    if not (home / "m.sqlite-wal").exists():
        return 0
    return (home / "m.sqlite-wal").stat().st_mtime_ns


def journal(home: Path) -> dict[str, list[tuple[object, ...]]]:
    database = Database(home / "m.sqlite")
    with database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns))]
            for table, columns in {
                schema.samples: (schema.samples.c.at, schema.samples.c.metric, schema.samples.c.value),
                schema.events: (
                    schema.events.c.at,
                    schema.events.c.kind,
                    schema.events.c.text,
                    schema.events.c.closed,
                ),
                schema.actions: (schema.actions.c.key, schema.actions.c.do, schema.actions.c.status),
                schema.jobs: (schema.jobs.c.key, schema.jobs.c.job),
            }.items()
        }


@pytest.mark.slow
def test_killed_again_and_again_the_journal_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    run(tmp_path / "calm", 0, 0)
    run(tmp_path / "killed", KILLS, 7)
    calm, killed = journal(tmp_path / "calm"), journal(tmp_path / "killed")
    # the failing-source metric says at which cycles a source was read, which differs
    for tables in (calm, killed):
        tables["monitor_sample"] = [row for row in tables["monitor_sample"] if row[1] == "ic.rank"]
    assert killed == calm
    assert len(calm["monitor_sample"]) == SAMPLES and len(calm["monitor_action"]) == 2 * (SAMPLES // 3)
    given = emergency.journal(tmp_path / "killed" / "bot")
    signed = Counter(one.by for one in given if one.by != "operator")
    # killed before the operator could resume: the next order finds the bot flattening already
    assert set(signed.values()) == {1} and SAMPLES // 3 - KILLS <= len(signed) <= SAMPLES // 3
