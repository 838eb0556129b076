"""``bascule exchange …`` and the clocks behind it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bascule.app.exchangecli import exchange_app
from bascule.bridge.exchange import AcceleratedClock, SteppedClock, clock_of, wall_clock
from bascule.bridge.exchange.launch import balances_of, source_of
from bascule.core import BridgeError, ConfigError


@contextmanager
def served(*arguments: str) -> Iterator[str]:
    """A serving process; yields its URL and stops it."""
    command = [sys.executable, "-m", "bascule.app", "exchange", "serve", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), process.stderr.read()
            yield url
        finally:
            process.terminate()
            assert process.wait(20) == 0


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(exchange_app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_serve_step_books_config(tmp_path: Path) -> None:
    plan, state = tmp_path / "plan.yaml", tmp_path / "state.sqlite"
    plan.write_text("faults: [{kind: outage, start: 2024-03-02}]\n")
    arguments = ("--instrument", "BTC/USDT", "--clock", "step", "--start", "2024-03-01T10:00")
    more = ("--balance", "USDT=500.5", "--balance", "BTC=1", "--faults", str(plan), "--state", str(state))
    with served(*arguments, *more) as url:
        assert "2024-03-01T11:00" in run("step", url, "3600")
        found = json.loads(run("books", url))
        assert found["differences"] == []
        owned = {b["asset"]: b["amount"] for b in found["balances"] if b["account"] == "free"}
        assert owned == {"BTC": "1", "USDT": "500.5"}
        block = json.loads(run("config", url, "--live", "--websockets"))["exchange"]
        assert (
            block["enable_ws"]
            and block["key"]
            and block["ccxt_config"]["urls"]["api"]["public"].startswith(url)
        )
        bybit = json.loads(run("config", url, "--venue", "bybit", "--market", "futures"))["exchange"]
        assert bybit["name"] == "bybit" and "key" not in bybit
        run("config", url, "--venue", "nyse", code=2)
    assert state.exists()
    with pytest.raises(BridgeError, match="no replay exchange answers"):
        CliRunner().invoke(exchange_app, ["books", url], catch_exceptions=False)


def test_clocks() -> None:
    assert clock_of("real") is wall_clock
    fast = clock_of("x3600", "2024-03-01")
    assert isinstance(fast, AcceleratedClock)
    time.sleep(0.05)
    gone = (fast() - np.datetime64("2024-03-01")) / np.timedelta64(1, "s")
    assert 3_600 * 0.05 <= gone < 3_600 * 20
    stepped = clock_of("step", "2024-03-01")
    assert isinstance(stepped, SteppedClock) and stepped() == stepped()
    stepped.advance(0.5)
    assert stepped() == np.datetime64("2024-03-01T00:00:00.5")
    stepped.set("2024-03-02")
    for wrong in (
        lambda: stepped.set("2024-03-01"),
        lambda: stepped.advance(-1),
        lambda: stepped.advance(1e11),
    ):
        with pytest.raises(ConfigError, match="remedy"):
            wrong()
        assert stepped() == np.datetime64("2024-03-02")


@pytest.mark.parametrize(
    ("mode", "start"), [("fast", None), ("x0", None), ("real", "2024-03-01"), ("x", None)]
)
def test_wrong_clocks(mode: str, start: str | None) -> None:
    with pytest.raises(ConfigError, match="clock"):
        clock_of(mode, start)


@pytest.mark.parametrize("text", ["USDT", "USDT=", "USDT=-1", "USDT=NaN", "=5", "US DT=5"])
def test_wrong_balances(text: str) -> None:
    with pytest.raises(ConfigError, match="no balance"):
        balances_of([text])


def test_a_store_or_instruments() -> None:
    with pytest.raises(ConfigError, match="one of them"):
        source_of(None, None, "1h", "spot")
    with pytest.raises(ConfigError, match="one of them"):
        source_of(Path("x"), ["BTC/USDT"], "1h", "spot")
