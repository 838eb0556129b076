"""All sources, in one table. To add one: write it, add a line here and a case in ``tests/data/sources``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bascule.core import ConfigError, Registry, Settings
from bascule.data.sources.archive import ArchiveSettings, BinanceArchive
from bascule.data.sources.bybitarchive import BybitArchive, BybitArchiveSettings
from bascule.data.sources.coinmetrics import CoinMetrics, CoinMetricsSettings
from bascule.data.sources.context import Context
from bascule.data.sources.counterparty import Counterparty, CounterpartySettings
from bascule.data.sources.cross import CrossExchange, CrossExchangeSettings, KrwPremium, KrwPremiumSettings
from bascule.data.sources.downloader import DownloaderSettings, FreqtradeDownloader
from bascule.data.sources.exchange import ExchangeSettings, ExchangeSource
from bascule.data.sources.files import FreqtradeFolder, FreqtradeFolderSettings, LongFile, LongFileSettings
from bascule.data.sources.fx import EcbRates, EcbSettings, FxFile, FxFileSettings
from bascule.data.sources.generated import GeneratedMarket
from bascule.data.sources.headlines import Gdelt, GdeltSettings, Rss, RssSettings
from bascule.data.sources.liquidations import Liquidations, LiquidationSettings
from bascule.data.sources.macro import CoinGeckoGlobal, CoinGeckoSettings, FearGreed, FearGreedSettings
from bascule.data.sources.okxarchive import OkxArchive, OkxArchiveSettings
from bascule.data.sources.own import accept
from bascule.data.sources.spec import Source
from bascule.data.synthetic import SyntheticSettings


@dataclass(frozen=True)
class Entry:
    """One kind of source.

    Attributes:
        settings: its settings.
        build: settings and context to source.
        summary: what it brings, in a line.
    """

    settings: type[Settings]
    build: Callable[[Any, Context], Source]
    summary: str


_BUILT_IN: Mapping[str, Entry] = {
    "exchange": Entry(
        ExchangeSettings,
        ExchangeSource,
        "candles, mark prices, funding, open interest, long/short ratio of an exchange (ccxt)",
    ),
    "archive": Entry(ArchiveSettings, BinanceArchive, "Binance's public archive files, with checksums"),
    "archive.bybit": Entry(
        BybitArchiveSettings, BybitArchive, "Bybit's public archive: candles of its trades"
    ),
    "archive.okx": Entry(OkxArchiveSettings, OkxArchive, "OKX's public archive files: candles, funding"),
    "freqtrade": Entry(DownloaderSettings, FreqtradeDownloader, "freqtrade's own downloader"),
    "freqtrade.folder": Entry(FreqtradeFolderSettings, FreqtradeFolder, "a data folder of freqtrade"),
    "file": Entry(LongFileSettings, LongFile, "a long table of candles (parquet, feather, CSV)"),
    "synthetic": Entry(SyntheticSettings, GeneratedMarket, "the embedded synthetic market, to try things"),
    "liquidations": Entry(LiquidationSettings, Liquidations, "recorded liquidations"),
    "coinmetrics": Entry(CoinMetricsSettings, CoinMetrics, "on-chain data a day and asset"),
    "feargreed": Entry(FearGreedSettings, FearGreed, "fear and greed index"),
    "coingecko": Entry(CoinGeckoSettings, CoinGeckoGlobal, "total market cap, Bitcoin's dominance"),
    "fx.ecb": Entry(EcbSettings, EcbRates, "currency rates of the ECB"),
    "fx.file": Entry(FxFileSettings, FxFile, "currency rates of a CSV"),
    "cross": Entry(CrossExchangeSettings, CrossExchange, "one pair on two venues"),
    "premium": Entry(KrwPremiumSettings, KrwPremium, "premium of a local currency (KRW)"),
    "gdelt": Entry(GdeltSettings, Gdelt, "tone and regulation of the world's headlines"),
    "rss": Entry(RssSettings, Rss, "tone and regulation of RSS feeds"),
    "counterparty": Entry(CounterpartySettings, Counterparty, "exchange scores and insurance funds of a CSV"),
}
SOURCES: Registry[Entry] = Registry("sources", _BUILT_IN, accept)


def open_source(
    kind: str, values: Mapping[str, Any], context: Context, *, where: str = "data.sources"
) -> Source:
    """Build a source from plain values (as read from YAML).

    Args:
        kind: a key of `SOURCES`.
        values: its settings.
        context: time, pause, dice, journal.
        where: place of the values, for errors.

    Raises:
        ConfigError: unknown kind, or a wrong setting.
    """
    entry = SOURCES.get(kind)
    if entry is None:
        raise ConfigError(
            f"unknown source {kind!r}", where=where, remedy=f"known: {', '.join(sorted(SOURCES))}"
        )
    return entry.build(entry.settings.read(values, where=f"{where}: {kind}"), context)
