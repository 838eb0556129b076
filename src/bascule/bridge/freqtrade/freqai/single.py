"""One model a pair, FreqAI's own way: it splits, scales and sieves; one of Bascule's kinds learns."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.core import Panel, Timeframe
from bascule.core.panel import FloatArray
from bascule.evaluate.rows import Float64Array
from bascule.models import ModelSettings, kind
from bascule.models.kind import Lesson, Predict
from bascule.models.quiet import quiet
from bascule.models.registry import require
from bascule.models.samples import Samples

if TYPE_CHECKING:
    import pandas as pd


_WIDTH = 64


@dataclass
class Fitted:
    """A trained model that FreqAI can pickle: the bytes of the kind's own file form, read on first use.

    Attributes:
        kind: name of the kind.
        file: name of its file.
        content: bytes of that file.
    """

    kind: str
    file: str
    content: bytes
    _loaded: Predict | None = field(default=None, repr=False, compare=False)

    def predict(self, features: pd.DataFrame) -> Float64Array:
        """Predictions ``[n]`` of features ``[n, F]``."""
        if self._loaded is None:
            with tempfile.TemporaryDirectory(prefix="bascule-") as folder:
                path = Path(folder) / self.file
                path.write_bytes(self.content)
                self._loaded = kind(self.kind).load(path)
        return self._loaded(_matrix(features))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}


def fit(data: Mapping[str, Any], settings: ModelSettings, bar: Timeframe, seed: int) -> Fitted:
    """Train on FreqAI's data dictionary.

    Args:
        data: ``train_features``, ``train_labels``, ``train_weights`` and the same of ``test``.
        settings: kind and parameters.
        bar: candle length, for the samples' time axis.
        seed: of the model's random choices.

    Raises:
        ConfigError: the kind is not installed, or the features do not fit it.
    """
    from bascule.models.recording import recording

    chosen = kind(settings.kind)
    require(chosen)
    parts = []
    begin = 0
    for name in ("train", "test"):
        features = _matrix(data[f"{name}_features"])
        label = np.asarray(data[f"{name}_labels"], np.float32).reshape(len(features), -1)[:, 0]
        parts.append(_samples(features, label, begin))
        begin = int(parts[-1].row[-1]) + 1 if len(features) else begin
    chosen.fits(parts[0].features.shape[1], settings.steps)
    weights = None
    if chosen.weighted:
        found = [np.asarray(data[f"{name}_weights"], np.float32).reshape(-1) for name in ("train", "test")]
        weights = (found[0], found[1])
    lesson = Lesson(
        _axis(begin, bar), parts[0], parts[1], weights, settings.steps, seed, settings.threads,
        settings.device == "auto",
    )  # fmt: skip
    params = {**chosen.defaults(len(parts[0])), **settings.params}
    if chosen.extra == "torch":
        import torch  # noqa: F401 - its generator must be there to be seeded
    with quiet(seed, settings.threads), recording(), tempfile.TemporaryDirectory(prefix="bascule-") as place:
        model = chosen.fit(params, lesson, None)
        file = chosen.save(model, Path(place))
        return Fitted(chosen.name, file, (Path(place) / file).read_bytes())


def _samples(features: FloatArray, label: FloatArray, begin: int) -> Samples:
    """Samples in order, `_WIDTH` of them a row: some of qlib's networks measure an IC within each time."""
    place = np.arange(len(features))
    return Samples(features, label, begin + place // _WIDTH, place % _WIDTH)


def _matrix(features: pd.DataFrame) -> FloatArray:
    return np.asfortranarray(np.asarray(features, np.float32))


def _axis(rows: int, bar: Timeframe) -> Panel:
    """An axis for samples of one pair, in order; FreqAI has taken out rows, so their times are not needed."""
    start = np.datetime64(0, "ns")
    time = bar.axis(start, start + (max(rows, 1) - 1) * bar.delta)
    names = tuple(f"S{number:02d}_X" for number in range(_WIDTH))
    return Panel(bar, time, names, {}, np.full(_WIDTH, start))
