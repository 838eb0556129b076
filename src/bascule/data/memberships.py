"""A universe as history: the spans of membership, in the form of qlib's markets.

``instruments/<name>.txt`` of a provider has a line a span: store id, first and last candle. Within a span an
instrument is a member in every candle that it traded in (`Panel.members`); a candle without trade does not
end it. qlib reads the same file with ``D.instruments(market="<name>")``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from bascule.core import Panel, StoreError, UniverseError
from bascule.core.files import atomic_file
from bascule.core.panel import BoolArray
from bascule.data.provider import Provider, texts
from bascule.data.universe import UniverseSettings, chosen

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


def write(provider: Provider, name: str, settings: UniverseSettings) -> Path:
    """Work out the membership over the provider's whole history and write its spans; returns the file.

    Raises:
        UniverseError: no row has a member.
    """
    panel = provider.panel(None, None, None, ["close", "volume"])
    members = chosen(panel, settings)
    if not (members & panel.traded).any():
        raise UniverseError(
            "no instrument is ever a member",
            where=f"universe {name}",
            remedy="take more history, fewer min_age_days or fewer exclusions",
        )
    lines = []
    for n, instrument in enumerate(panel.instruments):
        # a span never reaches beyond an instrument's own candles
        rows = np.flatnonzero(panel.traded[:, n])
        inside = members[:, n].copy()
        if len(rows):
            inside[: rows[0]] = inside[rows[-1] + 1 :] = False
        edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
        for first, stop in edges.reshape(-1, 2):
            lines.append("\t".join([instrument, *texts(panel.time[[first, stop - 1]], provider.timeframe)]))
    file = provider.path / "instruments" / f"{name}.txt"
    with atomic_file(file) as aside:
        aside.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def read(provider: Provider, name: str, panel: Panel) -> BoolArray:
    """The membership on the rows and instruments of a panel ``[T, N]``.

    Raises:
        StoreError: the provider has no such universe, or its file is damaged.
    """
    file = provider.path / "instruments" / f"{name}.txt"
    if not file.is_file() or name == "all":
        hand = sorted(path.stem for path in file.parent.glob("*.txt") if path.stem != "all")
        raise StoreError(
            f"there is no universe {name!r}",
            where=str(provider.path),
            remedy=f"save it first; at hand: {', '.join(hand) or 'none'}",
        )
    found = np.zeros(panel.shape, bool)
    place = {instrument: n for n, instrument in enumerate(panel.instruments)}
    try:
        for line in file.read_text("utf-8").splitlines():
            instrument, first, last = line.split("\t")
            if instrument in place:
                low, high = (np.datetime64(text.replace(" ", "T"), "ns") for text in (first, last))
                cut = slice(
                    int(np.searchsorted(panel.time, low)), int(np.searchsorted(panel.time, high, "right"))
                )
                found[cut, place[instrument]] = True
    except ValueError as error:
        raise StoreError(
            f"the spans are damaged ({error})", where=str(file), remedy="save the universe again"
        ) from error
    return found
