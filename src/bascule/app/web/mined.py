"""Searches for factors, finished or at work, as `bascule mine` keeps them in folders."""

from __future__ import annotations

import json
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bascule.app.web.kept import Kept, Missing, as_written, folders, readable
from bascule.core import StoreError

Status = Literal["waiting", "running", "stopped", "done"]
QUIET = 180.0  # seconds without a word after which a search counts as stopped
STATE, ORDER, RESULT, CATALOGUE, REPORT = (
    "state.npz", "order.json", "result.json", "factors.yaml", "report.html",
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """A point of the learning curve."""

    proposals: int
    trials: int
    cpu_seconds: float
    members: int
    train: float | None
    valid: float | None


@dataclass(frozen=True)
class Verdict:
    """What the judgement on the test part said.

    Attributes:
        found: more than luck reaches in so many trials.
        threshold: t that luck reaches.
        ic: of the pool, mean over the test part; None = not known.
        t: of it.
    """

    found: bool
    threshold: float | None
    ic: float | None
    t: float | None

    @classmethod
    def read(cls, result: dict[str, Any]) -> Verdict:
        """Out of a search's result."""
        ic = result["test"]["ic"]
        return cls(bool(result["found"]), result["threshold"], ic["mean"], ic["t"])


@dataclass(frozen=True)
class Search:
    """One search.

    Attributes:
        id: path below the folder of searches, with ``~`` for ``/``.
        folder: where it is.
        searcher: name.
        seed: of its randomness, None if unknown.
        status: by its files: ``running`` wrote lately, ``stopped`` did not and is not done.
        proposals: so far.
        budget: proposals asked for, None if unknown.
        trials: different texts computed.
        cpu_seconds: spent.
        looks: the learning curve.
        members: of the best pool: text, weight, training IC, and once it is done test figures.
        verdict: on the test part; None before it.
        changed: seconds since 1970.
    """

    id: str
    folder: Path
    searcher: str
    seed: int | None
    status: Status
    proposals: int
    budget: int | None
    trials: int
    cpu_seconds: float
    looks: tuple[Look, ...]
    members: tuple[dict[str, Any], ...]
    verdict: Verdict | None
    changed: float

    @property
    def share(self) -> float | None:
        """Done part of the budget, None if unknown."""
        if self.status == "done":
            return 1.0
        return min(1.0, self.proposals / self.budget) if self.budget else None

    @property
    def best(self) -> float | None:
        """The best valid IC so far."""
        return max((look.valid for look in self.looks if look.valid is not None), default=None)


class Searches:
    """All searches below a folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._state: Kept[dict[str, Any]] = Kept(_state, 64)
        self._plain: Kept[dict[str, Any]] = Kept(_plain, 256)

    def all(self, now: float | None = None) -> list[Search]:
        """Those that can be read: those at work first, then newest first."""
        order = {"running": 0, "waiting": 1, "stopped": 2, "done": 2}
        found, _ = readable(self._places(), lambda name, path: self._search(name, path, now))
        return sorted(found, key=lambda one: (order[one.status], -one.changed))

    def problems(self) -> tuple[str, ...]:
        """Why others cannot be read."""
        return readable(self._places(), lambda name, path: self._search(name, path, None))[1]

    def get(self, name: str, now: float | None = None) -> Search:
        """One of them.

        Raises:
            Missing: there is none of that name.
        """
        path = self._places().get(name)
        if path is None:
            raise Missing(f"there is no search {name!r}")
        return as_written(self._search)(name, path, now)

    def catalogues(self) -> dict[str, Path]:
        """Search → catalogue of what it found, of finished ones."""
        return {
            name: path / CATALOGUE for name, path in self._places().items() if (path / CATALOGUE).is_file()
        }

    def _places(self) -> dict[str, Path]:
        found = {}
        for name, path in folders(self.home).items():
            for below, place in {"": path, **folders(path)}.items():
                if any((place / file).is_file() for file in (STATE, ORDER, RESULT)):
                    found[f"{name}~{below}" if below else name] = place
        return found

    def _search(self, name: str, folder: Path, now: float | None) -> Search:
        order = self._maybe(self._plain, folder / ORDER)
        result = self._maybe(self._plain, folder / RESULT)
        state = self._maybe(self._state, folder / STATE)
        changed = max(
            (p.stat().st_mtime for p in (folder / ORDER, folder / RESULT, folder / STATE) if p.is_file()),
            default=0.0,
        )
        searcher, _, seed = folder.name.rpartition("-")
        told = result.get("curve") or state.get("looks", [])
        looks = tuple(Look(**{key: look[key] for key in Look.__annotations__}) for look in told)
        if result:
            status: Status = "done"
        elif (time.time() if now is None else now) - changed < QUIET:
            status = "running" if state else "waiting"
        else:
            status = "stopped"
        source = result or state
        return Search(
            id=name,
            folder=folder,
            searcher=str(source.get("searcher") or order.get("searcher") or searcher),
            seed=result.get("seed", order.get("seed", int(seed) if seed.isdigit() else None)),
            status=status,
            proposals=int(source.get("proposals", 0)),
            budget=order.get("proposals") or (result.get("settings") or {}).get("proposals"),
            trials=int(source.get("trials", 0)),
            cpu_seconds=float(source.get("cpu_seconds", 0.0)),
            looks=looks,
            members=tuple(source.get("members", [])),
            verdict=Verdict.read(result) if result else None,
            changed=changed,
        )

    @staticmethod
    def _maybe(kept: Kept[dict[str, Any]], path: Path) -> dict[str, Any]:
        try:
            return kept(path)
        except Missing:
            return {}


def _plain(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise StoreError(f"not JSON: {error}", where=str(path.name), remedy="search again") from None
    return found


def _state(path: Path) -> dict[str, Any]:
    """The part of a search's state that is shown."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            search = json.loads(stored["told"].tobytes())["search"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise StoreError(f"not a search's state: {error}", where=path.name, remedy="search again") from None
    members = [
        {"text": text, "weight": weight, "train": score["ic"]}
        for text, weight, score in zip(search["texts"], search["weights"], search["scores"], strict=True)
    ]
    looks = [
        {key: None if value != value else value for key, value in look.items()} for look in search["looks"]
    ]
    return {
        "searcher": search["name"],
        "proposals": search["proposals"],
        "trials": search["trials"],
        "cpu_seconds": search["cpu_seconds"],
        "looks": looks,
        "members": members,
    }
