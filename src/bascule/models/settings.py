"""Which model learns from what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from bascule.core import ConfigError, Settings
from bascule.models.registry import kind
from bascule.models.samples import FeatureKind, LabelKind

_QLIB = frozenset({"class", "module_path", "kwargs"})


class WeightSettings(Settings):
    """How much each training sample counts; all alike by default."""

    half_life_days: float | None = Field(
        default=None, gt=0, description="a sample this much older counts half; None: age does not matter"
    )
    uniqueness: bool = Field(
        default=False,
        description="a sample counts by the share of its label's bars that no other sample's label covers "
        "(average uniqueness)",
    )

    @property
    def plain(self) -> bool:
        """True if all samples count alike."""
        return self.half_life_days is None and not self.uniqueness


class ModelSettings(Settings):
    """Which model learns from what.

    The model may also be written as qlib's configurations do: ``{class, module_path, kwargs}``.
    """

    kind: str = Field(
        default="LGBModel", description="a kind of docs/models.md, e.g. LGBModel, TransformerModel"
    )
    params: Mapping[str, Any] = Field(
        default_factory=dict, description="parameters of qlib's model class, over the kind's defaults"
    )
    label: LabelKind = Field(
        default="rank",
        description="learn the rank, rank-Gauss or z-score within the row, or the raw forward return",
    )
    funding: bool = Field(
        default=False, description="perpetuals: learn returns after funding, as a long position earns them"
    )
    scale: Literal["none", "volatility"] = Field(
        default="none", description="volatility: divide returns by trailing volatility first"
    )
    scale_days: float = Field(default=30.0, gt=0, description="days of that trailing volatility")
    tiers: int = Field(
        default=1, ge=1, le=10, description="compare labels within this many liquidity tiers, not in one row"
    )
    horizons: tuple[int, ...] = Field(
        default=(), description="learn the mean of the labels of these horizons too (bars); purge grows"
    )
    features: FeatureKind = Field(
        default="rank", description="rank: percentile among the members of the same time; or raw"
    )
    steps: int = Field(
        default=1,
        ge=1,
        le=512,
        description="times of each feature that a sequence model reads, now included",
    )
    unroll: bool = Field(
        default=True,
        description="a run gives each factor at all steps (models.sequence); false: its factors are such "
        "columns already, as alpha360's are",
    )
    weights: WeightSettings = Field(default=WeightSettings(), description="how much each sample counts")
    row_stride: int | None = Field(
        default=None, ge=1, description="learn from every n-th row; None: from max_samples"
    )
    max_samples: int = Field(
        default=120_000, ge=100, description="most training samples a fold uses where row_stride is None"
    )
    min_samples: int = Field(default=1_000, ge=20, description="fewest training samples a fold may have")
    threads: int = Field(default=0, ge=0, description="threads of training; 0: all cores")
    device: Literal["auto", "cpu"] = Field(
        default="auto", description="auto: networks learn on a CUDA device where there is one"
    )

    @model_validator(mode="before")
    @classmethod
    def _qlib_form(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not _QLIB & set(values):
            return values
        given = dict(values)
        name, module = given.pop("class", None), given.pop("module_path", None)
        params = given.pop("kwargs", {})
        if not isinstance(name, str) or {"kind", "params"} & set(given):
            raise ConfigError(
                "give either kind and params, or qlib's class, module_path and kwargs",
                where="model",
                remedy="model: {class: LGBModel, module_path: qlib.contrib.model.gbdt, kwargs: {…}}",
            )
        return {**given, "kind": kind(name, module).name, "params": params or {}}

    @field_validator("horizons")
    @classmethod
    def _ordered(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value and (min(value) < 1 or list(value) != sorted(set(value))):
            raise ValueError("horizons must be rising numbers of candles, at least 1")
        return value

    def reach(self, horizon: int) -> int:
        """Bars that the longest label looks ahead: what folds must be purged by."""
        return max((horizon, *self.horizons))
