"""What the bridge to freqtrade costs. Each section measures one thing beside what it would be without us.

    python benchmarks/freqtrade.py                        # all sections
    python benchmarks/freqtrade.py backtest live          # some
    python benchmarks/freqtrade.py --quick                # small sizes, for a look at the script itself

- *backtest*: freqtrade's backtest of 50 pairs and a year of hourly candles with `FactorStrategy`, against the
  same with a trivial strategy that reads the same entries and exits from a file. Both are processes of their
  own and take turns; reported are medians of wall and CPU seconds.
- *live*: from the candles that a bot has at a candle's close to signals of 100 pairs by 158 factors and a
  LightGBM model; and to all pairs analysed in freqtrade's form.
- *freqai*: FreqAI's feature time with our factors, against the same features written the stock way
  (`freqai.py`).

Candles are synthetic. A section is a function of `SECTIONS` that takes the options and prints its table.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

# this file has the name of the package that it measures
sys.path[:] = [one for one in sys.path if Path(one or ".").resolve() != Path(__file__).resolve().parent]


def machine() -> str:
    """Processor, cores, load."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    load = os.getloadavg()[0]
    return f"{name}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}"


def candles(instruments: int, days: int, folder: Path, timeframe: str = "1h") -> Any:
    """A synthetic market in a store, and freqtrade's files of it; returns the store."""
    from bascule.core import Timeframe
    from bascule.data.export import to_freqtrade
    from bascule.data.store import Store
    from bascule.data.synthetic import SyntheticSettings, generate

    settings = SyntheticSettings(
        instruments=instruments, days=days, late=0.0, delisted=0.0, missing=0.0, timeframe=timeframe
    )
    store = Store.create(folder / "store")
    bar = Timeframe.parse(timeframe)
    store.write(generate(settings).frame, bar)
    store.build_provider(bar)
    to_freqtrade(store, bar, folder / "data", market="spot")
    return store


def research(store: Any, factors: int, folder: Path, *, rounds: int, learn: int) -> Any:
    """A bundle of the first so many factors of Alpha158, learned by LightGBM on the first days."""
    import datetime

    from bascule import factors as library
    from bascule.evaluate import forward_return
    from bascule.models import ModelSettings, WalkForwardSettings, folds, train_walk_forward
    from bascule.signals import FactorText, SignalSpec, features, finish, with_members, write_bundle

    chosen = library.library("alpha158")[:factors]
    spec = SignalSpec.read(
        {
            "factors": tuple(FactorText(name=one.name, text=one.text) for one in chosen),
            "universe": {"volume_days": 7, "min_age_days": 7},
            "risk": {"history_days": 30},
        }
    )
    panel = with_members(store.panel(spec.bar), spec)
    values = features(panel, spec)
    first = panel.time[learn * panel.timeframe.bars_a_day].astype("datetime64[D]").item()
    assert isinstance(first, datetime.date)
    walk = WalkForwardSettings(
        first_test=first, test_months=None, test_days=5_000, train_days=None, min_train_days=10
    )
    predicted = train_walk_forward(
        values,
        spec.names,
        forward_return(panel, spec.horizon),
        panel,
        folds(panel.time, walk, spec.horizon),
        ModelSettings(params={"num_boost_round": rounds}, threads=os.cpu_count() or 1),
        folder / "folds",
        seed=1,
    )
    signals = finish(panel, predicted.values, spec, model_id=predicted.model_id)
    return write_bundle(
        folder / "bundles",
        spec=spec,
        panel=panel,
        signals=signals,
        models=tuple(predicted.folder / fold for fold in predicted.folds),
        data_fingerprint="benchmark",
        created=panel.time[-1],
    )


# -- backtest ----------------------------------------------------------------------------------------------

TRIVIAL = '''\
from pathlib import Path

import pandas as pd
from freqtrade.strategy import IStrategy


class Trivial(IStrategy):
    """Entries and exits from a file; nothing else."""

    INTERFACE_VERSION = 3
    timeframe = "1h"
    minimal_roi = {{"0": 100.0}}
    stoploss = -0.25
    startup_candle_count = 1

    def populate_indicators(self, dataframe, metadata):
        path = Path({folder!r}) / (metadata["pair"].replace("/", "_") + ".feather")
        return dataframe.merge(pd.read_feather(path), on="date", how="left")

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["go"] == 1, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["leave"] == 1, "exit_long"] = 1
        return dataframe
'''


def write_signals(bundle: Any, datadir: Path, folder: Path) -> None:
    """What `FactorStrategy` would mark, by pair."""
    import pandas as pd

    from bascule.bridge.freqtrade import FactorStrategy, config
    from bascule.bridge.freqtrade.config import TradeSettings
    from bascule.core import Instrument

    folder.mkdir()
    values = config.build(bundle, TradeSettings(), exchange={"name": "binance"})
    mine = FactorStrategy({**values, "runmode": "backtest", "datadir": datadir})
    for name in bundle.instruments:
        pair = Instrument.parse(name).pair
        frame = pd.read_feather(datadir / f"{name}-1h.feather")
        marked = mine.populate_indicators(frame, {"pair": pair})
        marked = mine.populate_exit_trend(mine.populate_entry_trend(marked, {"pair": pair}), {"pair": pair})
        for column, source in (("go", "enter_long"), ("leave", "exit_long")):
            marked[column] = marked[source].fillna(0.0) if source in marked else 0.0
        marked[["date", "go", "leave"]].to_feather(folder / f"{pair.replace('/', '_')}.feather")


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def backtest(options: argparse.Namespace) -> None:
    """Our share of the time of a backtest."""
    from bascule.bridge.freqtrade import run
    from bascule.bridge.freqtrade.config import TradeSettings

    pairs, days = (8, 60) if options.quick else (options.pairs, options.days)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = candles(pairs, 60 + days, folder)
        bundle = research(store, 20, folder, rounds=50, learn=60)
        write_signals(bundle, folder / "data", folder / "marks")
        trivial = TRIVIAL.format(folder=str(folder / "marks"))
        stops = {"levels": [{"after": 1.0}], "trail": {"after": 1.5}, "time": {"candles": 72}}
        whole = {"rebalance": {}, "stops": stops, "guard": {"halve": 0.5, "halt": 0.9}}
        contenders: dict[str, dict[str, Any]] = {
            "trivial": {"strategy": "Trivial", "source": trivial},
            "FactorStrategy": {},
            "with stops, rebalancing, guard": {"settings": TradeSettings.read({"trading": whole})},
        }
        wall: dict[str, list[float]] = {one: [] for one in contenders}
        cpu: dict[str, list[float]] = {one: [] for one in contenders}
        trades: dict[str, int] = {}
        for _ in range(options.repeats):
            for one, more in contenders.items():
                job = run.Job(bundle, folder / "user" / one.replace(" ", "_"), folder / "data", **more)
                began, used = time.perf_counter(), children()
                found = run.backtest(job)
                wall[one].append(time.perf_counter() - began)
                cpu[one].append(children() - used)
                trades[one] = len(found.trades)
        print(f"backtest: {pairs} pairs, {days} days, 1h; medians of {options.repeats}")
        base = median(cpu["trivial"]), median(wall["trivial"])
        for one in contenders:
            ours = median(cpu[one]), median(wall[one])
            over = " ".join(f"{mine / theirs - 1:+8.1%}" for mine, theirs in zip(ours, base, strict=True))
            print(f"  {one:32s} {ours[0]:7.1f} CPU s {ours[1]:7.1f} s wall {over}   {trades[one]} trades")


# -- live --------------------------------------------------------------------------------------------------


class Provider:
    """freqtrade's data provider at a moment of a live run."""

    def __init__(self, frames: dict[str, Any], length: int) -> None:
        self.frames, self.length, self.stop = frames, length, 0
        self.cut: dict[str, Any] = {}

    def at(self, stop: int) -> None:
        self.cut = {
            pair: one.iloc[stop - self.length : stop].reset_index(drop=True)
            for pair, one in self.frames.items()
        }

    def market(self, pair: str) -> dict[str, str]:
        return {"symbol": pair}

    def ohlcv(self, pair: str, timeframe: str, copy: bool = True) -> Any:
        return self.cut[pair].copy() if copy else self.cut[pair]

    def get_pair_dataframe(self, pair: str, timeframe: str) -> Any:
        return self.ohlcv(pair, timeframe)

    def send_msg(self, message: str, **more: Any) -> None:
        pass


def live(options: argparse.Namespace) -> None:
    """From candles to signals at a candle's close."""
    from datetime import UTC, datetime

    import pandas as pd
    from freqtrade.enums import RunMode

    from bascule.bridge.freqtrade import FactorStrategy, config
    from bascule.bridge.freqtrade.config import TradeSettings
    from bascule.core import Instrument

    pairs, factors = (10, 20) if options.quick else (100, 158)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = candles(pairs, 120, folder)
        bundle = research(store, factors, folder, rounds=200, learn=60)
        values = config.build(bundle, TradeSettings(), exchange={"name": "binance"})
        mine = FactorStrategy({**values, "runmode": RunMode.DRY_RUN})
        frames = {
            Instrument.parse(one).pair: pd.read_feather(folder / "data" / f"{one}-1h.feather")
            for one in bundle.instruments
        }
        shortest = min(len(one) for one in frames.values())
        provider = mine.dp = Provider(frames, mine.startup_candle_count + 200)
        moments = range(shortest - options.candles, shortest)
        times: dict[str, list[float]] = {"first": [], "signals": [], "analysed": []}
        cpu: dict[str, list[float]] = {"first": [], "signals": [], "analysed": []}
        for count, stop in enumerate(moments):
            provider.at(stop)
            for source in (mine._source, *mine._coarse):
                source.turn(float(stop))
            before, used = time.perf_counter(), time.process_time()
            frame = mine._signals()
            middle, spent = time.perf_counter(), time.process_time()
            for pair in frames:
                mine.analyze_ticker(provider.ohlcv(pair, "1h"), {"pair": pair})
            after, done = time.perf_counter(), time.process_time()
            key = "signals" if count else "first"
            times[key].append(middle - before)
            cpu[key].append(spent - used)
            times["analysed"].append(after - middle)
            cpu["analysed"].append(done - spent)
        assert np.isfinite(frame.alpha_rank[-1]).sum() > 0.8 * pairs
        print(
            f"live: {pairs} pairs, {factors} factors, LightGBM; look-back {bundle.lookback} candles; medians of "
            f"{options.candles} candles ({datetime.now(UTC):%Y-%m-%d})"
        )
        for key, words in (
            ("first", "first candle after a start"),
            ("signals", "candle close to signals of all pairs"),
            ("analysed", "and all pairs analysed by freqtrade"),
        ):
            print(
                f"  {words:40s} {median(times[key]) * 1e3:8.0f} ms wall {median(cpu[key]) * 1e3:8.0f} ms CPU"
            )


def freqai(options: argparse.Namespace) -> None:
    """FreqAI's features; the file beside this one does it."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("freqai_features", Path(__file__).with_name("freqai.py"))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.compare(*((6, 60) if options.quick else (20, 365)), options.repeats)


SECTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "backtest": backtest,
    "live": live,
    "freqai": freqai,
}


def main() -> None:
    """Run the sections that were named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--pairs", type=int, default=50, help="pairs of the backtest")
    parser.add_argument("--days", type=int, default=365, help="days of the backtest")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each contender")
    parser.add_argument("--candles", type=int, default=20, help="candles of the live section")
    options = parser.parse_args()
    print(machine())
    print(
        ", ".join(f"{one} {version(one)}" for one in ("bascule", "freqtrade", "lightgbm", "numpy", "pandas"))
    )
    for one in options.sections or list(SECTIONS):
        SECTIONS[one](options)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
