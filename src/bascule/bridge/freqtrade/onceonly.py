"""Every order once: what freqtrade lacks when it does not hear whether an order arrived.

An exchange can take an order and the answer can be lost. freqtrade then counts the order as failed and places
it again in its next loop (2026.9, `Exchange.create_order`): the position is there twice, and once unknown.
`OnceOnly` stands between freqtrade and ccxt:

1. Before an order leaves, its intent is written down (`Intent`, a file) under a client order id of our own.
2. When the answer is lost, the exchange is asked for that id, a few times. If it knows the order, that order
   is the answer. If it says that there is none, the failure is passed on.
3. If it cannot be asked either, the intent stays. The next order for the same pair, side and kind first asks
   again, and takes the earlier order for its own, or fails while it cannot know. Nothing is placed in doubt.
4. An intent is also kept for a while when all went well: a bot that is killed between the exchange's answer
   and its own database finds it, asks, and takes up the order that it does not know: when it places the same
   again, or before, when it compares its books with the exchange's (`reconcile.py`).
5. An order that cannot be cancelled because it is gone is asked for: cancelled before, or filled.

Binance: status 5xx means that the outcome is unknown; 429 and 418 that nothing happened (its API documents).
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bascule.core.files import write_json

log = logging.getLogger(__name__)
FOLDER = "intents"
PREFIX = "bsc"  # of our client order ids
_CONDITIONAL = ("stop", "take_profit")
_WAITS = (0.5, 2.0, 5.0)  # seconds before each question


@dataclass(frozen=True)
class Intent:
    """An order that was, or may have been, placed.

    Attributes:
        id: our client order id.
        symbol, kind, side: what was asked for, in ccxt's words.
        reduce: it only reduces a position.
        conditional: it waits for a trigger (futures keep these apart).
        amount: base units.
        at: seconds since 1970, by the bot's clock.
        answered: the exchange said yes.
        leverage: that the bot asked for; None = not known.
    """

    id: str
    symbol: str
    kind: str
    side: str
    reduce: bool
    conditional: bool
    amount: float
    at: float
    answered: bool = False
    leverage: float | None = None

    @property
    def key(self) -> tuple[str, str, bool, bool]:
        """Orders of one key are never placed while another's fate is unknown."""
        return (self.symbol, self.side, self.reduce, self.conditional)


class OnceOnly:
    """ccxt's ``create_order`` and ``cancel_order``, made safe to fail.

    Args:
        api: ccxt's synchronous exchange.
        folder: where intents are kept.
        known: whether the bot's database has an order of this exchange id and pair.
        sleep: waits between questions.

    Attributes:
        leverage: of the next order; written down with it.
    """

    def __init__(
        self,
        api: Any,
        folder: Path,
        known: Callable[[str, str], bool],
        *,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._api, self._create, self._cancel = api, api.create_order, api.cancel_order
        self._folder, self._known = folder, known
        self.leverage: float | None = None
        # looked up when it is needed: a rehearsal puts its own time under the bot
        self._sleep = sleep or (lambda seconds: time.sleep(seconds))
        folder.mkdir(parents=True, exist_ok=True)

    def create_order(
        self,
        symbol: str,
        type: str,
        side: str,
        amount: float,
        price: float | None = None,
        params: dict[str, Any] | None = None,
    ) -> Any:
        """As ccxt's; raises as ccxt's."""
        import ccxt

        given = dict(params or {})
        market = self._api.market(symbol)
        conditional = bool(market.get("swap")) and any(
            name in given for name in ("stopPrice", "triggerPrice")
        )
        intent = Intent(
            id=f"{PREFIX}{uuid.uuid4().hex[:24]}",
            symbol=symbol,
            kind=type,
            side=side,
            reduce=bool(given.get("reduceOnly")),
            conditional=conditional or type.lower().startswith(_CONDITIONAL),
            amount=float(amount),
            at=time.time(),
            leverage=self.leverage,
        )
        earlier = self._earlier(intent)
        if earlier is not None:
            return earlier
        self._write(intent)
        try:
            order = self._create(
                symbol=symbol,
                type=type,
                side=side,
                amount=amount,
                price=price,
                params={**given, "newClientOrderId": intent.id},
            )
        except (ccxt.DDoSProtection, ccxt.RateLimitExceeded, ccxt.InvalidNonce):
            self.forget(intent)
            raise
        except ccxt.NetworkError as error:
            return self._find_out(intent, error)
        except ccxt.BaseError:
            self.forget(intent)
            raise
        self._write(Intent(**{**asdict(intent), "answered": True}))
        return order

    def cancel_order(self, id: str, symbol: str, params: dict[str, Any] | None = None) -> Any:
        """As ccxt's; an order that is gone already is the answer, not an error."""
        import ccxt

        given = dict(params or {})
        try:
            return self._cancel(id, symbol, params=given)
        except ccxt.InvalidOrder:
            # the answer to an earlier cancel was lost, or it was filled meanwhile: freqtrade would go on
            # believing that it is open
            found = self._api.fetch_order(id, symbol, given)
            if found["status"] not in ("canceled", "closed", "expired", "rejected"):
                raise
            return found

    def _find_out(self, intent: Intent, error: Exception) -> Any:
        """The order behind a lost answer, or the error that lost it."""
        import ccxt

        for wait in _WAITS:
            self._sleep(wait)
            try:
                found = self.ask(intent)
            except ccxt.NetworkError:
                continue
            if found is None:
                self.forget(intent)
                raise error
            log.warning("%s: the answer to %s was lost, the order is there", intent.symbol, intent.id)
            self._write(Intent(**{**asdict(intent), "answered": True}))
            return found
        log.error("%s: nobody knows whether %s arrived; asked again later", intent.symbol, intent.id)
        raise error

    def _earlier(self, wanted: Intent) -> Any:
        """An order of the same key that the bot does not know of; None if there is none.

        Raises:
            ccxt.NetworkError: the exchange cannot be asked.
        """
        for old in self.intents():
            if old.key != wanted.key:
                continue
            found = self.ask(old)
            lost = found is not None and not self._known(str(found["id"]), old.symbol)
            if lost and not (found["status"] in ("canceled", "rejected", "expired") and not found["filled"]):
                log.warning("%s: %s was placed before and is taken up now", old.symbol, old.id)
                self._write(Intent(**{**asdict(old), "answered": True}))
                return found
            self.forget(old)
        return None

    def ask(self, intent: Intent) -> Any:
        """What the exchange knows of an intent; None = it never arrived."""
        import ccxt

        params: dict[str, Any] = {"clientOrderId": intent.id}
        if intent.conditional and self._api.market(intent.symbol).get("swap"):
            params["trigger"] = True
        try:
            return self._api.fetch_order(None, intent.symbol, params)
        except ccxt.OrderNotFound:
            return None

    def intents(self) -> Iterator[Intent]:
        """What is written down, oldest first."""
        return iter(read(self._folder))

    def _write(self, intent: Intent) -> None:
        write_json(self._folder / f"{intent.id}.json", asdict(intent))

    def forget(self, intent: Intent) -> None:
        """Its order is known, or never was."""
        (self._folder / f"{intent.id}.json").unlink(missing_ok=True)


def read(folder: Path) -> list[Intent]:
    """The intents of a folder, oldest first; a file that cannot be read is told and left."""
    found = []
    for path in sorted(folder.glob(f"{PREFIX}*.json")):
        try:
            found.append(Intent(**json.loads(path.read_text("utf-8"))))
        except (OSError, ValueError, TypeError) as error:
            log.error("%s: cannot be read (%s)", path, error)
    return sorted(found, key=lambda one: (one.at, one.id))
