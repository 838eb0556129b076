"""A run as a chain of stages that can be cut anywhere and picked up again.

1. Every stage has a fingerprint: of its own settings, of Bascule's version and of the fingerprint of each
   stage it builds on (the first one adds the fingerprint of the source data).
2. A stage works in a folder of its own, ``work/<stage>-<fingerprint>``; its last act is one atomic file,
   ``stages/<stage>.json``. That marker is the commit: no marker of the right fingerprint, no result.
3. A stage whose marker fits is not run again. One that was cut off starts with an empty folder, or with
   what it finds there if it says that it can resume.
4. After the commit, folders of the same stage under other fingerprints are removed.
5. One process at a time works in a run folder (an advisory lock, gone with the process).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from bascule import __version__
from bascule.core import BasculeError, ConfigError, files

Context = TypeVar("Context")
LOCK = ".lock"
LOG = "run.log"  # of whoever calls: it does not count as a result


@dataclass(frozen=True)
class Stage(Generic[Context]):
    """One step of a run.

    Attributes:
        name: short name, used for the folder and the marker.
        title: what the user reads while it runs.
        needs: names of the stages whose results it uses.
        settings: JSON-able settings that its result depends on.
        work: does the work in the given folder and returns small JSON-able facts about it.
        resumable: True if ``work`` can go on from what an interrupted run left in its folder.
        logs: True if its folder holds logs that explain an error, and so outlives one.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    settings: Callable[[Context], Any]
    work: Callable[[Context, Path], dict[str, Any]]
    resumable: bool = False
    logs: bool = False


@dataclass(frozen=True)
class Outcome:
    """What is known of a finished stage: its folder, facts, wall seconds, and whether it was run just now."""

    folder: Path
    facts: dict[str, Any]
    seconds: float
    fresh: bool


class Runner(Generic[Context]):
    """Runs stages in order inside one folder, skipping those that are done."""

    def __init__(self, folder: Path, stages: Sequence[Stage[Context]]) -> None:
        self.folder = folder
        self.stages = tuple(stages)
        self.outcomes: dict[str, Outcome] = {}

    def fingerprints(self, context: Context) -> dict[str, str]:
        """Stage name → fingerprint under the settings in ``context``."""
        found: dict[str, str] = {}
        for stage in self.stages:
            found[stage.name] = files.fingerprint(
                [__version__, stage.name, stage.settings(context), [found[name] for name in stage.needs]]
            )
        return found

    def run(
        self,
        context: Context,
        *,
        again_from: str | None = None,
        report: Callable[[Stage[Context], Outcome | None], None] = lambda stage, outcome: None,
    ) -> dict[str, Outcome]:
        """Run what is not done yet.

        Args:
            context: passed to every stage.
            again_from: forget this stage and all after it, even if they are done.
            report: called before a stage runs (outcome None) and when it is done or was skipped.
        """
        names = [stage.name for stage in self.stages]
        if again_from is not None and again_from not in names:
            raise ConfigError(
                f"no stage is called {again_from!r}", where="--from", remedy=f"stages: {', '.join(names)}"
            )
        with self._lock():
            files.sweep(self.folder / "stages")
            prints = self.fingerprints(context)
            if again_from is not None:
                for name in names[names.index(again_from) :]:
                    self._marker(name).unlink(missing_ok=True)
            for stage in self.stages:
                outcome = self._finished(stage, prints[stage.name])
                if outcome is None:
                    report(stage, None)
                    outcome = self._run(stage, context, prints[stage.name])
                self.outcomes[stage.name] = outcome
                report(stage, outcome)
        return self.outcomes

    # -- one stage -----------------------------------------------------------------------------------

    def _marker(self, name: str) -> Path:
        return self.folder / "stages" / f"{name}.json"

    def _workplace(self, name: str, fingerprint: str) -> Path:
        return self.folder / "work" / f"{name}-{fingerprint[:8]}"

    def _finished(self, stage: Stage[Context], fingerprint: str) -> Outcome | None:
        marker = self._marker(stage.name)
        folder = self._workplace(stage.name, fingerprint)
        try:
            record = json.loads(marker.read_text("utf-8"))
            if record["fingerprint"] != fingerprint or not folder.is_dir():
                return None
            return Outcome(folder, record["facts"], record["seconds"], fresh=False)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise BasculeError(
                "this marker is not as a stage writes it; it was changed by hand",
                where=str(marker),
                remedy="delete it: the stage will run again",
            ) from None

    def _run(self, stage: Stage[Context], context: Context, fingerprint: str) -> Outcome:
        self._marker(stage.name).unlink(missing_ok=True)
        folder = self._workplace(stage.name, fingerprint)
        if not stage.resumable:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        try:
            facts = stage.work(context, folder)
        except BasculeError:
            self._clear(stage, folder)
            raise
        seconds = round(time.monotonic() - begin, 2)
        record = {"fingerprint": fingerprint, "facts": facts, "seconds": seconds}
        files.write_json(self._marker(stage.name), record)
        for other in folder.parent.glob(f"{stage.name}-*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        return Outcome(folder, facts, seconds, fresh=True)

    def _clear(self, stage: Stage[Context], folder: Path) -> None:
        """Input that was refused leaves nothing behind."""
        if not (stage.resumable or stage.logs):
            shutil.rmtree(folder)
        for path in (folder, folder.parent, self.folder / "stages"):
            with contextlib.suppress(OSError):  # not empty, or not there
                path.rmdir()
        if {path.name for path in self.folder.iterdir()} <= {LOCK, LOG}:
            shutil.rmtree(self.folder)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BasculeError(
                    "another run is at work in this folder",
                    where=str(self.folder),
                    remedy="wait for it to finish, or give this one another --folder",
                ) from None
            yield
