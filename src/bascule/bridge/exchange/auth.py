"""Who asks: fake API keys, and Binance's signature of private requests."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bascule.bridge.exchange import wire
from bascule.bridge.exchange.wire import Refusal

KEY_HEADER = "X-MBX-APIKEY"
_SIGNATURE = re.compile(r"(?:^|&)signature=([^&]*)")
_LONGEST_WINDOW = 60_000


@dataclass(frozen=True)
class Keys:
    """A pair of keys of the rehearsal. They open nothing but this exchange, and are no secret.

    Attributes:
        key, secret: as a client's configuration names them.
        check_time: refuse requests whose timestamp is outside of their window. Switch it off where client and
            exchange run by different clocks.
    """

    key: str = "rehearsal-key"
    secret: str = "rehearsal-secret"  # noqa: S105 - see above
    check_time: bool = True

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Refuse an unknown key.

        Raises:
            Refusal: as Binance would.
        """
        given = headers.get(KEY_HEADER)
        if not given:
            raise Refusal(-2014, "API-key format invalid.", 401)
        if not hmac.compare_digest(given.encode(), self.key.encode()):
            raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)

    def check(self, headers: Mapping[str, str], query: str, body: str, now: int) -> None:
        """Refuse what is not signed with these keys at this time.

        Args:
            headers: the request's.
            query: its query string, as it was sent.
            body: its form body, as it was sent.
            now: Unix milliseconds of the exchange.

        Raises:
            Refusal: as Binance would.
        """
        self.check_key(headers)
        total = query + body
        found = _SIGNATURE.search(total)
        if not found:
            raise wire.mandatory("signature")
        payload = _SIGNATURE.sub("", query) + _SIGNATURE.sub("", body)
        if not hmac.compare_digest(self.sign(payload).encode(), found[1].encode()):
            raise Refusal(-1022, "Signature for this request is not valid.")
        if self.check_time:
            _check_time(payload, now)

    def sign(self, payload: str) -> str:
        """HMAC-SHA256 in hex."""
        return hmac.new(self.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def _check_time(payload: str, now: int) -> None:
    values = dict(part.partition("=")[::2] for part in payload.split("&"))
    stamp, window = values.get("timestamp", ""), values.get("recvWindow", "5000")
    if not re.fullmatch(r"[0-9]{1,16}", stamp):
        raise wire.mandatory("timestamp")
    if not re.fullmatch(r"[0-9]{1,8}(\.[0-9]{1,3})?", window) or float(window) > _LONGEST_WINDOW:
        raise Refusal(-1131, "recvWindow must be less than 60000")
    if int(stamp) > now + 1_000:
        message = "Timestamp for this request was 1000ms ahead of the server's time."
        raise Refusal(-1021, message)
    if now - int(stamp) > float(window):
        raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
