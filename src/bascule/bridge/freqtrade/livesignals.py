"""Live against backtest, signal by signal.

1. `recompute` computes the signals of a period from candles, as a live bot does, whatever the bundle stored.
2. Where the bundle has stored signals for the same rows, `differences` says how far the two are apart, and
   how many decisions (enter, leave) that changes.
3. `followed` takes each wish to enter and says what live made of it: entered, held already, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bascule.bridge.freqtrade.feed import utc
from bascule.core import Instrument, Panel, SetupError
from bascule.core.panel import BoolArray
from bascule.signals import Bundle, SignalFrame
from bascule.signals.frame import BY_INSTRUMENT

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Difference:
    """How far recomputed signals are from stored ones.

    Attributes:
        rows: candles that both have.
        largest: largest absolute difference by column; a value that only one side has counts as infinite.
        entries: decisions to enter that differ.
        of: decisions to enter on either side.
    """

    rows: int
    largest: dict[str, float]
    entries: int
    of: int


def recompute(bundle: Bundle, panel: Panel, start: np.datetime64, end: np.datetime64) -> SignalFrame:
    """Signals of rows in ``[start, end)`` from candles.

    Args:
        bundle: recipe and models.
        panel: candles that reach back far enough.
        start: first row.
        end: first row not wanted.

    Raises:
        BridgeError: the candles do not reach back far enough.
    """
    found = bundle.live(panel)
    first, last = np.searchsorted(found.time, [start, end])
    if first == last or found.time[first] > start:
        raise SetupError(
            f"candles from {panel.time[0]} to {panel.time[-1]} give no signals at {start}",
            where="live check",
            remedy=f"give {bundle.lookback} candles more before the period",
        )
    return found.rows(int(first), int(last))


def wishes(frame: SignalFrame, bundle: Bundle) -> tuple[BoolArray, BoolArray]:
    """Rows and instruments that ask for a long and for a short entry, as the strategy does ``[T, N]``."""
    rules, market, by_weight = bundle.spec.rules, bundle.spec.market, bundle.spec.by_weight
    with np.errstate(invalid="ignore"):
        allowed = (frame.risk_score < rules.risk_limit) & (
            frame.portfolio_risk[:, None] < rules.portfolio_limit
        )
        high, low = frame.alpha_rank >= rules.entry_rank, frame.alpha_rank <= 1 - rules.entry_rank
        long = allowed & (high | by_weight) & (frame.target_weight > 0)
        short = allowed & (low | by_weight) & (frame.target_weight < 0)
    return long, short & (market == "futures")


def differences(computed: SignalFrame, stored: SignalFrame, bundle: Bundle) -> Difference | None:
    """Compare the rows that both have; None if they share none."""
    both, ours, theirs = np.intersect1d(computed.time, stored.time, return_indices=True)
    if not len(both) or computed.instruments != stored.instruments:
        return None
    largest: dict[str, float] = {}
    for name in BY_INSTRUMENT:
        a, b = getattr(computed, name)[ours], getattr(stored, name)[theirs]
        gap = np.abs(np.nan_to_num(a, nan=0.0) - np.nan_to_num(b, nan=0.0))
        gap[np.isnan(a) != np.isnan(b)] = np.inf
        largest[name] = float(gap.max(initial=0.0))
    changed = asked = 0
    for a, b in zip(wishes(computed, bundle), wishes(stored, bundle), strict=True):
        changed += int((a[ours] != b[theirs]).sum())
        asked += int((a[ours] | b[theirs]).sum())
    return Difference(len(both), largest, changed, asked)


def followed(
    frame: SignalFrame, bundle: Bundle, live: pd.DataFrame, pairs: tuple[str, ...] | None = None
) -> pd.DataFrame:
    """What live made of each wish to enter.

    Args:
        frame: signals of the period.
        bundle: its rules.
        live: trades of `livecheck.read_trades`.
        pairs: traded pairs; None = all.

    Returns:
        ``time`` (candle of the signal), ``pair, is_short, alpha_rank, target_weight, outcome``: ``entered``,
        ``held``, ``nothing``.
    """
    import pandas as pd

    step = bundle.spec.bar.delta
    wanted = None if pairs is None else {Instrument.parse(pair).pair for pair in pairs}
    rows = []
    for is_short, asked in zip((False, True), wishes(frame, bundle), strict=True):
        for t, n in zip(*np.nonzero(asked), strict=True):
            pair = Instrument.parse(frame.instruments[n]).pair
            if wanted is not None and pair not in wanted:
                continue
            rows.append(
                (
                    frame.time[t],
                    pair,
                    is_short,
                    float(frame.alpha_rank[t, n]),
                    float(frame.target_weight[t, n]),
                    _outcome(live, pair, frame.time[t] + step, step),
                )
            )
    names = ["time", "pair", "is_short", "alpha_rank", "target_weight", "outcome"]
    return pd.DataFrame(rows, columns=names).sort_values(["time", "pair"], ignore_index=True)


def _outcome(live: pd.DataFrame, pair: str, due: np.datetime64, step: np.timedelta64) -> str:
    """Of a wish that could be followed from ``due`` on, for one candle."""
    own = live[live["pair"] == pair] if len(live) else live
    if not len(own):
        return "nothing"
    opened = utc(own["open_date"])
    still = own["close_date"].isna().to_numpy()
    ends = np.where(still, np.datetime64("2262-01-01", "ns"), utc(own["close_date"]))
    if ((opened < due) & (ends > due)).any():
        return "held"
    return "entered" if ((opened >= due) & (opened < due + step)).any() else "nothing"
