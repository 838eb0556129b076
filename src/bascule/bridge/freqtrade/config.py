"""The complete freqtrade configuration of a run, built from a bundle and a few settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bascule import __version__
from bascule.bridge.freqtrade.trading import TradingSettings
from bascule.core import Instrument, Settings, SetupError

if TYPE_CHECKING:
    from bascule.signals import Bundle

SignalMode = Literal["stored", "computed"]


class TradeSettings(Settings):
    """Wallet and costs of a freqtrade run."""

    wallet: float = Field(default=10_000.0, gt=0, description="starting balance, in the stake currency")
    stake_currency: str = Field(default="USDT", min_length=1, description="quote asset of all pairs")
    fee: float = Field(default=0.001, ge=0, le=0.05, description="exchange fee a side, fraction of the value")
    slippage: float = Field(
        default=0.0005, ge=0, le=0.05, description="assumed slippage a side, fraction of the value"
    )
    tradable: float = Field(default=0.99, gt=0, le=1, description="share of the balance that may be used")
    leverage: float = Field(default=1.0, ge=1, le=125, description="futures: leverage of every position")
    margin: Literal["isolated", "cross"] = Field(default="isolated", description="futures: margin mode")
    mode: SignalMode | None = Field(
        default=None,
        description="stored: join the bundle's out-of-sample signals; computed: from the exchange's candles. "
        "Default: stored in backtests, computed in dry and live runs",
    )
    trading: TradingSettings = Field(
        default=TradingSettings(), description="what the strategy does beyond the signals"
    )


def build(
    bundle: Bundle,
    settings: TradeSettings,
    *,
    exchange: Mapping[str, Any],
    pairs: Iterable[str] | None = None,
    strategy: str = "BasculeStrategy",
    assume_tiers: bool = False,
    follow: Path | None = None,
) -> dict[str, Any]:
    """A configuration that freqtrade takes as it is.

    freqtrade knows a fee but no slippage, so ``fee`` holds the sum of both: every fill in a backtest or dry
    run costs ``settings.fee + settings.slippage`` of its value. Orders are market orders at the far side of
    the book, as the signals assume execution right after the candle's close; with
    ``settings.trading.pricing`` they are limit orders that start at the near side.

    Args:
        bundle: gives timeframe, market, path, and the pairs.
        settings: wallet and costs.
        exchange: freqtrade's exchange block without pairs, e.g. of `bascule.bridge.exchange.exchange_config`.
        pairs: instruments to trade (any spelling); default the bundle's whole universe. Signals are always
            computed over the whole universe.
        strategy: name of the strategy class.
        assume_tiers: futures pairs without leverage tiers in freqtrade (delisted ones, invented ones) are
            listed under ``bascule.assumed_tiers``, for `launch`, instead of refused.
        follow: what a bot that runs on is given instead of this one bundle: a folder with a ``current``
            bundle, or a link to one. It takes up each new one. A backtest has none: it stays with its bundle.

    Raises:
        BridgeError: a pair is not of the bundle, is quoted in another currency, or (futures) has no leverage
            tiers in freqtrade.
    """
    chosen = _pairs(bundle, settings, pairs)
    untiered = sorted(set(chosen) - leverage_tiers()) if bundle.spec.market == "futures" else []
    if untiered and not assume_tiers:
        raise SetupError(
            f"freqtrade knows no leverage tiers for {', '.join(untiered)}",
            where="pairs",
            remedy="leave these pairs out of the traded ones (they may stay in the universe)",
        )
    trading = settings.trading
    side = "other" if trading.pricing is None else "same"
    config: dict[str, Any] = {
        "bot_name": "bascule",
        "dry_run": True,
        "dry_run_wallet": settings.wallet,
        "stake_currency": settings.stake_currency,
        "stake_amount": "unlimited",
        "tradable_balance_ratio": settings.tradable,
        # the signals choose how many positions there are; freqtrade must not cut them
        "max_open_trades": len(chosen),
        "fee": settings.fee + settings.slippage,
        "timeframe": bundle.spec.timeframe,
        "trading_mode": bundle.spec.market,
        "margin_mode": settings.margin if bundle.spec.market == "futures" else "",
        "strategy": strategy,
        "dataformat_ohlcv": "feather",
        "dataformat_trades": "feather",
        "order_types": trading.order_types(),
        "entry_pricing": {"price_side": side, "use_order_book": True, "order_book_top": 1},
        "exit_pricing": {"price_side": side, "use_order_book": True, "order_book_top": 1},
        "exchange": {**exchange, "pair_whitelist": chosen, "pair_blacklist": []},
        "pairlists": [{"method": "StaticPairList"}],
        "initial_state": "running",
        # freqtrade's hash of a run covers this configuration but not our package: the version must be in it
        "bascule": {
            "bundle": str(bundle.path if follow is None else follow.absolute()),
            "id": bundle.id,
            "version": __version__,
            "leverage": settings.leverage,
            **({"mode": settings.mode} if settings.mode else {}),
            **({"trading": trading.model_dump(mode="json")} if trading != TradingSettings() else {}),
            **({"assumed_tiers": untiered} if untiered else {}),
        },
    }
    return config


def _pairs(bundle: Bundle, settings: TradeSettings, pairs: Iterable[str] | None) -> list[str]:
    universe = [Instrument.parse(name) for name in bundle.instruments]
    chosen = universe if pairs is None else [Instrument.parse(name) for name in pairs]
    foreign = [one.pair for one in chosen if one not in universe]
    if foreign:
        raise SetupError(
            f"the bundle has no signals for {', '.join(foreign)}",
            where="pairs",
            remedy=f"choose from its universe: {', '.join(one.pair for one in universe[:8])}, …",
        )
    if not chosen:
        raise SetupError("no pairs to trade", where="pairs", remedy="name at least one")
    quoted = [one.pair for one in chosen if one.quote != settings.stake_currency]
    if quoted:
        raise SetupError(
            f"{', '.join(quoted)}: not quoted in the stake currency {settings.stake_currency}",
            where="pairs",
            remedy="set stake_currency to the quote asset of the pairs",
        )
    return [one.pair for one in chosen]


def leverage_tiers() -> set[str]:
    """The pairs whose leverage tiers freqtrade carries for runs without an account.

    Raises:
        BridgeError: freqtrade is not installed, or has no such file.
    """
    package = find_spec("freqtrade")
    folder = (
        Path(package.submodule_search_locations[0])
        if package and package.submodule_search_locations
        else None
    )
    path = None if folder is None else folder / "exchange" / "binance_leverage_tiers.json"
    if path is None or not path.is_file():
        raise SetupError(
            "freqtrade's leverage tiers are not there",
            where=str(path),
            remedy="pip install freqtrade==2026.9",
        )
    return set(json.loads(path.read_text("utf-8")))
