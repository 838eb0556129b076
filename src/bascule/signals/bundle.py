"""The signal bundle: one frozen folder that holds all a strategy needs.

::

    bundles/
      20240701T000000Z-1f0c9a2b/      named by time of writing and content
        manifest.json                 what it is, and the SHA-256 of every other file
        manifest.sig                  optional: who vouches for it (``signing.py``)
        signals.parquet               out-of-sample signals, one row an instrument and candle
        factors.yaml                  names and texts of the factors
        models/<id>/                  fitted models as text
        report.html                   optional
      current -> 20240701T000000Z-1f0c9a2b

1. `write_bundle` fills a folder aside, sums it up in the manifest, and renames it (``core.files``): a reader
   sees a whole bundle or none. Then ``current`` is turned to it in one step. A finished bundle is never
   changed.
2. `Bundle.open` checks schema, every checksum and the absence of foreign files before anything is read; and
   that the user's own operators and models are those that the bundle was made with (`core.extensions`).
3. In a backtest the strategy reads `Bundle.signals`; live it calls `Bundle.live`, which takes candles through
   `features`, each row's own model (`Bundle.predict`), and `finish`. Both give the same numbers.

Models are loaded from text by ``models.load``; nothing in a bundle is ever executed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from bascule.core import BundleError, Panel, extensions
from bascule.core.files import checksum, fingerprint
from bascule.core.panel import FloatArray
from bascule.core.timeframe import TimeArray
from bascule.signals import compute
from bascule.signals.frame import SignalFrame
from bascule.signals.manifest import (
    MANIFEST,
    MODELS,
    SIGNATURE,
    Manifest,
    unstamp,
)
from bascule.signals.spec import SignalSpec

if TYPE_CHECKING:
    from bascule.models import Predictor

SIGNALS = "signals.parquet"
FACTORS = "factors.yaml"
REPORT = "report.html"
CURRENT = "current"
# forms that are read as data; pickles and the like could run code
_MODEL_FORMS = frozenset({".txt", ".json", ".yaml", ".ubj", ".cbm", ".safetensors"})


@dataclass(frozen=True, eq=False)
class Bundle:
    """An opened, verified bundle.

    Attributes:
        path: its folder, resolved: ``current`` may turn to another bundle while this one is in use.
        manifest: what it says of itself.
    """

    path: Path
    manifest: Manifest
    _loaded: dict[str, Predictor] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open and verify.

        Args:
            path: a bundle, or a folder with a ``current`` bundle.

        Raises:
            BundleError: it is missing, of another schema, damaged, holds files that are not its own, or was
                made with an extension that is not loaded or was changed.
        """
        folder = Path(path)
        if not (folder / MANIFEST).exists() and (folder / CURRENT).exists():
            folder = folder / CURRENT
        folder = folder.resolve()
        manifest = Manifest.load(folder)
        _verify(folder, manifest)
        if (lack := extensions.lacking(manifest.extensions)) is not None:
            raise BundleError(lack, where=str(folder), remedy=extensions.REMEDY)
        return cls(folder, manifest)

    # -- what it is --------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Digest of the manifest, and through its checksums of everything (16 hex digits)."""
        return fingerprint(self.manifest.model_dump(mode="json"))

    @property
    def spec(self) -> SignalSpec:
        """The recipe."""
        return self.manifest.spec

    @property
    def instruments(self) -> tuple[str, ...]:
        """The universe, store ids, sorted."""
        return self.manifest.universe

    @property
    def lookback(self) -> int:
        """Bars of history before a row that its signals need."""
        return self.manifest.lookback

    @cached_property
    def signals(self) -> SignalFrame:
        """The stored out-of-sample signals."""
        import pandas as pd

        try:
            table = pd.read_parquet(self.path / SIGNALS)
            return SignalFrame.from_long(table, self.spec.bar, self.instruments)
        except (BundleError, OSError, ValueError) as error:
            raise BundleError(
                f"cannot read the signals: {error}",
                where=str(self.path / SIGNALS),
                remedy="write the bundle anew",
            ) from None

    # -- computing ---------------------------------------------------------------------------------

    def predict(self, features: FloatArray, times: TimeArray) -> tuple[FloatArray, NDArray[np.str_]]:
        """Raw alphas, each row by the model that was newest then.

        Args:
            features: ``[F, T, N]`` of `compute.features`.
            times: candle open times ``[T]``.

        Returns:
            Raw alphas float32 ``[T, N]``, NaN where no feature is known; and the model id of each row
            ``[T]``, ``""`` before the first model's test window.
        """
        starts = np.array([unstamp(model.test.start) for model in self.manifest.models], "datetime64[ns]")
        names = [model.id for model in self.manifest.models]
        return predict_by_time(features, times, starts, names, self._model)

    def live(self, panel: Panel) -> SignalFrame:
        """Signals of a window of candles: all rows that the window covers `lookback` of, maybe none.

        Args:
            panel: raw or prepared candles of (part of) the universe. Missing instruments count as not traded;
                others than the universe's are ignored.

        Raises:
            BundleError: the timeframe differs, no instrument fits, or the factors need fields that candles do
                not give.
        """
        window = self._fit(panel)
        if len(window.time) <= self.lookback:
            return SignalFrame.nothing(window.timeframe, self.instruments)
        # the rows before are history for factors and risk; only smoothing and construction read their alphas
        constructed = self.spec.portfolio.construction is not None
        first = 0 if constructed else max(0, self.lookback - self.spec.smoothing + 1)
        raw = np.full(window.shape, np.nan, np.float32)
        values = compute.features(window, self.spec, first=first)
        raw[first:], known = self.predict(values, window.time[first:])
        ids = np.concatenate([np.full(first, "", known.dtype), known])
        back = self.lookback
        return compute.finish(window, raw, self.spec, model_id=ids, first=back).rows(back, None)

    def _fit(self, panel: Panel) -> Panel:
        from bascule.data.prepare import prepare

        if panel.timeframe != self.spec.bar:
            raise BundleError(
                f"candles of {panel.timeframe}, the bundle's are {self.spec.bar}",
                where=str(self.path),
                remedy=f"use timeframe {self.spec.bar}",
            )
        shared = [name for name in self.instruments if name in panel.instruments]
        if not shared:
            raise BundleError(
                "none of the candles is of the bundle's universe",
                where=str(self.path),
                remedy=f"its universe: {', '.join(self.instruments[:8])}, …",
            )
        column = {name: i for i, name in enumerate(panel.instruments)}
        target = [i for i, name in enumerate(self.instruments) if name in column]
        source = [column[self.instruments[i]] for i in target]
        arrays: dict[str, FloatArray] = {}
        for name, values in panel.fields.items():
            arrays[name] = np.full((len(panel.time), len(self.instruments)), np.nan, np.float32)
            arrays[name][:, target] = values[:, source]
        whole = Panel(
            panel.timeframe, panel.time, self.instruments, arrays, self.manifest.listed_times.copy()
        )
        window = prepare(whole, vwap=self.spec.vwap)
        lacking = set(compute.fields(self.spec)) - set(window.fields)
        if lacking:
            raise BundleError(
                f"the factors need {', '.join(sorted(lacking))}, which these candles do not hold",
                where=str(self.path),
                remedy="use the stored signals, or factors of open, high, low, close, volume, typical vwap",
            )
        return window

    def _model(self, index: int) -> Predictor:
        from bascule import models

        window = self.manifest.models[index]
        if window.id not in self._loaded:
            self._loaded[window.id] = models.load(self.path / window.path)
        return self._loaded[window.id]

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without what can be read again: hyper-optimisation sends strategies to its workers."""
        return {"path": self.path, "manifest": self.manifest, "_loaded": {}}


def predict_by_time(
    features: FloatArray,
    times: TimeArray,
    starts: TimeArray,
    names: Sequence[str],
    model: Callable[[int], Predictor],
) -> tuple[FloatArray, NDArray[np.str_]]:
    """Raw alphas, each row by the newest model whose time had begun; as `Bundle.predict`.

    Args:
        features: ``[F, T, N]``.
        times: candle open times ``[T]``.
        starts: from when on each model is in charge, rising ``[M]``.
        names: ids of the models ``[M]``.
        model: opens the model of a number.
    """
    which = np.searchsorted(starts, times, side="right") - 1
    ids = np.where(which >= 0, np.array(names)[np.maximum(which, 0)], "")
    raw = np.full(features.shape[1:], np.nan, np.float32)
    known = ~np.isnan(features).all(axis=0)
    for index in np.unique(which[which >= 0]):
        t, n = np.nonzero(known & (which == index)[:, None])
        if len(t):
            raw[t, n] = model(int(index)).predict(features[:, t, n].T, times[t])
    return raw, ids


def refuse_code(folder: Path, names: Sequence[str]) -> None:
    """Refuse files of a form that could run code when it is read.

    Raises:
        BundleError: names the first.
    """
    for name in names:
        if Path(name).suffix not in _MODEL_FORMS:
            raise BundleError(
                f"{name} is not of a form that is read as data ({', '.join(sorted(_MODEL_FORMS))})",
                where=str(folder),
                remedy="save models as text; pickled ones could execute code",
            )


def files_of(folder: Path) -> list[str]:
    """Relative paths of all files, sorted."""
    return sorted(item.relative_to(folder).as_posix() for item in folder.rglob("*") if not item.is_dir())


def _verify(folder: Path, manifest: Manifest) -> None:
    present = set(files_of(folder)) - {MANIFEST, SIGNATURE}
    expected = set(manifest.files) | {SIGNALS, FACTORS}
    damage = [f"{name} is missing" for name in sorted(expected - present)]
    damage += [f"{name} does not belong to it" for name in sorted(present - set(manifest.files))]
    damage += [
        f"{name} was changed"
        for name, digest in sorted(manifest.files.items())
        if name in present and checksum(folder / name) != digest
    ]
    if damage:
        more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
        raise BundleError(
            f"damaged: {damage[0]}{more}",
            where=str(folder),
            remedy="restore it from a copy, or write it anew",
        )
    refuse_code(folder, [name for name in manifest.files if name.startswith(f"{MODELS}/")])
