"""From the entries of a configuration's ``factors`` to the factor texts of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bascule.signals.spec import FactorText

Entry = str | Mapping[str, Any]
"""A library or a YAML file, ``alpha158@4h`` for longer candles, or ``{name, text, timeframe}``."""


def factor_texts(entries: Sequence[Entry], *, steps: int = 1) -> tuple[FactorText, ...]:
    """Look the entries up; factors of longer candles end in them, ``MA5_4h``.

    Args:
        entries: see `Entry`.
        steps: each factor at so many times, for sequence models (`bascule.models.sequence`).

    Raises:
        ConfigError: a library or file is unknown or malformed.
        ExpressionError: a text is malformed or looks ahead.
    """
    from bascule.factors import resolve
    from bascule.models import sequence

    found: list[FactorText] = []
    for timeframe, chosen in _by_timeframe(entries).items():
        factors = resolve(chosen)
        if steps > 1:
            factors = sequence(factors, steps)
        end = "" if timeframe is None else f"_{timeframe}"
        found += [FactorText(name=one.name + end, text=one.text, timeframe=timeframe) for one in factors]
    return tuple(found)


def _by_timeframe(entries: Sequence[Entry]) -> dict[str | None, list[str | dict[str, Any]]]:
    """The entries by the candles that they are computed on; None = the recipe's own."""
    found: dict[str | None, list[str | dict[str, Any]]] = {}
    for entry in entries:
        if isinstance(entry, str):
            name, _, timeframe = entry.partition("@")
            found.setdefault(timeframe or None, []).append(name)
        else:
            rest = {key: value for key, value in entry.items() if key != "timeframe"}
            found.setdefault(entry.get("timeframe"), []).append(rest)
    return found
