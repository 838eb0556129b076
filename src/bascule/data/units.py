"""Instruments of which one unit is many coins: 1000PEPE, 1MBABYDOGE."""

from __future__ import annotations

import re

from bascule.core import Instrument

_SCALED = re.compile(r"(?P<times>1000000|100000|10000|1000|1M)(?P<coin>[A-Z][A-Z0-9]*)")


def unscaled(instrument: str) -> tuple[str, int]:
    """The store id of the plain coin, and how many of it are one unit (1 for most)."""
    parsed = Instrument.parse(instrument)
    found = _SCALED.fullmatch(parsed.base)
    if found is None:
        return instrument, 1
    times = 1_000_000 if found["times"] == "1M" else int(found["times"])
    return Instrument(found["coin"], parsed.quote, parsed.settle).id, times
