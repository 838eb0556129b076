"""``bascule model retrain --once`` and ``--watch``: one step of a bot's learning, for a scheduler or a loop.

1. Data: the run's source is read again where it has changed (stage ``data`` of the run).
2. What a crash left is finished: a turn without its record or bundle; a challenger without its verdict.
3. A check after the newest candle (`models.Retrainer`): schedule and drift, training, judging.
4. A promotion writes a signal bundle aside, turns the store's ``champion``, then the bundles' ``current``,
   which a running bot takes up without a restart. Killed at any moment, old or new serves, whole.
5. Store and bundle are recorded in the registry.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bascule.core import BasculeError
from bascule.data.lock import writer_lock

if TYPE_CHECKING:
    from bascule.app.run import Run
    from bascule.models import Champions, Check, Retrainer, RetrainSettings

BUNDLES = "bundles"
STEP = "step"  # folder whose lock says that a step is under way


@dataclass(frozen=True)
class Places:
    """Where a step works.

    Attributes:
        store: of champions.
        bundles: what bots read: ``current`` in here.
        registry: of MLflow; None = nothing is recorded.
    """

    store: Path
    bundles: Path
    registry: Path | None


def champions(run: Run, places: Places) -> Champions:
    """The run's champions, with their bundles."""
    from bascule.models import Champions
    from bascule.signals import BundlePublisher

    publisher = BundlePublisher(
        places.bundles, run.recipe, run.panel, run.values, run.facts("data")["fingerprint"]
    )
    return Champions(places.store, publisher)


def step(run: Run, settings: RetrainSettings, places: Places) -> Check | None:
    """One step; None if there was no reason to train.

    Args:
        run: with its data at hand.
        settings: when and whether.
        places: where.

    Raises:
        BasculeError: another step is under way, or there is too little history.
    """
    from bascule import models

    lock = places.store / STEP
    lock.mkdir(parents=True, exist_ok=True)
    with writer_lock(lock):
        store = champions(run, places)
        with store.writing():
            pass  # finishes what a crash cut off
        trainer = models.Retrainer(
            run.values,
            run.recipe.names,
            run.label(run.recipe.horizon),
            run.panel,
            horizon=run.recipe.horizon,
            model=run.config.model,
            settings=settings,
            store=store,
            seed=run.config.seed,
        )
        found = _check(trainer, len(run.panel.time) - 1, settings)
        if found is not None and found.event is not None and places.registry is not None:
            record(run, store, places)
        return found


def _check(trainer: Retrainer, row: int, settings: RetrainSettings) -> Check | None:
    left = trainer.resume(row)
    if left is not None:
        return left
    last = trainer.trained()
    rest = trainer.panel.timeframe.bars(settings.rest_days) if settings.rest_days else 0
    # a step may come every hour; a challenger that was refused is not trained again before its rest is over
    if last is not None and row - last < max(1, rest):
        return None
    found = trainer.check(row, last_training=last)
    return found if found.model else None


def record(run: Run, store: Champions, places: Places) -> None:
    """Champion and bundle into the registry."""
    from bascule.models import Lineage
    from bascule.signals import Bundle

    assert places.registry is not None
    book, data = Lineage(places.registry), run.facts("data")["fingerprint"]
    book.sync(store, data=data)
    book.signals(Bundle.open(places.bundles).path.name, store.lineup(), data=data)


def sentence(found: Check | None, store: Path) -> str:
    """What a step did."""
    if found is None:
        return "nothing to do: no schedule, no drift"
    assert found.verdict is not None
    why = ", ".join(trigger.kind for trigger in found.triggers)
    done = "promoted" if found.event else "not promoted, the old champion serves on"
    return f"{found.model} ({why}): {done}. {found.verdict.reason}. Store: {store}"


def watch(
    once: Callable[[], str],
    tell: Callable[[str], None],
    *,
    every: float,
    sleep: Callable[[float], None] = time.sleep,
    times: int | None = None,
) -> None:
    """Repeat a step; one that fails is told and tried again at the next time.

    Args:
        once: does a step and says what it did.
        tell: gets every sentence.
        every: seconds between two beginnings.
        sleep: waits.
        times: steps; None = until interrupted.
    """
    done = 0
    while times is None or done < times:
        begin = time.monotonic()
        try:
            tell(once())
        except BasculeError as error:
            tell(f"failed, the champion serves on: {error}")
        done += 1
        if done != times:
            sleep(max(0.0, every - (time.monotonic() - begin)))
