"""``--json`` of commands with state behind them: one document, with the keys that scripts read."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from bascule.app.cli import main
from bascule.bridge.exchange import ReplayExchange
from bascule.data.store import Store
from tests.data.candles import make


class Shell:
    """Calls commands, and reads their documents."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *words: object, code: int = 0, given: str = "") -> Any:
        self.monkeypatch.setattr("sys.stdin", io.StringIO(given))
        with pytest.raises(SystemExit) as caught:
            main([*map(str, words), "--json"])
        said = self.capsys.readouterr()
        assert int(caught.value.code or 0) == code, said
        return json.loads(said.out)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(capsys, monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    made = Store.create(tmp_path / "store")
    made.write(make(("AAA_USDT", "BBB_USDT", "CCC_USDT"), bars=24 * 20, start="2024-01-01"), "1h")
    made.build_provider("1h")
    return made.path


def test_data(ask: Shell, store: Path, tmp_path: Path) -> None:
    assert ask("data", "ls", store)["candles"][0]["rows"] == 3 * 480
    told = ask("data", "check", store, "--fail-on", "never")
    assert told["timeframes"]["1h"]["rows"] == 3 * 480
    assert ask("data", "compact", store) == {"store": str(store), "files_fewer": 0}
    told = ask("data", "export", store, tmp_path / "ft", "--timeframe", "1h", "--instrument", "AAA/USDT")
    assert len(told["files"]) == 1
    error = ask("data", "export", store, tmp_path / "ft", "--timeframe", "7x", code=3)["error"]
    assert "7x" in error["message"] and error["remedy"]


def test_backups(ask: Shell, store: Path, tmp_path: Path) -> None:
    made = ask("backup", "create", store, "--to", tmp_path / "backups")
    assert made["files"] > 0 and made["removed"] == []
    assert ask("backup", "verify", made["backup"])["files"] == made["files"]
    assert ask("backup", "restore", made["backup"], "--to", tmp_path / "again")["restored"]
    assert Store.open(next((tmp_path / "again").rglob("manifest.json")).parent).timeframes


def test_emergencies(ask: Shell, tmp_path: Path) -> None:
    assert ask("emergency", "halt", "odd prices", "--userdir", tmp_path)["in_force"] == "halt"
    told = ask("emergency", "status", "--userdir", tmp_path)
    assert told["state"] == "halt"
    assert [one["command"]["reason"] for one in told["journal"]] == ["odd prices"]
    refused = ask("emergency", "flatten", "x", "--userdir", tmp_path, code=1, given="n\n")
    assert refused["error"]["kind"] == "Aborted"
    assert ask("emergency", "halt", "x", code=3)["error"]["kind"] == "ConfigError"


def test_a_user_without_a_name_can_pull_the_brake(
    ask: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654)  # as in a container: no entry in the table of users
    ask("emergency", "halt", "odd prices", "--userdir", tmp_path)
    told = ask("emergency", "status", "--userdir", tmp_path)
    assert told["journal"][-1]["command"]["by"] == "uid 987654"


def test_an_exchange(ask: Shell) -> None:
    with ReplayExchange(["BTC_USDT"]) as exchange:
        url = exchange.url
        assert ask("exchange", "books", url)["differences"] == []
        assert "exchange" in ask("exchange", "config", url)
    gone = ask("exchange", "books", url, code=4)["error"]
    assert gone["kind"] == "BridgeError" and gone["where"] == url


def test_users_and_tokens(ask: Shell, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(yaml.safe_dump({"state": "web.sqlite"}))
    config = ("--config", tmp_path / "web.yaml")
    added = ask("web", "user", "add", "ada", "--password-stdin", *config, given="correct horse battery\n")
    assert added == {"user": "ada", "role": "viewer"}
    assert [one["user"] for one in ask("web", "user", "ls", *config)["users"]] == ["ada"]
    token = ask("web", "token", "add", "grafana", "--days", 3, *config)["token"]
    assert token.startswith("bsc_")
    listed = ask("web", "token", "ls", *config)
    assert [one["token"] for one in listed["tokens"]] == ["grafana"]
    assert token not in json.dumps(listed)
    assert {one["action"] for one in ask("web", "audit", *config)["entries"]} == {"user add", "token add"}


def test_a_monitor(ask: Shell, tmp_path: Path) -> None:
    path = tmp_path / "monitor.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "state": "m.sqlite",
                "jobs": [{"name": "fails", "command": ["false"], "cron": "0 0 * * *"}],
            }
        )
    )
    assert "bot-stuck" in {one["name"] for one in ask("monitor", "rules", path)["rules"]}
    told = ask("monitor", "status", path)
    assert set(told) == {"bots", "alerts", "actions", "jobs"}
    nothing = ask("monitor", "replay", path, "--start", "2026-01-01", "--end", "2026-01-02", code=3)
    assert nothing["error"]["where"] == "monitor replay"
    assert ask("monitor", "job", path, "fails", code=1)["status"] == "failed"


def test_risk(ask: Shell, tmp_path: Path) -> None:
    names = ("BTC_USDT", *(f"C{n:02d}_USDT" for n in range(11)))
    make(names, bars=24 * 60, start="2024-01-01").to_parquet(tmp_path / "candles.parquet")
    told = ask("risk", "exposures", "--data", tmp_path / "candles.parquet")
    assert {"source", "at", "factors", "left_out"} == set(told)
    assert all(isinstance(one["coverage"], float) for one in told["factors"])
