"""The cross-sectional factor model of a panel, and what it says of a portfolio.

1. `exposures.py`: exposures at the close of each candle.
2. `crosssection.py`: the next candle's close-to-close returns are regressed on them; row t of the factor
   returns belongs to candle t.
3. `covariance.py` and `specific.py`: forecasts of factor covariance and specific variance after every row.
4. `FactorModel.at` joins them to one `RiskModel`: Σ = B·F·Bᵀ + diag(D), never formed unless asked for.

Nothing of row t uses a later candle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from bascule.core import (
    DataError,
    Moment,
    Panel,
    Progress,
    Settings,
    Timeframe,
    UniverseError,
    moment,
    silent,
)
from bascule.core.timeframe import TimeArray
from bascule.evaluate.rows import Float64Array
from bascule.risk.covariance import CovarianceSettings, factor_covariances
from bascule.risk.crosssection import CrossSections, regress
from bascule.risk.exposures import Exposures, ExposureSettings, exposures
from bascule.risk.specific import SpecificSettings, specific_variances


class FactorModelSettings(Settings):
    """All parts of the cross-sectional model."""

    exposures: ExposureSettings = Field(default=ExposureSettings(), description="risk factors")
    covariance: CovarianceSettings = Field(default=CovarianceSettings(), description="of factor returns")
    specific: SpecificSettings = Field(default=SpecificSettings(), description="specific risk")


@dataclass(frozen=True, eq=False)
class RiskModel:
    """Covariance of instruments at one moment, in factor form, per bar.

    Attributes:
        names: factors ``[K]``.
        instruments: store ids ``[N]``.
        exposures: B ``[N, K]``, finite.
        factor_covariance: F ``[K, K]``, positive semi-definite.
        specific_variance: D ≥ 0 ``[N]``.
        bars_a_year: for annualising.
        time: candle after whose close it holds.
    """

    names: tuple[str, ...]
    instruments: tuple[str, ...]
    exposures: Float64Array
    factor_covariance: Float64Array
    specific_variance: Float64Array
    bars_a_year: float
    time: np.datetime64

    def __post_init__(self) -> None:
        n, k = len(self.instruments), len(self.names)
        shapes = (self.exposures.shape, self.factor_covariance.shape, self.specific_variance.shape)
        if shapes != ((n, k), (k, k), (n,)):
            raise DataError(f"shapes {shapes} do not fit {n} instruments and {k} factors", where="RiskModel")
        parts = (self.exposures, self.factor_covariance, self.specific_variance)
        if not all(np.isfinite(part).all() for part in parts) or (self.specific_variance < 0.0).any():
            raise DataError(
                "not finite, or a negative specific variance",
                where="RiskModel",
                remedy="leave out instruments without exposures (FactorModel.at does)",
            )

    def covariance(self) -> Float64Array:
        """Σ as a dense matrix, per bar ``[N, N]``."""
        b = self.exposures
        result: Float64Array = b @ self.factor_covariance @ b.T + np.diag(self.specific_variance)
        return result

    def root(self) -> Float64Array:
        """R with R·Rᵀ = F ``[K, K]``; F may be singular."""
        values, vectors = np.linalg.eigh(self.factor_covariance)
        result: Float64Array = vectors * np.sqrt(np.maximum(values, 0.0))
        return result

    def apply(self, weights: Float64Array) -> Float64Array:
        """Σ·w without forming Σ ``[N]``."""
        result: Float64Array = self.exposures @ (self.factor_covariance @ (self.exposures.T @ weights))
        return result + self.specific_variance * weights

    def variance(self, weights: Float64Array) -> float:
        """wᵀΣw per bar."""
        return float(weights @ self.apply(weights))

    def volatility(self, weights: Float64Array) -> float:
        """Annualised volatility of a portfolio."""
        return float(np.sqrt(max(self.variance(weights), 0.0) * self.bars_a_year))

    def factor_exposures(self, weights: Float64Array) -> dict[str, float]:
        """Bᵀw by factor name."""
        return dict(zip(self.names, (self.exposures.T @ weights).tolist(), strict=True))

    def betas(self, market: Float64Array) -> Float64Array:
        """Slope of each instrument on the portfolio ``market`` ``[N]``."""
        variance = self.variance(market)
        if not variance > 0.0:
            raise DataError("the market portfolio has no variance", where="RiskModel.betas")
        return self.apply(market) / variance

    def contributions(self, weights: Float64Array) -> dict[str, float]:
        """Shares of the portfolio's variance by factor, and ``specific``; they add to 1 (0 for no
        position).
        """
        held = self.exposures.T @ weights
        parts = held * (self.factor_covariance @ held)
        own = float(weights @ (self.specific_variance * weights))
        total = float(parts.sum()) + own
        scale = 1.0 / total if total > 0.0 else 0.0
        return {
            **dict(zip(self.names, (parts * scale).tolist(), strict=True)),
            "specific": own * scale,
        }

    def select(self, instruments: Sequence[str]) -> RiskModel:
        """The model of some instruments, in the given order.

        Raises:
            UniverseError: one is not in the model.
        """
        index = [self._place(name) for name in instruments]
        return RiskModel(
            self.names,
            tuple(instruments),
            self.exposures[index],
            self.factor_covariance,
            self.specific_variance[index],
            self.bars_a_year,
            self.time,
        )

    def _place(self, name: str) -> int:
        if name not in self.instruments:
            raise UniverseError(
                f"{name} is not in the risk model",
                where="RiskModel",
                remedy=f"it holds {len(self.instruments)}: {', '.join(self.instruments[:8])}, …",
            )
        return self.instruments.index(name)


@dataclass(frozen=True, eq=False)
class FactorModel:
    """The model over time.

    Attributes:
        exposures: at each close.
        timeframe: of the panel.
        returns: close-to-close returns, float64 ``[T, N]``.
        sections: regressions of each row's returns on the exposures of the row before.
        factor_covariance: after each row, per bar ``[T, K, K]``.
        specific_variance: after each row, per bar ``[T, N]``.
    """

    exposures: Exposures
    timeframe: Timeframe
    returns: Float64Array
    sections: CrossSections
    factor_covariance: Float64Array
    specific_variance: Float64Array

    @property
    def names(self) -> tuple[str, ...]:
        """Factors ``[K]``."""
        return self.exposures.names

    @property
    def time(self) -> TimeArray:
        """Candle open times ``[T]``."""
        return self.exposures.time

    def row(self, time: Moment | None = None) -> int:
        """The last row whose candle has opened by ``time``; None = the last."""
        if time is None:
            return len(self.time) - 1
        row = int(np.searchsorted(self.time, moment(time), side="right")) - 1
        if row < 0:
            raise DataError(
                f"{time} lies before the model's first candle {self.time[0]}", where="FactorModel"
            )
        return row

    def at(self, row: int) -> RiskModel:
        """The risk model after the close of row ``row``; instruments and factors that it cannot know are
        left out.

        Raises:
            UniverseError: nothing is left: too little history, or no members.
        """
        values = self.exposures.values[:, row].astype(np.float64)
        known = np.isfinite(np.diagonal(self.factor_covariance[row])) & np.isfinite(values).any(axis=1)
        inside = np.isfinite(values[0]) & np.isfinite(self.specific_variance[row])
        if not known[0] or not inside.any():
            raise UniverseError(
                f"no risk model at {self.time[row]}",
                where="FactorModel",
                remedy="choose a later row: variances need some days of returns",
            )
        keep = np.flatnonzero(known)
        n = np.flatnonzero(inside)
        return RiskModel(
            tuple(self.names[k] for k in keep),
            tuple(self.exposures.instruments[i] for i in n),
            np.nan_to_num(values[np.ix_(keep, n)]).T.copy(),
            self.factor_covariance[row][np.ix_(keep, keep)],
            self.specific_variance[row, n],
            self.timeframe.bars_a_year,
            self.time[row],
        )


def fit(
    panel: Panel, settings: FactorModelSettings | None = None, *, progress: Progress = silent
) -> FactorModel:
    """Fit the cross-sectional model to a prepared panel.

    Raises:
        UniverseError: too few members; see `exposures`.
        DataError: a field is missing.
    """
    settings = settings or FactorModelSettings()
    found = exposures(panel, settings.exposures, progress=progress)
    return fit_exposures(panel, found, settings)


def fit_exposures(panel: Panel, found: Exposures, settings: FactorModelSettings | None = None) -> FactorModel:
    """Fit the model to given exposures of the same panel."""
    settings = settings or FactorModelSettings()
    returns = close_returns(panel)
    sections = factor_returns(found, returns)
    covariance = factor_covariances(sections.returns, panel.timeframe, settings.covariance)
    specific = specific_variances(
        sections.residuals, found.weights, found.counted, panel.timeframe, settings.specific
    )
    return FactorModel(found, panel.timeframe, returns, sections, covariance, specific)


def factor_returns(found: Exposures, returns: Float64Array) -> CrossSections:
    """Each row's close-to-close returns ``[T, N]`` on the exposures, by the weights, of the row before."""
    lagged = np.full(found.values.shape, np.nan, np.float32)
    lagged[:, 1:] = found.values[:, :-1]
    weights = np.zeros(found.weights.shape)
    weights[1:] = found.weights[:-1]
    return regress(lagged, returns, weights)


def close_returns(panel: Panel) -> Float64Array:
    """Close-to-close returns of neighbouring candles, NaN across gaps, float64 ``[T, N]``."""
    close = panel["close"].astype(np.float64)
    result = np.full(close.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        result[1:] = close[1:] / close[:-1] - 1.0
    result[~np.isfinite(result)] = np.nan
    return result
