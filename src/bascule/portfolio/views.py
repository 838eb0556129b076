"""Views on factor premia: what somebody, or a model, believes beyond the prior.

A YAML file of views::

    per: day            # of the numbers: bar, day or year
    views:
      - {view: "momentum = 0.0008", confidence: 0.6}
      - {view: "funding - size = 0.0005", confidence: 0.4}
      - {view: "0.5*value + 0.5*momentum = 0.0002"}

A confidence of 1 is certainty, 0.5 weighs a view like the prior.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from bascule.core import ConfigError, DataError, Settings, yaml_mapping
from bascule.evaluate.rows import Float64Array
from bascule.risk import RiskModel

_TERM = re.compile(r"([+-]?)(?:(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\*)?([A-Za-z_][A-Za-z0-9_]*)")


class View(Settings):
    """One view, absolute (``a = 0.001``) or relative (``a - b = 0.001``)."""

    view: str = Field(description="linear combination of factors = premium")
    confidence: float = Field(default=0.5, gt=0, le=1, description="1 = certain")


class ViewSettings(Settings):
    """A list of views with one unit of time."""

    per: Literal["bar", "day", "year"] = Field(default="day", description="time that the premia are for")
    tau: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="uncertainty of the prior premia, share of the factor covariance",
    )
    views: tuple[View, ...] = Field(default=(), description="views; none leaves the prior as it is")


@dataclass(frozen=True, eq=False)
class Views:
    """Views as matrices, per bar.

    Attributes:
        picks: P ``[V, K]``.
        values: q ``[V]``.
        uncertainty: Ω ``[V, V]``, positive semi-definite; 0 = certain.
        labels: what each says ``[V]``.
    """

    picks: Float64Array
    values: Float64Array
    uncertainty: Float64Array
    labels: tuple[str, ...]

    def join(self, other: Views) -> Views:
        """Both, taken as independent."""
        first, second = len(self.values), len(other.values)
        joint = np.zeros((first + second, first + second))
        joint[:first, :first], joint[first:, first:] = self.uncertainty, other.uncertainty
        return Views(
            np.vstack([self.picks, other.picks]),
            np.concatenate([self.values, other.values]),
            joint,
            self.labels + other.labels,
        )


def load_views(path: Path) -> ViewSettings:
    """Read a YAML file of views.

    Raises:
        ConfigError: the file cannot be read, or is not one.
    """
    return ViewSettings.read(yaml_mapping(path, remedy="write per: and views:"), where=str(path))


def parse_view(text: str, names: Sequence[str]) -> tuple[Float64Array, float]:
    """Picks ``[K]`` and premium of one view.

    Raises:
        ConfigError: the text is no view, or names an unknown factor.
    """
    left, equals, right = (part.strip() for part in text.partition("="))
    compact = re.sub(r"\s*([+*-])\s*", r"\1", left)
    picks = np.zeros(len(names))
    place = 0
    try:
        value = float(right)
    except ValueError:
        value = float("nan")
    while place < len(compact):
        match = _TERM.match(compact, place)
        if not match or (place and not match[1]):
            break
        if match[3] not in names:
            raise ConfigError(
                f"unknown factor {match[3]!r} in {text!r}",
                where="views",
                remedy=f"factors of the model: {', '.join(names)}",
            )
        sign = -1.0 if match[1] == "-" else 1.0
        picks[names.index(match[3])] += sign * float(match[2] or 1.0)
        place = match.end()
    if not equals or not np.isfinite(value) or place < len(compact) or not picks.any():
        raise ConfigError(
            f"{text!r} is not a view",
            where="views",
            remedy='write "momentum = 0.001" or "momentum - 0.5*size = 0.001"',
        )
    return picks, value


def views_of(
    settings: ViewSettings, names: Sequence[str], covariance: Float64Array, bars_a_year: float
) -> Views:
    """Matrices of written views.

    A view's variance is τ·(1/c − 1)·pᵀSp, after Idzorek (2007): with confidence ½ it weighs as much as the
    prior.

    Args:
        settings: the views.
        names: factors ``[K]``.
        covariance: S, of factor returns, per bar ``[K, K]``.
        bars_a_year: bars in a year of 365 days.
    """
    scale = {"bar": 1.0, "day": 365.0 / bars_a_year, "year": 1.0 / bars_a_year}[settings.per]
    parsed = [parse_view(one.view, list(names)) for one in settings.views]
    picks = np.array([p for p, _ in parsed]).reshape(len(parsed), len(names))
    values = np.array([v for _, v in parsed]) * scale
    doubt = np.array([1.0 / one.confidence - 1.0 for one in settings.views])
    spread = np.einsum("vk,kl,vl->v", picks, covariance, picks)
    return Views(
        picks, values, np.diag(settings.tau * doubt * spread), tuple(one.view for one in settings.views)
    )


def views_of_alpha(model: RiskModel, alpha: Float64Array, *, ic: float) -> Views:
    """What a model's alphas say of the factors: one absolute view on each.

    Premia are the generalised least squares fit of the alphas on the exposures; their uncertainty is that of
    the fit, larger the lower the skill: the error variance of an alpha is (1/IC² − 1) times its own
    (Grinold & Kahn, Active Portfolio Management, 2nd ed., ch. 10).

    Args:
        model: exposures and specific variances.
        alpha: expected return per bar of each instrument, NaN = no opinion ``[N]``.
        ic: information coefficient of the alphas, in (0, 1).

    Raises:
        ConfigError: ``ic`` is out of range.
        DataError: fewer opinions than factors.
    """
    if not 0.0 < ic < 1.0:
        raise ConfigError(f"ic is {ic}", where="views_of_alpha", remedy="an IC lies in (0, 1)")
    known = np.isfinite(alpha)
    if known.sum() < len(model.names):
        raise DataError(
            f"{int(known.sum())} alphas for {len(model.names)} factors",
            where="views_of_alpha",
            remedy="give an alpha to more instruments",
        )
    b, values = model.exposures[known], alpha[known]
    floor = max(float(model.specific_variance.max(initial=0.0)) * 1e-8, 1e-18)
    weight = 1.0 / np.maximum(model.specific_variance[known], floor)
    inverse = np.linalg.pinv((b * weight[:, None]).T @ b, hermitian=True)
    premia = inverse @ (b.T @ (weight * values))
    # error variance relative to the specific variance that the fit weighs with
    noise = (1.0 / ic**2 - 1.0) * float((weight * values**2).mean())
    labels = tuple(f"alpha: {name}" for name in model.names)
    return Views(np.eye(len(model.names)), premia, np.asarray(noise * inverse, np.float64), labels)
