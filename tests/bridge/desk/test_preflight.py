"""What is looked at before a start, and after."""

from __future__ import annotations

import json
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bascule.bridge.freqtrade import credentials, emergency, preflight, prepare
from bascule.bridge.freqtrade.prepare import PrepareSettings
from bascule.bridge.freqtrade.rehearsal import command
from bascule.core import BridgeError
from bascule.core.ports import free_port
from bascule.signals.signing import keygen, sign
from tests.bridge.research import Research

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
GOOD = {
    credentials.KEY: "kEy" + "a" * 40,
    credentials.SECRET: "sEcret" + "b" * 40,
    credentials.PASSWORD: "pass-word-of-a-person",
    credentials.JWT: "j" + "c1" * 20,
}


@pytest.fixture
def folder(spot: Research, tmp_path: Path) -> Path:
    settings = PrepareSettings(mode="live", capital=500.0, unsigned=True, api_port=free_port())
    prepare.prepare(spot.bundle.path.parent, tmp_path / "bot", settings)
    return tmp_path / "bot"


def now(research: Research) -> datetime:
    start = research.bundle.manifest.models[-1].test.start
    return datetime.fromisoformat(start.removesuffix("Z")[:19]).replace(tzinfo=UTC) + timedelta(days=1)


def marks(
    folder: Path, research: Research, environment: dict[str, str], when: datetime | None = None
) -> dict[str, tuple[str, str]]:
    found = preflight.check(folder, environment, now=when or now(research), skew=lambda: 0.1)
    return {one.what: (one.mark, one.said) for one in found}


def test_a_good_folder_is_good(folder: Path, spot: Research) -> None:
    found = marks(folder, spot, GOOD)
    assert {mark for mark, _ in found.values()} == {"good"}, found
    parts = {"configuration", "leaks", "bundle", "database", "emergency", "REST server", "exchange"}
    assert set(found) >= {*parts, *GOOD}


def test_a_port_that_somebody_has_stops_a_start_only(folder: Path, spot: Research) -> None:
    port = preflight.configuration(folder)["api_server"]["listen_port"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        for starting, mark in ((False, "doubtful"), (True, "bad")):
            found = preflight.check(folder, GOOD, now=now(spot), starting=starting)
            (server,) = (one for one in found if one.what == "REST server")
            assert server.mark == mark and f"port {port} is in use" in server.said
            assert ("--port" in server.said) == starting


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (credentials.KEY, "", "not set"),
        (credentials.SECRET, "12345678901234567890", "number"),
        (credentials.SECRET, "1e10000", "number"),
        (credentials.JWT, "tooshort", "shorter than 32"),
        (credentials.PASSWORD, "hunter2", "shorter than 12"),
    ],
)
def test_secrets_that_will_not_do(folder: Path, spot: Research, name: str, value: str, said: str) -> None:
    mark, text = marks(folder, spot, GOOD | {name: value})[name]
    assert mark == "bad" and said in text and (not value or value not in text)


def test_a_leak_is_bad_and_named_without_its_value(folder: Path, spot: Research) -> None:
    (folder / "logs" / "old.log").write_text(f"order signed with {GOOD[credentials.SECRET]}")
    mark, text = marks(folder, spot, GOOD)["leaks"]
    assert mark == "bad" and credentials.SECRET in text and GOOD[credentials.SECRET] not in text
    # the user's own file is where it belongs
    (folder / "logs" / "old.log").unlink()
    (folder / ".env").write_text(f"{credentials.SECRET}={GOOD[credentials.SECRET]}\n")
    assert marks(folder, spot, GOOD)["leaks"][0] == "good"


def test_live_trading_wants_a_signed_bundle(spot: Research, tmp_path: Path) -> None:
    private, public = keygen(tmp_path / "keys")
    shutil.copytree(spot.bundle.path, tmp_path / "bundles" / spot.bundle.path.name)
    bundle = tmp_path / "bundles" / spot.bundle.path.name
    settings = PrepareSettings(mode="live", capital=500.0, trusted_keys=(public,))
    prepare.prepare(bundle, tmp_path / "bot", settings)
    mark, text = marks(tmp_path / "bot", spot, GOOD)["bundle"]
    assert mark == "bad" and "bascule bundle sign" in text
    sign(bundle, private)
    assert marks(tmp_path / "bot", spot, GOOD)["bundle"][0] == "good"


def test_a_bundle_has_its_time(folder: Path, spot: Research) -> None:
    assert marks(folder, spot, GOOD, now(spot) - timedelta(days=30))["bundle"][0] == "bad"
    mark, text = marks(folder, spot, GOOD, now(spot) + timedelta(days=60))["bundle"]
    assert mark == "doubtful" and "train anew" in text
    (spot.bundle.path.parent / "current").resolve()
    values = json.loads((folder / "config.json").read_text())
    values["bascule"]["bundle"] = str(folder / "nowhere")
    (folder / "config.json").write_text(json.dumps(values))
    assert marks(folder, spot, GOOD)["bundle"][0] == "bad"


def test_a_dry_runs_database_is_not_taken_for_a_live_one(folder: Path, spot: Research) -> None:
    from freqtrade.persistence.models import init_db
    from freqtrade.persistence.trade_model import Order, Trade

    path = folder / "trades-live.sqlite"
    init_db(f"sqlite:///{path}")
    opened = now(spot).replace(tzinfo=None)
    one = Trade(
        pair="BTC/USDT", base_currency="BTC", stake_currency="USDT", exchange="binance", is_open=True,
        open_rate=100.0, open_date=opened, stake_amount=50.0, amount=0.5, fee_open=0.001, fee_close=0.001,
        is_short=False, leverage=1.0,
    )  # fmt: skip
    one.orders.append(
        Order(
            ft_order_side="buy",
            ft_pair="BTC/USDT",
            ft_is_open=False,
            ft_amount=0.5,
            ft_price=100.0,
            order_id="dry_run_buy_1",
            status="closed",
            symbol="BTC/USDT",
            order_type="market",
            side="buy",
            price=100.0,
            amount=0.5,
            filled=0.5,
            order_date=opened,
        )
    )
    Trade.session.add(one)
    Trade.commit()
    Trade.session.remove()
    mark, text = marks(folder, spot, GOOD)["database"]
    assert mark == "bad" and "dry run" in text
    found = preflight.status(folder)
    assert found.mode == "live" and found.open[0][:2] == ("BTC/USDT", "long") and found.closed == 0


def test_where_orders_may_be_doubled_is_said(folder: Path, spot: Research) -> None:
    assert "orders" not in marks(folder, spot, GOOD)
    prepare.prepare(spot.bundle.path.parent, folder, PrepareSettings(mode="live", exchange="kraken"))
    mark, text = marks(folder, spot, GOOD)["orders"]
    assert mark == "doubtful" and "kraken" in text


def test_emergencies_clocks_and_capital_are_seen(folder: Path, spot: Research) -> None:
    emergency.command(folder, "halt", reason="a test", by="me", now=now(spot))
    found = marks(folder, spot, GOOD)
    assert found["emergency"][0] == "doubtful" and "a test" in found["emergency"][1]
    late = preflight.check(folder, GOOD, now=now(spot), skew=lambda: 3.0)
    assert next(one for one in late if one.what == "exchange").mark == "bad"
    prepare.prepare(spot.bundle.path.parent, folder, PrepareSettings(mode="live"))
    assert marks(folder, spot, GOOD)["capital"][0] == "doubtful"


LOG = """\
2024-01-01 00:00:00,000 - x - INFO - fine
2024-01-01 00:00:01,000 - freqtrade.freqtradebot - ERROR - Unable to place a stoploss order on exchange.
Traceback (most recent call last):
  File "exchange.py", line 634, in fetch
    response.raise_for_status()
requests.exceptions.HTTPError: 400 Client Error

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "exchange.py", line 1690, in create_stoploss
    order = self._api.create_order(
            ^^^^^^^^^^^^^^^^^^^^^^^
freqtrade.exceptions.ExchangeError: binance refuses
  remedy: look
2024-01-01 00:00:02,000 - x - CRITICAL - two
  lines
2024-01-01 00:00:03,500 - x - WARNING - {long}
"""


def test_status_tells_each_trouble_in_a_line(folder: Path) -> None:
    path = folder / "logs" / "freqtrade.log"
    path.write_text(LOG.replace("{long}", "word " * 200))
    found = preflight.status(folder)
    assert found.last == "2024-01-01 00:00:03,500" and found.command == "run" and found.log == str(path)
    stop, two, long = found.errors
    assert stop == (
        "2024-01-01 00:00:01 ERROR: Unable to place a stoploss order on exchange: "
        "freqtrade.exceptions.ExchangeError: binance refuses remedy: look"
    )
    assert two == "2024-01-01 00:00:02 CRITICAL: two lines"
    assert long.endswith("…") and len(long) < 300 and "\n" not in long


def test_a_producer_needs_a_token(spot: Research, tmp_path: Path) -> None:
    prepare.prepare(spot.bundle.path.parent, tmp_path / "bot", PrepareSettings(role="producer"))
    assert marks(tmp_path / "bot", spot, GOOD)[credentials.WS_TOKEN] == ("bad", "not set: put it into .env")
    good = GOOD | {credentials.WS_TOKEN: "tokenOfTheProducer"}
    assert marks(tmp_path / "bot", spot, good)[credentials.WS_TOKEN][0] == "good"


def test_only_prepared_folders_are_started(folder: Path, tmp_path: Path) -> None:
    line = command(folder)
    assert line[2:4] == ["bascule.bridge.freqtrade.launch", "trade"] and str(folder / "config.json") in line
    with pytest.raises(BridgeError, match="cannot be read"):
        command(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BridgeError, match="not written by bascule"):
        command(tmp_path)
