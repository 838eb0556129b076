"""Champions to bundles: what a turn of the store (`models.champions`) means for a bot.

1. The models of the store's line-up are in charge one after the other, each from the start of its test
   window; the first one from the rows that it was judged on, which it had not learned from.
2. `BundlePublisher.prepare` predicts with them, finishes the signals and writes a whole bundle that nothing
   points at yet.
3. `BundlePublisher.serve` turns ``current`` to it in one step. A running bot takes it up from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bascule.core import BundleError, Moment, Panel
from bascule.core.panel import FloatArray
from bascule.signals import compute, writer
from bascule.signals.bundle import Bundle, predict_by_time
from bascule.signals.manifest import MANIFEST
from bascule.signals.spec import SignalSpec


def _now() -> Moment:
    return datetime.now(UTC)


@dataclass(frozen=True, eq=False)
class BundlePublisher:
    """Publishes champions as bundles; a `models.Publisher`.

    Attributes:
        folder: where bundles and ``current`` are.
        spec: the recipe.
        panel: prepared candles of the research, up to the newest.
        values: features of the recipe ``[F, T, N]``.
        data_fingerprint: digest of the data.
        clock: gives the time of writing.
    """

    folder: Path
    spec: SignalSpec
    panel: Panel
    values: FloatArray
    data_fingerprint: str
    clock: Callable[[], Moment] = _now

    def prepare(self, models: Sequence[Path]) -> Path:
        """A bundle of these models, oldest first; ``current`` stays as it is.

        Raises:
            BundleError: a model is damaged, or their test windows do not follow each other.
        """
        from bascule.models import load

        opened = [load(path) for path in models]
        starts = [one.test[0] for one in opened]
        judged = opened[0].meta["windows"].get("judge")
        if judged is not None:
            starts[0] = min(starts[0], np.datetime64(judged[0], "ns"))
        raw, ids = predict_by_time(
            self.values,
            self.panel.time,
            np.array(starts, "datetime64[ns]"),
            [one.model_id for one in opened],
            lambda number: opened[number],
        )
        frame = compute.finish(self.panel, raw, self.spec, model_id=ids)
        try:
            written = writer.write_bundle(
                self.folder,
                spec=self.spec,
                panel=self.panel,
                signals=frame,
                models=models,
                data_fingerprint=self.data_fingerprint,
                created=self.clock(),
                first=starts[0],
                activate=False,
            )
        except BundleError as error:
            there = Path(error.where or ".")
            if there.parent != self.folder or not (there / MANIFEST).exists():
                raise
            # of the same second and the same parts: left by a step that was killed before its turn
            return Bundle.open(there).path
        return written.path

    def serve(self, prepared: Path) -> None:
        """Turn ``current`` to it."""
        writer.serve(prepared)

    def serves(self, models: Sequence[Path]) -> bool:
        """True if ``current`` is a whole bundle of this recipe and these models."""
        from bascule.models.predictor import read_meta

        try:
            bundle = Bundle.open(self.folder)
        except BundleError:
            return False
        known = [window.id for window in bundle.manifest.models]
        return known == [str(read_meta(path)["model_id"]) for path in models] and bundle.spec == self.spec
