"""Is what comes in sound? Candles of the store, clocks of venues, and who serves."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bascule.core import BundleError, Timeframe, moment
from bascule.monitor.samples import Sample, aware, naive, sample
from bascule.monitor.settings import DataSettings, ModelStoreSettings, VenueSettings

_MODELS_EVERY = 300.0


class Data:
    """Health of the store's newest candles (`bascule.data.health`).

    Args:
        settings: which store.
        home: folder that relative paths start from.
    """

    name = "data"

    def __init__(self, settings: DataSettings, home: Path) -> None:
        self.settings, self.every = settings, settings.every
        self._store, self._frame = home / settings.store, Timeframe.parse(settings.timeframe)

    def read(self, since: datetime | None, now: datetime) -> list[Sample]:
        """Issues, age and gaps of the last days.

        Raises:
            BasculeError: the store cannot be read, or holds no candle of these days.
        """
        from bascule.data import health
        from bascule.data.issues import Severity
        from bascule.data.store import Store

        store = Store.open(self._store)
        name = self._store.name
        _, last = store.span(self._frame)
        closed = min(last, moment(self._frame.floor(naive(now)) - self._frame.delta)) + self._frame.delta
        found = sample("data.age_seconds", name, now, (now - aware(closed)).total_seconds())
        begin = naive(now - timedelta(days=self.settings.days))
        if closed <= begin:
            return found
        frame = store.frame(self._frame, start=begin, end=closed)
        report = health.check(frame, self._frame)
        for severity in Severity:
            count = sum(issue.severity is severity for issue in report.issues)
            found += sample("data.issues", severity.name.lower(), now, float(count))
        whole = report.rows + report.missing
        return found + sample("data.missing", name, now, report.missing / whole if whole else 0.0)


class Venue:
    """The public clock of an exchange, as a sign of life.

    Args:
        settings: where.
    """

    def __init__(self, settings: VenueSettings) -> None:
        self.settings, self.every = settings, settings.every
        self.name = f"venue:{settings.name}"

    def read(self, since: datetime | None, now: datetime) -> list[Sample]:
        """Whether it answers, how fast, and how far its clock is from ours."""
        venue = self.settings.name
        begin, wall = time.monotonic(), time.time()
        try:
            answer = httpx.get(self.settings.url, timeout=self.settings.timeout, trust_env=False)
            answer.raise_for_status()
            told = float(_field(answer.json(), self.settings.field)) / 1_000.0
        except (httpx.HTTPError, ValueError, TypeError, KeyError):
            return sample("venue.up", venue, now, 0.0)
        took = time.monotonic() - begin
        found = sample("venue.up", venue, now, 1.0) + sample("venue.latency_seconds", venue, now, took)
        return found + sample("venue.skew_seconds", venue, now, told - (wall + took / 2.0))


class Models:
    """A store of champions (`bascule.models.Champions`): who serves, since when, who waits.

    Args:
        settings: which.
        home: folder that relative paths start from.
    """

    every = _MODELS_EVERY

    def __init__(self, settings: ModelStoreSettings, home: Path) -> None:
        self.settings = settings
        self.name = f"models:{settings.name}"
        self._folder = home / settings.folder

    def read(self, since: datetime | None, now: datetime) -> list[Sample]:
        """Age of the champion, number of challengers and of turns.

        Raises:
            BundleError: a record is damaged, or no model was promoted yet.
        """
        from bascule.models import Champions
        from bascule.models.predictor import read_meta

        if not self._folder.is_dir():
            raise BundleError(
                "there is no store of models", where=str(self._folder), remedy="train and promote a model"
            )
        store, name = Champions(self._folder), self.settings.name
        found = sample("model.turns", name, now, float(len(store.history())))
        serving = store.serving
        waiting = [one for one in store.finished() if one != serving]
        found += sample("model.challengers", name, now, float(len(waiting)))
        if serving:
            windows = read_meta(store.models / serving)["windows"]
            ended = windows.get("judge", windows["valid"])[1]
            age = naive(now) - np.datetime64(ended, "ns")
            found += sample("model.age_days", name, now, float(age / np.timedelta64(1, "D")))
        return found


def _field(answer: Any, path: str) -> Any:
    """A field of a JSON answer, deeper ones with dots: ``result.timeSecond``."""
    for part in path.split("."):
        answer = answer[part]
    return answer
