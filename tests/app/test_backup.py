"""Backups: whole while others write, checked to the byte, restorable over what is there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bascule.app import backup
from bascule.app.backupcli import backup_app
from bascule.core import BasculeError, StoreError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Bundles behind a link, a database with its log, a left-over, a lock."""
    folder = tmp_path / "runs"
    (folder / "bundles" / "one").mkdir(parents=True)
    (folder / "bundles" / "one" / "manifest.json").write_text("{}")
    (folder / "bundles" / "current").symlink_to("one")
    (folder / "bundles" / ".lock").touch()
    (folder / "bundles" / ".tmp-half").write_text("half")
    (folder / "empty").mkdir()
    (folder / "bot.log").write_text("chatter")
    with contextlib.closing(sqlite3.connect(folder / "state.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (n INTEGER)")
        connection.commit()
    return folder


def rows(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def test_what_is_restored_is_what_was_there(home: Path, tmp_path: Path) -> None:
    made = backup.create([home], tmp_path / "kept", now=NOW, skip=["*.log"])
    (place,) = backup.restore(made.path, tmp_path / "new", now=NOW)
    names = sorted(item.relative_to(place).as_posix() for item in place.rglob("*"))
    assert names == [
        "bundles", "bundles/current", "bundles/one", "bundles/one/manifest.json", "empty", "state.sqlite",
    ]  # fmt: skip
    assert str((place / "bundles" / "current").readlink()) == "one" and rows(place / "state.sqlite") == 0


def test_a_database_in_use_is_copied_whole(home: Path, tmp_path: Path) -> None:
    """A writer commits pairs of rows all the time; every copy has an even number, and what was committed."""
    stop, written = threading.Event(), [0]

    def write() -> None:
        with contextlib.closing(sqlite3.connect(home / "state.sqlite", isolation_level=None)) as connection:
            while not stop.is_set():
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO t VALUES (1)")
                connection.execute("INSERT INTO t VALUES (2)")
                connection.execute("COMMIT")
                written[0] += 2

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for second in range(5):
            committed = written[0]
            made = backup.create([home], tmp_path / "kept", now=NOW + timedelta(seconds=second))
            count = rows(made.path / "content" / "runs" / "state.sqlite")
            assert count % 2 == 0 and count >= committed
    finally:
        stop.set()
        thread.join()


def test_restoring_keeps_what_was_there(home: Path, tmp_path: Path) -> None:
    made = backup.create([home], tmp_path / "kept", now=NOW)
    (home / "bundles" / "one" / "manifest.json").write_text("spoilt")
    backup.restore(made.path, tmp_path, now=NOW)
    assert (home / "bundles" / "one" / "manifest.json").read_text() == "{}"
    before = tmp_path / "runs.before-20260101T000000Z"
    assert (before / "bundles" / "one" / "manifest.json").read_text() == "spoilt"


@pytest.mark.parametrize("harm", ["change", "remove", "add", "relink", "manifest"])
def test_a_damaged_backup_is_refused_and_nothing_is_touched(home: Path, tmp_path: Path, harm: str) -> None:
    made = backup.create([home], tmp_path / "kept", now=NOW)
    content = made.path / "content" / "runs"
    if harm == "change":
        (content / "bot.log").write_text("Chatter")
    elif harm == "remove":
        (content / "bot.log").unlink()
    elif harm == "add":
        (content / "more").touch()
    elif harm == "relink":
        (content / "bundles" / "current").unlink()
        (content / "bundles" / "current").symlink_to("/etc")
    else:
        (made.path / "manifest.json").write_text('{"entries": [{"path": "../../out"}]}')
    with pytest.raises(BasculeError, match=r"damaged|no backup|leads out|required"):
        backup.restore(made.path, tmp_path / "new", now=NOW)
    assert not (tmp_path / "new").exists()


def test_a_root_that_leads_out_of_the_backup_is_refused(home: Path, tmp_path: Path) -> None:
    made = backup.create([home], tmp_path / "kept", now=NOW)
    manifest = made.path / "manifest.json"
    for name in ("../runs", "..", "a/b", ""):
        values = {**json.loads(manifest.read_text()), "roots": {name: "/runs"}}
        (made.path / "manifest.json").write_text(json.dumps(values))
        with pytest.raises(BasculeError, match="leads out"):
            backup.restore(made.path, tmp_path / "new", now=NOW)


def test_a_place_that_cannot_be_written_is_named(home: Path, tmp_path: Path) -> None:
    made = backup.create([home], tmp_path / "kept", now=NOW)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        backup.restore(made.path, tmp_path / "file" / "new", now=NOW)


def test_it_waits_for_a_writer_and_then_says_so(home: Path, tmp_path: Path) -> None:
    with (home / "bundles" / ".lock").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="being written"):
            backup.create([home], tmp_path / "kept", now=NOW, patience=0.1)
    assert list((tmp_path / "kept").iterdir()) == []
    backup.create([home], tmp_path / "kept", now=NOW, patience=0.1)


def test_a_link_out_of_the_source_is_refused(home: Path, tmp_path: Path) -> None:
    (home / "bad").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="not part of it"):
        backup.create([home], tmp_path / "kept", now=NOW)
    with pytest.raises(StoreError, match="left out"):
        backup.create([home], tmp_path / "kept", now=NOW, skip=["bad", "one"])


def test_sources_are_checked(home: Path, tmp_path: Path) -> None:
    for sources, to, words in (
        ([tmp_path / "none"], tmp_path / "kept", "not there"),
        ([home], home / "kept", "in what is backed up"),
        ([home, home], tmp_path / "kept", "two sources"),
    ):
        with pytest.raises(StoreError, match=words):
            backup.create(sources, to, now=NOW)


def test_the_commands_go_round(home: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for second in range(3):
        backup.create([home], kept, now=NOW + timedelta(seconds=second))
    done = CliRunner().invoke(backup_app, ["create", str(home), "--to", str(kept), "--keep", "2"])
    assert done.exit_code == 0 and done.output.count("removed") == 2
    newest = sorted(kept.iterdir())[-1]
    assert CliRunner().invoke(backup_app, ["verify", str(newest)]).exit_code == 0
    assert (
        CliRunner().invoke(backup_app, ["restore", str(newest), "--to", str(tmp_path / "x")]).exit_code == 0
    )
    assert (tmp_path / "x" / "runs" / "bot.log").read_text() == "chatter"
