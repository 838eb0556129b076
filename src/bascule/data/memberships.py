"""A universe as history: the spans of membership, in the form of qlib's markets.

``instruments/<name>.txt`` of a provider has a line a span: store id, first and last candle. Within a span an
instrument is a member in every candle that it traded in (`Panel.members`); a candle without trade does not
end it. qlib reads the same file with ``D.instruments(market="<name>")``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bascule.core import Panel, StoreError, UniverseError
from bascule.core.files import atomic_file
from bascule.core.panel import BoolArray
from bascule.data.provider import Provider, texts
from bascule.data.universe import UniverseSettings, chosen, lookback

Span = tuple[int, int]  # first row, past the last row
_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,63}")


def must_be_plain(name: str) -> None:
    """Refuse names that are no file names, and qlib's own ``all``.

    Raises:
        StoreError: it is one.
    """
    if not _PLAIN.fullmatch(name) or name == "all":
        raise StoreError(
            f"{name!r} is no name of a universe",
            where="Store.save_universe",
            remedy="use lower-case letters, digits and _ (but not 'all')",
        )


def write(provider: Provider, name: str, settings: UniverseSettings, *, empty: bool = True) -> None:
    """Work out the membership over the provider's whole history and write its spans.

    Raises:
        UniverseError: no row has a member, and this is not allowed by ``empty``.
    """
    panel = provider.panel(None, None, None, ["close", "volume"])
    found = _spans(panel, chosen(panel, settings), 0)
    if not (empty or any(found)):
        raise UniverseError(
            "no instrument is ever a member",
            where=f"universe {name}",
            remedy="take more history, fewer min_age_days or fewer exclusions",
        )
    _save(provider, name, found)


def grow(provider: Provider, old: int, name: str, settings: UniverseSettings) -> None:
    """Bring the spans of a universe up to date after a provider of ``old`` rows has grown.

    The same file as `write` makes, from the last candles alone.

    Raises:
        StoreError: the file is missing or damaged.
    """
    step = provider.timeframe
    # a choice outlives the last trade by less than this: it is made of those who traded the day before
    again = (settings.rebalance_days + 2) * step.bars_a_day
    first = max(0, old - again)
    begin = provider.time[max(0, first - lookback(settings, step))].astype("datetime64[D]")
    panel = provider.panel(begin, None, None, ["close", "volume"])
    skip = first - int((panel.time[0] - provider.time[0]) / step.delta)
    fresh = _spans(panel, chosen(panel, settings), skip)
    kept: list[list[Span]] = []
    for column, held in enumerate(_parsed(provider, name)):
        before = [(low, min(high, first)) for low, high in held if low < first]
        later = [(low - skip + first, high - skip + first) for low, high in fresh[column]]
        if before and later and before[-1][1] == later[0][0]:
            later[0] = (before.pop()[0], later[0][1])
        kept.append(before + later)
    _save(provider, name, kept)


def _spans(panel: Panel, members: BoolArray, skip: int) -> list[list[Span]]:
    """By instrument the runs of membership from row ``skip`` on, as rows of the panel.

    A span never reaches beyond an instrument's own candles.
    """
    inside = members.T.copy()
    inside[:, :skip] = False
    traded = np.ascontiguousarray(panel.traded.T)
    rows = np.arange(len(panel.time))
    first = np.where(traded.any(axis=1), traded.argmax(axis=1), len(rows))
    last = len(rows) - 1 - traded[:, ::-1].argmax(axis=1)
    inside &= (rows >= first[:, None]) & (rows <= last[:, None])
    edge = np.zeros((len(inside), 1), np.int8)
    steps = np.diff(inside.astype(np.int8), axis=1, prepend=edge, append=edge)
    column, low = np.nonzero(steps > 0)
    _, high = np.nonzero(steps < 0)
    found: list[list[Span]] = [[] for _ in panel.instruments]
    for n, one, other in zip(column.tolist(), low.tolist(), high.tolist(), strict=True):
        found[n].append((one, other))
    return found


def _save(provider: Provider, name: str, some: Sequence[Sequence[Span]]) -> None:
    time = provider.time
    flat = [(column, low, high) for column, own in enumerate(some) for low, high in own]
    firsts = texts(time[[low for _, low, _ in flat]], provider.timeframe)
    lasts = texts(time[[high - 1 for _, _, high in flat]], provider.timeframe)
    ids = list(provider.members)
    lines = [
        f"{ids[column]}\t{first}\t{last}\n"
        for (column, _, _), first, last in zip(flat, firsts, lasts, strict=True)
    ]
    with atomic_file(file_of(provider, name)) as aside:
        aside.write_text("".join(lines), "utf-8")


def any_members(provider: Provider, name: str) -> bool:
    """Whether the file of a universe has any span.

    Raises:
        StoreError: the provider has no such universe, or its file is damaged.
    """
    return any(_parsed(provider, name))


def file_of(provider: Provider, name: str) -> Path:
    """The file of a universe."""
    return provider.path / "instruments" / f"{name}.txt"


def _parsed(provider: Provider, name: str) -> list[list[Span]]:
    """By instrument the spans in the file, as rows of the calendar.

    Raises:
        StoreError: the provider has no such universe, or its file is damaged.
    """
    file = file_of(provider, name)
    if not file.is_file() or name == "all":
        hand = sorted(path.stem for path in file.parent.glob("*.txt") if path.stem != "all")
        raise StoreError(
            f"there is no universe {name!r}",
            where=str(provider.path),
            remedy=f"save it first; at hand: {', '.join(hand) or 'none'}",
        )
    place = {instrument: n for n, instrument in enumerate(provider.members)}
    found: list[list[Span]] = [[] for _ in place]
    step = provider.timeframe.seconds
    begin = provider.start // 1_000_000_000
    try:
        ids, firsts, lasts = zip(
            *(line.split("\t") for line in file.read_text("utf-8").splitlines()), strict=True
        )
    except ValueError:
        if not file.read_text("utf-8"):
            return found
        raise _damaged(file, "a line has not three parts") from None
    try:
        edges = [np.array(some, "datetime64[s]").astype(np.int64) for some in (firsts, lasts)]
        low, high = ((one - begin) // step for one in edges)
        for instrument, one, other in zip(ids, low.tolist(), high.tolist(), strict=True):
            found[place[instrument]].append((one, other + 1))
    except (ValueError, KeyError) as error:
        raise _damaged(file, str(error)) from error
    return found


def _damaged(file: Path, what: str) -> StoreError:
    return StoreError(f"the spans are damaged ({what})", where=str(file), remedy="save the universe again")


def read(provider: Provider, name: str, panel: Panel) -> BoolArray:
    """The membership on the rows and instruments of a panel ``[T, N]``.

    Raises:
        StoreError: the provider has no such universe, or its file is damaged.
    """
    found = np.zeros(panel.shape, bool)
    by_name = dict(zip(provider.members, _parsed(provider, name), strict=True))
    base = int((panel.time[0] - provider.time[0]) / provider.timeframe.delta)
    for column, instrument in enumerate(panel.instruments):
        for low, high in by_name[instrument]:
            found[max(0, low - base) : max(0, high - base), column] = True
    return found
