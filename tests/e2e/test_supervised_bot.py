"""A real bot, running: it takes up a new bundle, and obeys commands over REST, over kill -9 too."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bascule.bridge.freqtrade import emergency
from bascule.bridge.freqtrade.emergency import State
from tests.bridge.strategies.test_live import rewrite
from tests.e2e.realbot import JWT, PASSWORD, TOKEN, USER, real_bot
from tests.e2e.test_freqtrade_live import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_a_running_bot_obeys_and_takes_up_a_new_champion(tmp_path: Path) -> None:
    with real_bot(tmp_path, reload_seconds=1) as mine:
        space, log = mine.space, mine.log

        def trades(condition: str) -> int:
            return len(mine.rows(f"select id from trades where {condition}"))

        def send(state: str, reason: str) -> None:
            now = datetime.now(UTC)
            emergency.send(mine.url, state, reason=reason, user=USER, password=PASSWORD, now=now)

        journal = lambda: emergency.journal(space.folder)  # noqa: E731
        with mine.running() as bot:
            wait_for(lambda: trades("is_open = 1") >= 1, 120, bot, log)
            new = rewrite(mine.research, tmp_path / "bundles", exit_rank=0.11)
            wait_for(lambda: f"bundle {new.id}" in log.read_text(), 60, bot, log)
            send("halt", "looks odd")
            wait_for(lambda: bool(journal()) and emergency.obeyed(space.folder, 1) is not None, 60, bot, log)
        # killed: what was ordered holds in the next life
        with mine.running() as bot:
            wait_for(lambda: log.read_text().count("WARNING - halt: looks odd") == 2, 120, bot, log)
            send("flatten", "out of here")
            wait_for(lambda: trades("is_open = 1") == 0, 90, bot, log)
            assert trades("exit_reason = 'emergency_flatten'") >= 1
    assert [(one.state, one.by) for one in journal()] == [(State.HALT, "rest"), (State.FLATTEN, "rest")]
    written = log.read_text() + "".join(p.read_text() for p in (space.folder / "emergency").iterdir())
    assert not any(secret in written for secret in (PASSWORD, JWT, TOKEN))
    assert "nothing is traded" not in written and "Strategy caused" not in written
