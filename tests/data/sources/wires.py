"""Wire formats of the sources that are not exchanges, by hand after their recorded replies.

Values are functions of the time alone, as in ``exchanges``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import numpy as np

from tests.data.sources.exchanges import HOUR, Market, funding, interest, price, ratio, stamp, volume
from tests.data.sources.server import FakeTime, Query, Route, Status

DAY = 24 * HOUR


def day(ms: int) -> str:
    return str(np.datetime64(ms, "ms").astype("datetime64[D]"))


def iso(ms: int) -> str:
    return str(np.datetime64(ms, "ms").astype("datetime64[s]"))


# -- Binance's archive --------------------------------------------------------------------------------------


def archive(
    *, since: str = "2023-11-15", microseconds: bool = False, bad_sum: bool = False
) -> dict[str, Route]:
    """Whole months and days of BTCUSDT, hourly; futures files have a header line, spot files none."""
    market = Market(FakeTime("2030-01-01"), listed=since)

    def lines(data_set: str, first: int, last: int) -> list[str]:
        step = {"fundingRate": 8 * HOUR, "metrics": HOUR // 12}.get(data_set, HOUR)
        scale = 1_000 if microseconds else 1
        rows = []
        for ms in market.stamps(step, first, last - 1):
            if data_set == "fundingRate":
                rows.append([ms + 3, 8, f"{funding(ms):.8f}"])
            elif data_set == "metrics":
                moment = iso(ms).replace("T", " ")
                value = interest(ms) * price(ms)
                rows.append([moment, "BTCUSDT", interest(ms), value, 1.5, 1.6, ratio(ms), 1.1])
            else:
                mark = data_set == "markPriceKlines"
                amount = 0 if mark else volume(ms)
                turnover, taker = amount * price(ms), amount * 0.4
                close = (ms + step) * scale - 1
                rows.append(
                    [
                        ms * scale,
                        *market.ohlc(ms, step),
                        amount,
                        close,
                        turnover,
                        300,
                        taker,
                        taker * price(ms),
                        0,
                    ]
                )
        return [",".join(str(cell) for cell in row) for row in rows]

    headers = {
        "fundingRate": "calc_time,funding_interval_hours,last_funding_rate",
        "metrics": "create_time,symbol,sum_open_interest,sum_open_interest_value,"
        "count_toptrader_long_short_ratio,sum_toptrader_long_short_ratio,"
        "count_long_short_ratio,sum_taker_long_short_vol_ratio",
    }
    klines = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,x,ignore"

    def serve(query: Query) -> Any:
        path = query["path"].removesuffix(".CHECKSUM")
        name = path.rpartition("/")[2]
        date = name.removesuffix(".zip")[-10 if "/daily/" in path else -7 :]
        first = stamp(date)
        last = first + DAY if "/daily/" in path else stamp(str(np.datetime64(date, "M") + 1))
        data_set = path.split("/")[path.split("/").index("daily" if "/daily/" in path else "monthly") + 1]
        body = lines(data_set, first, last)
        if not body or "BTCUSDT" not in path:
            raise Status(404, b"<Error><Code>NoSuchKey</Code></Error>")
        if "/futures/" in path or path.startswith("futures/"):
            body.insert(0, headers.get(data_set, klines))
        packed = pack(name.replace(".zip", ".csv"), "\n".join(body) + "\n")
        if not query["path"].endswith(".CHECKSUM"):
            return packed
        digest = "0" * 64 if bad_sum else hashlib.sha256(packed).hexdigest()
        return f"{digest}  {name}\n"

    return {"/data/": serve}


def pack(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        # a fixed date, or the checksum would change from call to call
        file.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), text)
    return buffer.getvalue()


# -- OKX's archive ------------------------------------------------------------------------------------------

HONG_KONG = 8 * HOUR
PIECES = 4  # candles of a minute in an hour that had a trade


def okx_archive(*, since: str = "2023-12-20", hong_kong: bool = True) -> dict[str, Route]:
    """Months and days of BTC-USDT and BTC-USDT-SWAP, four minutes an hour; funding of everybody."""
    market = Market(FakeTime("2030-01-01"), listed=since)
    shift = HONG_KONG if hong_kong else 0

    def candles(symbol: str, first: int, last: int) -> str:
        rows = ["instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm"]
        for ms in market.stamps(HOUR, first, last - 1):
            opened, high, low, close = (float(text) for text in market.ohlc(ms, HOUR))
            coins = volume(ms) / PIECES
            for k, prices in enumerate(
                ((opened, opened, opened, opened), (high,) * 4, (low,) * 4, (low, close, low, close))
            ):
                # a contract is a hundredth of a coin; on spot, vol counts coins and vol_ccy money
                money = coins * price(ms)
                amounts = (coins * 100, coins, money) if "SWAP" in symbol else (coins, money, money)
                cells = (symbol, *prices, *amounts, ms + k * 17 * 60_000, 1)
                rows.append(",".join(str(cell) for cell in cells))
        return "\n".join(rows) + "\n"

    def rates(first: int, last: int) -> str:
        rows = ["instrument_name,funding_rate,funding_time"]
        for ms in market.stamps(8 * HOUR, first, last - 1):
            for name, rate in (("BTC-USDT-SWAP", funding(ms)), ("ETH-USDT-SWAP", 2 * funding(ms))):
                rows.append(f"{name},{rate:.8f},{ms + 2}")
        return "\n".join(rows) + "\n"

    def serve(query: Query) -> Any:
        path = query["path"]
        name = path.rpartition("/")[2].removesuffix(".zip")
        daily = "/daily/" in path
        date = name[-10 if daily else -7 :]
        assert f"/{date.replace('-', '')}/" in path
        first = stamp(date)
        last = first + DAY if daily else stamp(str(np.datetime64(date, "M") + 1))
        first, last = first - shift, last - shift
        if "swaprates" in path:
            body = rates(first, last)
        else:
            symbol = name.removesuffix(f"-candlesticks-{date}")
            if symbol not in ("BTC-USDT", "BTC-USDT-SWAP"):
                raise Status(404, b"")
            body = candles(symbol, first, last)
        if body.count("\n") == 1:
            raise Status(404, b"")
        return pack(f"{name}.csv", body)

    return {"/cdn/okex/traderecords/": serve}


# -- Bybit's archive ----------------------------------------------------------------------------------------


def bybit_archive(*, since: str = "2023-12-20", packed: bool = True) -> dict[str, Route]:
    """Days of trades of BTCUSDT: four an hour; files of perpetuals before 2024 are in reverse order."""
    market = Market(FakeTime("2030-01-01"), listed=since)

    def serve(query: Query, spot: bool) -> Any:
        path = query["path"]
        date = path.removesuffix(".csv.gz")[-10:]
        first = stamp(date)
        expected = f"BTCUSDT/BTCUSDT_{date}.csv.gz" if spot else f"BTCUSDT/BTCUSDT{date}.csv.gz"
        hours = market.stamps(HOUR, first, first + DAY - 1)
        if path != expected or not hours:
            raise Status(404, b"")
        rows = []
        for ms in hours:
            for k, paid in enumerate(market.ohlc(ms, HOUR)):
                at, size, side = ms + k * 17 * 60_000, volume(ms) / PIECES, "Buy" if k < 3 else "Sell"
                if spot:
                    rows.append(f"{at + k},{at},{paid},{size},{side.lower()},0")
                else:
                    rows.append(f"{at / 1000:.4f},BTCUSDT,{side},{size},{paid},ZeroMinusTick,x-{at},1,1,1")
        if not spot and date < "2024":
            rows.reverse()
        header = (
            "id,timestamp,price,volume,side,rpi"
            if spot
            else "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,x,y"
        )
        text = "\n".join([header, *rows, ""]).encode()
        return gzip.compress(text, mtime=0) if packed else text

    return {"/spot/": lambda query: serve(query, True), "/trading/": lambda query: serve(query, False)}


# -- Coin Metrics -------------------------------------------------------------------------------------------


def coinmetrics(*, page: int = 4) -> dict[str, Route]:
    """``btc`` with all metrics, ``doge`` without realised cap; completion told for even days only."""

    def row(asset: str, ms: int) -> dict[str, Any]:
        number = ms // DAY
        values = {
            "AdrActCnt": str(900_000 + number),
            "TxCnt": str(300_000 + number),
            "TxTfrValAdjUSD": f"{5e9 + number}",
            "FeeTotUSD": "1234567.891",
            "CapMrktCurUSD": "850000000000.12",
            "CapRealUSD": "430000000000.5",
            "CapMVRVCur": "1.976",
            "NVTAdj": None if number % 5 == 0 else "88.1",
        }
        if asset == "doge":
            del values["CapRealUSD"]
        if number % 2 == 0:
            values["AssetEODCompletionTime"] = str((ms + DAY + 2 * HOUR) // 1_000)
        return {"asset": asset, "time": iso(ms) + ".000000000Z", **values}

    def metrics(query: Query) -> Any:
        asset = query["assets"]
        if asset not in ("btc", "doge"):
            message = f"Bad parameter 'assets'. Value '{asset}' is not supported."
            raise Status(400, {"error": {"type": "bad_parameter", "message": message}})
        start, end = (stamp(query[key].rstrip("Z")) for key in ("start_time", "end_time"))
        if "next_page_token" in query:
            start = int(query["next_page_token"])
        stamps = list(range(-(-start // DAY) * DAY, end, DAY))
        rows = [row(asset, ms) for ms in stamps[:page]]
        rest = stamps[page:]
        return {"data": rows} | (
            {"next_page_token": str(rest[0]), "next_page_url": "https://…"} if rest else {}
        )

    return {"/v4/timeseries/asset-metrics": metrics}


# -- fear and greed, CoinGecko, ECB ------------------------------------------------------------------------


def feargreed(last: str = "2024-01-09") -> dict[str, Route]:
    def index(query: Query) -> Any:
        rows = [
            {
                "value": str(20 + ms // DAY % 60),
                "value_classification": "Fear",
                "timestamp": str(ms // 1_000),
            }
            for ms in range(stamp("2023-12-01"), stamp(last) + 1, DAY)
        ][::-1]
        rows[0]["time_until_update"] = "68499"
        return {"name": "Fear and Greed Index", "data": rows, "metadata": {"error": None}}

    return {"/fng/": index}


def coingecko(time: FakeTime) -> dict[str, Route]:
    def now() -> int:
        return int(time.clock().astype("datetime64[ms]").astype(np.int64))

    def present(_: Query) -> Any:
        return {
            "data": {
                "active_cryptocurrencies": 12_000,
                "markets": 900,
                "total_market_cap": {"btc": 4e7, "usd": 1.7e12},
                "total_volume": {"btc": 1.9e6, "usd": 8.1e10},
                "market_cap_percentage": {"btc": 51.25, "eth": 17.0},
                "updated_at": now() // 1_000 - 40,
            }
        }

    def stamps(query: Query) -> list[int]:
        today = now() // DAY * DAY
        days = [today - i * DAY for i in range(int(query["days"]), -1, -1)]
        return [*days, now()]  # the last point is the present

    def chart(query: Query) -> Any:
        return {
            "market_cap_chart": {
                "market_cap": [[ms, 1.6e12 + ms // DAY] for ms in stamps(query)],
                "volume": [[ms, 8e10] for ms in stamps(query)],
            }
        }

    def coin(query: Query) -> Any:
        points = [[ms, 0.5 * (1.6e12 + ms // DAY)] for ms in stamps(query)]
        return {"prices": [], "market_caps": points, "total_volumes": []}

    return {
        "/api/v3/global": present,
        "/api/v3/global/market_cap_chart": chart,
        "/api/v3/coins/bitcoin/market_chart": coin,
    }


def ecb() -> dict[str, Route]:
    """Working days only."""

    def rates(query: Query) -> Any:
        start, _, end = query["path"].partition("..")
        days = np.arange(np.datetime64(start), np.datetime64(end) + 1)
        days = days[np.is_busday(days)]
        return {
            "amount": 1.0,
            "base": query["base"],
            "start_date": start,
            "end_date": end,
            "rates": {
                str(d): {query["symbols"]: won(int(d.astype("datetime64[ms]").astype(int)))} for d in days
            },
        }

    return {"/v1/": rates}


def won(ms: int) -> float:
    return 1_300.0 + ms // DAY % 7


# -- headlines ----------------------------------------------------------------------------------------------

TITLES = (
    "SEC sues exchange over unregistered securities",
    "Bitcoin rallies as institutions pile in",
    "Lawmakers propose ban on stablecoins after hack",
    "Ethereum upgrade goes live",
)


def published(start: str = "2024-01-01", hours: int = 72) -> list[tuple[int, str]]:
    """Two headlines an hour, ten minutes apart."""
    first = stamp(start)
    return [
        (first + h * HOUR + m * 60_000, f"{TITLES[(h + m) % len(TITLES)]} {h}")
        for h in range(hours)
        for m in (10, 20)
    ]


def gdelt(articles: list[tuple[int, str]]) -> dict[str, Route]:
    def moment(text: str) -> int:
        return stamp(f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:14]}")

    def search(query: Query) -> Any:
        lo, hi = moment(query["startdatetime"]), moment(query["enddatetime"])
        found = [(ms, title) for ms, title in articles if lo <= ms <= hi][: int(query["maxrecords"])]
        if not found:
            return {}
        return {
            "articles": [
                {
                    "url": f"https://example.com/{ms}",
                    "url_mobile": "",
                    "title": title,
                    "seendate": iso(ms).replace("-", "").replace(":", "") + "Z",
                    "socialimage": "",
                    "domain": "example.com",
                    "language": "English",
                    "sourcecountry": "United States",
                }
                for ms, title in found
            ]
        }

    return {"/api/v2/doc/doc": search}


def rss(articles: list[tuple[int, str]]) -> dict[str, Route]:
    def feed(_: Query) -> Any:
        items = "".join(
            f"<item><title>{title}</title><link>https://example.com/{ms}</link>"
            f"<pubDate>{format_datetime(datetime.fromtimestamp(ms / 1_000, UTC))}</pubDate></item>"
            for ms, title in reversed(articles)
        )
        head = '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel><title>News</title>'
        return f"{head}{items}<item><title>undated</title></item></channel></rss>"

    def atom(_: Query) -> Any:
        items = "".join(
            f"<entry><title>{title}</title><updated>{iso(ms)}Z</updated></entry>"
            for ms, title in articles[:3]
        )
        return f'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom">{items}</feed>'

    return {"/rss": feed, "/atom": atom}
