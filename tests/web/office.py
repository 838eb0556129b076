"""A workspace as commands leave it, a bot that answers as freqtrade does, and the dashboard over both."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import yaml
from argon2 import PasswordHasher
from fastapi import FastAPI, HTTPException, Request
from rich.console import Console

from bascule.app.web.services import Services
from bascule.app.web.settings import BotSettings, WebSettings
from bascule.app.web.watch import Alert, Deed, Series
from bascule.core import files
from tests.app.runs import SMALL, write_run

PASSWORD = "correct horse battery"
BOT_PASSWORD = "secret-of-the-bot"
EVIL = "<script>window.hit=1</script><img src=x onerror=window.hit=1>"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Monitor:
    """A monitor whose alerts a test adds."""

    def __init__(self) -> None:
        self.found: list[Alert] = []

    def alert(self, text: str, level: str = "warning", open_: bool = True) -> None:
        number = len(self.found) + 1
        self.found.append(Alert(number, 1_800_000_000.0 + number, level, "late candles", text, open_))

    def alerts(self, count: int) -> Sequence[Alert]:
        return self.found[::-1][:count]

    def deeds(self, count: int) -> Sequence[Deed]:
        return [Deed(1, 1_800_000_000.0, "reduce", "main", f"drift {EVIL}", "done")][:count]

    def series(self, points: int) -> Sequence[Series]:
        times = tuple(1_800_000_000.0 + 3600.0 * k for k in range(24))
        return [Series("rank IC, 30 days", times, tuple(0.03 + 0.001 * k for k in range(24)), 0.01, 0.06)]


# -- a bot ------------------------------------------------------------------------------------------------


def bot_app() -> FastAPI:
    """The part of freqtrade's REST API that the dashboard asks, with one open trade."""
    app = FastAPI()
    app.state.state, app.state.asked = "running", []

    def known(request: Request) -> None:
        import base64

        expected = "Basic " + base64.b64encode(f"freqtrader:{BOT_PASSWORD}".encode()).decode()
        if request.headers.get("authorization") != expected:
            raise HTTPException(401, "Unauthorized")
        app.state.asked.append(request.url.path)

    trade = {
        "pair": "BTC/USDT", "is_short": False, "open_date": "2026-11-22 10:00:00", "open_rate": 90000.0,
        "current_rate": 91000.0, "stake_amount": 1000.0, "profit_ratio": 0.0111,
    }  # fmt: skip
    answers: dict[str, Any] = {
        "profit": {
            "profit_all_coin": 123.4, "profit_all_ratio": 0.0123, "max_drawdown": 0.05,
            "closed_trade_count": 7, "winrate": 0.57,
        },
        "balance": {"total": 10123.4},
        "status": [trade],
        "daily": {
            "data": [
                {"date": f"2026-11-{day:02d}", "abs_profit": float(day % 5 - 2) * 10}
                for day in range(22, 8, -1)
            ]
        },
        "logs": {
            "logs": [
                ["2026-11-22 10:00:00", 1.0, "freqtrade.worker", "INFO", "Bot heartbeat"],
                ["2026-11-22 10:00:05", 2.0, "freqtrade.exchange", "WARNING", f"odd pair {EVIL}"],
            ]
        },
    }  # fmt: skip

    @app.get("/api/v1/show_config")
    def show_config(request: Request) -> Any:
        known(request)
        return {
            "state": app.state.state, "strategy": "BasculeStrategy", "exchange": "binance", "dry_run": True,
            "stake_currency": "USDT", "trading_mode": "spot", "timeframe": "1h",
        }  # fmt: skip

    @app.get("/api/v1/{what}")
    def tell(request: Request, what: str) -> Any:
        known(request)
        return answers[what]

    @app.post("/api/v1/{what}")
    def do(request: Request, what: str) -> Any:
        known(request)
        app.state.state = {"start": "running", "stop": "stopped", "pause": "paused"}.get(
            what, app.state.state
        )
        return {"status": f"{what} done"}

    return app


# -- a workspace -------------------------------------------------------------------------------------------


def workspace(home: Path) -> None:
    """A run (to its signals for real, its backtest written by hand), two searches, a store of models."""
    run = real_run(home)
    backtest(run)
    search(home / "mined" / "random-0", done=True)
    search(home / "mined" / "evolution-1", done=False)
    champions(run / "champions")
    leaderboard(run / "compare" / "0123456789abcdef")
    evil = {"name": "evil", "text": "$close/$open", "note": EVIL, "source": EVIL}
    (home / "own.yaml").write_text(yaml.safe_dump({"factors": [evil, *SMALL["factors"]]}))


def real_run(home: Path) -> Path:
    """The run ``small`` up to its signal bundle; returns its folder."""
    from bascule.app.config import load
    from bascule.app.run import Run
    from bascule.app.spine import stages
    from bascule.app.stage import Runner

    folder = home / "runs" / "small"
    source = {"kind": "synthetic", "synthetic": {"seed": 3, "instruments": 12, "days": 75}}
    universe = {"top": 10, "min_age_days": 3, "volume_days": 3}
    config = load(write_run(home, folder=str(folder), data={"source": source}, universe=universe))
    run = Run(config, config.recipe(), Console(quiet=True))
    run.runner = Runner(config.home, stages(config)[:4])
    run.runner.run(run)
    (folder / "report.html").write_text(
        f"<!doctype html><title>report</title><script>document.title=1</script>{EVIL}"
    )
    return folder


def backtest(run: Path) -> None:
    """What the stages backtest and report leave."""
    folder = run / "work" / "backtest-00000000"
    result = folder / "user_data" / "backtest_results" / "backtest-result-1.zip"
    result.parent.mkdir(parents=True)
    trade = {
        "pair": f"SYN01/USDT{EVIL}", "is_short": False, "open_date": "2022-02-21 01:00:00+00:00",
        "close_date": "2022-02-21 09:00:00+00:00", "open_rate": 1.0, "close_rate": 1.1, "stake_amount": 100.0,
        "leverage": 1.0, "profit_ratio": 0.09, "profit_abs": 9.0, "exit_reason": "alpha_decay",
        "enter_tag": "alpha_long",
    }  # fmt: skip
    with zipfile.ZipFile(result, "w") as packed:
        packed.writestr("backtest-result-1.json", json.dumps({"strategy": {"S": {"trades": [trade] * 25}}}))
    index = pd.date_range("2022-02-20", periods=240, freq="h", tz="UTC")
    curve = pd.Series(10_000 * np.cumprod(1 + 0.002 * np.sin(np.arange(240))), index, name="equity")
    curve.to_frame().to_parquet(result.with_suffix(".equity.parquet"))
    others = {"equal_weight": 1 + 0.01 * np.arange(240) / 240, "leader": curve / 1.1e4}
    pd.DataFrame({**others, "portfolio_risk": 0.5}, index).to_parquet(folder / "curves.parquet")
    figures = {
        "total": 0.123, "cagr": 0.5, "sharpe": 1.5, "sortino": 2.0, "calmar": 3.0, "volatility": 0.3,
        "max_drawdown": 0.11,
    }  # fmt: skip
    names = ("strategy", "equal weight, held", "SYNBTC_USDT, held")
    facts = {
        "comparison": [{"name": name, **figures} for name in names],
        "leader": "SYNBTC_USDT", "trades": 25, "result": "user_data/backtest_results/backtest-result-1.zip",
    }  # fmt: skip
    for stage, told in (("backtest", facts), ("report", {"path": "report.html"})):
        files.write_json(
            run / "stages" / f"{stage}.json", {"fingerprint": "0" * 16, "facts": told, "seconds": 1.5}
        )


def look(k: int) -> dict[str, Any]:
    """A point of a learning curve."""
    return {
        "proposals": 128 * k, "trials": 120 * k, "cpu_seconds": 3.0 * k, "members": k, "train": 0.02 * k,
        "valid": 0.01 * k,
    }  # fmt: skip


def search(folder: Path, *, done: bool, looks: int = 3) -> None:
    """A search's folder; the state is in the form of `bascule.miners.search.Miner`."""
    folder.mkdir(parents=True, exist_ok=True)
    searcher, seed = folder.name.rsplit("-", 1)
    files.write_json(folder / "order.json", {"searcher": searcher, "seed": int(seed), "proposals": 1280})
    state(folder, looks)
    if done:
        member = {"text": "$close/$open", "weight": 0.4, "train": 0.02, "stands": True}
        ic = {"mean": 0.031, "t": 3.3}
        files.write_json(
            folder / "result.json",
            {
                "searcher": searcher, "seed": int(seed), "proposals": 1280, "trials": 1200,
                "cpu_seconds": 30.0, "threshold": 2.0, "found": True, "test": {"ic": ic, "rank_ic": ic},
                "members": [{**member, "test": ic}], "curve": [look(k) for k in range(1, 11)],
            },
        )  # fmt: skip
        (folder / "factors.yaml").write_text(
            yaml.safe_dump({"factors": [{"name": "random_0_01", "text": "$close/$open", "family": "mined"}]})
        )
        (folder / "report.html").write_text("<!doctype html><title>mined</title>")


def state(folder: Path, looks: int) -> None:
    """The state after so many looks."""
    told = {
        "search": {
            "name": folder.name.rsplit("-", 1)[0], "texts": ["$close/$open"], "weights": [0.4],
            "scores": [{"ic": 0.02}], "looks": [look(k) for k in range(1, looks + 1)],
            "proposals": 128 * looks, "trials": 120 * looks, "refused": 0, "cpu_seconds": 3.0 * looks,
            "finished": False,
        }
    }  # fmt: skip
    with files.atomic_file(folder / "state.npz") as aside, aside.open("wb") as stream:
        np.savez(stream, told=np.frombuffer(json.dumps(told).encode(), np.uint8))


def champions(folder: Path) -> None:
    """A store in which the second model serves."""
    for name in ("2022-02", "2022-03"):
        (folder / "models" / name).mkdir(parents=True)
        (folder / "models" / name / "meta.json").write_text("{}")
    (folder / "champion").symlink_to("models/2022-03")
    for number, (model, before) in enumerate([("2022-02", ""), ("2022-03", "2022-02")], 1):
        event = {
            "number": number, "action": "promote", "model": model, "before": before, "at": "2022-03-01T00:00",
            "reason": f"rank IC {EVIL}", "fingerprint": "f",
        }  # fmt: skip
        files.write_json(folder / "history" / f"{number:06d}.json", event)


def leaderboard(folder: Path) -> None:
    """Two models and what their difference means."""
    from bascule.models.compare import Duel, Leaderboard, Score

    scores = tuple(
        Score(name, 0.03, 0.2, ic, 0.2, 3.0, ic - 0.01, ic + 0.01, 1.2, 0.4, 12.0, 0.3, 900)
        for name, ic in (("LGBModel", 0.04), ("TransformerModel", 0.03))
    )
    duel = Duel("LGBModel", "TransformerModel", 0.01, -0.001, 0.02, 0.08)
    folder.mkdir(parents=True)
    files.write_json(folder / "leaderboard.json", Leaderboard(scores, (duel,), 6, 0.0015).to_dict())


# -- the dashboard ------------------------------------------------------------------------------------------


def services(home: Path, state_folder: Path, **changes: Any) -> Services:
    """The dashboard's services over a workspace, with users ada (operator) and vic (viewer) and one bot."""
    bots = (BotSettings(name="main", url="http://bot.local", username="freqtrader", password_env="BOT"),)
    user_data = state_folder / "user_data"
    user_data.mkdir(parents=True, exist_ok=True)
    bots = (bots[0].model_copy(update={"folder": user_data}),)
    values: dict[str, Any] = {
        "home": home, "state": state_folder / "web.sqlite", "sheets": state_folder / "sheets",
        "factors": (Path("own.yaml"),), "bots": bots, "names": ("testserver",), "refresh": 0.1, "nice": 0,
    }  # fmt: skip
    settings = WebSettings(**{**values, **changes})
    bot = bot_app()
    clock = Clock()
    found = Services(
        settings,
        watch=Monitor(),
        clock=clock,
        hasher=CHEAP,
        environment={**os.environ, "BOT": BOT_PASSWORD},
        transport=httpx.ASGITransport(bot),
    )
    found.accounts.add("ada", PASSWORD, "operator", clock())
    found.accounts.add("vic", PASSWORD, "viewer", clock())
    return found
