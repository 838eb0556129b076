"""Writing a bundle: see `bascule.signals.bundle` for what it is and how it appears in one step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from bascule import __version__
from bascule.core import BundleError, ExtensionRecord, Moment, Panel, StoreError, extensions, moment
from bascule.core.files import atomic_folder, checksum, fingerprint, point, sweep, write_json
from bascule.data.lock import writer_lock
from bascule.signals import compute
from bascule.signals.bundle import CURRENT, FACTORS, REPORT, SIGNALS, Bundle, files_of, refuse_code
from bascule.signals.frame import SignalFrame
from bascule.signals.manifest import MANIFEST, SCHEMA, DataRecord, Manifest, ModelWindow, Span, stamp, unstamp
from bascule.signals.signing import KEY_VARIABLE, sign
from bascule.signals.spec import SignalSpec

if TYPE_CHECKING:
    import pandas as pd

_RECORDED = ("numpy", "pandas", "lightgbm", "pyqlib", "freqtrade")
_COMPACT = str.maketrans("", "", "-:")


def write_bundle(
    folder: Path,
    *,
    spec: SignalSpec,
    panel: Panel,
    signals: SignalFrame,
    models: Sequence[Path],
    data_fingerprint: str,
    created: Moment,
    report: Path | None = None,
    first: Moment | None = None,
    activate: bool = True,
) -> Bundle:
    """Write a bundle below ``folder`` and turn ``current`` to it.

    With ``BASCULE_SIGNING_KEY`` in the environment it is signed before anybody sees it, so that live bots
    take up what was trained again without anybody at hand.

    Args:
        folder: where bundles are kept; one process at a time may write there.
        spec: the recipe.
        panel: the prepared panel of the research, for its instruments and their listing times.
        signals: of `finish`, over all rows; rows without a model are left out.
        models: folders of the fitted models, as `models.train_walk_forward` leaves them.
        data_fingerprint: digest of the data, e.g. ``Store.fingerprint``.
        created: time of writing.
        report: an HTML file to go with it.
        first: open time from which the first model is in charge, where that is before its test window: rows
            that it was judged on, but did not learn from.
        activate: False leaves ``current`` as it is; `serve` turns it later.

    Raises:
        BundleError: the parts do not fit together, a model is in a form that could execute code, the same
            bundle is there already, or another process is writing.
    """
    from bascule.models.predictor import read_meta

    table = signals.to_long()
    if table.empty or signals.instruments != panel.instruments:
        raise BundleError(
            "there are no signals" if table.empty else "signals and panel differ in instruments",
            where="write_bundle",
            remedy="write the signals of a finished walk-forward run over this very panel",
        )
    described = [(ModelWindow.describe(source), source) for source in models]
    described.sort(key=lambda pair: unstamp(pair[0].test.start))
    if first is not None and described:
        described[0] = (_from(described[0][0], first), described[0][1])
    values = _describe(spec, panel, signals, [window for window, _ in described], len(table))
    values |= {"created": stamp(created)}
    kinds = [str(read_meta(path)["kind"]) for path in models]
    values["extensions"] = [one.model_dump() for one in made_with(spec.texts, kinds)]
    values["data"] = DataRecord(
        fingerprint=data_fingerprint, first=stamp(panel.time[0]), last=stamp(panel.time[-1])
    ).model_dump()
    name = f"{str(moment(created).astype('datetime64[s]')).translate(_COMPACT)}Z-{fingerprint(values)[:8]}"
    with _only_writer(folder):
        try:
            with atomic_folder(folder / name) as aside:
                _fill(aside, table, spec, described, report)
                values["files"] = {one: checksum(aside / one) for one in files_of(aside)}
                Manifest.read(values, where=MANIFEST)
                write_json(aside / MANIFEST, values)
        except FileExistsError:
            raise BundleError(
                "this bundle exists already; finished bundles are never changed",
                where=str(folder / name),
                remedy="use it, or write at another time",
            ) from None
        if os.environ.get(KEY_VARIABLE):
            sign(folder / name, Path(os.environ[KEY_VARIABLE]))
        if activate:
            point(folder / CURRENT, folder / name)
    return Bundle.open(folder / name)


def made_with(texts: Iterable[str], kinds: Iterable[str] = ()) -> tuple[ExtensionRecord, ...]:
    """The extensions whose operators these factors name, and whose kinds of model these are.

    Raises:
        ConfigError: one was made on the spot.
    """
    from bascule.expr import OPERATORS, parse, walk
    from bascule.models import KINDS

    names = {type(node).__name__ for text in texts for node in walk(parse(text))}
    return extensions.record([*map(OPERATORS.owner, sorted(names)), *map(KINDS.owner, kinds)])


def serve(bundle: Path) -> None:
    """Turn ``current`` to a bundle that `write_bundle` left beside it, in one step.

    Raises:
        BundleError: it is missing or damaged, or another process is writing.
    """
    found = Bundle.open(bundle)
    with _only_writer(found.path.parent):
        point(found.path.parent / CURRENT, found.path)


def _from(window: ModelWindow, first: Moment) -> ModelWindow:
    """The window with its test rows begun earlier, but after everything that it learned from."""
    start = stamp(first)
    if unstamp(start) < unstamp(window.valid.end):
        raise BundleError(
            f"model {window.id} learned from rows until {window.valid.end}; it cannot serve from {start}",
            where="write_bundle",
            remedy="let it be in charge from its judging window on",
        )
    return window.model_copy(update={"test": Span(start=start, end=window.test.end)})


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Hold the folder, and clear away what a killed writer left."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with writer_lock(folder):
            sweep(folder)
            yield
    except StoreError:
        raise BundleError(
            "another process is writing a bundle", where=str(folder), remedy="wait until it is done"
        ) from None


def _describe(
    spec: SignalSpec, panel: Panel, signals: SignalFrame, windows: Sequence[ModelWindow], rows: int
) -> dict[str, Any]:
    """The manifest's values but for time of writing, data and checksums."""
    covered = signals.time[signals.covered]
    listed = zip(panel.instruments, panel.listed, strict=True)
    return {
        "schema_version": SCHEMA,
        "spec": spec.model_dump(mode="json"),
        "lookback": compute.lookback(spec),
        "universe": list(panel.instruments),
        "listed": {name: stamp(time) for name, time in listed if not np.isnat(time)},
        "models": [window.model_dump(mode="json") for window in windows],
        "signals": Span.of(covered[0], covered[-1] + panel.timeframe.delta).model_dump(),
        "rows": rows,
        "versions": {"bascule": __version__, **_versions()},
    }


def _fill(
    folder: Path,
    table: pd.DataFrame,
    spec: SignalSpec,
    described: Sequence[tuple[ModelWindow, Path]],
    report: Path | None,
) -> None:
    """Write everything but the manifest."""
    table.to_parquet(folder / SIGNALS, index=False, compression="zstd")
    factors = [factor.model_dump() for factor in spec.factors]
    (folder / FACTORS).write_text(yaml.safe_dump(factors, sort_keys=False, allow_unicode=True), "utf-8")
    for window, source in described:
        shutil.copytree(source, folder / window.path)
        refuse_code(folder / window.path, files_of(folder / window.path))
    if report is not None:
        shutil.copyfile(report, folder / REPORT)


def _versions() -> dict[str, str]:
    found = {}
    for name in _RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
