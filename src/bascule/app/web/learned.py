"""Models: which one serves, what served before, and the leaderboards of `bascule model compare`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bascule.app.web.kept import Kept, folders, readable
from bascule.app.web.runs import Runs
from bascule.core import BasculeError, StoreError
from bascule.models.champions import HISTORY, MODELS, Champions, Event
from bascule.models.compare import LEADERBOARD


@dataclass(frozen=True)
class Store:
    """A store of models.

    Attributes:
        name: of the run that it belongs to, or of its folder.
        serving: model that serves, "" = none.
        finished: how many models are there.
        history: what was promoted and rolled back, newest first.
        problem: why it cannot be read, or "".
    """

    name: str
    serving: str
    finished: int
    history: tuple[Event, ...]
    problem: str = ""


@dataclass(frozen=True)
class Board:
    """A leaderboard: rows of scores, best first, and what its differences mean."""

    run: str
    id: str
    made: datetime
    horizon: int
    cost: float
    scores: tuple[dict[str, Any], ...]
    statements: tuple[tuple[str, bool], ...]


class Learned:
    """All stores and leaderboards of a workspace."""

    def __init__(self, runs: Runs, more: Sequence[Path] = ()) -> None:
        self.runs, self.more = runs, tuple(more)
        self._board = Kept(_read, 64)

    def stores(self) -> list[Store]:
        """By name."""
        places = {name: path / "champions" for name, path in folders(self.runs.home).items()}
        places |= {path.name: path for path in self.more}
        return [_store(name, path) for name, path in sorted(places.items()) if _is_store(path)]

    def boards(self) -> list[Board]:
        """Those that can be read, newest first."""
        found, _ = readable(self._places(), self._told)
        return sorted(found, key=lambda board: board.made, reverse=True)

    def problems(self) -> tuple[str, ...]:
        """Why others cannot be read."""
        return readable(self._places(), self._told)[1]

    def _places(self) -> dict[str, Path]:
        return {
            f"{name}/{board}": place / LEADERBOARD
            for name, path in folders(self.runs.home).items()
            for board, place in folders(path / "compare").items()
            if (place / LEADERBOARD).is_file()
        }

    def _told(self, name: str, path: Path) -> Board:
        run, _, board = name.partition("/")
        return _told(run, board, self._board(path), path.stat().st_mtime)


def _is_store(path: Path) -> bool:
    return (path / MODELS).is_dir() and (path / HISTORY).is_dir()


def _store(name: str, path: Path) -> Store:
    found = Champions(path)
    try:
        history = found.history()
    except BasculeError as error:
        return Store(name, found.serving, len(found.finished()), (), str(error))
    return Store(name, found.serving, len(found.finished()), history[::-1])


def _told(run: str, name: str, values: dict[str, Any], changed: float) -> Board:
    statements = tuple((str(duel["statement"]), bool(duel["significant"])) for duel in values["duels"])
    made = datetime.fromtimestamp(changed, UTC)
    scores = tuple(values["scores"])
    return Board(run, name, made, int(values["horizon"]), float(values["cost"]), scores, statements)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return {key: found[key] for key in ("horizon", "cost", "scores", "duels")}
    except (ValueError, KeyError) as error:
        raise StoreError(f"not a leaderboard: {error}", where=path.name, remedy="compare again") from None
