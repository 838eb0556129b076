"""Every model of qlib 0.9.7: what it needs, how it is kept, or why it is not offered; `trial` tries one.

1. `ENTRIES` names all model classes that qlib's wheel holds, and the two of its benchmarks that it does not.
2. `trial` builds a small market with one planted signal, trains the model on it walk-forward, keeps it, opens
   it and predicts. A model that is not offered is handed to qlib as it is, and its error is what is reported.
3. `table` is the table of ``docs/models.md``; tests compare it with the document, and each entry with its
   trial.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bascule.core import ConfigError, Panel, Timeframe
from bascule.core.panel import FloatArray
from bascule.evaluate import forward_return, ic_series, summarise
from bascule.models.folds import WalkForwardSettings, folds
from bascule.models.nets import NetKind
from bascule.models.registry import KINDS
from bascule.models.settings import ModelSettings
from bascule.models.train import train_walk_forward

_HERE = "qlib.contrib.model."
_HORIZON = 2


@dataclass(frozen=True)
class Entry:
    """One model of qlib's zoo.

    Attributes:
        title: how qlib's documents call it.
        kind: Bascule's kind, or "" if it is not offered.
        module: qlib's module path, "" if the wheel does not hold it.
        cls: qlib's class.
        note: what it needs, or why it is not offered.
        arguments: of its class, for the trial of a model that is not offered.
        error: pattern of the error of that trial.
    """

    title: str
    kind: str
    module: str = ""
    cls: str = ""
    note: str = ""
    arguments: Mapping[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True)
class Trial:
    """What happened when a model was tried.

    Attributes:
        works: it was trained, kept, opened, and predicted the test window out of sample.
        rank_ic: its out-of-sample rank IC with the planted signal's returns.
        error: what qlib said, if it does not work.
    """

    works: bool
    rank_ic: float
    error: str


def _no(title: str, file: str, cls: str, note: str, error: str, **arguments: Any) -> Entry:
    return Entry(title, "", _HERE + file, cls, note, arguments, error)


def _yes(title: str, kind: str, note: str = "") -> Entry:
    return Entry(title, kind, KINDS[kind].module, KINDS[kind].cls, note)


ENTRIES: tuple[Entry, ...] = (
    _yes("LightGBM", "LGBModel"),
    _yes("LightGBM, high frequency", "HFLGBModel", "learns whether an instrument beats the mean of its time"),
    _yes("XGBoost", "XGBModel", "kept up to its best round; qlib predicts with all"),
    _yes("CatBoost", "CatBoostModel"),
    _yes("DoubleEnsemble", "DEnsembleModel", "features in a fixed order, where qlib's is that of a set"),
    _yes("Linear, ridge, lasso, NNLS", "LinearModel", "`estimator: ols, ridge, lasso, nnls`"),
    _yes("MLP", "DNNModelPytorch", "trained without qlib's scheduler, which this torch refuses"),
    _yes("GeneralPTNN", "GeneralPTNN", "with qlib's dense net; its default GRU does not fit its own loss"),
    _yes("TFT-like", "TemporalFusion", "a small temporal fusion network, trained by qlib's GeneralPTNN"),
    _yes("LSTM", "LSTM"),
    _yes("LSTM, windows", "LSTM_ts"),
    _yes("GRU", "GRU"),
    _yes("GRU, windows", "GRU_ts"),
    _yes("ALSTM", "ALSTM"),
    _yes("ALSTM, windows", "ALSTM_ts"),
    _yes("Transformer", "TransformerModel"),
    _yes("Transformer, windows", "TransformerModel_ts"),
    _yes("Localformer", "LocalformerModel"),
    _yes("Localformer, windows", "LocalformerModel_ts"),
    _yes("TCN", "TCN"),
    _yes("TCN, windows", "TCN_ts", "convolves over features, not time: needs as many times as features"),
    _yes("TabNet", "TabnetModel", "without pretraining unless asked for"),
    _yes("SFM", "SFM_Model"),
    _yes("KRNN", "KRNN"),
    _yes("Sandwich", "Sandwich"),
    _yes("GATs", "GATs", "6 features only: its base network is always built with qlib's defaults"),
    _yes("GATs, windows", "GATs_ts"),
    _yes("ADARNN", "ADARNN", "Alpha360 only: 6 features × 60 times are written into it"),
    _no(
        "ADD", "pytorch_add", "ADD",
        "its second task bins the mean label of each time, which is 0 for labels compared within their row",
        "Bin edges must be unique", d_feat=6, n_epochs=1, batch_size=64, GPU=-1,
    ),
    _no(
        "IGMTF", "pytorch_igmtf", "IGMTF",
        "stacks arrays as tensors, which this torch refuses; and predicts only with its training set at hand",
        "expected Tensor as element 0", d_feat=6, n_epochs=1, GPU=-1,
    ),
    _no(
        "HIST", "pytorch_hist", "HIST",
        "needs a matrix of stocks and concepts, which exists for CSI 300 only",
        "path should be string", d_feat=6, n_epochs=1, GPU=-1,
    ),
    _no(
        "TCTS", "pytorch_tcts", "TCTS",
        "needs several labels at once; draws new seeds until the loss is low, so no seed repeats a result",
        "Dimension out of range", d_feat=6, n_epochs=1, input_dim=36, batch_size=64, GPU=-1,
    ),
    _no(
        "TRA", "pytorch_tra", "TRAModel",
        "reads qlib's own memory dataset alone, which keeps past losses of the instruments predicted",
        "only supports `qlib.contrib.data.dataset.MTSDatasetH`",
        model_config={"input_size": 6, "hidden_size": 8, "num_layers": 1, "rnn_arch": "LSTM"},
        tra_config={"num_states": 1}, n_epochs=1,
    ),
    Entry("TFT", "", note="not in qlib's wheel; its benchmark needs TensorFlow 1: see TFT-like"),
)  # fmt: skip


def entry(title: str) -> Entry:
    """Look an entry up by title.

    Raises:
        ConfigError: unknown.
    """
    for one in ENTRIES:
        if one.title == title:
            return one
    known = ", ".join(one.title for one in ENTRIES)
    raise ConfigError(f"no model of qlib's is called {title!r}", where="zoo", remedy=f"known: {known}")


def table() -> str:
    """The zoo as a Markdown table."""
    head = "| qlib's model | `kind` | works | sample weights | warm start | kept as | note |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for one in ENTRIES:
        if not one.kind:
            lines.append(f"| {one.title} | – | no | | | | {one.note} |")
            continue
        kind = KINDS[one.kind]
        kept = "tensors" if isinstance(kind, NetKind) else _KEPT[one.kind]
        marks = ["yes" if flag else "" for flag in (kind.weighted, kind.warm)]
        works = f"with `{kind.extra}`" if kind.extra else "yes"
        cells = (one.title, f"`{one.kind}`", works, *marks, kept, one.note)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


_KEPT = {
    "LGBModel": "text",
    "HFLGBModel": "text",
    "DEnsembleModel": "text",
    "XGBModel": "binary JSON",
    "CatBoostModel": "cbm",
    "LinearModel": "JSON",
}


# -- trying ----------------------------------------------------------------------------------------------


def shape(kind: str) -> tuple[int, int]:
    """(features, times) that the trial gives a kind."""
    return {"GATs": (6, 3), "ADARNN": (6, 60)}.get(kind, (3, 3))


def brief(kind: str) -> dict[str, Any]:
    """Parameters for a short training."""
    if kind == "DNNModelPytorch":
        return {"max_steps": 100, "batch_size": 256, "lr": 0.01}
    known = KINDS[kind].parameters
    wanted: dict[str, Any] = {"n_epochs": 3, "batch_size": 128, "lr": 0.01, "pre_epoch": 1}
    if kind == "GATs":
        wanted["n_epochs"] = 1
    if not isinstance(KINDS[kind], NetKind):
        wanted = {"num_boost_round": 40, "epochs": 20, "learning_rate": 0.1, "eta": 0.1}
    return {name: value for name, value in wanted.items() if name in known}


def small_market(
    features: int, steps: int, *, seed: int = 0, rows: int = 640, width: int = 10
) -> tuple[FloatArray, FloatArray, Panel]:
    """Values ``[features · steps, T, N]``, label and panel of 4-hour candles driven by the first feature."""
    random = np.random.default_rng(seed)
    signal = random.standard_normal((features, rows, width)).astype(np.float32)
    move = random.standard_normal((rows, width)) * 0.01 + random.standard_normal((rows, 1)) * 0.005
    move[1:] += 0.006 * signal[0, :-1]
    close = (100.0 * np.exp(np.cumsum(move, axis=0))).astype(np.float32)
    opens = np.vstack([np.full((1, width), 100.0, np.float32), close[:-1]])
    fields = {
        "open": opens,
        "high": np.maximum(opens, close),
        "low": np.minimum(opens, close),
        "close": close,
        "volume": np.exp(random.standard_normal((rows, width))).astype(np.float32),
    }
    frame = Timeframe.parse("4h")
    start = np.datetime64("2021-01-01", "ns")
    time = frame.axis(start, start + (rows - 1) * frame.delta)
    names = tuple(f"C{n:02d}_USDT" for n in range(width))
    panel = Panel(frame, time, names, fields, np.full(width, time[0]))
    values = np.full((features * steps, rows, width), np.nan, np.float32)
    for f in range(features):
        for place, lag in enumerate(range(steps - 1, -1, -1)):
            values[f * steps + place, lag:] = signal[f, : rows - lag]
    return values, forward_return(panel, _HORIZON), panel


def trial(one: Entry, folder: Path | None = None, *, seed: int = 3) -> Trial:
    """Try a model on a small market.

    Args:
        one: the entry.
        folder: where the model is kept; default a temporary folder.
        seed: of its random choices.
    """
    if not one.kind:
        return _refused(one)
    features, steps = shape(one.kind)
    values, label, panel = small_market(features, steps)
    walk = WalkForwardSettings(first_test=date(2021, 4, 1), train_days=80, min_train_days=30, valid_share=0.3)
    settings = ModelSettings(
        kind=one.kind, params=brief(one.kind), steps=steps, min_samples=200, max_samples=3_000, threads=1,
        device="cpu",
    )  # fmt: skip
    names = [f"f{i}" for i in range(len(values))]
    found = folds(panel.time, walk, _HORIZON)[:1]
    with tempfile.TemporaryDirectory(prefix="bascule-") as scratch:
        got = train_walk_forward(
            values, names, label, panel, found, settings, (folder or Path(scratch)) / "models", seed=seed
        )
    summary = summarise(ic_series(got.values, label, panel.members, rank=True), _HORIZON)
    return Trial(summary.n > 0, summary.mean, "")


def _refused(one: Entry) -> Trial:
    if not one.module:
        return Trial(False, float("nan"), one.note)
    from bascule.models.dataset import ArrayDataset
    from bascule.models.labels import learned
    from bascule.models.quiet import quiet
    from bascule.models.recording import recording
    from bascule.models.samples import gather

    values, label, panel = small_market(36, 1, rows=300)
    aim = learned(label, panel, ModelSettings())
    windows = {"train": (0, 180), "valid": (185, 240), "test": (245, 290)}
    parts = {
        name: gather(values, np.arange(*window), np.isfinite(aim), aim) for name, window in windows.items()
    }
    dataset = ArrayDataset(panel, [f"x{i}" for i in range(36)], parts)
    try:
        with quiet(0, 1), recording():
            model = getattr(import_module(one.module), one.cls)(**(one.arguments or {}))
            model.fit(dataset)
            model.predict(dataset)
    except Exception as error:  # noqa: BLE001 - whatever qlib says is the result
        return Trial(False, float("nan"), f"{type(error).__name__}: {error}")
    return Trial(True, float("nan"), "")


def classes_of_qlib() -> set[tuple[str, str]]:
    """(module, class) of every model class in qlib's wheel, read from its source."""
    import qlib

    found: set[tuple[str, str]] = set()
    folder = Path(qlib.__file__).parent / "contrib" / "model"
    for path in sorted(folder.glob("*.py")):
        for name in re.findall(r"^class (\w+)\((?:Model|ModelFT)\b", path.read_text("utf-8"), re.M):
            found.add((_HERE + path.stem, name))
    return found
