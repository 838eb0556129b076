"""A freqtrade bot for weeks without a pause, in stepped time, while its exchange goes wrong: what grows?

    python benchmarks/soak.py --candles 4000                # so many hourly candles, or …
    python benchmarks/soak.py --hours 24                    # … so many hours of wall time, whichever ends first
    python benchmarks/soak.py --candles 4000 --strategy trivial     # freqtrade alone, to compare with

1. A bundle is made of 100 days of candles drawn from a seed. The replay exchange, a process of its own, holds as
   many candles more as are asked for, takes real orders, keeps exact books on disk, and carries out a fault plan:
   errors, late and doubled candles, lost answers, refused orders, and a short outage every week.
2. The bot is `bascule trade prepare --mode rehearse` as it comes: live mode, fake keys, stops on the exchange,
   REST server on, two looks an hour. It runs in the exchange's time (`bridge.freqtrade.stepped`): no time passes
   while it works, so that weeks take hours. ``--strategy trivial`` puts a strategy of a few lines in its place.
3. Every ``--every`` candles both processes are measured from outside (memory, file descriptors, threads, CPU
   time), the bot's REST server is asked for its health, and files are weighed.
4. In the bot a clock that nobody steps takes, for each candle, the time from the moment the candle has closed to
   the moment its signals are there: candles of all pairs fetched, signals computed. Wall time follows the load
   of the machine, CPU time does not.
5. At the end the bot is stopped as by Ctrl-C, and its database is held against the exchange's books: every order
   once on both sides, no unit missing.
6. Growth is a straight line through the samples of the second half, with an interval for its slope that allows
   for neighbouring samples being alike (`soakreport.slope`). The first half is warm-up: caches fill, arenas find their size.

Written to ``--out``: ``samples.csv``, ``latency.csv``, ``report.md``, ``soak.png``. Whatever ends the script ends the
bot and the exchange.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import platform
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# this folder has a module of the name of the package that is measured
sys.path[:] = [one for one in sys.path if Path(one or ".").resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

from benchmarks import soakreport  # noqa: E402
from benchmarks.soakmarket import HOUR, RESEARCH_DAYS, START, lay_out, plan, prepare_bot  # noqa: E402

PASSWORD = "passwordOfTheSoak"  # of a server on the loopback interface that ends with the script


# -- processes -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def process(line: list[str], log: Path, environment: dict[str, str], *, says: bool) -> Iterator[Any]:
    """A child that ends with the block, by signal first and by force after; ``says``: its output is read."""
    with log.open("ab") as stream:
        child = subprocess.Popen(
            line, env=environment, stdout=subprocess.PIPE if says else stream, stderr=stream, text=says
        )
    try:
        yield child
    finally:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if child.poll() is None:
                child.send_signal(name)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(60)
        if child.stdout is not None:
            child.stdout.close()


def ask(url: str, *, login: bool = False, timeout: float = 60.0) -> Any:
    request = Request(url)
    if login:
        request.add_header("Authorization", "Basic " + b64encode(f"bascule:{PASSWORD}".encode()).decode())
    with urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


@dataclass(frozen=True)
class Place:
    """What is measured."""

    exchange: str
    exchange_pid: int
    bot_pid: int
    bot: Path
    state: Path
    port: int

    def sample(self) -> dict[str, float]:
        """One line of the table."""
        found: dict[str, float] = {}
        for name, pid in (("bot", self.bot_pid), ("exchange", self.exchange_pid)):
            found |= {f"{name}_{what}": value for what, value in measured(pid).items()}
        found["database_mib"] = weight(self.bot.glob("trades-*.sqlite*"))
        found["logs_mib"] = weight((self.bot / "logs").glob("*"))
        found["state_mib"] = weight(self.state.parent.glob(self.state.name + "*"))
        found["intents"] = len(list((self.bot / "bascule" / "intents").glob("*.json")))
        found["temporary"] = len(list(self.bot.rglob(".tmp-*")))
        began = time.perf_counter()
        address = f"http://127.0.0.1:{self.port}/api/v1"
        trades = ask(f"{address}/trades?limit=1", login=True)
        found["rest_seconds"] = time.perf_counter() - began
        found["trades"] = trades["total_trades"]
        return found


def measured(pid: int) -> dict[str, float]:
    import psutil

    one = psutil.Process(pid)
    with one.oneshot():
        memory, cpu = one.memory_full_info(), one.cpu_times()
        return {
            "rss_mib": memory.rss / 2**20,
            "uss_mib": memory.uss / 2**20,
            "fds": one.num_fds(),
            "threads": one.num_threads(),
            "cpu_seconds": cpu.user + cpu.system,
        }


def weight(paths: Any) -> float:
    return float(sum(path.stat().st_size for path in paths if path.is_file())) / 2**20


# -- inside the bot ------------------------------------------------------------------------------------


def as_bot(latency: Path, arguments: list[str]) -> None:
    """freqtrade in stepped time, with a stop-watch from a candle's close to its signals."""
    from bascule.bridge.freqtrade import stepped
    from bascule.bridge.freqtrade.trading.source import Source

    closed: dict[int, tuple[float, float]] = {}  # hour → wall and CPU seconds when it began
    clock: list[Any] = []
    sleep, signals = stepped.ExchangeTime.sleep, Source.signals
    stream = latency.open("a", newline="", buffering=1)
    writer = csv.writer(stream)

    def timed_sleep(self: Any, seconds: float) -> None:
        clock[:] = [self]
        sleep(self, seconds)
        hour = int(self.seconds // 3_600)
        if hour not in closed:
            closed.clear()
            closed[hour] = (time.perf_counter(), time.process_time())

    def timed_signals(self: Any, *given: Any) -> Any:
        frame, fresh = signals(self, *given)
        if fresh and clock:
            close = int(frame.time[-1].astype("datetime64[s]").astype(np.int64)) // 3_600 + 1
            if close in closed:
                began, worked = closed[close]
                waited = clock[0].seconds - close * 3_600
                took, worked = time.perf_counter() - began, time.process_time() - worked
                writer.writerow([close, f"{took:.6f}", f"{waited:.3f}", f"{worked:.6f}"])
        return frame, fresh

    stepped.ExchangeTime.sleep = timed_sleep  # type: ignore[method-assign]
    Source.signals = timed_signals  # type: ignore[method-assign]
    stepped.main(arguments)


# -- the run -------------------------------------------------------------------------------------------


def follow(
    place: Place, bot: Any, begin: int, chosen: argparse.Namespace, out: Path
) -> tuple[int, float, str]:
    """Measure until the end; candles that passed, seconds that it took, and why it ended."""
    began, next_at, why = time.monotonic(), 0, "the candles asked for"
    with (out / "samples.csv").open("w", newline="") as stream:
        writer: csv.DictWriter[str] | None = None
        passed = 0
        while bot.poll() is None:
            wall = time.monotonic() - began
            with contextlib.suppress(OSError):  # the exchange is busy for once
                passed = int(ask(f"{place.exchange}/admin/clock")["time"] / 3_600_000 - begin)
            if passed >= next_at and passed >= chosen.warm:
                try:
                    row = {"candles": passed, "wall_seconds": wall, **place.sample()}
                except (OSError, ValueError) as error:
                    print(f"candle {passed}: not measured ({error})", flush=True)
                else:
                    if writer is None:
                        writer = csv.DictWriter(stream, list(row))
                        writer.writeheader()
                    writer.writerow({key: round(value, 4) for key, value in row.items()})
                    stream.flush()
                    print(
                        f"{passed:6d} candles, {wall:6.0f} s, bot {row['bot_uss_mib']:.1f} MiB "
                        f"{row['bot_fds']:.0f} fds, exchange {row['exchange_uss_mib']:.1f} MiB, "
                        f"{row['trades']:.0f} trades",
                        flush=True,
                    )
                next_at = passed + chosen.every
            if chosen.hours and wall > 3_600 * chosen.hours:
                why = "the hours asked for"
                bot.send_signal(signal.SIGINT)
                bot.wait(120)
                break
            time.sleep(0.5)
    return passed, time.monotonic() - began, why


def reconciled(url: str, folder: Path) -> dict[str, Any]:
    """The bot's database against the exchange's books."""
    from bascule.bridge.exchange.orders import OPEN_STATES
    from bascule.bridge.freqtrade import livecheck

    theirs = ask(f"{url}/admin/orders")
    (database,) = folder.glob("trades-*.sqlite")
    table = livecheck.read_orders(database)
    ours = table["order_id"].astype(str).tolist()
    numbers = {str(order["id"]) for order in theirs}
    still = {str(order["id"]) for order in theirs if order["status"] in OPEN_STATES}
    books = ask(f"{url}/admin/reconcile")
    log = (folder / "bot.log").read_text("utf-8", errors="replace")
    return {
        "orders": len(theirs),
        "orders known to one side only": len(numbers ^ set(ours)),
        "orders in the database twice": len(ours) - len(set(ours)),
        "orders that only one side holds for open": len(
            still ^ set(table.loc[table["open"], "order_id"].astype(str))
        ),
        "differences of the books": len(books["differences"]),
        "entries of the ledger": books["entries"],
        "trades": len(livecheck.read_trades(database)),
        "faults that struck": sum(one["struck"] for one in ask(f"{url}/admin/faults")),
        "fatal lines in the log": sum(log.count(word) for word in ("CRITICAL", "Fatal exception")),
    }


def run(chosen: argparse.Namespace) -> int:
    """The whole; 0 if the books agree."""
    import yaml

    from bascule.bridge.exchange import Keys
    from bascule.bridge.freqtrade import credentials

    out: Path = chosen.out.resolve()
    work = out / "work"
    work.mkdir(parents=True)
    print(f"{platform.python_version()}, {os.cpu_count()} cores; research and candles …", flush=True)
    store, bundles = lay_out(work, chosen.candles + 48, chosen.seed)
    begin = START + np.timedelta64(24 * (RESEARCH_DAYS - 10), "h") + np.timedelta64(2, "s")
    end = begin + chosen.candles * HOUR
    faults = {"seed": 0, "faults": []} if chosen.calm else plan(begin, end, chosen.seed)
    (work / "faults.yaml").write_text(yaml.safe_dump(faults), "utf-8")
    keys = Keys()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        credentials.KEY: keys.key,
        credentials.SECRET: keys.secret,
        credentials.PASSWORD: PASSWORD,
        credentials.JWT: "jwtSecretOfTheSoakJwtSecretOfTheSoak",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    line = [sys.executable, "-m", "bascule.bridge.exchange", "--store", str(store), "--clock", "step"]
    line += ["--start", str(begin.astype("datetime64[s]")), "--balance", "USDT=10000"]
    line += ["--faults", str(work / "faults.yaml"), "--state", str(work / "exchange.sqlite")]
    with process(line, work / "exchange.log", environment, says=True) as exchange:
        url = exchange.stdout.readline().strip()
        if not url:
            print((work / "exchange.log").read_text("utf-8"))
            return 1
        folder = work / "bot"
        port = prepare_bot(bundles, folder, url, chosen.strategy)
        line = [sys.executable, str(Path(__file__).resolve()), "--as-bot", str(out / "latency.csv"), url]
        line += [
            "--until",
            str(end.astype("datetime64[s]")),
            "trade",
            "--config",
            str(folder / "config.json"),
        ]
        line += ["--userdir", str(folder), "--strategy", "BasculeStrategy"]
        with process(line, folder / "bot.log", environment, says=False) as bot:
            place = Place(url, exchange.pid, bot.pid, folder, work / "exchange.sqlite", port)
            hours = int(begin.astype("datetime64[h]").astype(np.int64))
            passed, seconds, why = follow(place, bot, hours, chosen, out)
            bot.wait(120)
        result = reconciled(url, folder)
    facts = {
        "strategy": chosen.strategy,
        "candles": passed,
        "weeks of candles": round(passed / 168, 1),
        "wall hours": round(seconds / 3_600, 2),
        "ended by": why if bot.returncode in (0, 130) else f"status {bot.returncode}",
        "load": " ".join(f"{one:.1f}" for one in os.getloadavg()),
        "versions": ", ".join(f"{n} {version(n)}" for n in ("freqtrade", "ccxt", "numpy", "pandas")),
        **result,
    }
    (out / "facts.json").write_text(json.dumps(facts, indent=2), "utf-8")
    soakreport.report(out)
    bad = [n for n in result if "only" in n or "twice" in n or "differences" in n or "fatal" in n]
    return int(any(result[name] for name in bad) or bot.returncode not in (0, 130))


def main() -> int:
    if sys.argv[1:2] == ["--as-bot"]:
        as_bot(Path(sys.argv[2]), sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--candles", type=int, default=0, help="hourly candles; default 6,000 an hour asked for"
    )
    parser.add_argument("--hours", type=float, default=0.0, help="most hours of wall time; default no limit")
    parser.add_argument("--every", type=int, default=24, help="candles between two samples")
    parser.add_argument("--warm", type=int, default=2, help="candles before the first sample")
    parser.add_argument("--strategy", choices=("bascule", "trivial"), default="bascule")
    parser.add_argument("--calm", action="store_true", help="without the fault plan")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("soak"), help="a new folder")
    parser.add_argument("--report", type=Path, help="only write the report of such a folder again")
    chosen = parser.parse_args()
    if chosen.report:
        soakreport.report(chosen.report)
        return 0
    chosen.candles = chosen.candles or int(6_000 * chosen.hours) or 4_000
    # both end as Ctrl-C does; children of a shell's background jobs would ignore it else
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)
    try:
        return run(chosen)
    except KeyboardInterrupt:
        print("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
