"""Look-ahead and recursive analysis of the whole book, for what freqtrade's own analyses cannot see.

freqtrade analyses one pair by itself, with a wallet of a milliard: limits of the book, gates, guard and hedge
leg decide otherwise there. Here the whole book is backtested again with the future withheld.

1. One backtest with all candles. Its orders are spread over time; `moments` picks some of their times.
2. For each moment *t* another one on copies of the files (`withhold`) that end there: no candle, coarse
   candle, funding or stored signal that was known later than *t*. The candle that opens at *t* keeps its
   open, high and low, by which orders fill, and gets another close and volume: who looks at them decides
   otherwise. One candle follows, because freqtrade enters nothing in the last one.
3. Both must have placed the same orders up to and including *t*: pair, side, tag, price, amount, leverage, to
   the last bit (`compare`).
4. The recursive analysis instead starts with more candles of history; all orders must be the same.

All backtests are run by one freqtrade process: ``python -m bascule.bridge.freqtrade.wholebook backtesting …``
replaces its one backtest. Price precision, which freqtrade reads off the candles of whole months, is that of
the first backtest.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.core import BridgeError, SetupError, Timeframe
from bascule.core.files import write_json

if TYPE_CHECKING:
    import pandas as pd

    from bascule.bridge.freqtrade.run import Job

_SELF = "bascule.bridge.freqtrade.wholebook"
_WHOLE = "whole"  # name of the backtest with all candles
_OTHER_VOLUME = 7.0  # the volume of a candle that nobody may look at yet is this many times the real one


@dataclass(frozen=True, order=True)
class Deed:
    """An order that was filled.

    Attributes:
        at: when, milliseconds since 1970.
        pair: freqtrade's spelling.
        opened: when its trade was opened, milliseconds.
        side: of the trade, long or short.
        entry: it opened or increased the trade.
        tag: why.
        price: in the quote currency.
        amount: base units.
        leverage: of the trade.
    """

    at: int
    pair: str
    opened: int
    side: str
    entry: bool
    tag: str
    price: float
    amount: float
    leverage: float

    def __str__(self) -> str:
        what = f"{self.side} {'entry' if self.entry else 'exit'} {self.tag}"
        when = np.datetime64(self.at, "ms")
        return f"{when} {self.pair} {what}: {self.amount:.10g} at {self.price:.10g}"


@dataclass(frozen=True)
class Difference:
    """An order that only one of two backtests placed.

    Attributes:
        run: the moment, or the number of start-up candles, of the other backtest.
        deed: the order.
        missing: it is missing in the other one; else it is there and nowhere else.
    """

    run: str
    deed: Deed
    missing: bool


@dataclass(frozen=True)
class BookReport:
    """Outcome of an analysis of the whole book.

    Attributes:
        runs: moments at which the future was withheld, or numbers of start-up candles.
        orders: how many orders were compared, over all runs.
        differences: in order of time.
    """

    runs: tuple[str, ...]
    orders: int
    differences: tuple[Difference, ...]

    @property
    def has_bias(self) -> bool:
        """True if any order depended on what was withheld."""
        return bool(self.differences)


def lookahead(job: Job, *, cuts: int = 4, arguments: Sequence[str] = ()) -> BookReport:
    """Whether any order of the whole book depends on what was not known yet.

    Args:
        job: the run; all its pairs trade together.
        cuts: at how many moments the future is withheld.
        arguments: further ones of ``freqtrade backtesting``, e.g. ``--enable-protections``.

    Raises:
        BridgeError: as `run.backtest`, or the backtest places too few orders for a verdict.
    """
    return analyse(job, cuts=cuts, more=(), arguments=arguments)[0]


def recursive(job: Job, *, more: Iterable[int] = (100,), arguments: Sequence[str] = ()) -> BookReport:
    """Whether any order depends on how much history the strategy starts with.

    Args:
        job: the run.
        more: start-up candles beyond the strategy's own.
        arguments: as for `lookahead`.

    Raises:
        BridgeError: as `run.backtest`, or the backtest places too few orders for a verdict.
    """
    return analyse(job, cuts=0, more=more, arguments=arguments)[1]


def analyse(
    job: Job, *, cuts: int = 4, more: Iterable[int] = (100,), arguments: Sequence[str] = ()
) -> tuple[BookReport, BookReport]:
    """Both analyses in one process; arguments, reports and errors as `lookahead` and `recursive`."""
    extra = sorted(set(more))
    if cuts < 0 or not all(one > 0 for one in extra) or not (cuts or extra):
        raise SetupError(
            f"{cuts} moments and {extra} further candles leave nothing to compare",
            where="cuts, more",
            remedy="choose e.g. 4 moments, or 100 further candles",
        )
    found = _replayed(job, {"cuts": cuts, "startup": extra}, arguments)
    whole = found.pop(_WHOLE)
    cut = {name: deeds for name, deeds in found.items() if name.isdigit()}
    longer = {name: deeds for name, deeds in found.items() if not name.isdigit()}
    if not whole or (cuts and not cut):
        raise SetupError(
            f"the backtest places {len(whole)} orders at too few times for a verdict",
            where=str(job.folder),
            remedy="choose a longer time range or more pairs",
        )
    return _report(whole, cut), _report(whole, longer)


def _replayed(job: Job, plan: dict[str, Any], arguments: Sequence[str]) -> dict[str, list[Deed]]:
    """The orders of all backtests of a plan, by name: the moment, or the start-up candles."""
    from bascule.bridge.freqtrade import run

    folder = job.folder / "wholebook"
    folder.mkdir(parents=True, exist_ok=True)
    asked, told = folder / "plan.json", folder / "orders.json"
    told.unlink(missing_ok=True)
    write_json(asked, plan)
    own = ["--cache", "none", "--export", "none", "--plan", str(asked), "--told", str(told)]
    finished = run.command(job, "backtesting", [*own, *arguments], module=_SELF)
    if not told.is_file():
        raise BridgeError("freqtrade came to no end", where=str(finished.log), remedy="see its log")
    found = json.loads(told.read_text("utf-8"))
    return {name: [Deed(**one) for one in deeds] for name, deeds in found.items()}


def _report(whole: Sequence[Deed], others: Mapping[str, Sequence[Deed]]) -> BookReport:
    compared = 0
    labels: list[str] = []
    differences: list[Difference] = []
    for name, deeds in others.items():
        until = int(name) if name.isdigit() else None
        compared += sum(until is None or one.at <= until for one in whole)
        labels.append(name if until is None else f"{np.datetime64(until, 'ms')}")
        differences += compare(whole, deeds, labels[-1], until=until)
    return BookReport(tuple(labels), compared, tuple(differences))


def compare(
    whole: Sequence[Deed], other: Sequence[Deed], run: str, *, until: int | None
) -> tuple[Difference, ...]:
    """The orders up to a time (milliseconds, included; None = all) that only one of two backtests placed."""
    first, then = (
        Counter(one for one in deeds if until is None or one.at <= until) for deeds in (whole, other)
    )
    found = [Difference(run, one, missing=True) for one in (first - then).elements()]
    found += [Difference(run, one, missing=False) for one in (then - first).elements()]
    return tuple(sorted(found, key=lambda one: (one.deed, not one.missing)))


def moments(deeds: Sequence[Deed], count: int) -> list[int]:
    """Times of orders, spread evenly; not the last time of all, when everything is closed."""
    times = sorted({one.at for one in deeds})[:-1]
    if not times or count < 1:
        return []
    places = np.unique(np.linspace(0, len(times) - 1, count + 2)[1:-1].round().astype(int))
    return [times[place] for place in places]


def deeds_of(trades: pd.DataFrame) -> list[Deed]:
    """The orders of freqtrade's trade list, by time."""
    found = [
        Deed(
            int(order["order_filled_timestamp"]),
            str(trade["pair"]),
            int(trade["open_timestamp"]),
            "short" if trade["is_short"] else "long",
            bool(order["ft_is_entry"]),
            str(order["ft_order_tag"] or ""),
            float(order["safe_price"]),
            float(order["amount"]),
            float(trade["leverage"]),
        )
        for trade in trades.to_dict("records")
        for order in trade["orders"]
        if order["order_filled_timestamp"]
    ]
    return sorted(found)


# -- withholding the future ------------------------------------------------------------------------------


def withhold(source: Path, target: Path, moment: int, bar: Timeframe) -> None:
    """Copy freqtrade's data folder without what is not known at a moment.

    Args:
        source: feather files as freqtrade names them, futures in their subfolder.
        target: takes the copies.
        moment: open time of a candle, milliseconds since 1970.
        bar: timeframe of the strategy.
    """
    import pandas as pd

    now = pd.Timestamp(moment, unit="ms", tz="UTC")
    for path in sorted(source.rglob("*.feather")):
        _, timeframe, *kind = path.stem.split("-")
        frame = pd.read_feather(path)
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if kind and kind != ["futures"]:
            # funding is paid, and marks are read, at the open
            known = frame[frame["date"] <= now]
        else:
            length = Timeframe.parse(timeframe)
            known = frame[frame["date"] + pd.Timedelta(length.seconds, "s") <= now]
            if length == bar:
                known = pd.concat([known, _unseen(frame[frame["date"] == now], bar)])
        known.reset_index(drop=True).to_feather(copy)


def _unseen(candle: pd.DataFrame, bar: Timeframe) -> pd.DataFrame:
    """The candle of the moment with another close and volume, and a quiet one behind it."""
    import pandas as pd

    if candle.empty:
        return candle
    changed = candle.copy()
    low, high, close = (candle[name].astype(np.float64) for name in ("low", "high", "close"))
    mirrored = low + high - close
    # the mirror of a close in the middle is itself
    other = mirrored.where((mirrored - close).abs() > 1e-6 * close, low)
    changed["close"] = other.astype(candle["close"].dtype)
    changed["volume"] = candle["volume"] * _OTHER_VOLUME
    after = changed.copy()
    after["date"] = (changed["date"] + pd.Timedelta(bar.seconds, "s")).astype(changed["date"].dtype)
    # wide enough for freqtrade to close at its open, rounded, what is held at the end
    for name, factor in {"open": 1.0, "high": 1.01, "low": 0.99, "close": 1.0}.items():
        after[name] = (changed["close"].astype(np.float64) * factor).astype(candle["close"].dtype)
    return pd.concat([changed, after])


def _withhold_signals(strategy: Any, moment: int) -> None:
    """Take the stored signals that were not known yet away from a strategy of ours."""
    bundles = [getattr(strategy, "_bundle", None), *(one.bundle for one in getattr(strategy, "_coarse", ()))]
    for bundle in bundles:
        if bundle is not None:
            frame = bundle.signals
            closes = (frame.time + frame.timeframe.delta).astype("datetime64[ms]").astype(np.int64)
            # where the property keeps what it has read
            vars(bundle)["signals"] = frame.rows(0, int(np.searchsorted(closes, moment, side="right")))


# -- inside freqtrade ------------------------------------------------------------------------------------


def _backtested(test: Any, precision: Mapping[str, Any] | None = None) -> list[Deed]:
    """The orders of one backtest of freqtrade's `Backtesting`."""
    data, timerange = test.load_bt_data()
    if precision is not None:
        test.price_pair_prec = dict(precision)
    (strategy,) = test.strategylist
    test.backtest_one_strategy(strategy, data, timerange)
    (content,) = test.all_bt_content.values()
    return deeds_of(content["results"])


def _replay(first: Any, again: Callable[..., Any], plan: Mapping[str, Any]) -> dict[str, list[Deed]]:
    """All backtests of a plan.

    Args:
        first: freqtrade's `Backtesting` of the whole run.
        again: makes one from a configuration and an exchange.
        plan: ``cuts``, a number, and ``startup``, further start-up candles.
    """
    given = deepcopy(first.config)
    bar = Timeframe.parse(first.timeframe)
    found = {_WHOLE: _backtested(first)}
    for moment in moments(found[_WHOLE], int(plan["cuts"])):
        with tempfile.TemporaryDirectory() as folder:
            withhold(Path(given["datadir"]), Path(folder), moment, bar)
            start = str(given["timerange"]).split("-")[0]
            last = moment // 1_000 + bar.seconds
            changes = {"datadir": Path(folder), "timerange": f"{start}-{last}"}
            test = again({**deepcopy(given), **changes}, first.exchange)
            _withhold_signals(test.strategylist[0], moment)
            found[str(moment)] = _backtested(test, first.price_pair_prec)
    for more in plan["startup"]:
        changes = {"startup_candle_count": first.required_startup + int(more)}
        test = again({**deepcopy(given), **changes}, first.exchange)
        found[f"{changes['startup_candle_count']} candles"] = _backtested(test, first.price_pair_prec)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """freqtrade's own main, whose backtest is the plan's backtests."""
    parser = argparse.ArgumentParser(prog=f"python -m {_SELF}", description=__doc__)
    parser.add_argument("--plan", type=Path, required=True, help="what to run (JSON)")
    parser.add_argument("--told", type=Path, required=True, help="where the orders go (JSON)")
    chosen, rest = parser.parse_known_args(arguments)
    from freqtrade.main import main as run
    from freqtrade.optimize import backtesting

    from bascule.bridge.freqtrade import launch

    plain = backtesting.Backtesting

    class WholeBook(backtesting.Backtesting):
        def start(self) -> None:
            found = _replay(self, plain, json.loads(chosen.plan.read_text("utf-8")))
            write_json(chosen.told, {name: [asdict(one) for one in deeds] for name, deeds in found.items()})

    launch.install()
    backtesting.Backtesting = WholeBook
    run(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
