"""Safe mode, the second venue, and consumers of other bots' signals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest

from bascule.bridge.freqtrade.failover import DataDesk, GuardSettings, splice
from bascule.bridge.freqtrade.venues import Health, Limits, RestVenue
from bascule.core import BridgeError, Instrument, Timeframe

HOUR = Timeframe(3_600)
PAIRS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
T0 = datetime(2024, 1, 10, tzinfo=UTC)


def frame(last: datetime, rows: int = 60, level: float = 100.0, volume: float = 5.0) -> pd.DataFrame:
    """Hourly candles up to ``last`` (open time); the close counts hours."""
    dates = pd.date_range(end=last, periods=rows, freq="1h")
    hours = (dates - pd.Timestamp(T0)) / pd.Timedelta("1h")
    close = level * (1 + np.asarray(hours) / 1_000)
    return pd.DataFrame(
        {"date": dates, "open": close, "high": close, "low": close, "close": close, "volume": volume}
    )


class Elsewhere:
    """A second venue in memory."""

    name = "elsewhere"

    def __init__(self, level: float = 100.5, volume: float = 10.0) -> None:
        self.health = Health()
        self.level, self.volume = level, volume
        self.asked: list[str] = []
        self.down = False

    def candles(
        self, instrument: Instrument, timeframe: Timeframe, bars: int, *, now_ms: int
    ) -> pd.DataFrame:
        self.asked.append(instrument.pair)
        if self.down:
            raise BridgeError("does not answer", where=self.name)
        now = datetime.fromtimestamp(now_ms / 1_000, UTC)
        last = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        return frame(last, bars, self.level, self.volume)

    def ping(self) -> float:
        return 0.0


def desk(**changes: object) -> tuple[DataDesk, Elsewhere]:
    other = Elsewhere()
    return DataDesk(HOUR, GuardSettings.read({"calm_looks": 2, **changes}), second=other), other


def all_to(last: datetime) -> dict[str, pd.DataFrame]:
    return {pair: frame(last) for pair in PAIRS}


def test_candles_in_time_change_nothing() -> None:
    found, other = desk()
    given = all_to(T0)
    now = T0 + timedelta(hours=1, seconds=30)
    assert found.look(given, now) == () and not found.safe
    assert found.frame(PAIRS[0], given[PAIRS[0]], now) is given[PAIRS[0]] and other.asked == []


def test_a_candle_that_is_on_its_way_is_not_late() -> None:
    found, _ = desk(late_after=120)
    given = all_to(T0)
    assert found.look(given, T0 + timedelta(hours=2, seconds=119)) == () and not found.safe
    assert len(found.look(given, T0 + timedelta(hours=2, seconds=121))) == 1 and found.safe


def test_late_candles_mean_safe_mode_until_all_is_calm() -> None:
    found, _ = desk()
    now = T0 + timedelta(hours=2, minutes=5)
    told = found.look(all_to(T0), now)
    assert told == ("safe mode, no entries: candles of 3 of 3 pairs are late",) and found.reason
    assert found.look(all_to(T0), now + timedelta(minutes=1)) == ()  # told once
    good = all_to(T0 + timedelta(hours=1))
    assert found.look(good, now + timedelta(minutes=2)) == () and found.safe
    assert found.look(good, now + timedelta(minutes=3)) == ("safe mode is over",)
    assert not found.safe and found.reason == ""


def test_one_silent_pair_is_no_trouble_of_the_venue() -> None:
    found, other = desk(late_share=0.5)
    given = all_to(T0 + timedelta(hours=1)) | {PAIRS[2]: frame(T0)}
    now = T0 + timedelta(hours=2, minutes=5)
    assert found.look(given, now) == () and not found.safe
    # but its candles are completed
    assert len(found.frame(PAIRS[2], given[PAIRS[2]], now)) == 61 and other.asked == [PAIRS[2]]


def test_late_candles_come_from_the_second_venue_once_a_candle() -> None:
    found, other = desk()
    given = frame(T0)
    now = T0 + timedelta(hours=3, minutes=5)
    found.look(dict.fromkeys(PAIRS, given), now)
    joined = found.frame(PAIRS[0], given, now)
    assert joined["date"].iloc[-1] == T0 + timedelta(hours=2) and len(joined) == 62
    pd.testing.assert_frame_equal(joined.iloc[:60], given)
    # brought to the first venue's level and size: as if it had gone on itself
    pd.testing.assert_frame_equal(joined, frame(T0 + timedelta(hours=2), 62))
    found.frame(PAIRS[0], given, now + timedelta(minutes=5))
    assert other.asked == [PAIRS[0]]
    # back to the first venue when it is there again
    back = frame(T0 + timedelta(hours=2))
    found.look(dict.fromkeys(PAIRS, back), now + timedelta(minutes=6))
    assert found.frame(PAIRS[0], back, now + timedelta(minutes=6)) is back


def test_a_second_venue_that_fails_or_disagrees_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    found, other = desk()
    given = frame(T0)
    now = T0 + timedelta(hours=2, minutes=5)
    found.look(dict.fromkeys(PAIRS, given), now)
    other.down = True
    assert found.frame(PAIRS[0], given, now) is given
    other.down, other.level = False, 110.0
    assert found.frame(PAIRS[1], given, now) is given
    assert "does not answer" in caplog.text and "prices differ by" in caplog.text and found.safe


def test_splicing_needs_a_common_candle() -> None:
    with pytest.raises(BridgeError, match="no common candle"):
        splice(frame(T0), frame(T0 + timedelta(hours=200), 10), largest_gap=0.02, where="x")
    with pytest.raises(BridgeError, match="no newer candle"):
        splice(frame(T0), frame(T0, 10), largest_gap=0.02, where="x")


def test_health_knows_errors_and_latency() -> None:
    health = Health(Limits(slow=1.0, errors=0.3, window=10, least=3))
    health.record(9.0, good=False)
    assert health.state == "good"  # one call is no opinion
    for _ in range(9):
        health.record(0.1, good=True)
    assert health.state == "good" and health.error_rate == 0.1 and health.latency == 0.1
    for _ in range(3):
        health.record(0.1, good=False)
    assert health.state == "degraded"
    for _ in range(4):
        health.record(0.1, good=False)
    assert health.state == "down"
    for _ in range(10):
        health.record(2.0, good=True)
    assert health.state == "degraded" and health.error_rate == 0


def test_a_first_venue_that_fails_means_safe_mode() -> None:
    class Failing(Elsewhere):
        def ping(self) -> float:
            self.health.record(0.1, good=False)
            raise BridgeError("does not answer", where="first")

    found = DataDesk(HOUR, GuardSettings(), first=Failing())
    given = all_to(T0)
    for minute in (1, 2, 3):
        told = found.look(given, T0 + timedelta(hours=1, minutes=minute))
    assert told and "fails in 100% of the calls" in told[0] and found.safe


class Timed(Elsewhere):
    """A first venue whose clock is right, seen from one that may be off."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead, self.pings = 0.0, 0

    def ping(self) -> float:
        self.pings += 1
        return self.ahead


@pytest.mark.parametrize("off", [3_600.0, -3_600.0, 5.0])
def test_a_clock_that_was_set_is_known_at_once_and_the_venues_counts(off: float) -> None:
    """What the candles are held against is the venue's time, which goes on as ever."""
    first, other = Timed(), Elsewhere()
    found = DataDesk(HOUR, GuardSettings(calm_looks=2), first=first, second=other)
    right, steady = T0 + timedelta(hours=1, minutes=2), 1_000.0
    assert found.look(all_to(T0), right, steady=steady) == () and first.pings == 1

    def look(after: float, clock_off: float = 0.0) -> tuple[str, ...]:
        now = right + timedelta(seconds=after)
        first.ahead = -clock_off
        told = found.look(all_to(T0), now + timedelta(seconds=clock_off), steady=steady + after)
        assert found.right(now + timedelta(seconds=clock_off)) == now
        return told

    assert look(5) == () and first.pings == 1  # a minute has not gone by
    assert look(10, off) == (f"safe mode, no entries: our clock is {off:+.1f} s from elsewhere's: set it",)
    assert first.pings == 2 and found.skewed and found.safe and other.asked == []
    assert look(15, off) == () and first.pings == 2  # one more second is none that was set
    assert look(20) == () and first.pings == 3 and not found.skewed and found.safe
    assert look(25) == ("safe mode is over",)


def test_an_answer_that_took_long_says_little_of_the_clock() -> None:
    first = Timed()
    found = DataDesk(HOUR, GuardSettings(), first=first)
    first.ahead = 1.5
    for _ in range(3):
        first.health.record(0.8, good=True)
    assert found.look(all_to(T0), T0 + timedelta(hours=1, seconds=30)) == () and not found.skewed
    first.ahead = 1.9
    assert found.look(all_to(T0), T0 + timedelta(hours=1, seconds=95)) != () and found.skewed


# -- the formats over HTTP ---------------------------------------------------------------------------------


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        body = self.server.answers(parts.path, query)  # type: ignore[attr-defined]
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    found = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


def _rows(count: int, start_ms: int) -> list[list[object]]:
    return [[start_ms + i * 3_600_000, "1.0", "1.2", "0.9", "1.1", "7", "x"] for i in range(count)]


@pytest.mark.parametrize("form", ["binance", "bybit"])
def test_both_formats_are_read(server: HTTPServer, form: str) -> None:
    start = int(T0.timestamp() * 1_000)
    seen: list[tuple[str, dict[str, str]]] = []

    def answers(path: str, query: dict[str, str]) -> object:
        seen.append((path, query))
        if form == "binance":
            return _rows(5, start)
        rows = [[str(row[0]), *row[1:]] for row in reversed(_rows(5, start))]
        return {"retCode": 0, "result": {"list": rows}}

    server.answers = answers  # type: ignore[attr-defined]
    venue = RestVenue(form, "futures", url=f"http://127.0.0.1:{server.server_port}")  # type: ignore[arg-type]
    # the fifth candle is still forming
    found = venue.candles(Instrument.parse("BTC/USDT:USDT"), HOUR, 3, now_ms=start + 5 * 3_600_000 - 1)
    assert found["date"].tolist() == [pd.Timestamp(T0) + pd.Timedelta(hours=h) for h in (1, 2, 3)]
    assert found["close"].tolist() == [1.1] * 3 and found["volume"].tolist() == [7.0] * 3
    path, query = seen[0]
    assert query["symbol"] == "BTCUSDT"
    if form == "binance":
        assert (path, query["interval"]) == ("/fapi/v1/klines", "1h")
    else:
        assert (path, query["interval"], query["category"]) == ("/v5/market/kline", "60", "linear")
    assert venue.health.error_rate == 0 and venue.health.latency > 0


def test_refusals_and_nonsense_are_errors_of_the_venue(server: HTTPServer) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    answers: list[object] = [
        {"retCode": 10001, "retMsg": "params error"},
        {"retCode": 0, "result": {"list": [["x", "1", "1", "1", "1", "1"]]}},
        {"retCode": 0, "result": {"list": [["1", "-1", "1", "1", "1", "1"]]}},
    ]
    server.answers = lambda path, query: answers.pop(0)  # type: ignore[attr-defined]
    venue = RestVenue("bybit", "spot", url=url)
    for message in ("params error", "not candles", "not candles"):
        with pytest.raises(BridgeError, match=message):
            venue.candles(Instrument.parse("BTC/USDT"), HOUR, 3, now_ms=10**13)
    assert venue.health.state == "degraded"
    answers += [{"retCode": 0, "result": {"timeNano": 10**30}}, {"retCode": 0, "result": {"timeNano": -1}}]
    for _ in range(2):
        with pytest.raises(BridgeError, match="not a time"):
            venue.ping()
    gone = RestVenue("binance", "spot", url="http://127.0.0.1:9", timeout=1)
    with pytest.raises(BridgeError, match="does not answer"):
        gone.ping()
    with pytest.raises(BridgeError, match="no http address"):
        RestVenue("binance", "spot", url="file:///etc/passwd")


# -- consumers ---------------------------------------------------------------------------------------------


class Wire:
    """A data provider that knows what producers sent."""

    def __init__(self) -> None:
        self.sent: dict[str, pd.DataFrame] = {}

    def get_producer_df(
        self, pair: str, timeframe: str, producer_name: str = "default"
    ) -> tuple[pd.DataFrame, datetime]:
        return self.sent.get(producer_name, pd.DataFrame()), T0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_consumers_take_the_newest_producer_and_know_silence(spot: object) -> None:
    from freqtrade.enums import RunMode

    from bascule.bridge.freqtrade import config
    from bascule.bridge.freqtrade.config import TradeSettings
    from bascule.bridge.freqtrade.consumer import ConsumerStrategy
    from bascule.bridge.freqtrade.feed import SIGNAL_COLUMNS
    from tests.bridge.research import Research

    assert isinstance(spot, Research)
    values = config.build(spot.bundle, TradeSettings(), exchange={"name": "binance"})
    values["bascule"]["consumer"] = {"fallback": "wait", "patience": 1}
    producers = [{"name": name, "host": "x", "ws_token": "y"} for name in ("main", "spare")]
    values["external_message_consumer"] = {"enabled": True, "producers": producers}
    strategy = ConsumerStrategy({**values, "runmode": RunMode.DRY_RUN})
    strategy.dp = wire = Wire()
    assert strategy.informative_pairs() == [] and strategy.startup_candle_count == 1

    def sent(last: datetime, rank: float) -> pd.DataFrame:
        table = frame(last, 20)
        return table.assign(**dict.fromkeys(SIGNAL_COLUMNS, np.float32(rank)))

    own = frame(T0, 10)
    asked = {"pair": "BTC/USDT"}
    silent = strategy.populate_indicators(own, asked)
    assert silent["alpha_rank"].isna().all() and (silent["covered"] == 0).all()
    wire.sent["main"] = sent(T0, 0.9)
    wire.sent["spare"] = sent(T0, 0.1)
    heard = strategy.populate_indicators(own, asked)
    assert heard["alpha_rank"].iloc[-1] == np.float32(0.9)  # the first named one, where both have the candle
    own = frame(T0 + timedelta(hours=1), 10)
    wire.sent["spare"] = sent(T0 + timedelta(hours=1), 0.1)
    assert strategy.populate_indicators(own, asked)["alpha_rank"].iloc[-1] == np.float32(0.1)
    own = frame(T0 + timedelta(hours=3), 10)
    assert strategy.populate_indicators(own, asked)["alpha_rank"].isna().all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_consumers_take_what_the_parts_of_their_settings_read(spot: object) -> None:
    from freqtrade.enums import RunMode

    from bascule.bridge.freqtrade import config
    from bascule.bridge.freqtrade.config import TradeSettings
    from bascule.bridge.freqtrade.consumer import ConsumerStrategy
    from bascule.bridge.freqtrade.feed import SIGNAL_COLUMNS
    from bascule.bridge.freqtrade.trading.source import RISK_COLUMNS
    from tests.bridge.research import Research

    assert isinstance(spot, Research)
    trade = TradeSettings.read({"trading": {"limits": {"volatility": 1.0}}})
    values = config.build(spot.bundle, trade, exchange={"name": "binance"})
    values["bascule"]["consumer"] = {"fallback": "wait"}
    producers = [{"name": "main", "host": "x", "ws_token": "y"}]
    values["external_message_consumer"] = {"enabled": True, "producers": producers}
    strategy = ConsumerStrategy({**values, "runmode": RunMode.DRY_RUN})
    strategy.dp = wire = Wire()
    own, asked = frame(T0, 10), {"pair": "BTC/USDT"}
    strategy._coarse = (None,)  # one coarser timeframe
    silent = strategy.populate_indicators(own, asked)
    assert {"coarse_rank_0", *RISK_COLUMNS} <= set(silent) and silent["beta"].isna().all()
    wire.sent["main"] = frame(T0, 20).assign(**dict.fromkeys(SIGNAL_COLUMNS, np.float32(1)))
    assert strategy.populate_indicators(own, asked)["alpha_rank"].isna().all()  # the same as silence
    more = dict.fromkeys(("coarse_rank_0", *RISK_COLUMNS, "untradable"), np.float32(0.5))
    wire.sent["main"] = wire.sent["main"].assign(**more)
    heard = strategy.populate_indicators(own, asked)
    assert (heard[[*more]] == 0.5).all(axis=None) and (heard["alpha_rank"] == 1).all()
