"""The strategy: trades what the signals say.

1. On loading, the bundle is opened and verified; it must fit the configuration (timeframe, market, pairs).
2. `populate_indicators` puts the signals beside the candles of a pair. *stored* joins the bundle's
   out-of-sample signals by date. *computed* computes them from the candles of the bundle's whole universe,
   once a candle, shared by all pairs. The universe is the bundle's, never the whitelist: a run with one pair
   sees the same cross-section as a run with all.
3. Entries: alpha rank at or above the threshold, a target weight on that side, risk score and portfolio risk
   below their limits, and a candle that traded. Shorts (futures only) mirror longs. A live run that computes
   enters no pair whose candles are unhealthy (`watch.py`; thresholds: configuration key ``bascule.health``).
4. Exits: the rank fell below the exit threshold (alpha decay), the instrument left the universe, or risk is
   critical.
5. Stakes are target weights of the wallet; stops are the row's stop distance from the entry price, and only
   ever tighten.

No module-level state: hyper-optimisation pickles this class by value.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from freqtrade.configuration import TimeRange
from freqtrade.enums import RunMode
from freqtrade.exceptions import OperationalException
from freqtrade.persistence import Trade
from freqtrade.strategy import DecimalParameter, IStrategy, stoploss_from_absolute

from bascule import __version__
from bascule.bridge.freqtrade import datafiles, feed
from bascule.bridge.freqtrade.watch import Watch
from bascule.core import BasculeError, BridgeError, Instrument
from bascule.data.issues import HealthSettings
from bascule.signals import Bundle, SignalFrame, unavailable_live

LIVE_MODES = (RunMode.DRY_RUN, RunMode.LIVE)
# candles that carry signals in a live run: it trades on the newest, its charts show some more
SHOWN_LIVE = 200


class FactorStrategy(IStrategy):
    """Base of user strategies; see the package's docstring for the three lines that a file needs.

    Attributes:
        bundle: path of a bundle or of a folder with a ``current`` one; default: configuration key
            ``bascule.bundle``.
        entry_rank, exit_rank, risk_limit, portfolio_limit, critical_risk, critical_portfolio: thresholds,
            hyper-optimisable (spaces buy and sell); defaults are the bundle's rules.
    """

    INTERFACE_VERSION = 3
    bundle: str | Path | None = None

    minimal_roi: ClassVar[dict[str, float]] = {"0": 100.0}  # never: exits are the signals' matter
    stoploss = -0.99
    use_custom_stoploss = True
    use_exit_signal = True
    exit_profit_only = False
    process_only_new_candles = True

    entry_rank = DecimalParameter(0.5, 1.0, default=0.8, decimals=3, space="buy")
    risk_limit = DecimalParameter(0.0, 1.0, default=0.9, decimals=3, space="buy")
    portfolio_limit = DecimalParameter(0.0, 1.0, default=0.9, decimals=3, space="buy")
    exit_rank = DecimalParameter(0.0, 1.0, default=0.5, decimals=3, space="sell")
    critical_risk = DecimalParameter(0.0, 1.0, default=0.98, decimals=3, space="sell")
    critical_portfolio = DecimalParameter(0.0, 1.0, default=0.98, decimals=3, space="sell")

    plot_config: ClassVar[dict[str, Any]] = {
        "subplots": {
            "alpha": {"alpha_rank": {}},
            "risk": {"risk_score": {}, "portfolio_risk": {}},
            "weight": {"target_weight": {}},
        }
    }

    def __init__(self, config: dict[str, Any]) -> None:
        options = dict(config.get("bascule") or {})
        try:
            self._bundle = self._open(options)
            self._mode = self._choose_mode(config, options)
            self._check_fit(config)
            health = HealthSettings.read(options.get("health") or {}, where="bascule.health")
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        spec = self._bundle.spec
        self.timeframe = spec.timeframe
        self.can_short = spec.market == "futures"
        self._leverage = float(options.get("leverage", 1.0))
        # a hard floor below every stop that the signals can ask for
        self.stoploss = -min(0.99, spec.stop.cap * self._leverage)
        # one candle more, so that a window that starts between two candles still covers the look-back
        self.startup_candle_count = self._bundle.lookback + 1 if self._mode == "computed" else 1
        self._cached: tuple[Any, SignalFrame] | None = None
        watched = self._mode == "computed" and config.get("runmode") in LIVE_MODES
        self._watch = Watch(spec.bar, health) if watched else None
        self._adopt_rules()
        super().__init__(config)

    # -- fitting bundle and configuration --------------------------------------------------------------

    def _open(self, options: dict[str, Any]) -> Bundle:
        path = self.bundle or options.get("bundle")
        if not path:
            raise BridgeError(
                "no bundle is named",
                where=type(self).__name__,
                remedy="set 'bundle' in the strategy, or 'bascule': {'bundle': …} in the configuration",
            )
        return Bundle.open(path)

    def _choose_mode(self, config: dict[str, Any], options: dict[str, Any]) -> str:
        live = config.get("runmode") in LIVE_MODES
        mode = options.get("mode") or ("computed" if live else "stored")
        if mode not in ("stored", "computed"):
            raise BridgeError(
                f"unknown mode {mode!r}", where="bascule.mode", remedy="choose stored or computed"
            )
        if mode == "computed":
            missing = unavailable_live(self._bundle.spec)
            if missing:
                raise BridgeError(
                    f"the factors read {', '.join(missing)}, which the exchange's candles do not give",
                    where=str(self._bundle.path),
                    remedy="use factors of open, high, low, close, volume and typical vwap, or mode stored",
                )
        return str(mode)

    def _check_fit(self, config: dict[str, Any]) -> None:
        spec = self._bundle.spec
        timeframe = config.get("timeframe")
        if timeframe and timeframe != spec.timeframe:
            raise BridgeError(
                f"the bundle's timeframe is {spec.timeframe}, the configuration says {timeframe}",
                where="timeframe",
                remedy=f"set timeframe {spec.timeframe}",
            )
        market = getattr(config.get("trading_mode"), "value", config.get("trading_mode")) or "spot"
        if market != spec.market:
            raise BridgeError(
                f"the bundle is of the {spec.market} market, the configuration trades {market}",
                where="trading_mode",
                remedy=f"set trading_mode {spec.market}, or use a bundle of the {market} market",
            )

    def _adopt_rules(self) -> None:
        """Thresholds of the bundle become the parameters' defaults, unless the user's class sets its own."""
        for name, value in self._bundle.spec.rules.model_dump().items():
            declared = getattr(type(self), name)
            if declared is getattr(FactorStrategy, name):
                parameter = deepcopy(declared)
                parameter.default = parameter.value = value
                setattr(self, name, parameter)

    def bot_start(self, **kwargs: Any) -> None:
        """Check the pairs, and in a backtest the files, before anything is computed."""
        try:
            whitelist = self.dp.current_whitelist()
            foreign = [
                pair for pair in whitelist if Instrument.parse(pair).id not in self._bundle.instruments
            ]
            if foreign:
                raise BridgeError(
                    f"the bundle has no signals for {', '.join(foreign)}",
                    where="pair_whitelist",
                    remedy=f"trade pairs of its universe: {', '.join(self._pairs()[:8])}, …",
                )
            if self.config.get("runmode") not in LIVE_MODES:
                spec, folder = self._bundle.spec, self.config["datadir"]
                traded = TimeRange.parse_timerange(self.config.get("timerange"))
                span = {"start": traded.startdt, "end": traded.stopdt}
                datafiles.require(folder, whitelist, spec.bar, spec.market, **span)
                if self._mode == "computed":
                    datafiles.require(folder, self._pairs(), spec.bar, spec.market, funding=False)
        except BasculeError as error:
            raise OperationalException(str(error)) from None

    def version(self) -> str:
        """Version of package and bundle, shown by freqtrade."""
        return f"{__version__}+{self._bundle.id}"

    # -- signals -----------------------------------------------------------------------------------------

    def _pairs(self) -> list[str]:
        return [Instrument.parse(name).pair for name in self._bundle.instruments]

    def informative_pairs(self) -> list[tuple[str, str]]:
        """The whole universe, for the computed mode; pairs that left the exchange are left out."""
        if self._mode == "stored":
            return []
        pairs = self._pairs()
        if self.config.get("runmode") in LIVE_MODES:
            pairs = [pair for pair in pairs if self.dp.market(pair) is not None]
        return [(pair, self.timeframe) for pair in pairs]

    def _signals(self) -> SignalFrame:
        """Signals of all pairs, computed once a candle."""
        if self._mode == "stored":
            return self._bundle.signals
        pairs = [pair for pair, _ in self.informative_pairs()]
        live = self.config.get("runmode") in LIVE_MODES
        key: Any
        if live:
            candles = {pair: self.dp.ohlcv(pair, self.timeframe, copy=False) for pair in pairs}
            key = [(pair, len(one), one["date"].iat[-1]) for pair, one in candles.items() if len(one)]
        else:
            key = (id(self.dp), self.config.get("timerange"), self.config.get("startup_candle_count"))
        if self._cached is None or self._cached[0] != key:
            read = self.dp.get_pair_dataframe if live else self.dp.historic_ohlcv
            panel = feed.panel_of(
                {pair: read(pair, self.timeframe) for pair in pairs},
                self._bundle.spec.bar,
                bars=self._bundle.lookback + SHOWN_LIVE if live else None,
            )
            self._cached = (key, self._bundle.live(panel))
            if self._watch is not None:
                for news in self._watch.look(candles):
                    self.dp.send_msg(news)
        return self._cached[1]

    def populate_indicators(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Put the signals beside the candles."""
        try:
            columns = feed.join(self._signals(), metadata["pair"], dataframe["date"])
            if self._watch is not None:
                columns["untradable"] = self._watch.marks(metadata["pair"], dataframe["date"])
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        return dataframe.assign(**columns)

    def populate_entry_trend(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Mark entries."""
        allowed = (
            (dataframe["volume"] > 0)
            & (dataframe["risk_score"] < self.risk_limit.value)
            & (dataframe["portfolio_risk"] < self.portfolio_limit.value)
        )
        if "untradable" in dataframe:
            allowed &= dataframe["untradable"] == 0
        rank, weight = dataframe["alpha_rank"], dataframe["target_weight"]
        long = allowed & (rank >= self.entry_rank.value) & (weight > 0)
        dataframe.loc[long, ["enter_long", "enter_tag"]] = (1, "alpha_long")
        if self.can_short:
            short = allowed & (rank <= 1 - self.entry_rank.value) & (weight < 0)
            dataframe.loc[short, ["enter_short", "enter_tag"]] = (1, "alpha_short")
        return dataframe

    def populate_exit_trend(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Mark exits; where several reasons hold, the last one below is the one reported."""
        rank, covered = dataframe["alpha_rank"], dataframe["covered"] > 0
        traded = dataframe["volume"] > 0
        reasons = [
            ("left_universe", covered & traded & rank.isna(), covered & traded & rank.isna()),
            ("alpha_decay", rank < self.exit_rank.value, rank > 1 - self.exit_rank.value),
        ]
        for name, column, level in (
            ("risk", "risk_score", self.critical_risk.value),
            ("portfolio_risk", "portfolio_risk", self.critical_portfolio.value),
        ):
            critical = dataframe[column] >= level
            reasons.append((name, critical, critical))
        for name, leave_long, leave_short in reasons:
            dataframe.loc[leave_long, ["exit_long", "exit_tag"]] = (1, name)
            if self.can_short:
                dataframe.loc[leave_short, ["exit_short", "exit_tag"]] = (1, name)
        return dataframe

    # -- sizes and stops ---------------------------------------------------------------------------------

    def _latest(self, pair: str, column: str) -> float:
        """A signal of the pair's newest closed candle; NaN where there is none."""
        frame, _ = self.dp.get_analyzed_dataframe(pair, self.timeframe)
        return float(frame[column].iat[-1]) if len(frame) else float("nan")

    def leverage(
        self,
        pair: str,
        current_time: datetime,
        current_rate: float,
        proposed_leverage: float,
        max_leverage: float,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> float:
        """The configured leverage, as far as the exchange gives it."""
        return min(self._leverage, max_leverage)

    def custom_stake_amount(
        self,
        pair: str,
        current_time: datetime,
        current_rate: float,
        proposed_stake: float,
        min_stake: float | None,
        max_stake: float,
        leverage: float,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> float:
        """|target weight| of the wallet; 0, which is no trade, where the exchange's minimum is larger."""
        weight = self._latest(pair, "target_weight")
        wanted = weight if side == "long" else -weight
        if not wanted > 0 or self.wallets is None:
            return 0.0
        stake = min(wanted * self.wallets.get_total_stake_amount() / leverage, max_stake)
        return 0.0 if min_stake and stake < min_stake else float(stake)

    def custom_stoploss(
        self,
        pair: str,
        trade: Trade,
        current_time: datetime,
        current_rate: float,
        current_profit: float,
        after_fill: bool,
        **kwargs: Any,
    ) -> float | None:
        """The newest stop distance, from the entry price. freqtrade keeps the tightest so far."""
        distance = self._latest(pair, "stop_distance")
        if not distance > 0:
            return None
        # a price, not a loss: stoploss_from_open would count the fees in and stop earlier
        stop = trade.open_rate * (1 + distance if trade.is_short else 1 - distance)
        return float(stoploss_from_absolute(stop, current_rate, trade.is_short, trade.leverage))

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the signals, which every process can compute or read again."""
        return {**self.__dict__, "_cached": None}
