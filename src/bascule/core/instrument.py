"""One name for one traded thing, and its spellings on both banks of the bridge.

==================  =================  ====================
freqtrade pair      store id (qlib)    exchange symbol
==================  =================  ====================
``BTC/USDT``        ``BTC_USDT``       ``BTCUSDT``
``BTC/USDT:USDT``   ``BTC_USDT_USDT``  ``BTCUSDT``
==================  =================  ====================

qlib upper-cases instruments and lower-cases folders and cannot hold ``/`` or ``:``; the store id is a
reversible spelling that it can.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bascule.core.errors import DataError

_ASSET = re.compile(r"[A-Z0-9]+")
# longest first, so that USDT is not read as a coin ending in ...USD + T
QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "DAI", "USD", "EUR", "KRW", "TRY", "BTC", "ETH", "BNB")


@dataclass(frozen=True, order=True)
class Instrument:
    """A spot pair (``settle`` is None) or a perpetual future settled in ``settle``.

    Attributes:
        base: what is traded, e.g. ``BTC``.
        quote: what it is priced in, e.g. ``USDT``.
        settle: margin asset of a perpetual future, else None.
    """

    base: str
    quote: str
    settle: str | None = None

    def __post_init__(self) -> None:
        for part in (self.base, self.quote, self.settle):
            if part is not None and not _ASSET.fullmatch(part):
                raise DataError(
                    f"{part!r} is not an asset name",
                    where="instrument",
                    remedy="asset names are upper-case letters and digits, e.g. BTC",
                )

    @classmethod
    def parse(cls, text: str) -> Instrument:
        """Read any of the three spellings of the table above (a symbol needs a known quote).

        Raises:
            DataError: the text is none of them.
        """
        name = text.strip().upper()
        if "/" in name:
            base, _, rest = name.partition("/")
            quote, _, settle = rest.partition(":")
            return cls(base, quote, settle or None)
        if "_" in name:
            parts = name.split("_")
            if len(parts) in (2, 3) and all(parts):
                return cls(*parts)
        for quote in QUOTES:
            if name.endswith(quote) and len(name) > len(quote):
                return cls(name[: -len(quote)], quote)
        raise DataError(
            f"cannot read {text!r} as an instrument",
            where="instrument",
            remedy=f"write BTC/USDT, BTC_USDT or BTCUSDT (known quotes: {', '.join(QUOTES)})",
        )

    @property
    def id(self) -> str:
        """Store and qlib spelling, e.g. ``BTC_USDT``; the form used on every panel axis."""
        return "_".join(p for p in (self.base, self.quote, self.settle) if p)

    @property
    def pair(self) -> str:
        """freqtrade spelling, e.g. ``BTC/USDT`` or ``BTC/USDT:USDT``."""
        return f"{self.base}/{self.quote}" + (f":{self.settle}" if self.settle else "")

    @property
    def symbol(self) -> str:
        """Exchange spelling, e.g. ``BTCUSDT``."""
        return self.base + self.quote

    @property
    def is_future(self) -> bool:
        """True for a perpetual future."""
        return self.settle is not None
