"""The strategy under supervision: commands of people, new bundles, the drawdown of the book.

At the start of every loop of a live bot, and of every candle of a backtest (the last step only):

1. A command that came as a lock over REST goes into the journal; what is in force is obeyed from here on, and
   the bot notes once what it does (``emergency.py``).
2. A new bundle behind ``current`` is opened, verified and tried on the candles at hand; then it serves
   (`trading/reload.py`). Whatever fails leaves the old one serving.
3. The equity of the book, open gains included, is judged (`trading/guard.py`). A live bot keeps the peak in a
   file of its user folder.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from freqtrade.exceptions import OperationalException
from freqtrade.persistence import PairLocks, Trade

from bascule.bridge.freqtrade import emergency
from bascule.bridge.freqtrade.emergency import Command, State
from bascule.bridge.freqtrade.positions import PositionStrategy
from bascule.bridge.freqtrade.trading import garbage
from bascule.bridge.freqtrade.trading.reload import Pointer
from bascule.bridge.freqtrade.trading.source import Source
from bascule.bridge.freqtrade.trust import require_trusted
from bascule.core import BridgeError, SetupError
from bascule.core.files import write_json
from bascule.signals import Bundle

log = logging.getLogger(__name__)


class SupervisedStrategy(PositionStrategy):
    """Obeys and watches. See `FactorStrategy` for its attributes."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        if self._guard is not None:
            self._guard.live = self._live
        path = self.bundle or dict(config.get("bascule") or {}).get("bundle")
        self._pointer = None
        if self._live and path:
            self._pointer = Pointer(path, self._bundle, every=self._trading.reload_seconds)
        folder = config.get("user_data_dir")
        self._folder = Path(folder) if self._live and folder else None
        self._command: Command = emergency.NOTHING
        self._told: dict[str, tuple[int, str]] = {}
        self._kept: dict[str, Any] = {}
        self._last_loop = float("-inf")
        self._garbage = garbage.Daily()
        self._recall()

    def bot_loop_start(self, current_time: datetime, **kwargs: Any) -> None:
        """Commands, a new bundle, the drawdown of the book."""
        seconds = current_time.timestamp()
        # the next backtest of a hyper-optimisation; of a live bot the clock was set back
        if seconds < self._last_loop and not self._live:
            self._forget()
        self._last_loop = seconds
        if self._live:
            for source in (self._source, *self._coarse):
                source.turn(seconds)
            self._garbage.turn(seconds)
        if self._folder is not None:
            self._take_command(self._folder, current_time)
        if self._pointer is not None:
            self._take_bundle(self._pointer, seconds)
        if self._guard is not None:
            self._judge(current_time)

    def _forget(self) -> None:
        """Start a backtest without the memory of the one before."""
        self._adjusted, self._initials, self._stops_before, self._balance = {}, {}, {}, None

    def _take_command(self, folder: Path, now: datetime) -> None:
        for lock in sorted(PairLocks.get_pair_locks(None, now), key=lambda one: one.id or 0):
            order = emergency.from_reason(lock.reason)
            if order is None:
                continue
            source = f"lock {lock.id} of {lock.lock_time:%Y-%m-%dT%H:%M:%SZ}"
            # a bot that was killed between these two steps finds the lock again
            if all(one.source != source for one in emergency.journal(folder)):
                emergency.command(folder, order[0], reason=order[1], by="rest", now=now, source=source)
            PairLocks.unlock_reason(lock.reason, now)
        given = emergency.in_force(folder)
        if given == self._command:
            return
        before, self._command = self._command, given
        if before.state is not given.state:
            self._say(f"{given.state}: {given.reason}")
        emergency.obey(folder, given, self._deed(given.state), now=now)

    def _deed(self, state: State) -> str:
        """What is done about a command, in words."""
        count = len(Trade.get_trades_proxy(is_open=True))
        if state is State.HEDGE and self._hedge_pair is None:
            return f"no entries; there is no hedge pair, {count} positions stay as they are"
        return {
            State.RUN: "entries are allowed",
            State.HALT: f"no entries; {count} positions keep their exits",
            State.HEDGE: f"no entries; {count} positions are covered by {self._hedge_pair}",
            State.FLATTEN: f"no entries; {count} positions are closed",
        }[state]

    def _take_bundle(self, pointer: Pointer, seconds: float) -> None:
        tried: list[Source] = []
        found, news = pointer.look(seconds, lambda bundle: tried.append(self._try_out(bundle)))
        if news is not None:
            self._say(news)
        if found is not None:
            before, self._bundle, self._source = self._bundle, found, tried[-1]
            self._adopt_rules(before)

    def _try_out(self, bundle: Bundle) -> Source:
        """Whether a new bundle can take over; its source, with the signals of the candles at hand.

        Raises:
            BasculeError: it cannot.
        """
        require_trusted(bundle, self.config)
        own = self._bundle.spec
        if (bundle.spec.timeframe, bundle.spec.market) != (own.timeframe, own.market):
            raise SetupError(
                f"it is of {bundle.spec.market} and {bundle.spec.timeframe}, the bot trades {own.market} and "
                f"{own.timeframe}",
                where=str(bundle.path),
            )
        if self._mode == "computed":
            self._require_live(bundle)
        history = 1 + self._history(bundle)
        if history > self.startup_candle_count:
            raise SetupError(
                f"it needs {history} candles, the bot started with {self.startup_candle_count}",
                where=str(bundle.path),
                remedy="restart the bot",
            )
        if bundle.spec.stop.cap > own.stop.cap:
            raise SetupError(
                f"its stops reach {bundle.spec.stop.cap:g}, the bot's hard stop was set for {own.stop.cap:g}",
                where=str(bundle.path),
                remedy="restart the bot",
            )
        self._require_pairs(bundle, self.dp.current_whitelist())
        source = Source(bundle, stored=self._mode == "stored", live=self._live)
        source.signals(self.dp, self.config)
        return source

    def _judge(self, now: datetime) -> None:
        assert self._guard is not None
        equity = self._equity()
        for trade in Trade.get_trades_proxy(is_open=True):
            price = self._latest(trade.pair, "close", now)
            if price > 0.0:
                equity += (-1 if trade.is_short else 1) * trade.amount * (price - trade.open_rate)
        verdict = self._guard.look(equity, now.timestamp())
        if verdict.changed and self._live:
            self._say(f"the book is {verdict.level}: drawdown {verdict.drawdown:.2%}")
        if self._folder is not None and self._guard.memory() != self._kept:
            self._kept = self._guard.memory()
            write_json(self._memory(self._folder), self._kept)

    def _memory(self, folder: Path) -> Path:
        """File of the book guard's memory in a user folder: one a database, for what a rehearsal or a dry run
        was worth at its peak says nothing of the account.
        """
        database = Path(urlsplit(str(self.config.get("db_url") or "")).path).stem
        name = ".".join(part for part in (self.get_strategy_name(), database) if part)
        return folder / "bascule" / f"{name}.guard.json"

    def _recall(self) -> None:
        """The book guard's memory of an earlier life; one that cannot be read stops the bot from starting."""
        if self._guard is None or self._folder is None:
            return
        path = self._memory(self._folder)
        if not path.exists():
            return
        try:
            self._kept = json.loads(path.read_text("utf-8"))
            self._guard.remember(self._kept)
        except (OSError, ValueError, KeyError, TypeError) as error:
            trouble = BridgeError(
                f"the memory of the book guard cannot be read ({type(error).__name__})",
                where=str(path),
                remedy="remove the file if the peak of the equity may be forgotten",
            )
            raise OperationalException(str(trouble)) from None

    def _say(self, words: str) -> None:
        log.warning(words)
        self.dp.send_msg(words, always_send=True)

    def _state(self) -> State:
        """What holds this moment: between two loops somebody may have halted the bot."""
        return emergency.in_force(self._folder).state if self._folder is not None else State.RUN

    def _tell_order(self, pair: str, words: str) -> None:
        """Log once a candle and reason; a backtest is silent."""
        if not self._live:
            return
        candle = int(self._last_loop) // self._bundle.spec.bar.seconds if self._last_loop > 0 else 0
        if self._told.get(pair) != (candle, words):
            self._told[pair] = (candle, words)
            log.info("%s: %s", pair, words)
