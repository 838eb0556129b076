"""All settings of the strategy family, as one group: configuration key ``bascule.trading``."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from bascule.bridge.freqtrade.trading.fusion import FusionSettings
from bascule.bridge.freqtrade.trading.gates import GateSettings
from bascule.bridge.freqtrade.trading.gearing import GearSettings
from bascule.bridge.freqtrade.trading.guard import GuardSettings
from bascule.bridge.freqtrade.trading.neutral import NeutralSettings
from bascule.bridge.freqtrade.trading.pricing import PricingSettings
from bascule.bridge.freqtrade.trading.protections import ProtectionSettings
from bascule.bridge.freqtrade.trading.sizing import LadderSettings, RebalanceSettings
from bascule.bridge.freqtrade.trading.stops import LevelSettings
from bascule.core import Settings
from bascule.risk import PreTradeSettings


class TradingSettings(Settings):
    """What the strategy does beyond entering, holding and leaving by the signals; by default nothing.

    See the modules of `bascule.bridge.freqtrade.trading` for what each part does.
    """

    rebalance: RebalanceSettings | None = Field(default=None, description="positions follow target weights")
    ladder: LadderSettings | None = Field(default=None, description="entries and exits in steps")
    stops: LevelSettings | None = Field(default=None, description="stops in several levels")
    fusion: tuple[FusionSettings, ...] = Field(
        default=(), max_length=4, description="signals of coarser timeframes"
    )
    neutral: NeutralSettings | None = Field(default=None, description="futures: balance, hedge leg")
    gear: GearSettings | None = Field(default=None, description="futures: leverage from risk")
    gates: GateSettings | None = Field(default=None, description="order book and volume before an entry")
    limits: PreTradeSettings | None = Field(
        default=None, description="limits of the whole book, VaR among them, before an order"
    )
    pricing: PricingSettings | None = Field(default=None, description="limit orders with re-pricing")
    guard: GuardSettings | None = Field(default=None, description="drawdown of the whole book")
    protections: ProtectionSettings | None = Field(default=None, description="freqtrade's own protections")
    reload_seconds: float = Field(
        default=10.0, gt=0, le=3600, description="how often a live bot looks for a new bundle behind current"
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.limits is not None and self.limits.exposures and set(self.limits.exposures) != {"market"}:
            raise ValueError("limits.exposures: candles give the exposure to 'market' only")
        return self

    def order_types(self) -> dict[str, object]:
        """freqtrade's ``order_types`` that these settings ask for."""
        kind = "market" if self.pricing is None else "limit"
        return {
            "entry": kind,
            "exit": kind,
            "emergency_exit": "market",
            "force_entry": kind,
            "force_exit": "market",
            "stoploss": "market",
            "stoploss_on_exchange": self.stops is not None and self.stops.on_exchange,
        }

    @property
    def adjusts(self) -> bool:
        """Whether positions change their size while they are open."""
        return self.rebalance is not None or self.ladder is not None or self.neutral is not None

    @property
    def reads_risk(self) -> bool:
        """Whether volatility and beta of the candles are needed."""
        by_beta = self.neutral is not None and self.neutral.by == "beta"
        targeted = self.gear is not None and self.gear.volatility is not None
        return self.limits is not None or by_beta or targeted
