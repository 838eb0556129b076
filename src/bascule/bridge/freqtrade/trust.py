"""Whom a live bot trusts: bundles vouched for by known keys, and API keys that cannot withdraw.

Live trading takes signed bundles only (`signals.signing`). The public keys stand in the configuration under
``bascule.trusted_keys``; ``bascule.unsigned: true`` takes unsigned ones all the same. Dry runs and backtests
take unsigned bundles; a signature that is damaged, or of a key that is not trusted, is refused wherever
trusted keys are named. For models that the bot trains itself (FreqAI) nobody vouches: they trade live only
where unsigned bundles may.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from freqtrade.enums import RunMode

from bascule.bridge.freqtrade.keys import Permissions, require_least
from bascule.core import SetupError
from bascule.signals import Bundle, signing


def require_trusted(bundle: object, config: dict[str, Any]) -> str | None:
    """The id of the key that vouches for a bundle; None where it is unsigned and may be.

    Args:
        bundle: what is traded: a `Bundle`, or a recipe by which the bot trains models of its own.
        config: freqtrade's configuration.

    Raises:
        BundleError: it must be signed and is not, or its signature does not hold.
        BridgeError: it is no bundle, and live trading takes signed ones only; or ``bascule.trusted_keys`` is
            no list of files.
    """
    options = config.get("bascule") or {}
    named, unsigned = options.get("trusted_keys") or [], options.get("unsigned", False)
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        raise SetupError(
            f"not a list of files: {named!r}", where="bascule.trusted_keys", remedy="name signing.pub files"
        )
    if not isinstance(unsigned, bool):
        raise SetupError(
            f"neither true nor false: {unsigned!r}", where="bascule.unsigned", remedy="say which"
        )
    trusted = [Path(one).expanduser() for one in named]
    must = config.get("runmode") == RunMode.LIVE and not unsigned
    if not isinstance(bundle, Bundle):
        if must:
            raise SetupError(
                "the bot trains its models itself, and live trading takes signed ones only",
                where="bascule.unsigned",
                remedy="trade a signed bundle; or set bascule.unsigned: true and bear it",
            )
        return None
    if must:
        return signing.require_signed(bundle.path, trusted)
    return signing.signer(bundle.path, trusted) if trusted else None


def require_least_privilege(provider: Any, config: dict[str, Any]) -> Permissions | None:
    """What the API key of a live bot may do; None in other runs, which use none.

    Args:
        provider: freqtrade's data provider, which holds the exchange.
        config: freqtrade's configuration.

    Raises:
        BridgeError: the key may withdraw.
    """
    if config.get("runmode") != RunMode.LIVE:
        return None
    return require_least(provider._exchange._api)
