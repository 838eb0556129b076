"""One case (or more) of each source in the registry, for the conformance suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bascule.data.sources.feeds import Event
from bascule.data.sources.recordings import write_part
from bascule.data.synthetic import SyntheticSettings, generate
from tests.data.sources import exchanges, wires
from tests.data.sources.exchanges import HOUR, Market, funding, interest, price, ratio, stamp, volume
from tests.data.sources.server import FakeTime, Route

NOW = "2024-01-10T00:30"
GENERATED = {"instruments": 6, "days": 10, "start": "2023-12-28", "late": 0, "delisted": 0, "missing": 0}


@dataclass(frozen=True)
class Case:
    """A source with a server or files that it can be fetched from.

    Attributes:
        name: of the test.
        kind: key of the registry.
        values: settings, from the server's URL and an empty folder.
        routes: what the server answers, None = no server.
        start: of the range.
        end: of the range.
        instruments: to ask for.
        rows: rows that must come.
        check: asserts values of the frame.
        chunks: more than one chunk, so that an interrupted fetch resumes.
        snapshot: tells the present only; checks that need a past are left out.
        absent: instruments that must be refused, None = takes none.
    """

    name: str
    kind: str
    values: Callable[[str, Path], dict[str, Any]]
    routes: Callable[[FakeTime], dict[str, Route]] | None
    start: str
    end: str
    instruments: tuple[str, ...]
    rows: int
    check: Callable[[pd.DataFrame], None]
    chunks: bool = False
    snapshot: bool = False
    absent: str | None = "NOPE_USDT"


def ms_of(frame: pd.DataFrame) -> np.ndarray:
    return frame["time"].dt.tz_localize(None).to_numpy("datetime64[ms]").astype(np.int64)


def generated(frame: pd.DataFrame) -> None:
    market = generate(SyntheticSettings.read(GENERATED, where="case")).frame
    own = market[market["instrument"] == "SYN03_USDT"].set_index("time")
    for name in ("open", "high", "low", "close", "volume", "quote_volume"):
        assert (frame.set_index("time")[name] == own[name].reindex(frame["time"])).all()


def expect(field: str, function: Callable[[int], float]) -> Callable[[pd.DataFrame], None]:
    """All rows have the value that the server's function gives for their time."""

    def check(frame: pd.DataFrame) -> None:
        truth = np.array([function(int(ms)) for ms in ms_of(frame)])
        np.testing.assert_allclose(frame[field], truth, rtol=1e-6)

    return check


def all_of(*checks: Callable[[pd.DataFrame], None]) -> Callable[[pd.DataFrame], None]:
    def check(frame: pd.DataFrame) -> None:
        for one in checks:
            one(frame)

    return check


CLOSE = expect("close", price)
VOLUME = expect("volume", volume)
TURNOVER = expect("quote_volume", lambda ms: price(ms) * volume(ms))
FIELDS = {
    "candles": all_of(CLOSE, VOLUME, TURNOVER),
    "mark": expect("mark_close", price),
    "funding": expect("funding_rate", funding),
    "open_interest": expect("open_interest", interest),
    "long_short": expect("long_short_ratio", ratio),
}


def exchange(venue: str, market: str, kind: str) -> Case:
    name = {"spot": "BTC_USDT", "futures": "BTC_USDT_USDT"}[market] if venue != "upbit" else "BTC_KRW"
    other = name.replace("BTC", "ETH")
    check = FIELDS[kind]
    if venue == "upbit":
        check = all_of(VOLUME, expect("close", lambda ms: price(ms) * 1_300 * 1.02))
    if (venue, kind) == ("binance", "candles"):
        check = all_of(
            check,
            expect("taker_buy_volume", lambda ms: volume(ms) * 0.4),
            expect("trades", lambda ms: volume(ms) * 3),
        )
    # funding has no rows for the last hours: its range ends at a settlement
    rows = 2 * (9 * 3 if kind == "funding" else 9 * 24)
    return Case(
        name=f"{venue}-{market}-{kind}",
        kind="exchange",
        values=lambda url, _: {
            "venue": venue,
            "market": market,
            "kind": kind,
            "base_url": url,
            "pace": False,
        },
        routes=lambda time: exchanges.DIALECTS[venue](Market(time)),
        start="2024-01-01",
        end="2024-01-10",
        instruments=(name, other),
        rows=rows,
        check=check,
        chunks=True,
        absent=name.replace("BTC", "NOPE"),
    )


def archived(market: str, data_set: str, rows: int, check: Callable[[pd.DataFrame], None]) -> Case:
    return Case(
        name=f"archive-{market}-{data_set}",
        kind="archive",
        values=lambda url, _: {"market": market, "data_set": data_set, "base_url": url},
        routes=lambda _: wires.archive(),
        start="2023-12-28" if data_set == "metrics" else "2023-11-20",
        end="2023-12-31",
        instruments=("BTC_USDT" if market == "spot" else "BTC_USDT_USDT",),
        rows=rows,
        check=check,
        chunks=True,
        absent=None,
    )


def expect_ohlc(frame: pd.DataFrame) -> None:
    """All prices of a candle, from its pieces."""
    now = np.array([price(int(ms)) for ms in ms_of(frame)])
    before = np.array([price(int(ms) - HOUR) for ms in ms_of(frame)])
    np.testing.assert_allclose(frame["open"], before, rtol=1e-6)
    np.testing.assert_allclose(frame["high"], np.maximum(before, now) + 5, rtol=1e-6)
    np.testing.assert_allclose(frame["low"], np.minimum(before, now) - 5, rtol=1e-6)
    np.testing.assert_allclose(frame["close"], now, rtol=1e-6)


def expect_trades(frame: pd.DataFrame) -> None:
    np.testing.assert_allclose(frame["trades"], 4)
    np.testing.assert_allclose(frame["taker_buy_volume"], frame["volume"] * 0.75)
    mean = (frame["open"] + frame["high"] + frame["low"] + frame["close"]) / 4
    np.testing.assert_allclose(frame["quote_volume"], frame["volume"] * mean, rtol=1e-5)


def pieced(
    kind: str, market: str, rows: int, check: Callable[[pd.DataFrame], None], data_set: str | None = None
) -> Case:
    """Archives of OKX and Bybit: over the end of a year, the first days before listing."""
    name = {"spot": "BTC_USDT", "futures": "BTC_USDT_USDT"}[market]
    routes = wires.okx_archive if kind == "archive.okx" else wires.bybit_archive
    return Case(
        name=f"{kind}-{market}" + (f"-{data_set}" if data_set else ""),
        kind=kind,
        values=lambda url, _: {
            "market": market,
            "base_url": url,
            **({"data_set": data_set} if data_set else {}),
        },
        routes=lambda _: routes(),
        start="2023-12-19",
        end="2024-01-03",
        instruments=(name, name.replace("BTC", "ETH")) if data_set == "funding" else (name,),
        rows=rows,
        check=check,
        chunks=True,
        absent="BTC_USDT" if market == "futures" else "BTC_USDT_USDT",
    )


def expect_rates(frame: pd.DataFrame) -> None:
    rates = np.array([funding(int(ms)) for ms in ms_of(frame)])
    twice = np.where(frame["instrument"] == "ETH_USDT_USDT", 2, 1)
    np.testing.assert_allclose(frame["funding_rate"], rates * twice, rtol=1e-5)


def check_onchain(frame: pd.DataFrame) -> None:
    days = ms_of(frame) // wires.DAY
    np.testing.assert_allclose(frame["active_addresses"], 900_000 + days)
    told = days % 2 == 0
    delay = (frame["available_time"] - frame["time"]).dt.total_seconds() / 3_600
    assert set(delay[told]) == {26.0}  # told: two hours after the day's end
    assert set(delay[~told]) == {36.0}  # the lag of the settings
    assert (frame["nvt"].isna() == (days % 5 == 0)).all()
    assert frame.loc[frame["instrument"] == "DOGE", "realised_cap"].isna().all()
    assert frame.loc[frame["instrument"] == "BTC", "realised_cap"].notna().all()


def check_news(frame: pd.DataFrame) -> None:
    assert (frame["headlines"] == 2).all()
    assert frame["sentiment"].between(-1, 1).all()
    assert frame["regulation_share"].between(0, 1).all()
    assert frame["regulation"].max() > 0.1  # "SEC sues …" is adverse


def record(folder: Path) -> dict[str, Any]:
    """Three hours listened to, a gap, and an hour after it."""

    def at(text: str) -> np.datetime64:
        return np.datetime64(text, "ns")

    events = [
        Event(at("2024-01-01T01:05"), at("2024-01-01T01:05:01"), "BTC_USDT_USDT", "long", 40_000.0, 0.5),
        Event(at("2024-01-01T01:06"), at("2024-01-01T01:06:01"), "BTC_USDT_USDT", "short", 41_000.0, 0.1),
        Event(at("2024-01-01T05:30"), at("2024-01-01T05:30:01"), "BTC_USDT_USDT", "long", 42_000.0, 1.0),
    ]
    first = [
        (at("2024-01-01T00:00"), at("2024-01-01T02:00")),
        (at("2024-01-01T02:00"), at("2024-01-01T03:20")),
    ]
    day = folder / "binance" / "2024-01-01"
    write_part(day / "part-a.parquet", events[:2], first)
    write_part(day / "part-b.parquet", events[2:], [(at("2024-01-01T04:10"), at("2024-01-01T06:00"))])
    return {"folder": folder, "venue": "binance"}


def check_liquidations(frame: pd.DataFrame) -> None:
    by = frame.set_index(["instrument", frame["time"].dt.hour])
    assert list(by.loc["BTC_USDT_USDT"].index) == [
        0,
        1,
        2,
        5,
    ]  # hours 3 and 4 were not listened to all through
    assert by.loc[("BTC_USDT_USDT", 1), "liquidated_long"] == 20_000
    assert by.loc[("BTC_USDT_USDT", 1), "liquidated_short"] == 4_100
    assert by.loc[("BTC_USDT_USDT", 5), "liquidations"] == 1
    assert (by.loc["ETH_USDT_USDT", "liquidations"] == 0).all()


def long_table(folder: Path) -> dict[str, Any]:
    stamps = range(stamp("2024-01-01"), stamp("2024-01-03"), HOUR)
    rows = [
        {"date": pd.Timestamp(ms, unit="ms"), "symbol": name, "volume": volume(ms), "n": 7}
        | dict.fromkeys(("open", "high", "low", "close"), price(ms))
        for ms in stamps
        for name in ("BTCUSDT", "ETHUSDT")
    ]
    path = folder / "candles.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return {"path": path, "fields": ("n",)}


def freqtrade_folder(folder: Path) -> dict[str, Any]:
    stamps = np.arange(stamp("2024-01-01"), stamp("2024-01-03"), HOUR)
    frame = pd.DataFrame({"date": pd.to_datetime(stamps, unit="ms", utc=True)})
    for name in ("open", "high", "low", "close"):
        frame[name] = [price(int(ms)) for ms in stamps]
    frame["volume"] = [volume(int(ms)) for ms in stamps]
    frame.to_feather(folder / "BTC_USDT-1h.feather")
    return {"folder": folder}


def fx_table(folder: Path) -> dict[str, Any]:
    path = folder / "krw.csv"
    lines = [
        f"{wires.day(ms)},{wires.won(ms)}"
        for ms in range(stamp("2023-12-20"), stamp("2024-01-09"), wires.DAY)
    ]
    path.write_text("# from my bank\ntime,rate\n" + "\n".join(lines) + "\n")
    return {"path": path}


def cross(time: FakeTime) -> dict[str, Route]:
    return exchanges.binance(Market(time)) | exchanges.okx(Market(time))


def premium(time: FakeTime) -> dict[str, Route]:
    return exchanges.binance(Market(time)) | exchanges.upbit(Market(time)) | wires.ecb()


def check_premium(frame: pd.DataFrame) -> None:
    # 1,300 won × 1.02 at home, against the last rate published: not the rate of the same day before 16:00 UTC
    known = frame["available_time"] - pd.Timedelta(hours=16)
    day = known.dt.floor("D").dt.tz_localize(None).to_numpy("datetime64[D]")
    last = np.busday_offset(day, 0, roll="backward")
    rate = np.array([wires.won(int(d.astype("datetime64[ms]").astype(np.int64))) for d in last])
    np.testing.assert_allclose(frame["rate"], rate)
    np.testing.assert_allclose(frame["premium"], 1_300 * 1.02 / rate - 1, atol=2e-6)


def feed(url: str, venue: str) -> dict[str, Any]:
    return {"venue": venue, "base_url": url, "pace": False}


CASES: tuple[Case, ...] = (
    *(exchange(venue, "spot", "candles") for venue in exchanges.DIALECTS),
    *(
        exchange(venue, "futures", kind)
        for venue in ("binance", "bybit", "okx")
        for kind in ("candles", "mark", "funding", "open_interest", "long_short")
    ),
    archived("spot", "klines", 41 * 24, all_of(CLOSE, VOLUME, TURNOVER)),
    archived("futures", "klines", 41 * 24, all_of(CLOSE, VOLUME, TURNOVER)),
    archived("futures", "markPriceKlines", 41 * 24, FIELDS["mark"]),
    archived("futures", "fundingRate", 41 * 3, FIELDS["funding"]),
    archived("futures", "metrics", 3 * 288, all_of(FIELDS["open_interest"], FIELDS["long_short"])),
    pieced("archive.okx", "spot", 14 * 24, all_of(expect_ohlc, VOLUME, TURNOVER)),
    pieced("archive.okx", "futures", 14 * 24, all_of(expect_ohlc, VOLUME, TURNOVER)),
    pieced("archive.okx", "futures", 2 * 14 * 3, expect_rates, "funding"),
    pieced("archive.bybit", "spot", 14 * 24, all_of(expect_ohlc, VOLUME, expect_trades)),
    pieced("archive.bybit", "futures", 14 * 24, all_of(expect_ohlc, VOLUME, expect_trades)),
    Case(
        "coinmetrics",
        "coinmetrics",
        lambda url, _: {"base_url": url, "min_interval_seconds": 0},
        lambda _: wires.coinmetrics(),
        "2023-12-20",
        "2024-01-05",
        ("BTC", "DOGE"),
        32,
        check_onchain,
        chunks=True,
        absent="NOPE",
    ),
    Case(
        "feargreed",
        "feargreed",
        lambda url, _: {"base_url": url},
        lambda _: wires.feargreed(),
        "2023-12-15",
        "2024-01-05",
        (),
        21,
        expect("fear_greed", lambda ms: 20 + ms // wires.DAY % 60),
        absent=None,
    ),
    Case(
        "coingecko",
        "coingecko",
        lambda url, _: {"base_url": f"{url}/api/v3"},
        wires.coingecko,
        "2024-01-09",
        "2024-01-11",
        (),
        1,
        all_of(expect("btc_dominance", lambda _: 0.5125), expect("total_market_cap", lambda _: 1.7e12)),
        snapshot=True,
        absent=None,
    ),
    Case(
        "coingecko-history",
        "coingecko",
        lambda url, _: {"base_url": f"{url}/api/v3", "history": True, "api_key": "key"},
        wires.coingecko,
        "2023-12-20",
        "2024-01-05",
        (),
        16,
        expect("btc_dominance", lambda _: 0.5),
        absent=None,
    ),
    Case(
        "fx-ecb",
        "fx.ecb",
        lambda url, _: {"base_url": url},
        lambda _: wires.ecb(),
        "2024-01-01",
        "2024-01-08",
        ("USD_KRW",),
        5,
        expect("rate", wires.won),
        absent=None,
    ),
    Case(
        "fx-file",
        "fx.file",
        lambda _, folder: fx_table(folder),
        None,
        "2024-01-01",
        "2024-01-08",
        ("USD_KRW",),
        7,
        expect("rate", wires.won),
        absent="USD_EUR",
    ),
    Case(
        "cross",
        "cross",
        lambda url, _: {"first": feed(url, "binance"), "second": feed(url, "okx")},
        cross,
        "2024-01-01",
        "2024-01-08",
        ("BTC_USDT",),
        7 * 24,
        all_of(
            expect("venue_share", lambda _: 0.5), lambda f: np.testing.assert_allclose(f["venue_spread"], 0)
        ),
    ),
    Case(
        "premium",
        "premium",
        lambda url, _: {
            "local": feed(url, "upbit"),
            "dollar": feed(url, "binance"),
            "rates": {"base_url": url},
        },
        premium,
        "2024-01-01",
        "2024-01-08",
        ("BTC_USDT",),
        7 * 24,
        check_premium,
    ),
    Case(
        "gdelt",
        "gdelt",
        lambda url, _: {"base_url": url, "min_interval_seconds": 0},
        lambda _: wires.gdelt(wires.published()),
        "2024-01-01",
        "2024-01-03T12:00",
        ("GLOBAL",),
        60,
        check_news,
        chunks=True,
        absent="NOPE",
    ),
    Case(
        "rss",
        "rss",
        lambda url, _: {"feeds": (f"{url}/rss",)},
        lambda _: wires.rss(wires.published()),
        "2024-01-01",
        "2024-01-03T12:00",
        (),
        60,
        check_news,
        absent="NOPE",
    ),
    Case(
        "counterparty",
        "counterparty",
        lambda _, __: {},
        None,
        "2023-12-01",
        "2024-01-05",
        ("binance", "okx"),
        2,
        lambda f: np.testing.assert_allclose(f["exchange_score"], [0.8, 0.7]),
        absent="nope",
    ),
    Case(
        "liquidations",
        "liquidations",
        lambda _, folder: record(folder),
        None,
        "2024-01-01",
        "2024-01-02",
        ("BTC_USDT_USDT", "ETH_USDT_USDT"),
        8,
        check_liquidations,
        absent=None,
    ),
    Case(
        "file",
        "file",
        lambda _, folder: long_table(folder),
        None,
        "2024-01-01",
        "2024-01-02T12:00",
        ("BTC_USDT",),
        36,
        all_of(CLOSE, VOLUME),
    ),
    Case(
        "freqtrade-folder",
        "freqtrade.folder",
        lambda _, folder: freqtrade_folder(folder),
        None,
        "2024-01-01",
        "2024-01-02T12:00",
        ("BTC_USDT",),
        36,
        all_of(CLOSE, VOLUME),
    ),
    Case(
        "synthetic",
        "synthetic",
        lambda *_: GENERATED,
        None,
        "2024-01-01",
        "2024-01-02T12:00",
        ("SYN03_USDT",),
        36,
        generated,
    ),
)
