"""The catalogue of risk factors, and their texts for one panel."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bascule.core import ConfigError, Panel, Settings, Timeframe

if TYPE_CHECKING:
    from bascule.factors import Factor

LEADERS = ("BTC_USDT", "BTC_USDT_USDT", "BTC_USD", "BTC_USDC")
_DAYS = re.compile(r"\b(\d+(?:\.\d+)?)d\b")
_RETURN = "($close/Ref($close,1)-1)"


class StyleText(Settings):
    """One risk factor as text; see ``style.yaml`` for the spelling.

    ``after`` names the factors that are taken out of it, all earlier in the list.
    """

    name: str = Field(min_length=1, description="unique name")
    text: str = Field(min_length=1, description="expression; windows in days (30d)")
    family: str = Field(default="custom", description="kind of risk")
    after: tuple[str, ...] = Field(default=(), description="factors that are taken out of it")
    note: str = Field(default="", description="what it means")


@dataclass(frozen=True)
class LeftOut:
    """A risk factor that a panel cannot give, and why."""

    name: str
    reason: str


def catalogue() -> tuple[StyleText, ...]:
    """The shipped risk factors, in order."""
    import yaml

    text = resources("bascule.risk").joinpath("style.yaml").read_text("utf-8")
    return tuple(StyleText.read(entry, where="style.yaml") for entry in yaml.safe_load(text)["factors"])


def read(values: Collection[Any], *, where: str) -> tuple[StyleText, ...]:
    """Risk factors of a YAML list.

    Raises:
        ConfigError: an entry is not one.
    """
    return tuple(StyleText.read(entry, where=f"{where}, entry {n}") for n, entry in enumerate(values, 1))


def choose(
    styles: Collection[StyleText], fields: Collection[str], names: Collection[str] | None, panel: Panel
) -> tuple[tuple[tuple[StyleText, Factor], ...], tuple[LeftOut, ...]]:
    """The factors that a panel's fields can give, with their texts in its candles, and those that it cannot.

    Raises:
        ConfigError: a name is unknown, or ``after`` names a later or unknown factor.
    """
    from bascule.factors import Factor

    known = list(dict.fromkeys(style.name for style in styles))
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ConfigError(
            f"unknown risk factor {unknown[0]!r}", where="risk.factors", remedy=f"known: {', '.join(known)}"
        )
    chosen: list[tuple[StyleText, Factor]] = []
    lacking: dict[str, list[str]] = {}
    for style in styles:
        _check_order(style, known)
        if (names is not None and style.name not in names) or any(s.name == style.name for s, _ in chosen):
            continue
        factor = Factor(style.name, expand(style.text, panel), style.family, note=style.note)
        missing = sorted(set(factor.inputs) - set(fields))
        if missing:
            lacking.setdefault(style.name, []).append(" and ".join(f"${name}" for name in missing))
        else:
            chosen.append((style, factor))
    taken = {style.name for style, _ in chosen}
    left = tuple(
        LeftOut(name, f"the panel lacks {', or '.join(dict.fromkeys(wants))}")
        for name, wants in lacking.items()
        if name not in taken
    )
    return tuple(chosen), left


def _check_order(style: StyleText, known: list[str]) -> None:
    late = [name for name in style.after if name not in known[: known.index(style.name)]]
    if late:
        raise ConfigError(
            f"{style.name} comes after {late[0]!r}, which does not stand before it",
            where="risk.factors",
            remedy="order the list so that a factor stands behind those that are taken out of it",
        )


def leader(instruments: Collection[str]) -> str | None:
    """Bitcoin's name among some instruments, None if it is not there."""
    return next((name for name in LEADERS if name in instruments), None)


def expand(text: str, panel: Panel) -> str:
    """A style text with windows in candles and the market's return spelt out."""
    first = leader(panel.instruments)
    # x - demeaned x is the members' mean
    mean = f"({_RETURN}-CSDemean({_RETURN}))"
    market = mean if first is None else f"ChangeInstrument('{first}',{_RETURN})"
    named = text.replace("{ret}", _RETURN).replace("{market}", market)
    return _DAYS.sub(lambda match: str(_bars(panel.timeframe, float(match[1]))), named)


def _bars(timeframe: Timeframe, days: float) -> int:
    return max(2 if days > 1 else 1, timeframe.bars(days))
