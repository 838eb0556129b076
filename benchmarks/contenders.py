"""The engines that `benchmarks/engine.py` times, each behind one function: panel → what a turn does, or None."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bascule.core import Panel, Timeframe
from bascule.engine import buffer
from bascule.expr import Constant, Field, Node, elementwise, pair, parse, rolling, shift, trend

Work = Callable[[], object]
HOUR = Timeframe.parse("1h")
FIELDS = ("open", "high", "low", "close", "volume", "vwap")

# seconds that contenders took to compile their expressions
COMPILED: dict[str, float] = {}


def have(name: str) -> bool:
    """Whether a distribution's package is there."""
    return importlib.util.find_spec({"pyqlib": "qlib"}.get(name, name)) is not None


def panel(width: int, rows: int, seed: int = 0) -> Panel:
    """Random walks that trade in every candle, prices in ticks of 0.01, so that ties exist."""
    rng = np.random.default_rng(seed)
    close = np.clip(50.0 * np.exp(np.cumsum(rng.standard_normal((rows, width)) * 0.01, axis=0)), 2.0, 5000.0)
    before = np.vstack([close[:1], close[:-1]])
    open_ = before * (1 + 0.001 * rng.standard_normal((rows, width)))
    high = np.maximum(open_, close) * (1 + 0.004 * np.abs(rng.standard_normal((rows, width))))
    low = np.minimum(open_, close) * (1 - 0.004 * np.abs(rng.standard_normal((rows, width))))
    prices = {"open": open_, "high": high, "low": low, "close": close}
    fields = {name: np.round(values, 2) for name, values in prices.items()}
    fields["volume"] = np.round(np.exp(10 + 0.7 * rng.standard_normal((rows, width))))
    fields["vwap"] = (fields["high"] + fields["low"] + fields["close"]) / 3
    time_ = np.datetime64("2020-01-01", "ns") + np.arange(rows) * HOUR.delta
    arrays = {name: np.ascontiguousarray(values, np.float32) for name, values in fields.items()}
    return Panel(HOUR, time_, tuple(f"C{n:04d}_USDT" for n in range(width)), arrays, np.full(width, time_[0]))


def widened(of: Panel, width: int) -> Panel:
    """The panel with its last instrument repeated up to ``width``."""
    extra = width - of.shape[1]
    arrays = {n: np.ascontiguousarray(np.pad(v, ((0, 0), (0, extra)), "edge")) for n, v in of.fields.items()}
    names = (*of.instruments, *(f"Z{n:04d}_USDT" for n in range(extra)))
    return Panel(of.timeframe, of.time, names, arrays, np.pad(of.listed, (0, extra), "edge"))


# -- the floor -------------------------------------------------------------------------------------

_FLOOR = r"""
#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
typedef float line __attribute__((vector_size(64), aligned(4)));
void floor_run(float *const *in, int n_in, float *out, int64_t rows, int64_t width, int64_t outs, int64_t tile) {
    int64_t blocks = (width + 15) / 16;
    line sum = {0};
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t t = 0; t < rows; t += tile) {
            int64_t end = t + tile < rows ? t + tile : rows;
            for (int f = 0; f < n_in; f++)
                for (int64_t r = t; r < end; r++)
                    if (b * 16 + 16 <= width) sum += *(const line *)(in[f] + r * width + b * 16);
            for (int64_t f = 0; f < outs; f++) {
                float *p = out + ((f * blocks + b) * rows + t) * 16;
                for (int64_t r = t; r < end; r++, p += 16) {
#if defined(__AVX512F__)
                    _mm512_stream_ps(p, (__m512)sum);
#elif defined(__SSE2__)
                    for (int i = 0; i < 4; i++) _mm_stream_ps(p + 4 * i, ((__m128 *)&sum)[i]);
#else
                    *(line *)p = sum;
#endif
                }
            }
        }
#if defined(__SSE2__)
    _mm_sfence();
#endif
}
"""


def floor(of: Panel, outputs: int, tile: int) -> Work | None:
    """Read the fields and write the outputs, with a compiler at hand."""
    folder = Path(tempfile.mkdtemp())
    source = folder / "floor.c"
    source.write_text(_FLOOR.replace("emmintrin.h", "immintrin.h"))
    command = ["cc", "-O3", "-march=native", "-fPIC", "-shared", str(source), "-o", str(folder / "floor.so")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    run = ctypes.CDLL(str(folder / "floor.so")).floor_run
    rows, width = of.shape
    out = buffer((outputs, -(-width // 16), rows, 16))
    fields = [of[name] for name in FIELDS]
    given = (ctypes.c_void_p * len(fields))(*(field.ctypes.data for field in fields))
    numbers = [ctypes.c_int64(n) for n in (rows, width, outputs, tile)]
    return lambda: run(given, len(fields), ctypes.c_void_p(out.ctypes.data), *numbers)


# -- other engines ---------------------------------------------------------------------------------


def prototype(of: Panel, folder: Path, threads: int) -> Work | None:
    """The prototype that measured the way to this engine."""
    if not (folder / "engine.cpp").is_file():
        return None
    where = Path(tempfile.mkdtemp()) / "libengine.so"
    command = ["g++", "-O3", "-march=native", "-fPIC", "-shared", "-pthread", str(folder / "engine.cpp")]
    try:
        subprocess.run([*command, "-o", str(where)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    sys.path.insert(0, str(folder))
    cengine, planner = importlib.import_module("cengine"), importlib.import_module("planner")
    sys.path.pop(0)
    cengine.lib(str(where))
    texts, _ = planner.alpha158()
    plan = planner.plan(texts, list(FIELDS), TB=64)
    out = cengine.alloc_out(len(texts), of.shape[0], of.shape[1], "BT")
    fields = {name: of[name] for name in FIELDS}
    return lambda: cengine.run(plan, fields, out, "BT", threads=threads)


def kunquant(of: Panel, folder: Path | None, dtype: str) -> Work | None:
    """KunQuant, which compiles C++ for its expressions; instruments in whole vectors only."""
    if folder is None:
        return None
    sys.path.insert(0, str(folder))
    try:
        jit, driver = (
            importlib.import_module("KunQuant.jit.cfake"),
            importlib.import_module("KunQuant.Driver"),
        )
        ops, stage = importlib.import_module("KunQuant.Op"), importlib.import_module("KunQuant.Stage")
        alpha = importlib.import_module("KunQuant.predefined.Alpha158")
        runner = importlib.import_module("KunQuant.runner.KunRunner")
    except ImportError:
        return None
    finally:
        sys.path.pop(0)
    builder = ops.Builder()
    with builder:
        data = alpha.AllData(
            **{n: ops.Input(n) for n in ("open", "close", "high", "low", "volume", "amount")}
        )
        price = [("OPEN", data.open), ("HIGH", data.high), ("LOW", data.low), ("VWAP", data.vwap)]
        fields, names = data.build({"kbar": {}, "price": {"windows": [0], "feature": price}, "rolling": {}})
        for name, field in zip(names, fields, strict=True):
            ops.Output(field, name)
    lanes = 8 if dtype == "float" else 4
    config = driver.KunCompilerConfig(
        dtype=dtype, blocking_len=lanes, input_layout="TS", output_layout="TS", options={}
    )
    name = f"alpha158_{dtype}_{of.shape[1]}"
    start = time.perf_counter()
    built = jit.compileit([(name, stage.Function(builder.ops), config)], name, jit.CppCompilerConfig())
    COMPILED[f"KunQuant {dtype}"] = time.perf_counter() - start
    module = built.getModule(name)
    width = of.shape[1] // lanes * lanes
    kind = np.float32 if dtype == "float" else np.float64
    given = {n: np.ascontiguousarray(of[n][:, :width], kind) for n in FIELDS[:5]}
    given["amount"] = np.ascontiguousarray((of["vwap"] * of["volume"])[:, :width], kind)
    executor = runner.createSingleThreadExecutor()
    return lambda: runner.runGraph(executor, module, given, 0, of.shape[0])


def polars(of: Panel, texts: list[str]) -> Work | None:
    """polars, for the expressions that it has operators for."""
    if not have("polars"):
        return None
    import os

    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    import polars as pl

    rows, width = of.shape
    frame = pl.DataFrame(
        {
            "instrument": np.repeat(np.arange(width, dtype=np.int32), rows),
            "row": np.tile(np.arange(rows, dtype=np.float64), width),
            **{name: of[name].T.ravel() for name in FIELDS},
        }
    )
    columns = []
    for number, text in enumerate(texts):
        try:
            columns.append(_polars(parse(text), pl).over("instrument").cast(pl.Float32).alias(str(number)))
        except NotImplementedError:
            continue
    COMPILED["polars (expressions it has, of 158)"] = float(len(columns))
    return lambda: frame.select(columns)


def _polars(node: Node, pl: object) -> object:
    """A node as an expression of polars."""
    if isinstance(node, Constant):
        return pl.lit(node.value)  # type: ignore[attr-defined]
    if isinstance(node, Field):
        return pl.col(node.name)  # type: ignore[attr-defined]
    below = [_polars(child, pl) for child in node.children]
    cells = {
        elementwise.Add: "__add__", elementwise.Sub: "__sub__", elementwise.Mul: "__mul__",
        elementwise.Div: "__truediv__", elementwise.Gt: "__gt__", elementwise.Lt: "__lt__",
    }  # fmt: skip
    plain = {
        rolling.Mean: "rolling_mean", rolling.Sum: "rolling_sum", rolling.Std: "rolling_std",
        rolling.Max: "rolling_max", rolling.Min: "rolling_min",
    }  # fmt: skip
    kind = type(node)
    if kind in cells:
        return getattr(below[0], cells[kind])(below[1])
    if kind in plain:
        return getattr(below[0].cast(pl.Float64), plain[kind])(node.n, min_samples=1)  # type: ignore[attr-defined]
    if kind is elementwise.Abs:
        return below[0].abs()  # type: ignore[attr-defined]
    if kind is elementwise.Log:
        return below[0].log()  # type: ignore[attr-defined]
    if kind is elementwise.Greater:
        return pl.max_horizontal(*below)  # type: ignore[attr-defined]
    if kind is elementwise.Less:
        return pl.min_horizontal(*below)  # type: ignore[attr-defined]
    if kind is shift.Ref:
        return below[0].shift(node.n)  # type: ignore[attr-defined]
    if kind is rolling.Quantile:
        return below[0].rolling_quantile(node.q, "linear", window_size=node.n, min_samples=1)  # type: ignore[attr-defined]
    if kind is rolling.Rank:
        return below[0].rolling_rank(node.n, "average", min_samples=1) / node.n  # type: ignore[attr-defined]
    if kind is pair.Corr:
        return pl.rolling_corr(*below, window_size=node.n, min_samples=1)  # type: ignore[attr-defined]
    if kind in (trend.Slope, trend.Rsquare, trend.Resi):
        return _line(node, below[0], pl)
    raise NotImplementedError(kind.__name__)


def _line(node: Node, x: object, pl: object) -> object:
    """The straight line against the row number, from covariances."""
    n, row = node.args[1], pl.col("row")  # type: ignore[attr-defined]
    slope = pl.rolling_cov(x, row, window_size=n, min_samples=2) / (n * (n + 1) / 12)  # type: ignore[attr-defined]
    if isinstance(node, trend.Slope):
        return slope
    if isinstance(node, trend.Rsquare):
        return pl.rolling_corr(x, row, window_size=n, min_samples=2) ** 2  # type: ignore[attr-defined]
    return x - (x.rolling_mean(n, min_samples=1) + slope * ((n - 1) / 2))  # type: ignore[attr-defined]


def qlib(of: Panel, texts: list[str], instruments: int) -> Work | None:
    """qlib on the first few instruments, from its own files; the caller scales up."""
    if not have("pyqlib"):
        return None
    folder = Path(tempfile.mkdtemp())
    times = [str(t)[:19].replace("T", " ") for t in of.time]
    (folder / "calendars").mkdir()
    (folder / "calendars" / "60min.txt").write_text("\n".join(times) + "\n")
    names = of.instruments[:instruments]
    (folder / "instruments").mkdir()
    (folder / "instruments" / "all.txt").write_text(
        "".join(f"{name}\t{times[0]}\t{times[-1]}\n" for name in names)
    )
    for column, name in enumerate(names):
        home = folder / "features" / name.lower()
        home.mkdir(parents=True)
        for field in FIELDS:
            np.concatenate([[0.0], of[field][:, column]]).astype("<f4").tofile(home / f"{field}.60min.bin")
    import qlib as package
    from qlib.data import D
    from qlib.data.cache import H

    package.init(
        provider_uri=str(folder), region="us", kernels=1, expression_cache=None, dataset_cache=None,
        logging_level=50, joblib_backend="threading",
    )  # fmt: skip

    def work() -> object:
        H.clear()
        return D.features(list(names), texts, freq="60min", disk_cache=0)

    return work
