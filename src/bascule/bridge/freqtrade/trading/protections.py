"""freqtrade's own protections, from settings. They lock pairs after bad trades.

Its documentation says how each of them counts. In backtests they work with ``--enable-protections`` only.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from bascule.core import Settings


class _Lookback(Settings):
    lookback: int = Field(default=24, ge=1, description="candles that are looked back on")
    stop: int = Field(default=12, ge=1, description="candles that the lock lasts")
    trades: int = Field(default=4, ge=1, description="fewest trades for a verdict")

    def _rule(self, method: str, **more: Any) -> dict[str, Any]:
        return {
            "method": method,
            "lookback_period_candles": self.lookback,
            "stop_duration_candles": self.stop,
            "trade_limit": self.trades,
            **more,
        }


class StoplossGuardSettings(_Lookback):
    """Too many stops."""

    per_pair: bool = Field(default=False, description="lock the pair only, not all")
    per_side: bool = Field(default=False, description="lock the side only")

    def rule(self) -> dict[str, Any]:
        """As freqtrade wants it."""
        return self._rule("StoplossGuard", only_per_pair=self.per_pair, only_per_side=self.per_side)


class MaxDrawdownSettings(_Lookback):
    """Too large a drawdown of closed trades."""

    drawdown: float = Field(default=0.1, gt=0, lt=1, description="of closed trades, fraction")

    def rule(self) -> dict[str, Any]:
        """As freqtrade wants it."""
        return self._rule("MaxDrawdown", max_allowed_drawdown=self.drawdown)


class LowProfitSettings(_Lookback):
    """A pair that loses."""

    profit: float = Field(default=-0.02, ge=-1, le=1, description="sum of profits needed, fraction")
    per_side: bool = Field(default=False, description="lock the side only")

    def rule(self) -> dict[str, Any]:
        """As freqtrade wants it."""
        return self._rule("LowProfitPairs", required_profit=self.profit, only_per_side=self.per_side)


class ProtectionSettings(Settings):
    """Which of freqtrade's protections are on."""

    cooldown: int | None = Field(default=None, ge=1, description="candles without entry after an exit")
    stoploss_guard: StoplossGuardSettings | None = Field(default=None, description="after many stops")
    max_drawdown: MaxDrawdownSettings | None = Field(default=None, description="after losses of all")
    low_profit: LowProfitSettings | None = Field(default=None, description="of pairs that lose")

    def rules(self) -> list[dict[str, Any]]:
        """The list that freqtrade takes as the strategy's ``protections``."""
        found = [
            one.rule() for one in (self.stoploss_guard, self.max_drawdown, self.low_profit) if one is not None
        ]
        if self.cooldown is not None:
            found.insert(0, {"method": "CooldownPeriod", "stop_duration_candles": self.cooldown})
        return found
