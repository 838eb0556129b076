"""What an API key may do, asked of the venue before a live bot places its first order.

A bot needs to read and to trade. A key that may also withdraw turns every leak of the bot's machine into a
loss of everything, so it is refused. Where a venue cannot be asked, or does not answer, that is said and not
taken for a permission.

Sources: Binance ``GET /sapi/v1/account/apiRestrictions``, Bybit ``GET /v5/user/query-api``, OKX
``GET /api/v5/account/config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bascule.core import SetupError


@dataclass(frozen=True)
class Permissions:
    """What a key may do.

    Attributes:
        withdraw: move money away from the account; None = could not be found out.
        bound: usable from named addresses only; None = could not be found out.
        said: why something could not be found out.
    """

    withdraw: bool | None
    bound: bool | None = None
    said: str = ""


def permissions(api: Any) -> Permissions:
    """Ask the venue behind a ccxt client with keys.

    Args:
        api: a synchronous ccxt exchange, as freqtrade holds one.
    """
    import ccxt

    asks = {"binance": _binance, "bybit": _bybit, "okx": _okx}
    ask = asks.get(str(api.id).removesuffix("usdm"))
    if ask is None:
        return Permissions(None, said=f"{api.id} is not a venue whose keys this version can check")
    try:
        if _played(api):
            return Permissions(None, said="another server plays the venue, and knows nothing of keys")
        return ask(api)
    except (ccxt.BaseError, LookupError, TypeError, AttributeError, ValueError) as error:
        return Permissions(None, said=f"{type(error).__name__}: {error}"[:200])


def require_least(api: Any) -> Permissions:
    """As `permissions`, and a key that may withdraw is refused.

    Raises:
        BridgeError: the key may withdraw.
    """
    found = permissions(api)
    if found.withdraw:
        raise SetupError(
            "the API key may withdraw; a bot's key must not",
            where=f"exchange.key of {api.id}",
            remedy="make a key that may read and trade only, bound to this machine's address",
        )
    return found


def _played(api: Any) -> bool:
    """True where orders go elsewhere than questions about the key would: a rehearsal, or a test network."""
    addresses = api.urls["api"]
    hosts = [addresses[name] for name in ("sapi", "public", "fapiPublic") if name in addresses]
    return len({".".join(str(urlsplit(one).hostname).split(".")[-2:]) for one in hosts}) > 1


def _binance(api: Any) -> Permissions:
    told = api.sapi_get_account_apirestrictions()
    return Permissions(_truth(told["enableWithdrawals"]), _truth(told["ipRestrict"]))


def _bybit(api: Any) -> Permissions:
    told = api.private_get_v5_user_query_api()["result"]
    wallet = told["permissions"].get("Wallet") or []
    addresses = told.get("ips") or []
    return Permissions("Withdraw" in wallet, bool(addresses) and "*" not in addresses)


def _okx(api: Any) -> Permissions:
    told: Mapping[str, Any] = api.private_get_account_config()["data"][0]
    return Permissions("withdraw" in str(told["perm"]).split(","), bool(told.get("ip")))


def _truth(value: Any) -> bool:
    """ccxt leaves JSON's booleans, some proxies make words of them."""
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in ("true", "false"):
        raise ValueError(f"neither true nor false: {value!r}")
    return text == "true"
