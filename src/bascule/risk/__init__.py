"""Floor 4: how dangerous each instrument is, what it is exposed to, and what a portfolio can lose.

1. `scores.py` (with `settings.py`, `windows.py`): scores of instruments and market, the same bits live.
2. `style.py` (texts in ``style.yaml``), `rowwise.py`, `exposures.py`, `liquidation.py`: exposures to risk
   factors.
3. `crosssection.py`, `covariance.py`, `specific.py`, `model.py`: the cross-sectional model; `rolling.py`:
   betas over time, e.g. on `market.py`; `batched.py` inverts for both; `diagnostics.py`: whether they are
   right.
4. `var.py`, `coverage.py`: value at risk and its backtests; `stress.py`: scenarios; `pretrade.py`: the last
   check before orders go out.
5. `dag.py`, `effect.py`, `causal.py`: which controls a factor regression may have; `discovery.py`: a graph
   suggested by data.

Heavy libraries are imported by the functions that need them (`extra.py`).
"""

from bascule.risk.causal import CausalReport, CausalSettings, causal_check, check_controls
from bascule.risk.covariance import CovarianceSettings, factor_covariances, last_covariance
from bascule.risk.coverage import Coverage, coverage, kupiec_band
from bascule.risk.crosssection import CrossSections, regress
from bascule.risk.dag import Dag, DagSettings, Problem
from bascule.risk.diagnostics import BiasReport, FactorReport, bias, bias_of, explained, factor_reports
from bascule.risk.discovery import Suggestion, discover
from bascule.risk.effect import Effect, Refutation, Stable
from bascule.risk.exposures import Exposures, ExposureSettings, exposures
from bascule.risk.liquidation import LiquidationSettings, with_liquidations
from bascule.risk.market import market_returns
from bascule.risk.model import (
    FactorModel,
    FactorModelSettings,
    RiskModel,
    close_returns,
    factor_returns,
    fit,
    fit_exposures,
)
from bascule.risk.pretrade import Action, PreTrade, PreTradeSettings, check_orders
from bascule.risk.rolling import RollingBetas, Stability, rolling_betas, shrink, stability
from bascule.risk.scores import Regime, RiskScores, compute
from bascule.risk.settings import RiskSettings, lookback
from bascule.risk.specific import SpecificSettings, specific_variances
from bascule.risk.stress import SCENARIOS, Loss, Position, Scenario, leader_betas, stress
from bascule.risk.style import LeftOut, StyleText, catalogue
from bascule.risk.var import Tail, TailSettings, portfolio_history, tail_risk

__all__ = [
    "SCENARIOS",
    "Action",
    "BiasReport",
    "CausalReport",
    "CausalSettings",
    "CovarianceSettings",
    "Coverage",
    "CrossSections",
    "Dag",
    "DagSettings",
    "Effect",
    "ExposureSettings",
    "Exposures",
    "FactorModel",
    "FactorModelSettings",
    "FactorReport",
    "LeftOut",
    "LiquidationSettings",
    "Loss",
    "Position",
    "PreTrade",
    "PreTradeSettings",
    "Problem",
    "Refutation",
    "Regime",
    "RiskModel",
    "RiskScores",
    "RiskSettings",
    "RollingBetas",
    "Scenario",
    "SpecificSettings",
    "Stability",
    "Stable",
    "StyleText",
    "Suggestion",
    "Tail",
    "TailSettings",
    "bias",
    "bias_of",
    "catalogue",
    "causal_check",
    "check_controls",
    "check_orders",
    "close_returns",
    "compute",
    "coverage",
    "discover",
    "explained",
    "exposures",
    "factor_covariances",
    "factor_reports",
    "factor_returns",
    "fit",
    "fit_exposures",
    "kupiec_band",
    "last_covariance",
    "leader_betas",
    "lookback",
    "market_returns",
    "portfolio_history",
    "regress",
    "rolling_betas",
    "shrink",
    "specific_variances",
    "stability",
    "stress",
    "tail_risk",
    "with_liquidations",
]
