"""qlib's Alpha360: each price and the volume of the last 60 bars over the newest one.

Names, texts and order are those of ``qlib.contrib.data.loader.Alpha360DL``, which the tests compare.
"""

from __future__ import annotations

from collections.abc import Iterator

from bascule.factors.factor import Factor

SOURCE = "qlib Alpha360"
BARS = 60


def alpha360() -> Iterator[Factor]:
    """The 360 factors, in qlib's order: oldest bar first within each field."""
    for field in ("close", "open", "high", "low", "vwap", "volume"):
        newest = "($volume+1e-12)" if field == "volume" else "$close"
        over = "the volume" if field == "volume" else "the close"
        tag = "volume" if field == "volume" else "price only"
        for lag in range(BARS - 1, -1, -1):
            value = f"Ref(${field}, {lag})" if lag else f"${field}"
            note = f"{field} of {lag} bars ago over {over}" if lag else f"{field} over {over}"
            yield Factor(f"{field.upper()}{lag}", f"{value}/{newest}", field, SOURCE, note, tags=("raw", tag))
