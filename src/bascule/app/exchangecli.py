"""``bascule exchange …``: the replay exchange as a program."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bascule.app.command import Code, Commands, answer
from bascule.app.options import Market
from bascule.core import BridgeError

exchange_app = Commands()
Url = Annotated[str, typer.Argument(help="of a running replay exchange")]
MONEY, FORM = "Account", "Clock and candles"


class Way(StrEnum):
    """What is seen of the forming candle."""

    open = "open"
    walk = "walk"


@exchange_app.command(
    "serve",
    answers=False,
    example="bascule exchange serve runs/demo/store --clock x60 --balance USDT=10000 --state account.json",
)
def serve(
    store: Annotated[Path | None, typer.Argument(help="folder of a store to replay")] = None,
    instrument: Annotated[
        list[str] | None, typer.Option(help="instead of a store: an instrument without candles (repeatable)")
    ] = None,
    timeframe: Annotated[str, typer.Option(help="timeframe of the store")] = "1h",
    market: Annotated[Market, typer.Option(help="kind of market")] = Market.spot,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 = a free one")] = 0,
    clock: Annotated[
        str, typer.Option(help="real, step, or a speed such as x60", rich_help_panel=FORM)
    ] = "real",
    start: Annotated[
        str | None, typer.Option(help="where the clock begins, UTC", rich_help_panel=FORM)
    ] = None,
    path: Annotated[
        Way, typer.Option(help="the forming candle: walked, or its open only", rich_help_panel=FORM)
    ] = Way.walk,
    balance: Annotated[
        list[str] | None, typer.Option(help="e.g. USDT=10000 (repeatable)", rich_help_panel=MONEY)
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="fault plan (YAML)")] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="file that keeps the account over restarts", rich_help_panel=MONEY),
    ] = None,
    enforce_limits: Annotated[bool, typer.Option(help="answer 429 beyond Binance's weight limits")] = False,
) -> None:
    """Serve until interrupted; the first line printed is the URL. With --state a restart goes on."""
    from bascule.bridge.exchange.launch import build, forever, source_of

    exchange = build(
        source_of(store, instrument, timeframe, market.value),
        market=market.value,
        port=port,
        clock=clock,
        start=start,
        path=path.value,
        balances=balance or (),
        faults=faults,
        state=state,
        enforce_limits=enforce_limits,
    )
    forever(exchange, lambda url: typer.echo(url))


@exchange_app.command("step", example="bascule exchange step http://127.0.0.1:40123 3600")
def step(url: Url, seconds: Annotated[float, typer.Argument(min=0, help="how far, seconds")]) -> None:
    """Move the clock of a stepped exchange on."""
    found = _ask(url, "POST", f"/admin/clock?advance={seconds}")
    answer(found, str(found["utc"]))


@exchange_app.command("books", example="bascule exchange books http://127.0.0.1:40123")
def books(url: Url) -> None:
    """Show balances and positions of a running exchange, and whether every unit is accounted for.

    Exit code 1 if a unit is missing.
    """
    found = _ask(url, "GET", "/admin/reconcile")
    answer(found, json.dumps(found, indent=2))
    if found["differences"]:
        raise typer.Exit(Code.FOUND)


@exchange_app.command("config", example="bascule exchange config http://127.0.0.1:40123 --live")
def config(
    url: Url,
    market: Annotated[Market, typer.Option(help="kind of market")] = Market.spot,
    venue: Annotated[str, typer.Option(help="whose format: binance or bybit")] = "binance",
    live: Annotated[bool, typer.Option(help="with the rehearsal's keys, for live mode")] = False,
    websockets: Annotated[bool, typer.Option(help="let freqtrade follow candles by websocket")] = False,
) -> None:
    """Print freqtrade's ``exchange`` block that leads there."""
    from bascule.bridge.exchange import Keys, exchange_config

    if venue not in ("binance", "bybit"):
        raise typer.BadParameter("binance or bybit", param_hint="--venue")
    keys = Keys() if live else None
    block = {"exchange": exchange_config(url, market.value, keys=keys, enable_ws=websockets, venue=venue)}  # type: ignore[arg-type]
    answer(block, json.dumps(block, indent=2))


def _ask(url: str, method: str, path: str) -> dict[str, Any]:
    import httpx

    try:
        reply = httpx.request(method, url.rstrip("/") + path, timeout=60)
        body: dict[str, Any] = reply.json()
    except (httpx.HTTPError, ValueError) as error:
        raise BridgeError(
            f"no replay exchange answers: {error}", where=url, remedy="start one: bascule exchange serve"
        ) from None
    if reply.status_code != 200:
        raise BridgeError(
            f"the exchange refused: {body.get('msg')}",
            where=url,
            remedy="see docs/rehearse.md for what it takes",
        )
    return body
