"""What the replay exchange serves: requests per second, and websocket clients held.

    python benchmarks/exchange.py                       # both sections
    python benchmarks/exchange.py --section rest --seconds 5
    python benchmarks/exchange.py --section sockets --clients 100,1000,2000

1. The exchange runs in this process, on a stepped clock, with 100 spot pairs of hourly candles. The clients run
   in another process (aiohttp, connections kept alive), so that the CPU seconds of this one are the exchange's.
2. REST: 16 clients ask the same endpoint as fast as they are answered. Told are requests per second of wall
   time, and the exchange's CPU time per request; the machine's other work lowers the first, not the second.
   Orders are limit orders, signed, checked, and on disk before they are answered.
3. Websockets: so many clients follow one kline stream each (100 different ones). The clock is moved on, and the
   time is taken until every client has its message. "Held" are those that got every one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import multiprocessing
import platform
import resource
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bascule.bridge.exchange import AccountSettings, Keys, ReplayExchange, SteppedClock
from bascule.bridge.exchange.service import Asked
from bascule.core import Panel, Timeframe

PAIRS, HOURS, WORKERS, STEPS = 100, 24 * 90, 16, 10
START = np.datetime64("2024-01-01T00:00", "ns")
ENDPOINTS = {
    "ping": "/api/v3/ping",
    "depth, 20 levels": "/api/v3/depth?symbol={symbol}&limit=20",
    "klines, 500": "/api/v3/klines?symbol={symbol}&interval=1h&limit=500",
    "klines, 1,000": "/api/v3/klines?symbol={symbol}&interval=1h&limit=1000",
    "ticker/24hr, all pairs": "/api/v3/ticker/24hr",
}
ORDER = "limit order, on disk"


def panel() -> Panel:
    rng = np.random.default_rng(1)
    shape = (HOURS, PAIRS)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=0))
    opens = np.vstack([np.full((1, PAIRS), 100.0), close[:-1]])
    raw = {
        "open": opens,
        "high": np.maximum(opens, close) * 1.002,
        "low": np.minimum(opens, close) * 0.998,
        "close": close,
        "volume": rng.lognormal(9, 1, shape),
    }
    names = tuple(f"C{n:03d}_USDT" for n in range(PAIRS))
    fields = {name: values.astype(np.float32) for name, values in raw.items()}
    time_axis = Timeframe(3_600).axis(START, START + np.timedelta64(HOURS - 1, "h"))
    return Panel(Timeframe(3_600), time_axis, names, fields, np.full(PAIRS, START))


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# -- the other process -------------------------------------------------------------------------------


def signed(number: int, keys: Keys) -> str:
    query = f"symbol=C{number % PAIRS:03d}USDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=10"
    query += f"&newClientOrderId=b{number}&timestamp=1"
    return f"{query}&signature={hmac.new(keys.secret.encode(), query.encode(), hashlib.sha256).hexdigest()}"


async def ask(url: str, name: str, seconds: float, first: int) -> int:
    import aiohttp

    keys, end, numbers = Keys(), time.perf_counter() + seconds, iter(range(first, first + 10**9))
    done = 0

    async def worker(session: Any) -> None:
        nonlocal done
        while time.perf_counter() < end:
            number = next(numbers)
            if name == ORDER:
                call = session.post(
                    url + "/api/v3/order", data=signed(number, keys), headers={"X-MBX-APIKEY": keys.key}
                )
            else:
                call = session.get(url + ENDPOINTS[name].format(symbol=f"C{number % PAIRS:03d}USDT"))
            async with call as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise SystemExit(f"{name}: {answer.status} {body[:200]!r}")
            done += 1

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(worker(session) for _ in range(WORKERS)))
    return done


async def follow(url: str, clients: int, pipe: Any) -> None:
    """Hold clients; after each step tell when the last message came, and to how many."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        sockets = []
        for begin in range(0, clients, 50):
            many = range(begin, min(begin + 50, clients))
            address = url.replace("http", "ws") + "/ws/c{:03d}usdt@kline_1h"
            sockets += await asyncio.gather(
                *(session.ws_connect(address.format(n % PAIRS), autoping=True) for n in many)
            )
        await asyncio.gather(*(socket.receive(timeout=60) for socket in sockets))
        pipe.send(len(sockets))
        while await asyncio.to_thread(pipe.recv):
            found = await asyncio.gather(*(s.receive(timeout=60) for s in sockets), return_exceptions=True)
            got = sum(getattr(one, "type", None) == aiohttp.WSMsgType.TEXT for one in found)
            pipe.send((time.time(), got))
        await asyncio.gather(*(socket.close() for socket in sockets))


def client(pipe: Any) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    while (task := pipe.recv()) is not None:
        kind, *arguments = task
        if kind == "ask":
            pipe.send(asyncio.run(ask(*arguments)))
        else:
            asyncio.run(follow(*arguments, pipe))


# -- this process ------------------------------------------------------------------------------------


def rest(exchange: ReplayExchange, pipe: Any, seconds: float) -> list[dict[str, Any]]:
    rows = []
    for place, name in enumerate([*ENDPOINTS, ORDER]):
        if name == ORDER:
            seconds = min(seconds, 2.0)  # every order stays open, and the books grow
        for pair in range(
            PAIRS if name.startswith("klines") else 0
        ):  # a bot asks for all its pairs again and again
            path, _, query = ENDPOINTS[name].format(symbol=f"C{pair:03d}USDT").partition("?")
            exchange.service.answer(Asked("GET", path, query))
        pipe.send(("ask", exchange.url, name, 0.3, place * 10**6))
        pipe.recv()
        wall, cpu = time.perf_counter(), cpu_seconds()
        pipe.send(("ask", exchange.url, name, seconds, place * 10**6 + 500_000))
        done = pipe.recv()
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        rows.append({"endpoint": name, "requests/s": done / wall, "CPU ms": 1_000 * cpu / done})
        print(
            f"{name:26s} {done / wall:8,.0f} requests/s   {1_000 * cpu / done:7.3f} ms CPU each", flush=True
        )
    return rows


def sockets(exchange: ReplayExchange, pipe: Any, counts: list[int]) -> list[dict[str, Any]]:
    rows = []
    for count in counts:
        pipe.send(("follow", exchange.url, count))
        opened = pipe.recv()
        waits, held = [], opened
        cpu = cpu_seconds()
        for _ in range(STEPS):
            pipe.send(True)
            time.sleep(0.05)
            began = time.time()
            exchange.step(300)
            last, got = pipe.recv()
            waits.append(last - began)
            held = min(held, got)
        cpu = (cpu_seconds() - cpu) / STEPS
        pipe.send(False)
        row = {"clients": count, "held": held, "median s": median(waits), "most s": max(waits), "CPU s": cpu}
        rows.append(row)
        print(
            f"{count:6,d} clients, {held:6,d} held: all told after {median(waits):.3f} s "
            f"(most {max(waits):.3f}), {cpu:.3f} s CPU a round",
            flush=True,
        )
        time.sleep(1)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--section", choices=("rest", "sockets"), default=None)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", default="100,500,1000,2000")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    chosen = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    versions = {name: version(name) for name in ("aiohttp", "numpy")}
    print(f"Python {platform.python_version()}, {versions}, {platform.processor() or platform.machine()}")
    here, there = multiprocessing.get_context("spawn").Pipe()
    other = multiprocessing.get_context("spawn").Process(target=client, args=(there,), daemon=True)
    other.start()
    found: dict[str, Any] = {}
    rich = AccountSettings(balances={"USDT": 10**12}, order_limit=10**9)
    with (
        tempfile.TemporaryDirectory() as folder,
        ReplayExchange(
            panel(),
            clock=SteppedClock(START + np.timedelta64(60, "D")),
            path="walk",
            account=rich,
            keys=Keys(check_time=False),
            state=Path(folder) / "state.sqlite",
        ) as exchange,
    ):
        if chosen.section in (None, "sockets"):
            found["sockets"] = sockets(exchange, here, [int(n) for n in chosen.clients.split(",")])
        if chosen.section in (None, "rest"):
            found["rest"] = rest(exchange, here, chosen.seconds)
    here.send(None)
    other.join(10)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
