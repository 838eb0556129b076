"""Commands to a running bot: in force at once, journalled, safe when damaged, reachable three ways."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bascule.bridge.freqtrade import emergency
from bascule.bridge.freqtrade.emergency import State
from bascule.core import BridgeError

NOW = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)


def give(folder: Path, state: str, reason: str = "a test") -> emergency.Command:
    return emergency.command(folder, state, reason=reason, by="me", now=NOW)


def test_without_commands_the_bot_runs(tmp_path: Path) -> None:
    assert emergency.in_force(tmp_path) is emergency.NOTHING
    assert emergency.journal(tmp_path) == ()


def test_the_newest_command_is_in_force_and_all_are_kept(tmp_path: Path) -> None:
    for state in ("halt", "FLATTEN", "run"):
        give(tmp_path, state)
    assert emergency.in_force(tmp_path).state is State.RUN
    kept = emergency.journal(tmp_path)
    assert [(one.number, one.state) for one in kept] == [(1, State.HALT), (2, State.FLATTEN), (3, State.RUN)]
    assert kept[0] == emergency.Command(1, State.HALT, "a test", "me", "2024-05-01T12:30:00+00:00")


def test_a_flag_file_counts_while_it_is_there_if_it_is_more_severe(tmp_path: Path) -> None:
    (tmp_path / "HALT").touch()
    (tmp_path / "FLATTEN").touch()
    raised = emergency.in_force(tmp_path)
    assert (raised.state, raised.source, raised.number) == (State.FLATTEN, "flag", 0)
    (tmp_path / "FLATTEN").unlink()
    give(tmp_path, "hedge")
    assert emergency.in_force(tmp_path).state is State.HEDGE
    give(tmp_path, "run")
    assert emergency.in_force(tmp_path).state is State.HALT  # nobody resumes over somebody's flag
    (tmp_path / "HALT").unlink()
    assert emergency.in_force(tmp_path).state is State.RUN


@pytest.mark.parametrize("damage", ["", "{", '{"state": "dance"}', "[]", "null"])
def test_a_damaged_command_means_halt(tmp_path: Path, damage: str) -> None:
    give(tmp_path, "run")
    (tmp_path / "emergency" / "000002.json").write_text(damage)
    found = emergency.in_force(tmp_path)
    assert found.state is State.HALT and "000002.json cannot be read" in found.reason
    give(tmp_path, "run", "looked at it")  # a later one heals it
    assert emergency.in_force(tmp_path).state is State.RUN


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match="unknown state 'dance'"):
        give(tmp_path, "dance")
    with pytest.raises(BridgeError, match="needs a reason"):
        give(tmp_path, "halt", "  ")
    with pytest.raises(BridgeError, match="no such user folder"):
        give(tmp_path / "nowhere", "halt")
    with pytest.raises(BridgeError, match="no zone"):
        emergency.command(tmp_path, "halt", reason="x", by="me", now=datetime(2024, 1, 1))
    assert emergency.journal(tmp_path) == ()


def test_what_the_bot_did_is_noted_once(tmp_path: Path) -> None:
    given = give(tmp_path, "flatten")
    assert emergency.obeyed(tmp_path, given.number) is None
    assert emergency.obey(tmp_path, given, "3 positions to close", now=NOW)
    assert not emergency.obey(tmp_path, given, "again", now=NOW)
    assert emergency.obeyed(tmp_path, 1) == {
        "number": 1,
        "note": "3 positions to close",
        "at": "2024-05-01T12:30:00+00:00",
    }
    assert emergency.in_force(tmp_path) == given  # the note is no command


def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(10):
            give(tmp_path, "halt")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.number for one in emergency.journal(tmp_path)] == list(range(1, 41))


KILLED = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from bascule.bridge.freqtrade import emergency
print("on", flush=True)
while True:
    emergency.command(Path(sys.argv[1]), "halt", reason="again", by="x", now=datetime.now(UTC))
"""


def test_a_killed_writer_leaves_whole_commands_and_no_lock(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None and writer.stdout.readline() == b"on\n"
    while len(emergency.journal(tmp_path)) < 20:
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    written = emergency.journal(tmp_path)
    assert all(one.reason == "again" for one in written)
    assert give(tmp_path, "run").number == len(written) + 1


def test_locks_carry_commands() -> None:
    assert emergency.from_reason("bascule:flatten the venue is down") == (State.FLATTEN, "the venue is down")
    assert emergency.from_reason("bascule:RUN") == (State.RUN, "no reason given")
    assert emergency.from_reason("Cooldown period") is None and emergency.from_reason(None) is None
    state, words = emergency.from_reason("bascule:flaten all") or (None, "")
    assert state is State.HALT and "not understood" in words


class Api(BaseHTTPRequestHandler):
    """As much of freqtrade's API server as is asked."""

    got: list[tuple[str, Any]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        good = self.headers["Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
        if good:
            self.got.append((self.path, body))
        self.send_response(200 if good else 401)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def api() -> Any:
    server = HTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Api.got = []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_command_travels_over_rest(api: str) -> None:
    emergency.send(api, "halt", reason="r" * 500, user="me", password="secret", now=NOW)
    ((path, (lock,)),) = Api.got
    assert path == "/api/v1/locks" and lock["pair"] == lock["side"] == "*" and len(lock["reason"]) <= 255
    assert lock["until"] == "2024-05-02T12:30:00+00:00"
    assert emergency.from_reason(lock["reason"])[0] is State.HALT  # type: ignore[index]
    with pytest.raises(BridgeError, match="refused: status 401") as caught:
        emergency.send(api, "halt", reason="x", user="me", password="wrong-one", now=NOW)
    assert "wrong-one" not in str(caught.value)
    with pytest.raises(BridgeError, match="does not answer"):
        emergency.send("http://127.0.0.1:1", "halt", reason="x", user="me", password="secret", now=NOW)


def run_cli(*arguments: str) -> tuple[int, str]:
    from bascule.app.emergencycli import emergency_app

    result = CliRunner().invoke(emergency_app, list(arguments))
    return result.exit_code, result.output + str(result.exception or "")


def test_the_command_line_gives_and_shows_commands(tmp_path: Path, api: str) -> None:
    here = ["--userdir", str(tmp_path)]
    assert run_cli("halt", "looking", *here)[0] == 0
    assert run_cli("flatten", "venue down", *here)[0] != 0  # asks, and there is no answer
    assert run_cli("flatten", "venue down", "--yes", *here)[0] == 0
    code, shown = run_cli("status", *here)
    assert code == 0 and "flatten: venue down" in shown and "not seen yet" in shown
    (tmp_path / "HALT").touch()
    assert "careful: halt holds still" in run_cli("resume", "all good", *here)[1]
    assert "name either" in run_cli("halt", "x")[1]
    os.environ.pop("FREQTRADE__API_SERVER__USERNAME", None)
    assert "not set" in run_cli("halt", "x", "--url", api)[1]
