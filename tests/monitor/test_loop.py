"""The loop: sources, metrics over HTTP, messages through Apprise, the command as a process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import yaml
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from bascule.app.monitorcli import monitor_app
from bascule.bridge.freqtrade import emergency
from bascule.core import ConfigError
from bascule.monitor import schema
from bascule.monitor.loop import Monitor, rule_book
from bascule.monitor.metrics import Exposed, MetricsServer
from bascule.monitor.notify import Apprise
from bascule.monitor.read import Reader
from bascule.monitor.samples import METRICS
from bascule.monitor.schema import Database
from bascule.monitor.settings import MonitorSettings
from tests.monitor.servers import PASSWORD, USER, FakeBot, bot_server, webhook

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)


def configured(home: Path, url: str, **more: Any) -> dict[str, Any]:
    """Settings of one bot whose password is in a file."""
    (home / "bot").mkdir(exist_ok=True)
    (home / "secret").write_text(PASSWORD + "\n")
    secret = {"file": str(home / "secret")}
    bot = {"name": "main", "url": url, "username": USER, "password": secret, "userdir": "bot"}
    return {"home": str(home), "state": "m.sqlite", "bots": [bot], "port": 0, **more}


def test_a_bot_is_measured_and_a_silent_one_too(tmp_path: Path) -> None:
    bot = FakeBot()
    bot.replies["/trades"] = {"trades": bot.trades}
    with bot_server(bot) as url:
        monitor = Monitor(MonitorSettings.read(configured(tmp_path, url)))
        monitor.cycle(NOW, patience=10.0)
        bot.replies["/balance"] = {"total_bot": 1_515.0}
        monitor.cycle(NOW + timedelta(minutes=1), patience=10.0)
        bot.broken = True
        monitor.cycle(NOW + timedelta(minutes=2), patience=10.0)
        monitor.close()
    (seen,) = Reader(tmp_path / "m.sqlite").bots()
    values = seen.values
    assert values["bot.up"] == 0.0 and values["bot.running"] == 1.0 and values["bot.open_trades"] == 1.0
    assert values["bot.drawdown"] == pytest.approx(0.25) and values["bot.loop_age_seconds"] == 3_660.0
    assert values["fills.cancelled"] == 0.5 and values["fills.seconds"] == 6.0
    assert values["fills.filled"] == pytest.approx((10 * 100.2 + 5 * 99.9) / (10 * 100.2 + 10 * 99.9))
    # bought 20 bp too dear, sold 10 bp too cheap; weighted by value
    weights = 10 * 100.2, 5 * 99.9
    assert values["fills.slippage_bps"] == pytest.approx((20 * weights[0] + 10 * weights[1]) / sum(weights))


def test_the_stop_of_a_short_is_a_purchase(tmp_path: Path) -> None:
    bot = FakeBot()
    (trade,) = bot.trades
    trade["is_short"] = True
    trade["orders"] = [{**trade["orders"][0], "ft_order_side": "stoploss"}]  # bought back 20 bp too dear
    with bot_server(bot) as url:
        monitor = Monitor(MonitorSettings.read(configured(tmp_path, url)))
        monitor.cycle(NOW, patience=10.0)
        monitor.close()
    (seen,) = Reader(tmp_path / "m.sqlite").bots()
    assert seen.values["fills.slippage_bps"] == pytest.approx(20.0)


@pytest.mark.filterwarnings("ignore:.imghdr.:DeprecationWarning")  # imported by Apprise
def test_an_address_that_is_none_is_not_shown() -> None:
    for address in ("tgram:/1234:a-token/5", "a-token", "nothing://a-token"):
        with pytest.raises(ConfigError, match="address 1") as caught:
            Apprise(address)
        assert "token" not in str(caught.value)


def test_the_highest_equity_outlives_a_restart(tmp_path: Path) -> None:
    bot = FakeBot()
    with bot_server(bot) as url:
        for minute, equity in enumerate((2_000.0, 1_000.0)):
            bot.replies["/balance"] = {"total_bot": equity}
            monitor = Monitor(MonitorSettings.read(configured(tmp_path, url)))
            monitor.cycle(NOW + timedelta(minutes=minute), patience=10.0)
            monitor.close()
    (seen,) = Reader(tmp_path / "m.sqlite").bots()
    assert seen.values["bot.drawdown"] == 0.5


@pytest.mark.filterwarnings("ignore:.imghdr.:DeprecationWarning")  # imported by Apprise
def test_a_drawdown_halts_the_bot_and_the_message_arrives_by_webhook(tmp_path: Path) -> None:
    bot, took, code = FakeBot(), [], [503]
    with bot_server(bot) as url, webhook(took, code) as address:
        (tmp_path / "urls").write_text(f"# where to\n{address}\n")
        notify = {"urls": {"file": str(tmp_path / "urls")}, "gap": 0}
        monitor = Monitor(MonitorSettings.read(configured(tmp_path, url, notify=notify, bots_every="1s")))
        for minute, equity in enumerate((2_000.0, 1_500.0, 1_490.0, 1_480.0)):
            bot.replies["/balance"] = {"total_bot": equity}
            monitor.cycle(NOW + timedelta(minutes=minute), patience=10.0)
        assert not took
        code[0] = 200  # the webhook is back: what waited goes out
        monitor.cycle(NOW + timedelta(hours=1), patience=10.0)
        monitor.close()
    assert emergency.in_force(tmp_path / "bot").state is emergency.State.HALT
    assert any("CRITICAL drawdown" in one["message"] and "main" in one["message"] for one in took)
    assert took[0]["type"] == "failure" and PASSWORD not in str(took)


def test_a_source_that_breaks_ends_nothing(tmp_path: Path) -> None:
    class Broken:
        name, every = "broken", 0.0

        def read(self, since: object, now: object) -> list[Any]:
            raise ZeroDivisionError

    monitor = Monitor(MonitorSettings.read({"home": str(tmp_path)}), sources=[Broken()])
    for minute in range(3):
        monitor.cycle(NOW + timedelta(minutes=minute), patience=10.0)
    assert monitor.journal.cursor("broken") is None
    monitor.close()
    (alert,) = Reader(tmp_path / "runs" / "monitor.sqlite").alerts()
    assert alert.rule == "source-failing"


def test_a_source_that_hangs_holds_no_other_up(tmp_path: Path) -> None:
    release = threading.Event()

    class Hanging:
        name, every = "hanging", 0.0

        def read(self, since: object, now: object) -> list[Any]:
            release.wait(30)
            return []

    bot = FakeBot()
    with bot_server(bot) as url:
        whole = Monitor(MonitorSettings.read(configured(tmp_path, url)))
        monitor = Monitor(whole.settings, sources=[Hanging(), *whole.sources])
        begin = time.monotonic()
        monitor.cycle(NOW, patience=1.0)
        assert time.monotonic() - begin < 15
        release.set()
        for one in (monitor, whole):
            one.close()
    assert Reader(tmp_path / "m.sqlite").bots()[0].values["bot.up"] == 1.0


def test_metrics_are_prometheus_and_health_turns(tmp_path: Path) -> None:
    bot = FakeBot()
    with bot_server(bot) as url:
        monitor = Monitor(MonitorSettings.read(configured(tmp_path, url)))
        monitor.cycle(NOW, patience=10.0)
    age = [0.0]
    server = MetricsServer(Exposed(monitor.database, lambda: age[0]), "127.0.0.1", 0, 60.0)
    server.start()
    base = f"http://127.0.0.1:{server.port}"
    found = {one.name: one for one in text_string_to_metric_families(httpx.get(f"{base}/metrics").text)}
    assert found["bascule_bot_up"].samples[0].labels == {"subject": "main"}
    assert found["bascule_bot_equity"].samples[0].value == 2_020.0
    assert {"bascule_events", "bascule_actions", "bascule_monitor_last_cycle_seconds"} <= found.keys()
    assert httpx.get(f"{base}/health").status_code == 200
    age[0] = 61.0
    assert httpx.get(f"{base}/health").status_code == 503
    assert httpx.get(f"{base}/").status_code == 404
    server.stop()
    monitor.close()


def test_the_command_watches_until_it_is_told_to_stop(tmp_path: Path) -> None:
    bot = FakeBot()
    with bot_server(bot) as url:
        values = configured(tmp_path, url, every="1s", bots_every="1s")
        del values["home"]
        (tmp_path / "monitor.yaml").write_text(yaml.safe_dump(values))
        process = subprocess.Popen(
            [sys.executable, "-m", "bascule.app", "monitor", "run", str(tmp_path / "monitor.yaml")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        told = process.stdout.readline()
        port = int(told.rsplit(":", 1)[1])
        end = time.monotonic() + 60
        while 'rule="bot-stuck"' not in httpx.get(f"http://127.0.0.1:{port}/metrics").text:
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and PASSWORD not in told + rest and "Traceback" not in rest
    shown = CliRunner().invoke(monitor_app, ["status", str(tmp_path / "monitor.yaml")])
    assert shown.exit_code == 0 and "main" in shown.output
    again = CliRunner().invoke(
        monitor_app,
        ["replay", str(tmp_path / "monitor.yaml"), "--start", "2000-01-01", "--end", "2100-01-01"],
    )
    assert again.exit_code == 0 and "bot-stuck" in again.output


def test_the_built_in_rules_are_good_and_know_their_bots(tmp_path: Path) -> None:
    book = rule_book(MonitorSettings())
    assert len(book.rules) >= 15 and {rule.metric for rule in book.rules} <= METRICS.keys()
    (tmp_path / "r.yaml").write_text(
        "rules: [{name: x, metric: bot.up, below: 1, actions: [{do: halt, bot: ghost}]}]"
    )
    with pytest.raises(ConfigError, match="no bot 'ghost'"):
        rule_book(MonitorSettings.read({"home": str(tmp_path), "rules": "r.yaml"}))


@pytest.mark.parametrize(
    "secret", [{"env": "BASCULE_NOT_SET"}, {"file": "nowhere"}, {}, {"env": "A", "file": "b"}]
)
def test_a_secret_that_is_not_there_is_one_clear_error(tmp_path: Path, secret: dict[str, str]) -> None:
    values = configured(tmp_path, "http://127.0.0.1:9")
    values["bots"][0]["password"] = secret
    with pytest.raises(ConfigError, match=r"password|main"):
        Monitor(MonitorSettings.read(values))


def test_settings_refuse_passwords_in_addresses() -> None:
    bot = {"name": "a", "url": "http://u:p@h:1", "username": "u", "password": {"env": "X"}}
    with pytest.raises(ConfigError, match="url"):
        MonitorSettings.read({"bots": [bot]})


@pytest.mark.slow
def test_postgresql_does_as_sqlite_does(tmp_path: Path) -> None:
    """A real server, started for the test."""
    binary = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)
    if binary is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    user = [] if os.geteuid() else ["runuser", "-u", "postgres", "--"]
    cluster = Path("/tmp") / f"bascule-pg-{os.getpid()}"  # sockets need a short path
    cluster.mkdir(mode=0o777)
    if user:
        shutil.chown(cluster, "postgres")

    def server(program: str, *arguments: str) -> int:
        command = [*user, str(binary.with_name(program)), "-D", f"{cluster}/data", *arguments]
        return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode

    try:
        assert server("initdb", "-A", "trust", "-U", "bascule") == 0
        options = f"-k {cluster} -c listen_addresses= -c fsync=off"
        assert server("pg_ctl", "-o", options, "-l", f"{cluster}/log", "-w", "start") == 0
        address = f"postgresql+psycopg://bascule@/postgres?host={cluster}"
        bot = FakeBot()
        with bot_server(bot) as url:
            for minute in range(3):  # each with the state that the one before left
                monitor = Monitor(MonitorSettings.read(configured(tmp_path, url) | {"state": address}))
                bot.replies["/balance"] = {"total_bot": 2_000.0 - 500.0 * minute}
                monitor.cycle(NOW + timedelta(minutes=minute), patience=20.0)
                monitor.close()
        reader = Reader(address)
        assert reader.bots()[0].values["bot.drawdown"] == 0.5
        assert any(alert.rule == "drawdown" and alert.open for alert in reader.alerts())
        assert reader.deeds()[0].outcome == "main: halt, command 1"
        reader.close()
        database = Database(address)
        with database.read() as connection:
            assert (
                connection.execute(sa.select(sa.func.count()).select_from(schema.samples)).scalar_one() > 10
            )
        database.close()
    finally:
        server("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(cluster, ignore_errors=True)
