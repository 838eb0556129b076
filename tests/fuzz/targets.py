"""What strangers can hand us, each with its promise: one clear error, or the right answer. Nothing else.

A target's ``one(data)`` turns bytes into an input (mostly a good one, damaged), hands it over, and raises
`Broken` where the promise does not hold. Hypothesis drives the targets in every test run; atheris drives them
by coverage for as long as one likes: ``python -m tests.fuzz expression --seconds 600``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bascule.core import BasculeError
from tests.fuzz.damage import Broken, damaged, pick, promised
from tests.fuzz.venues import Exchange, Venue

MOST = 4_000  # bytes of a text: what is longer is refused elsewhere, or only takes longer
LEAVES = 100  # bytes below this are leaves of a formula


class Expression:
    """Texts of the factor language: parsed, planned and computed, or refused."""

    def __init__(self) -> None:
        from bascule.expr import OPERATORS
        from bascule.factors import library
        from tests.markets import random_panel

        names = ("alpha158", "alpha101", "crypto")
        self.seeds = [f.text for name in names for f in library(name)][::5]
        self.operators = [
            (name, sum(f.init for f in fields(one)))
            for name, one in sorted(OPERATORS.items())
            if is_dataclass(one)
        ]
        self.panel = random_panel(0, 40, 3)

    def built(self, data: bytes) -> str:
        """A text from bytes that are read as a stack machine: leaves, and operators of those before them."""
        leaves = ["$close", "$volume", "$open", "1", "0", "2", "-1", "0.5", "3", "20", "1e9", "$nothing"]
        stack: list[str] = []
        for byte in data:
            if byte < LEAVES or not stack:
                stack.append(leaves[byte % len(leaves)])
                continue
            name, arity = self.operators[byte % len(self.operators)]
            taken = stack[-arity:]
            del stack[-arity:]
            stack.append(f"{name}({','.join(taken)})")
        return stack[-1] if stack else ""

    def one(self, data: bytes) -> None:
        from bascule import engine, expr

        seed, rest = pick([None, *self.seeds], data)
        whole = seed is None
        text = self.built(rest) if seed is None else damaged(seed.encode(), rest).decode("latin-1")
        with promised(BasculeError):
            node = expr.parse(text[:MOST])
            if expr.parse(str(node)) != node:
                raise Broken(f"{text!r} prints as {node}, which is another expression")
            plan = engine.compile([node])
            if whole:
                values = engine.evaluate(plan, self.panel)
                if values.shape != (1, *self.panel.shape):
                    raise Broken(f"{text!r} gives {values.shape}")


class Config:
    """A run's YAML file."""

    def __init__(self) -> None:
        from importlib.resources import files

        self.seed = (files("bascule.app") / "demo.yaml").read_bytes()
        self.folder = tempfile.TemporaryDirectory(prefix="bascule-fuzz-")
        self.path = Path(self.folder.name) / "run.yaml"

    def one(self, data: bytes) -> None:
        from bascule.app.config import load

        self.path.write_bytes(damaged(self.seed, data))
        with promised(BasculeError):
            load(self.path)


class Store:
    """A store's files: what is damaged is refused, or what is read is what was written."""

    def __init__(self) -> None:
        from bascule.data.store import Store as Opened
        from tests.data.candles import make

        self.folder = tempfile.TemporaryDirectory(prefix="bascule-fuzz-")
        self.place = Path(self.folder.name)
        store = Opened.create(self.place / "good")
        store.write(make(bars=60), "1h")
        store.build_provider("1h")
        self.truth = store.frame("1h")
        self.files = [
            p for p in sorted((self.place / "good").rglob("*")) if p.is_file() and not p.is_symlink()
        ]

    def one(self, data: bytes) -> None:
        from bascule.data.store import Store as Opened

        copy = self.place / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.place / "good", copy, symlinks=True)
        file, rest = pick(self.files, data)
        hit = copy / file.relative_to(self.place / "good")
        hit.write_bytes(damaged(file.read_bytes(), rest))
        with promised(BasculeError):
            store = Opened.open(copy)
            frame = store.frame("1h")
            if not frame.equals(self.truth):
                raise Broken(f"{hit.name} was damaged, and the store gave other candles")
            store.panel("1h")


class Bundle:
    """A signal bundle's files."""

    def __init__(self) -> None:
        from tests.bridge.research import build

        self.folder = tempfile.TemporaryDirectory(prefix="bascule-fuzz-")
        self.place = Path(self.folder.name)
        made = build(self.place / "made", "spot").bundle
        self.good = made.path
        self.truth = made.signals
        self.files = [p for p in sorted(self.good.rglob("*")) if p.is_file()]

    def one(self, data: bytes) -> None:
        from bascule.signals import Bundle as Opened

        copy = self.place / self.good.name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.good, copy)
        file, rest = pick(self.files, data)
        text = damaged(file.read_bytes(), rest)
        (copy / file.relative_to(self.good)).write_bytes(text)
        with promised(BasculeError):
            found = Opened.open(copy)
            same = np.array_equal(found.signals.alpha_rank, self.truth.alpha_rank, equal_nan=True)
            if text != file.read_bytes() and not same:
                raise Broken(f"{file.name} was damaged, and the bundle gave other signals")


FORCED = {
    "e": "forceOrder",
    "o": {"s": "BTCUSDT", "S": "SELL", "ap": "1.5", "p": "1.4", "q": "2", "T": 1_700_000_000_000},
}
BYBIT = {
    "topic": "allLiquidation.BTCUSDT",
    "data": [{"s": "BTCUSDT", "S": "Buy", "T": 1, "p": "1", "v": "2"}],
}
OKX = {
    "arg": {"channel": "liquidation-orders"},
    "data": [{"instId": "BTC-USDT-SWAP", "details": [{"side": "sell", "ts": "1", "bkPx": "1", "sz": "2"}]}],
}
FEED = b"<rss><item><title>a</title><pubDate>Mon, 06 Sep 2021 16:45:00 +0000</pubDate></item></rss>"
TABLE = b"time,price\n1700000000000,1.5\n1700000060000,1.6\n"


class Reply:
    """What exchanges and feeds answer, as text."""

    def one(self, data: bytes) -> None:
        import gzip
        import io
        import zipfile

        from bascule.data.sources import feeds, filearchive, headlines, retry

        which, rest = pick(["feed", "zip", "gzip", "table", "date", "binance", "bybit", "okx"], data)
        with promised(ValueError, pd.errors.ParserError, pd.errors.EmptyDataError):
            match which:
                case "feed":
                    headlines.read_feed(damaged(FEED, rest))
                case "zip":
                    packed = io.BytesIO()
                    with zipfile.ZipFile(packed, "w") as archive:
                        archive.writestr("a.csv", TABLE)
                    filearchive.unzipped(damaged(packed.getvalue(), rest))
                case "gzip":
                    filearchive.gunzipped(damaged(gzip.compress(TABLE, mtime=0), rest))
                case "table":
                    filearchive.table(damaged(TABLE, rest), ["time", "price"])
                case "date":
                    text = damaged(b"Mon, 06 Sep 2021 16:45:00 GMT", rest).decode("latin-1")
                    retry.retry_after(text, np.datetime64("2021-09-06T16:44", "ns"))
        if which in feeds.FEEDS:
            seed = {"binance": FORCED, "bybit": BYBIT, "okx": OKX}[which]
            text = damaged(json.dumps(seed).encode(), rest).decode("utf-8", "replace")
            with promised():  # a live feed drops what it cannot read, and goes on
                feeds.FEEDS[which].read(text, np.datetime64(0, "ns"))


TARGETS: dict[str, Callable[[], Any]] = {
    "expression": Expression,
    "config": Config,
    "store": Store,
    "bundle": Bundle,
    "reply": Reply,
    "venue": Venue,
    "exchange": Exchange,
}


def known(target: str) -> list[bytes]:
    """Inputs that coverage-guided runs kept for a target: each reaches code that the others do not."""
    text = (Path(__file__).parent / "corpus" / f"{target}.hex").read_text("utf-8")
    return [bytes.fromhex(line) for line in text.split()]
