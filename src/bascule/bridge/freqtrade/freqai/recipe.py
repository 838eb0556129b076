"""What a FreqAI run learns and how it trades: configuration key ``bascule.freqai``, and FreqAI's own block.

FreqAI's block keeps its meaning: ``train_period_days`` is the length of the training window,
``backtest_period_days`` (whole days) the distance between two trainings, ``test_size`` the share of the
window that stops the training, ``identifier`` the folder of the models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from bascule import __version__
from bascule.core import ConfigError, Instrument, Settings, SetupError
from bascule.core.files import fingerprint
from bascule.core.timeframe import TimeArray
from bascule.data.universe import UniverseSettings
from bascule.models import KINDS, ModelSettings
from bascule.signals import FactorText, SignalSettings, SignalSpec, factor_texts, made_with

KEY = "bascule.freqai"
PERIOD = "{period}"


class FreqaiRecipe(SignalSettings):
    """Everything of a `SignalSpec`, with factors by library, and the model."""

    pairs: tuple[str, ...] = Field(
        min_length=1,
        description="the universe that is compared and learned from: fixed, whatever pairs are traded",
    )
    factors: tuple[str | dict[str, Any], ...] = Field(
        min_length=1,
        description="libraries, YAML files, or {name, text}; "
        "alpha158@4h or {name, text, timeframe} on longer candles",
    )
    expand: tuple[FactorText, ...] = Field(
        default=(),
        description="texts with {period}, which FreqAI expands by its periods, timeframes, shifts and "
        "correlated pairs; only for one model a pair",
    )
    basic: tuple[FactorText, ...] = Field(
        default=(), description="texts that FreqAI expands by all of these but periods"
    )
    universe: UniverseSettings = Field(
        default=UniverseSettings(volume_days=1, min_age_days=0), description="who may be traded, when"
    )
    model: ModelSettings = Field(default=ModelSettings(), description="which model learns from what")
    pooled: bool = Field(
        default=True, description="one model for the whole universe; false: one a pair, as FreqAI does it"
    )
    outlier_samples: int = Field(
        default=1_500, ge=100, le=20_000, description="pooled: training samples that outliers are told by"
    )
    seed: int = Field(default=0, ge=0, description="of the model's random choices")

    @field_validator("pairs")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [Instrument.parse(one).pair for one in value]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"pairs must be unique; doubled: {', '.join(doubled)}")
        return tuple(sorted(names))

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.pooled and (self.expand or self.basic):
            raise ValueError("FreqAI expands features pair by pair: expand and basic need pooled: false")
        for factor in self.expand:
            if PERIOD not in factor.text:
                raise ValueError(f"the text of {factor.name} in expand lacks {PERIOD}")
        if not self.pooled and KINDS[self.model.kind].relational:
            raise ValueError(f"{self.model.kind} compares instruments: it needs pooled: true")
        return self

    @cached_property
    def spec(self) -> SignalSpec:
        """The recipe of signals.

        Raises:
            ConfigError: a factor is unknown, or reads the future or all history.
        """
        texts = factor_texts(self.factors, steps=self.model.steps if self.model.unroll else 1)
        shared = {name: getattr(self, name) for name in SignalSettings.model_fields}
        return SignalSpec.read({**shared, "factors": texts}, where=KEY)


@dataclass(frozen=True)
class Plan:
    """A recipe and FreqAI's schedule. Stands where a strategy expects a bundle.

    Attributes:
        recipe: what is learned.
        train_days: length of a training window.
        retrain_days: days from one training to the next; trainings lie on days since 1970 divisible by it.
        test_share: share of the window, its end, that stops the training.
        identifier: FreqAI's name for the models' folder.
        parameters: FreqAI's ``model_training_parameters``, over the recipe's ``model.params``.
        periods: FreqAI's ``indicator_periods_candles``, for ``expand``.
    """

    recipe: FreqaiRecipe
    train_days: int
    retrain_days: int
    test_share: float
    identifier: str
    parameters: Mapping[str, Any]
    periods: tuple[int, ...] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Plan:
        """Read a freqtrade configuration.

        Raises:
            ConfigError: a key is missing or wrong.
            BridgeError: FreqAI is not enabled.
        """
        block = config.get("freqai") or {}
        if not block.get("enabled"):
            raise SetupError(
                "FreqAI is not enabled", where="freqai.enabled", remedy="set it true, or use FactorStrategy"
            )
        values = (config.get("bascule") or {}).get("freqai")
        if not isinstance(values, Mapping):
            raise ConfigError("this key is required", where=KEY, remedy="see docs/freqai.md")
        recipe = FreqaiRecipe.read(values, where=KEY)
        schedule = _Schedule.read(
            {
                "train_period_days": block.get("train_period_days", 0),
                "backtest_period_days": block.get("backtest_period_days", 7),
                "test_size": (block.get("data_split_parameters") or {}).get("test_size", 0.1),
                "continual_learning": block.get("continual_learning", False),
            },
            where="freqai",
        )
        parameters = dict(block.get("model_training_parameters") or {})
        KINDS[recipe.model.kind].check({**recipe.model.params, **parameters})
        features = block.get("feature_parameters") or {}
        plan = cls(
            recipe,
            schedule.train_period_days,
            int(schedule.backtest_period_days),
            schedule.test_size,
            str(block.get("identifier", "example")),
            parameters,
            tuple(int(one) for one in features.get("indicator_periods_candles", ())),
        )
        _ = plan.lookback  # a factor that cannot be computed live is told now
        return plan

    @property
    def spec(self) -> SignalSpec:
        """The recipe of signals."""
        return self.recipe.spec

    @property
    def model(self) -> ModelSettings:
        """The model's settings with FreqAI's parameters on top."""
        params = {**self.recipe.model.params, **self.parameters}
        return self.recipe.model.model_copy(update={"params": params})

    @cached_property
    def instruments(self) -> tuple[str, ...]:
        """The universe's store ids, sorted."""
        return tuple(sorted(Instrument.parse(pair).id for pair in self.recipe.pairs))

    @cached_property
    def warmup(self) -> int:
        """Candles before a row that its features and its membership need."""
        from bascule import signals

        age = self.spec.bar.bars(self.recipe.universe.min_age_days)
        return signals.lookback(self.spec) + int(age) + self._expanded()

    @cached_property
    def lookback(self) -> int:
        """Candles before the first traded row, FreqAI's training window apart.

        Besides `warmup` the distance between two trainings: the model in charge may be that old.
        """
        return self.warmup + int(self.spec.bar.bars(self.retrain_days))

    def _pairwise(self) -> list[str]:
        """The texts that FreqAI computes pair by pair, for each of its periods."""
        texts = [one.text for one in self.recipe.basic]
        for period in self.periods:
            texts += [one.text.replace(PERIOD, str(period)) for one in self.recipe.expand]
        return texts

    def _expanded(self) -> int:
        from bascule import engine

        texts = self._pairwise()
        if not texts:
            return 0
        found = engine.compile(texts)
        if found.lookback is None or found.lookahead:
            raise ConfigError(
                "a text of expand or basic reads the future, or needs all history",
                where=KEY,
                remedy="use finite windows that end at the current bar",
            )
        return found.lookback

    @property
    def path(self) -> Path:
        """Where errors say that it is."""
        return Path(KEY)

    @cached_property
    def id(self) -> str:
        """Digest of everything that models and predictions depend on, data apart."""
        model = self.model.model_dump(mode="json")
        facts = [self.recipe.model_dump(mode="json"), model, self.spec.model_dump(mode="json")]
        facts += [
            one.model_dump() for one in made_with([*self.spec.texts, *self._pairwise()], [self.model.kind])
        ]
        return fingerprint([*facts, self.train_days, self.retrain_days, self.test_share, __version__])

    def instants(self, time: TimeArray) -> TimeArray:
        """The training instant in charge of each candle: the last on the grid that is not after its open."""
        step = self.retrain_days
        days = time.astype("datetime64[D]").astype(np.int64) // step * step
        return days.astype("datetime64[D]").astype("datetime64[ns]")

    @property
    def train_length(self) -> np.timedelta64:
        """Length of the training window."""
        return np.timedelta64(self.train_days * 86_400_000_000_000, "ns")


class _Schedule(Settings):
    """The keys of FreqAI's block that are used here, checked."""

    train_period_days: int = Field(ge=1, le=5_000)
    backtest_period_days: float = Field(ge=1, le=1_000)
    test_size: float = Field(ge=0.05, le=0.5)
    continual_learning: bool

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.backtest_period_days != int(self.backtest_period_days):
            raise ValueError("backtest_period_days must be whole days")
        if self.continual_learning:
            raise ValueError("continual_learning is not offered: every training starts afresh")
        return self
