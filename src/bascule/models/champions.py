"""Which model serves: champion, challengers, promotion, roll-back.

::

    store/
      models/2024-05-01T00/      finished models, each written in one atomic step and never changed
      champion -> models/…       the model that serves
      history/000003.json        what was promoted or rolled back, when and why
      verdicts/2024-05-01T00.json  how a challenger was judged

1. A challenger is trained into ``models/`` (`task.finish`). Nothing serves it.
2. `promote` opens the challenger, and so checks that it is whole. A `Publisher` then prepares what bots read
   (a signal bundle), whole and not yet seen by anybody. Then the link ``champion`` is turned in one step,
   then the publisher's own link, then the history is written. A crash before the first turn leaves the old
   champion serving; after it, the new one.
3. The link is the truth. When the store is opened for writing, a turn whose record is missing gets one, and
   what is published is brought in line.
4. `roll_back` turns the link to the champion before, and that is a record like every other.
5. One process at a time writes (an advisory lock, gone with the process); readers need no lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bascule.core import BasculeError, BundleError, ConfigError
from bascule.core.files import point, sweep, write_json
from bascule.models.predictor import META, Predictor, load, read_meta

CHAMPION = "champion"
MODELS = "models"
HISTORY = "history"
VERDICTS = "verdicts"


@dataclass(frozen=True)
class Event:
    """One turn of the link.

    Attributes:
        number: 1, 2, …
        action: ``promote``, ``roll back`` or ``recovered`` (a turn whose record a crash kept from being
            written).
        model: folder name of the model that serves since.
        before: of the one that served until then, or "".
        at: when, in the data's time: open of the candle at which it was decided, or "" if unknown.
        reason: in a sentence.
        fingerprint: of the model.
    """

    number: int
    action: str
    model: str
    before: str
    at: str
    reason: str
    fingerprint: str


class Publisher(Protocol):
    """What carries a turn to those who use the champion; `bascule.signals.BundlePublisher` is one."""

    def prepare(self, models: Sequence[Path]) -> Path:
        """Make what bots will read, of the models in charge one after the other; nobody sees it yet."""

    def serve(self, prepared: Path) -> None:
        """Let it be seen, in one step."""

    def serves(self, models: Sequence[Path]) -> bool:
        """True if what bots read now is of these models."""


class Champions:
    """A store of models of which one serves.

    Args:
        folder: of the store; made if it is not there.
        publisher: told about every turn; None: readers look at the store themselves.
    """

    def __init__(self, folder: Path, publisher: Publisher | None = None) -> None:
        self.folder = folder
        self.publisher = publisher
        self.models = folder / MODELS
        self.models.mkdir(parents=True, exist_ok=True)
        (folder / HISTORY).mkdir(exist_ok=True)
        (folder / VERDICTS).mkdir(exist_ok=True)

    # -- reading -------------------------------------------------------------------------------------

    @property
    def serving(self) -> str:
        """Folder name of the model that serves, "" if there is none."""
        try:
            return (self.folder / CHAMPION).readlink().name
        except FileNotFoundError:
            return ""

    def champion(self) -> Predictor:
        """The model that serves.

        Raises:
            BundleError: there is none, or it is damaged.
        """
        if not self.serving:
            raise BundleError(
                "no model was promoted yet", where=str(self.folder), remedy="train one and promote it"
            )
        return load(self.models / self.serving)

    def finished(self) -> tuple[str, ...]:
        """Folder names of all finished models, sorted."""
        return tuple(sorted(path.parent.name for path in self.models.glob(f"*/{META}")))

    def history(self) -> tuple[Event, ...]:
        """All turns of the link, oldest first.

        Raises:
            BundleError: a record is damaged.
        """
        found = []
        for path in sorted((self.folder / HISTORY).glob("*.json")):
            try:
                found.append(Event(**json.loads(path.read_text("utf-8"))))
            except (ValueError, TypeError) as error:
                raise BundleError(
                    f"not a record: {error}", where=str(path), remedy="restore it from a copy"
                ) from error
        return tuple(found)

    def lineup(self) -> tuple[Path, ...]:
        """Folders of the models in charge one after the other, the serving one last.

        A roll-back takes what it leaves out, as if it had never served.
        """
        names: list[str] = []
        for event in self.history():
            names = _followed(names, event.model)
        now = self.serving
        # a turn whose record a crash kept from being written
        if now and (not names or names[-1] != now):
            names = _followed(names, now)
        return tuple(self.models / name for name in names)

    def undecided(self) -> tuple[str, ...]:
        """Finished models that were neither judged nor promoted: left by a crash after their training."""
        judged = {path.stem for path in (self.folder / VERDICTS).glob("*.json")}
        judged |= {event.model for event in self.history()} | {self.serving}
        return tuple(name for name in self.finished() if name not in judged)

    # -- writing -------------------------------------------------------------------------------------

    def promote(self, model: str, *, reason: str, at: str = "") -> Event:
        """Let a finished model serve.

        Args:
            model: its folder name.
            reason: why.
            at: time of the decision, in the data's time.

        Raises:
            BundleError: it is missing or damaged: the old champion goes on serving.
        """
        with self.writing():
            return self._turn("promote", model, reason, at)

    def roll_back(self, *, reason: str, at: str = "") -> Event:
        """Let the champion before serve again.

        Raises:
            ConfigError: there was none.
        """
        with self.writing():
            now = self.serving
            served: list[str] = []
            left: set[str] = set()  # rolled back from, and not promoted since
            for event in self.history():
                served.append(event.model)
                left.discard(event.model)
                if event.action == "roll back":
                    left.add(event.before)
            older = [one for one in served if one != now and one not in left]
            if not older:
                raise ConfigError(
                    "no champion served before this one",
                    where=str(self.folder),
                    remedy="promote another model",
                )
            return self._turn("roll back", older[-1], reason, at)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store for writing; re-entered by nobody.

        Raises:
            BasculeError: another process holds it.
        """
        with (self.folder / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BasculeError(
                    "another process writes to this store", where=str(self.folder), remedy="wait for it"
                ) from None
            sweep(self.folder)
            sweep(self.folder / HISTORY)
            sweep(self.folder / VERDICTS)
            self._recover()
            yield

    def forget(self) -> None:
        """Forget who served and how challengers were judged, so that a history can be gone through anew."""
        with self.writing():
            (self.folder / CHAMPION).unlink(missing_ok=True)
            for place in (HISTORY, VERDICTS):
                for path in (self.folder / place).glob("*.json"):
                    path.unlink()

    def note(self, model: str, verdict: Mapping[str, Any]) -> None:
        """Keep how a challenger was judged."""
        write_json(self.folder / VERDICTS / f"{model}.json", dict(verdict))

    def _recover(self) -> None:
        """Finish a turn that a crash cut off: its record, and what is published."""
        now, past = self.serving, self.history()
        last = past[-1].model if past else ""
        if now and now != last:
            self._record("recovered", now, last, "", "the process ended between the turn and its record")
        models = self.lineup()
        if self.publisher is not None and models and not self.publisher.serves(models):
            self.publisher.serve(self.publisher.prepare(models))

    def _turn(self, action: str, model: str, reason: str, at: str) -> Event:
        path = self.models / model
        load(path)
        before = self.serving
        publisher, prepared = self.publisher, None
        if publisher is not None:
            names = _followed([one.name for one in self.lineup()], model)
            prepared = publisher.prepare([self.models / name for name in names])
        point(self.folder / CHAMPION, path)
        if publisher is not None and prepared is not None:
            publisher.serve(prepared)
        return self._record(action, model, before, at, reason)

    def _record(self, action: str, model: str, before: str, at: str, reason: str) -> Event:
        number = len(self.history()) + 1
        made_of = str(read_meta(self.models / model)["fingerprint"])
        event = Event(number, action, model, before, at, reason, made_of)
        record: dict[str, Any] = dict(vars(event))
        write_json(self.folder / HISTORY / f"{number:06d}.json", record)
        return event


def _followed(names: Sequence[str], model: str) -> list[str]:
    """The line-up after a turn to ``model``: one that served before cuts off what came after it."""
    return [*names[: names.index(model)], model] if model in names else [*names, model]
