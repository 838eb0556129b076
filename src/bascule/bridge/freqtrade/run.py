"""Runs of the real freqtrade: backtest and the two bias analyses, each as a process, offline."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bascule.bridge.exchange import ReplayExchange, exchange_config
from bascule.bridge.freqtrade import bias, config, datafiles, results
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.process import Finished, freqtrade
from bascule.core import BridgeError, Instrument, Moment, SetupError, Timeframe, moment
from bascule.core.files import atomic_file, atomic_folder, write_json

if TYPE_CHECKING:
    from bascule.signals import Bundle

STRATEGY = "BasculeStrategy"
# a sub-command and its own arguments to what came of it
Runner = Callable[[str, Sequence[str]], Finished]


class Task(Protocol):
    """What a run is about: a `Job`, or a FreqAI run's."""

    @property
    def datadir(self) -> Path:
        """freqtrade's data folder of the exchange."""

    @property
    def timerange(self) -> str:
        """freqtrade's ``--timerange``."""

    @property
    def timeout(self) -> float | None:
        """Seconds that freqtrade may take."""


_SHIM = '''\
"""Trades the signal bundle that the configuration names."""

from bascule.bridge.freqtrade import FactorStrategy


class {name}(FactorStrategy):
    """The signals' own rules, unchanged."""
'''


@dataclass(frozen=True)
class Workspace:
    """A freqtrade user_data folder.

    Attributes:
        folder: user_data.
        strategy: class name of its strategy.
    """

    folder: Path
    strategy: str

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "config.json"

    @property
    def results(self) -> Path:
        """Where freqtrade puts backtest results."""
        return self.folder / "backtest_results"


def workspace(
    folder: Path, values: dict[str, object], *, strategy: str = STRATEGY, source: str | None = None
) -> Workspace:
    """Lay out a user_data folder, or bring configuration and strategy of an existing one up to date.

    Args:
        folder: made in one step if it is not there; what else an existing one holds is kept.
        values: the configuration.
        strategy: class name.
        source: text of the strategy file; default one that only names `FactorStrategy`.

    Raises:
        BridgeError: ``strategy`` is no Python class name.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", strategy):
        raise SetupError(
            f"{strategy!r} cannot be a class name", where="strategy", remedy="use letters, digits, _"
        )
    text = source if source is not None else _SHIM.format(name=strategy)
    if not folder.exists():
        with atomic_folder(folder) as aside:
            _fill(aside, values, strategy, text)
    else:
        _fill(folder, values, strategy, text)
    return Workspace(folder, strategy)


def _fill(folder: Path, values: dict[str, object], strategy: str, text: str) -> None:
    for name in ("strategies", "backtest_results", "hyperopt_results", "logs"):
        (folder / name).mkdir(exist_ok=True)
    with atomic_file(folder / "strategies" / f"{strategy}.py") as aside:
        aside.write_text(text, "utf-8")
    write_json(folder / "config.json", values)


@dataclass(frozen=True)
class Job:
    """What all runs have in common.

    Attributes:
        bundle: the signals.
        folder: user_data folder of the run.
        datadir: freqtrade's data folder with the candles (feather).
        settings: wallet, costs, mode.
        start: first candle to trade, None = the first of the signals.
        end: candle to stop before, None = after the last of the signals.
        pairs: instruments to trade, None = the whole universe.
        strategy: class name.
        source: text of the strategy file, None = `FactorStrategy` as it is.
        timeout: seconds after which freqtrade is killed.
    """

    bundle: Bundle
    folder: Path
    datadir: Path
    settings: TradeSettings = field(default_factory=TradeSettings)
    start: Moment | None = None
    end: Moment | None = None
    pairs: tuple[str, ...] | None = None
    strategy: str = STRATEGY
    source: str | None = None
    timeout: float | None = None

    @property
    def span(self) -> tuple[np.datetime64, np.datetime64]:
        """First candle, and the candle to stop before."""
        first, past = self.bundle.manifest.signals.times
        start = first if self.start is None else moment(self.start)
        return start, past if self.end is None else moment(self.end)

    @property
    def timerange(self) -> str:
        """freqtrade's ``--timerange``."""
        return timerange(*self.span, self.bundle.spec.bar)


def timerange(first: np.datetime64, stop: np.datetime64, bar: Timeframe) -> str:
    """freqtrade's ``--timerange``, in Unix seconds. Its end is included there, ours is not.

    Raises:
        BridgeError: there are fewer than two candles between them.
    """
    last = stop - bar.delta
    if not first < last:
        raise SetupError(
            f"fewer than two candles between {first} and {stop}",
            where="time range",
            remedy="choose a longer one",
        )
    seconds = [int(one.astype("datetime64[s]").astype(np.int64)) for one in (first, last)]
    return f"{seconds[0]}-{seconds[1]}"


def backtest(job: Job) -> results.BacktestResult:
    """Backtest the bundle with ``freqtrade backtesting``.

    Raises:
        BridgeError: files are missing, the settings do not fit the bundle, or freqtrade failed; with
            freqtrade's own words.
    """
    with _ready(job) as space:
        return backtested(space, partial(perform, job, space), job.datadir)


def backtested(space: Workspace, runs: Runner, datadir: Path) -> results.BacktestResult:
    """Run ``backtesting`` in a workspace and read the one result that it writes.

    Args:
        space: the user folder.
        runs: starts a sub-command with its own arguments.
        datadir: candles of the backtest.

    Raises:
        BridgeError: freqtrade failed, or wrote none or several results.
    """
    before = set(space.results.glob("*.zip"))
    finished = runs("backtesting", ["--cache", "none", "--export", "trades"])
    written = sorted(set(space.results.glob("*.zip")) - before)
    if len(written) != 1:
        raise BridgeError(
            f"freqtrade wrote {len(written)} results", where=str(finished.log), remedy="see its log"
        )
    return results.load(written[0], datadir=datadir)


def lookahead(job: Job, *, trades: int = 20, least: int = 10) -> bias.LookaheadReport:
    """Ask ``freqtrade lookahead-analysis`` whether a signal depends on later candles.

    Args:
        job: the run. Its analysis starts one backtest per trade and side: keep the time range short.
        trades: how many trades are replayed.
        least: with as few trades as this or fewer there is no verdict.

    Raises:
        BridgeError: as `backtest`, or there were too few trades.
    """
    with _ready(job) as space:
        return looked_ahead(space, partial(perform, job, space), trades=trades, least=least)


def looked_ahead(space: Workspace, runs: Runner, *, trades: int, least: int) -> bias.LookaheadReport:
    """Run ``lookahead-analysis`` in a workspace and read what it exports; arguments as `lookahead`."""
    export = space.folder / "lookahead.csv"
    export.unlink(missing_ok=True)
    more = ["--targeted-trade-amount", str(trades), "--minimum-trade-amount", str(least)]
    more += ["--lookahead-analysis-exportfilename", str(export)]
    return bias.read_lookahead(export, runs("lookahead-analysis", more).output)


def recursive(job: Job, *, startup: Iterable[int] = (199, 499)) -> bias.RecursiveReport:
    """Ask ``freqtrade recursive-analysis`` whether values depend on the number of start-up candles.

    Args:
        job: the run.
        startup: numbers to try, besides the strategy's own.

    Raises:
        BridgeError: as `backtest`.
    """
    with _ready(job) as space:
        return compared(partial(perform, job, space), startup)


def compared(runs: Runner, startup: Iterable[int]) -> bias.RecursiveReport:
    """What ``freqtrade recursive-analysis`` says of these numbers of start-up candles."""
    counts = [str(count) for count in startup]
    return bias.read_recursive(runs("recursive-analysis", ["--startup-candle", *counts]).output)


def command(job: Job, name: str, arguments: Sequence[str], *, module: str | None = None) -> Finished:
    """Any other sub-command of freqtrade in the job's workspace, e.g. ``hyperopt``.

    Args:
        job: the run; gives configuration, strategy, data folder and time range.
        name: the sub-command.
        arguments: its own further arguments.
        module: what Python runs instead of freqtrade.

    Raises:
        BridgeError: as `backtest`.
    """
    with _ready(job) as space:
        return perform(job, space, name, arguments, module=module)


@contextmanager
def _ready(job: Job) -> Iterator[Workspace]:
    """Check the files, write the workspace, and serve the exchange for as long as it is used."""
    spec = job.bundle.spec
    pairs = job.bundle.instruments if job.pairs is None else job.pairs
    start, end = job.span
    datafiles.require(job.datadir, pairs, spec.bar, spec.market, start=start, end=end)
    if job.settings.mode == "computed":
        datafiles.require(job.datadir, job.bundle.instruments, spec.bar, spec.market, funding=False)
    # backtests read candles from disk: the exchange has to know the markets only
    names = [Instrument.parse(name).id for name in job.bundle.instruments]
    with ReplayExchange(names, market=spec.market) as exchange:
        values = config.build(
            job.bundle,
            job.settings,
            exchange=exchange_config(exchange.url, spec.market),
            pairs=job.pairs,
            strategy=job.strategy,
            assume_tiers=True,
        )
        yield workspace(job.folder, values, strategy=job.strategy, source=job.source)


def _module(space: Workspace) -> str:
    """freqtrade itself, unless leverage tiers must be assumed."""
    assumed = json.loads(space.config.read_text("utf-8"))["bascule"].get("assumed_tiers")
    return "bascule.bridge.freqtrade.launch" if assumed else "freqtrade"


def perform(
    job: Task, space: Workspace, name: str, more: Sequence[str], *, module: str | None = None
) -> Finished:
    """One sub-command of freqtrade, with the arguments that all of them take.

    Raises:
        BridgeError: freqtrade failed; with its own words.
    """
    common = [
        *("--config", str(space.config)),
        *("--userdir", str(space.folder)),
        *("--datadir", str(job.datadir)),
        *("--strategy", space.strategy),
        *("--timerange", job.timerange),
    ]
    return freqtrade(
        name,
        [*common, *more],
        log=space.folder / "logs" / f"{name}.log",
        timeout=job.timeout,
        module=module or _module(space),
    )
