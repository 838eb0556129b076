"""What the dashboard costs: time of its pages, memory, and what a hundred viewers take from a bot.

    python benchmarks/web.py --home FOLDER           # a folder with runs/<name> that is finished (make demo)
    python benchmarks/web.py --home FOLDER --viewers 100 --rounds 6 --seconds 20

1. The dashboard runs as users start it (`bascule web serve`), in a process of its own, on loopback, on a state
   file of its own. A viewer is a session with an open event stream that loads a page, with its scripts on the
   first visit, every ten seconds.
2. The bot is a process that computes the signals of the newest candle from the run's bundle again and again
   (`Bundle.live`, the path that a live bot takes at each candle).
3. Rounds with and without viewers alternate, so that other work on the machine hits both; the delay is the
   ratio of the medians. Without viewers the server runs, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx
import psutil
import yaml

PAGES = ("/", "/factors", "/searches", "/models", "/runs", "/portfolio", "/risk", "/bots", "/alerts")
PASSWORD = "only for this benchmark"

BOT = """
import json, sys, time
from pathlib import Path
from bascule import signals
from bascule.data.store import Store
from bascule.app.web.runs import Runs
run = Runs(Path(sys.argv[1])).get(sys.argv[2])
bundle = signals.Bundle.open(run.bundle)
panel = Store.open(run.work("data", "store")).panel(bundle.spec.bar)
end = len(panel.time)
window = panel.between(panel.time[max(0, end - bundle.lookback - 3)], None)
bundle.live(window)
for line in sys.stdin:
    until, found = time.monotonic() + float(line), []
    while time.monotonic() < until:
        began = time.perf_counter()
        bundle.live(window)
        found.append(time.perf_counter() - began)
        time.sleep(0.05)
    print(json.dumps(found), flush=True)
"""


async def login(client: httpx.AsyncClient) -> None:
    form = (await client.get("/login")).text
    secret = re.search(r'name="secret" value="([^"]+)"', form)[1]
    data = {"name": "viewer", "password": PASSWORD, "secret": secret}
    answer = await client.post("/login", data=data)
    assert answer.status_code == 303, answer.status_code


async def viewer(client: httpx.AsyncClient, number: int, until: float, seen: list) -> None:
    """An open event stream, and a page every ten seconds."""

    async def listen() -> None:
        async with client.stream("GET", "/api/events") as stream:
            async for _ in stream.aiter_bytes():
                pass

    listening = asyncio.create_task(listen())
    await asyncio.sleep(10.0 * (number % 100) / 100)
    turn = number
    while time.monotonic() < until:
        path = PAGES[turn % len(PAGES)]
        turn += 1
        began = time.perf_counter()
        answer = await client.get(path)
        seen.append(time.perf_counter() - began)
        assert answer.status_code == 200, (path, answer.status_code)
        if path == "/factors":
            await client.get("/api/factors")
        await asyncio.sleep(max(0.0, min(10.0, until - time.monotonic())))
    listening.cancel()


async def crowd(base: str, cookies: dict, count: int, seconds: float) -> list[float]:
    seen: list[float] = []
    until = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=count)
    async with httpx.AsyncClient(base_url=base, cookies=cookies, timeout=60, limits=limits) as client:
        await asyncio.gather(*(viewer(client, k, until, seen) for k in range(count)))
    return seen


def watch(base: str, cookies: dict, count: int, seconds: float) -> None:
    """The viewers' process, out of the bot's way: real viewers sit at other machines."""
    os.nice(19)
    print(json.dumps(asyncio.run(crowd(base, cookies, count, seconds))))


def started(command: list[str], base: str) -> subprocess.Popen:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(300):
        try:
            httpx.get(f"{base}/healthz")
            return process
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit("the dashboard does not start")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=False, default=Path())
    parser.add_argument("--run", default="demo")
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--port", type=int, default=8059)
    parser.add_argument("--watch", help="internal: cookies of the viewers' process")
    given = parser.parse_args()
    base = f"http://127.0.0.1:{given.port}"
    if given.watch:
        return watch(base, json.loads(given.watch), given.viewers, given.seconds)
    python = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "web.yaml"
        settings = {"home": str(given.home.resolve()), "state": f"{folder}/web.sqlite", "port": given.port}
        config.write_text(yaml.safe_dump(settings))
        tool = [python, "-m", "bascule.app", "web"]
        add = [*tool, "user", "add", "viewer", "--password-stdin", "--config", str(config)]
        subprocess.run(add, input=PASSWORD, text=True, check=True, stdout=subprocess.DEVNULL)
        server = started([*tool, "serve", "--config", str(config)], base)
        home = str((given.home / "runs").resolve())
        bot = subprocess.Popen(
            [python, "-c", BOT, home, given.run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            measure(given, base, server, bot)
        finally:
            bot.kill()
            server.terminate()


def measure(given: argparse.Namespace, base: str, server: subprocess.Popen, bot: subprocess.Popen) -> None:
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )

    async def session() -> dict:
        async with httpx.AsyncClient(base_url=base, timeout=30) as client:
            await login(client)
            for path in (*PAGES, "/api/factors"):  # the first reading of each file
                await client.get(path)
            for path in (*PAGES, "/api/factors"):
                times = []
                for _ in range(9):
                    began = time.perf_counter()
                    answer = await client.get(path)
                    times.append(time.perf_counter() - began)
                print(f"{path:14} {1000 * median(times):7.1f} ms {len(answer.content) / 1024:8.0f} KiB")
            return dict(client.cookies)

    cookies = asyncio.run(session())
    process = psutil.Process(server.pid)
    print(f"memory of the server {process.memory_info().rss / 2**20:.0f} MiB")
    found: dict[bool, list[float]] = {False: [], True: []}
    pages, spent = [], []
    for number in range(2 * given.rounds):
        crowded = number % 2 == 1
        command = [sys.executable, __file__, "--port", str(given.port), "--viewers", str(given.viewers)]
        command += ["--seconds", str(given.seconds + 4), "--watch", json.dumps(cookies)]
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True) if crowded else None
        if watching:
            time.sleep(4)  # until all have connected
        before = sum(process.cpu_times()[:2])
        bot.stdin.write(f"{given.seconds}\n")
        bot.stdin.flush()
        found[crowded] += json.loads(bot.stdout.readline())
        if watching:
            spent.append(sum(process.cpu_times()[:2]) - before)
            pages += json.loads(watching.communicate()[0])
    alone, along = (median(found[k]) for k in (False, True))
    print(
        f"signals of one candle: alone {1000 * alone:.1f} ms ({len(found[False])} times), with {given.viewers} "
        f"viewers {1000 * along:.1f} ms ({len(found[True])}): {100 * (along / alone - 1):+.1f} %"
    )
    print(
        f"pages to viewers: median {1000 * median(pages):.0f} ms of {len(pages)}; the server took "
        f"{100 * median(spent) / given.seconds:.0f} % of a core; memory {process.memory_info().rss / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    main()
