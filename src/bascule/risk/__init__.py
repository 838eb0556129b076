"""Floor 4: how dangerous each instrument is, what it is exposed to, and what a portfolio can lose.

1. `scores.py` (with `settings.py`, `windows.py`): scores of instruments and market, the same bits live.
2. `style.py` (texts in ``style.yaml``), `rowwise.py`, `exposures.py`, `liquidation.py`: exposures to risk
   factors.
3. `crosssection.py`, `covariance.py`, `specific.py`, `model.py`: the cross-sectional model; `rolling.py`:
   betas over time; `batched.py` inverts for both; `diagnostics.py`: whether they are right.

Heavy libraries are imported by the functions that need them (`extra.py`).
"""

from bascule.risk.covariance import CovarianceSettings, factor_covariances
from bascule.risk.crosssection import CrossSections, regress
from bascule.risk.diagnostics import BiasReport, FactorReport, bias, bias_of, explained, factor_reports
from bascule.risk.exposures import Exposures, ExposureSettings, exposures
from bascule.risk.liquidation import LiquidationSettings, with_liquidations
from bascule.risk.model import FactorModel, FactorModelSettings, RiskModel, close_returns, fit, fit_exposures
from bascule.risk.rolling import RollingBetas, Stability, rolling_betas, shrink, stability
from bascule.risk.scores import Regime, RiskScores, compute
from bascule.risk.settings import RiskSettings, lookback
from bascule.risk.specific import SpecificSettings, specific_variances
from bascule.risk.style import LeftOut, StyleText, catalogue

__all__ = [
    "BiasReport",
    "CovarianceSettings",
    "CrossSections",
    "ExposureSettings",
    "Exposures",
    "FactorModel",
    "FactorModelSettings",
    "FactorReport",
    "LeftOut",
    "LiquidationSettings",
    "Regime",
    "RiskModel",
    "RiskScores",
    "RiskSettings",
    "RollingBetas",
    "SpecificSettings",
    "Stability",
    "StyleText",
    "bias",
    "bias_of",
    "catalogue",
    "close_returns",
    "compute",
    "explained",
    "exposures",
    "factor_covariances",
    "factor_reports",
    "fit",
    "fit_exposures",
    "lookback",
    "regress",
    "rolling_betas",
    "shrink",
    "specific_variances",
    "stability",
    "with_liquidations",
]
