"""The account on disk, so that a killed exchange comes back with every order and every unit.

One SQLite file; each save is one transaction that holds all that one request changed, and a request is only
answered after its save. On opening, balances are worked out again from the ledger's entries, and the account
must reconcile, or it is not served.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from bascule.bridge.exchange.engine import Engine
from bascule.bridge.exchange.ledger import Entry, Ledger
from bascule.bridge.exchange.orders import Order, Position, Trade
from bascule.core import BridgeError, SetupError

_VERSION = 1
_TABLES = ("orders", "trades", "entries")


def saved_at(path: Path) -> np.datetime64 | None:
    """The exchange's time when an account was saved last; None where there is none."""
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(path)) as db:
            row = db.execute("select body from meta where name = 'at'").fetchone()
        return np.datetime64(int(row[0]), "ms").astype("datetime64[ns]") if row and int(row[0]) else None
    except (sqlite3.DatabaseError, ValueError):
        return None  # opening the account says what is wrong with the file


class State:
    """An account's file.

    Args:
        path: where it is, or will be.
        engine: the engine whose account it keeps. An existing file's account replaces the engine's.

    Raises:
        BridgeError: the file is of another market or version, is damaged, or does not reconcile.
    """

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self.engine = engine
        path.parent.mkdir(parents=True, exist_ok=True)
        # one connection, used under the server's lock
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._saved = {"trades": 0, "entries": 0}
        try:
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            for table in _TABLES:
                self._db.execute(f"create table if not exists {table} (id integer primary key, body text)")
            self._db.execute("create table if not exists meta (name text primary key, body text)")
            self._open()
        except (sqlite3.DatabaseError, ValueError) as error:
            self._db.close()
            raise self._wrong(f"it cannot be read: {error}") from None
        except BridgeError:
            self._db.close()
            raise

    def _wrong(self, problem: str) -> BridgeError:
        return SetupError(
            problem, where=f"exchange state {self.path}", remedy="use another file, or remove this one"
        )

    def _open(self) -> None:
        engine, market = self.engine, self.engine.market
        about = self._meta("about")
        mine = {"version": _VERSION, "kind": market.kind, "symbols": sorted(market.listings)}
        if about is None:
            self._db.execute("insert into meta values ('about', ?)", (json.dumps(mine),))
            engine.account.changed.update(engine.account.orders)
            self.save()
            return
        if about != mine:
            raise self._wrong("it was made by another market or version")
        settings = self._meta("settings")
        if settings != json.loads(engine.settings.model_dump_json()):
            raise self._wrong("it was made with other account settings")
        engine.account.restore(
            self._rows("orders", Order),
            self._rows("trades", Trade),
            [Position.model_validate(p) for p in self._meta("positions") or []],
            Ledger(self._rows("entries", Entry)),
        )
        at = int(self._meta("at") or 0)
        if at > market.now_ms():
            raise self._wrong("it is from a later time than the clock shows")
        engine.at = at
        self._saved = {"trades": len(engine.account.trades), "entries": len(engine.account.ledger.entries)}
        problems = engine.account.differences()
        if problems:
            raise self._wrong("it does not reconcile: " + "; ".join(problems[:3]))

    def _meta(self, name: str) -> Any:
        row = self._db.execute("select body from meta where name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def _rows(self, table: str, model: type[Any]) -> list[Any]:
        query = f"select body from {table} order by id"  # noqa: S608 - one of three constants
        return [model.model_validate_json(body) for (body,) in self._db.execute(query)]

    def save(self) -> None:
        """Write what changed since the last save, in one transaction."""
        account = self.engine.account
        trades = account.trades[self._saved["trades"] :]
        entries = account.ledger.entries[self._saved["entries"] :]
        self._db.execute("begin immediate")
        try:
            put = self._db.executemany
            changed = [account.orders[number] for number in sorted(account.changed)]
            put("insert or replace into orders values (?, ?)", [(o.id, o.model_dump_json()) for o in changed])
            put("insert into trades values (?, ?)", [(t.id, t.model_dump_json()) for t in trades])
            put("insert into entries values (?, ?)", [(e.number, e.model_dump_json()) for e in entries])
            meta = {
                "settings": self.engine.settings.model_dump_json(),
                "positions": json.dumps(
                    [json.loads(p.model_dump_json()) for p in account.positions.values()]
                ),
                "at": str(self.engine.at),
            }
            put("insert or replace into meta values (?, ?)", list(meta.items()))
            self._db.execute("commit")
        except BaseException:
            self._db.execute("rollback")
            raise
        account.changed.clear()
        self._saved = {"trades": len(account.trades), "entries": len(account.ledger.entries)}

    def close(self) -> None:
        """Close the file."""
        self._db.close()
