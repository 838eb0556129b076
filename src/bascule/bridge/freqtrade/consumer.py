"""Several bots: producers compute signals, consumers trade them.

A producer is any bot of ours with its API server on. freqtrade sends every analysed candle to those who
listen (``external_message_consumer``); our columns travel with it. A consumer

1. takes the columns that its rules read (signals; risk and coarser timeframes where parts of its settings
   need them) of each candle from the producer that has the newest, the first named one where several have;
2. looks again in every loop, since a producer's candle may arrive after its own;
3. counts a producer as silent when its newest candle is older than the candle that closed last; when all are
   silent for ``patience`` candles it computes the signals itself from its own candles (``fallback:
   compute``), or trades nothing until one is back (``wait``: no entries and no exits by signals; stops hold).

So two producers stand in for each other, and the consumer for both.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
import pandas as pd
from freqtrade.exceptions import OperationalException
from pydantic import Field

from bascule.bridge.freqtrade import feed
from bascule.bridge.freqtrade.feed import SIGNAL_COLUMNS
from bascule.bridge.freqtrade.guarded import GuardedStrategy
from bascule.bridge.freqtrade.trading.source import RISK_COLUMNS
from bascule.core import BasculeError, Settings

log = logging.getLogger(__name__)


class ConsumerSettings(Settings):
    """Configuration key ``bascule.consumer``."""

    fallback: Literal["compute", "wait"] = Field(
        default="compute", description="what to do when all producers are silent"
    )
    patience: int = Field(default=1, ge=1, le=100, description="candles without a producer until then")


class ConsumerStrategy(GuardedStrategy):
    """Trades what producers say."""

    # a producer's candle may come after our own: look again
    process_only_new_candles = False

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        try:
            self._consumer = ConsumerSettings.read(
                (config.get("bascule") or {}).get("consumer") or {}, where="bascule.consumer"
            )
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        emc = config.get("external_message_consumer") or {}
        self._producers = tuple(str(one["name"]) for one in emc.get("producers", ()))
        self._silent: set[str] = set()
        if self._consumer.fallback == "wait":
            self.startup_candle_count = 1

    def informative_pairs(self) -> list[tuple[str, str]]:
        """The universe's candles are needed only to compute signals."""
        return [] if self._consumer.fallback == "wait" else super().informative_pairs()

    def populate_indicators(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Signals of the best producer, else one's own."""
        pair = metadata["pair"]
        found, behind = self._received(pair, dataframe["date"])
        if found is not None and behind < self._consumer.patience:
            self._note(pair, silent=False)
            return dataframe.assign(**found)
        self._note(pair, silent=True)
        if self._consumer.fallback == "compute":
            return super().populate_indicators(dataframe, metadata)
        empty = {name: np.full(len(dataframe), np.nan, np.float32) for name in self._needed(pair)}
        empty["covered"][:] = 0
        return dataframe.assign(**empty)

    def _needed(self, pair: str) -> tuple[str, ...]:
        """Columns that the rules of a pair read."""
        coarse = tuple(f"coarse_rank_{k}" for k in range(len(self._coarse)))
        risk = RISK_COLUMNS if self._trading.reads_risk else ()
        return (*SIGNAL_COLUMNS, *coarse, *risk, *(("lean",) if pair == self._hedge_pair else ()))

    def _received(self, pair: str, dates: pd.Series) -> tuple[dict[str, np.ndarray] | None, int]:
        """Columns of the producer with the newest candle, and by how many candles that is behind."""
        best: pd.DataFrame | None = None
        needed = self._needed(pair)
        for name in self._producers:
            frame, _ = self.dp.get_producer_df(pair, self.timeframe, producer_name=name)
            fits = len(frame) > 0 and set(needed) <= set(frame.columns)
            if fits and (best is None or feed.utc(frame["date"])[-1] > feed.utc(best["date"])[-1]):
                best = frame
        if best is None or not len(dates):
            return None, 0
        # whom the producer would not enter for its candles' sake, nobody enters
        wanted = [*needed, *({"untradable"} & set(best.columns))]
        table = best.drop_duplicates("date", keep="last").set_index("date")[wanted]
        joined = table.reindex(pd.DatetimeIndex(dates))
        columns = {name: joined[name].to_numpy(np.float32) for name in wanted}
        for name in {"covered", "untradable"} & set(wanted):
            columns[name] = np.nan_to_num(columns[name])
        gap = feed.utc(dates)[-1] - feed.utc(best["date"])[-1]
        return columns, max(0, int(gap // self._bundle.spec.bar.delta))

    def _note(self, pair: str, *, silent: bool) -> None:
        """Tell once that producers went silent or came back."""
        if silent and pair not in self._silent:
            self._silent.add(pair)
            log.warning("%s: all producers are silent; %s", pair, self._consumer.fallback)
        elif not silent and pair in self._silent:
            self._silent.discard(pair)
            log.info("%s: a producer is back", pair)
