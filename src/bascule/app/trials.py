"""Where trials are counted: one ledger, and one way to name data, for runs and factor commands alike.

1. The ledger (`bascule.evaluate.Ledger`) is `DEFAULT`, in the folder that holds the runs, unless a run's
   ``ledger`` or the option ``--ledger`` names another file.
2. All real candles have one name, whatever file, exchange or candle length they come from: a coin's price is
   nearly the same everywhere, so that whoever looked at its days there has looked at them here. A generated
   market is named by the settings that it follows from, or by none where they are not known any more.
3. A factor is known by its canonical text, a model by the digest of all that it follows from; with the
   horizon of the label each is one trial, however often it is repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bascule.core import Moment, Panel, files
from bascule.data.synthetic import SyntheticSettings
from bascule.evaluate import Ledger, Trial

RUNS = Path("runs")
DEFAULT = RUNS / "trials.sqlite"
REAL = "crypto"
UNKNOWN = "market of unknown settings"
Generated = SyntheticSettings | str


@dataclass(frozen=True)
class Tries:
    """The trials on one market.

    Attributes:
        ledger: the file.
        market: what the market is called there.
    """

    ledger: Path
    market: str

    @classmethod
    def on(cls, ledger: Path, synthetic: Generated | None) -> Tries:
        """Those on real candles (None) or on a generated market: its settings, or `UNKNOWN`."""
        if synthetic is None:
            return cls(ledger, REAL)
        if isinstance(synthetic, str):
            return cls(ledger, f"synthetic {synthetic}")
        return cls(ledger, f"synthetic {files.fingerprint(synthetic.model_dump(mode='json'))[:12]}")

    @property
    def synthetic(self) -> bool:
        """Whether the market was generated."""
        return self.market != REAL

    def add(self, what: Iterable[str], panel: Panel, horizons: Iterable[int], purpose: str) -> None:
        """Write down that each of ``what`` (texts, digests) is looked at over all rows of a panel."""
        self.record(what, panel.time[0], panel.time[-1] + panel.timeframe.delta, horizons, purpose)

    def record(
        self, what: Iterable[str], start: Moment, end: Moment, horizons: Iterable[int], purpose: str
    ) -> None:
        """Write down that each of ``what`` is looked at on candles of ``[start, end)``."""
        lengths = tuple(horizons)
        seen = [Trial(one, self.market, start, end, h, purpose) for one in what for h in lengths]
        Ledger(self.ledger).record(seen, datetime.now(UTC))

    def count(self, start: Moment, end: Moment) -> int:
        """Different trials that ever touched candles of ``[start, end)``, at least one."""
        return max(1, Ledger(self.ledger).count(self.market, start, end).trials)
