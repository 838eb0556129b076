"""The strategy of FreqAI runs: `FactorStrategy`'s rules on what the FreqAI model predicts.

1. The configuration's recipe stands where a bundle would: timeframe, market, universe, rules, stops.
2. FreqAI's hooks are filled with factor values: `feature_engineering_standard` with the recipe's factors,
   the expanding hooks with the texts of ``expand`` and ``basic``. The label is the return from the next open
   over the recipe's horizon.
3. `populate_indicators` lets FreqAI predict, and puts the signals beside the candles. Pooled: what
   `signals.finish` makes of all pairs' predictions. One model a pair: its prediction's place among the labels
   it learned from stands for the rank, every side has an equal share of the wallet, and risk scores and stops
   are the recipe's.
4. A candle whose ``do_predict`` is not 1 (outlier, missing, expired) is not entered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from freqtrade.exceptions import OperationalException

from bascule import signals
from bascule.bridge.freqtrade import feed
from bascule.bridge.freqtrade.freqai.model import LABEL, BasculeFreqaiModel
from bascule.bridge.freqtrade.freqai.recipe import PERIOD, Plan
from bascule.bridge.freqtrade.strategy import FactorStrategy
from bascule.bridge.freqtrade.trading.source import Source
from bascule.core import BasculeError, Panel
from bascule.signals import SignalFrame


class FreqaiFactorStrategy(FactorStrategy):
    """Base of user strategies with FreqAI; see the module. Thresholds are `FactorStrategy`'s."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._block = config.get("freqai") or {}
        super().__init__(config)
        self._source = PredictedSource(self)

    # -- the recipe in the bundle's place ----------------------------------------------------------------

    def _open(self, options: dict[str, Any]) -> Any:
        return Plan.of({"freqai": self._block, "bascule": options})

    def _choose_mode(self, config: dict[str, Any], options: dict[str, Any]) -> str:
        return "computed"

    @property
    def plan(self) -> Plan:
        """Recipe and schedule."""
        found: Any = self._bundle
        assert isinstance(found, Plan)
        return found

    @property
    def model(self) -> BasculeFreqaiModel:
        """The FreqAI model.

        Raises:
            OperationalException: it is another class.
        """
        model = self.freqai
        if not isinstance(model, BasculeFreqaiModel):
            raise OperationalException(
                "this strategy needs the FreqAI model BasculeFreqaiModel\n  remedy: set freqaimodel, and "
                "freqaimodel_path to the folder that bascule.bridge.freqtrade.freqai.SHIMS names"
            )
        return model

    # -- FreqAI's hooks ----------------------------------------------------------------------------------

    def feature_engineering_standard(
        self, dataframe: pd.DataFrame, metadata: dict[str, Any], **kwargs: Any
    ) -> pd.DataFrame:
        """All factors of the recipe as FreqAI features, computed once for all pairs."""
        try:
            values = self.model.view(self).features(metadata["pair"], dataframe["date"])
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        names = [f"%-{name}" for name in self.plan.spec.names]
        return pd.concat([dataframe, pd.DataFrame(values, dataframe.index, names)], axis=1)

    def feature_engineering_expand_all(
        self, dataframe: pd.DataFrame, period: int, metadata: dict[str, Any], **kwargs: Any
    ) -> pd.DataFrame:
        """The texts of ``expand`` for one period."""
        texts = [
            (f"%-{one.name}-period", one.text.replace(PERIOD, str(period))) for one in self.plan.recipe.expand
        ]
        return self._with(dataframe, metadata, texts)

    def feature_engineering_expand_basic(
        self, dataframe: pd.DataFrame, metadata: dict[str, Any], **kwargs: Any
    ) -> pd.DataFrame:
        """The texts of ``basic``."""
        return self._with(
            dataframe, metadata, [(f"%-{one.name}", one.text) for one in self.plan.recipe.basic]
        )

    def _with(
        self, dataframe: pd.DataFrame, metadata: dict[str, Any], texts: list[tuple[str, str]]
    ) -> pd.DataFrame:
        """The frame with texts evaluated on its own candles, of whatever timeframe FreqAI asks for."""
        if not texts or dataframe.empty:
            return dataframe
        from bascule import engine
        from bascule.core import Timeframe
        from bascule.data.prepare import prepare

        try:
            bar = Timeframe.parse(metadata.get("tf") or self.timeframe)
            panel = prepare(feed.panel_of({metadata["pair"]: dataframe}, bar), vwap=self.plan.spec.vwap)
            values = engine.evaluate([text for _, text in texts], panel)[:, :, 0]
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        rows = np.searchsorted(panel.time, feed.utc(dataframe["date"]))
        found = pd.DataFrame(values[:, rows].T, dataframe.index, [name for name, _ in texts])
        return pd.concat([dataframe, found], axis=1)

    def set_freqai_targets(
        self, dataframe: pd.DataFrame, metadata: dict[str, Any], **kwargs: Any
    ) -> pd.DataFrame:
        """The label: return from the next open over the horizon; unknown at the end and without trades."""
        opens = dataframe["open"].where(dataframe["volume"] > 0)
        label = opens.shift(-1 - self.plan.spec.horizon) / opens.shift(-1) - 1
        return dataframe.assign(**{LABEL: label})

    # -- signals -----------------------------------------------------------------------------------------

    def populate_indicators(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        """Let FreqAI predict, and put the signals beside the candles."""
        model, pair = self.model, metadata["pair"]
        predicted = model.start(dataframe, metadata, self)
        try:
            columns: dict[str, Any] = self._columns(pair, predicted["date"])
            if self.plan.recipe.pooled:
                predicted = model.completed(predicted, pair)
            else:
                columns |= self._own(predicted, pair)
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        doubtful = (predicted["do_predict"] != 1).to_numpy(np.float32)
        columns["untradable"] = np.maximum(columns.get("untradable", 0.0), doubtful)
        return predicted.assign(**columns)

    def _own(self, predicted: pd.DataFrame, pair: str) -> dict[str, Any]:
        """Alpha, rank and weight of a pair that has a model of its own."""
        from scipy.special import ndtr

        alpha = predicted[LABEL].to_numpy(np.float64)
        mean, deviation = (predicted[f"{LABEL}_{name}"].to_numpy(np.float64) for name in ("mean", "std"))
        covered = (predicted["do_predict"] == 1).to_numpy() & (deviation > 0)
        rank = np.where(covered, ndtr((alpha - mean) / np.where(deviation > 0, deviation, 1.0)), np.nan)
        share = 1.0 / max(1, len(self.plan.recipe.pairs))
        side = np.where(rank >= 0.5, 1.0, -1.0 if self.can_short else 0.0)
        weight = np.where(covered, share * side, 0.0)
        return {
            "alpha": alpha,
            "alpha_rank": rank,
            "target_weight": weight,
            "covered": covered.astype(np.float32),
        }


class PredictedSource(Source):
    """Candles and signals as the FreqAI model has them.

    Args:
        strategy: whose model.
    """

    def __init__(self, strategy: FreqaiFactorStrategy) -> None:
        # the plan has what a source reads of a bundle
        super().__init__(strategy.plan, stored=False, live=strategy._live)  # type: ignore[arg-type]
        self._strategy = strategy

    def panel(self, dp: Any, config: dict[str, Any]) -> tuple[Any, Panel, bool]:
        """Everybody's candles."""
        now = self._strategy.model.view(self._strategy)
        return now.key, now.panel, False

    def signals(self, dp: Any, config: dict[str, Any]) -> tuple[SignalFrame, bool]:
        """Signals of all pairs; one model a pair: their risk alone. Computed once a candle and fit."""
        plan, model = self._strategy.plan, self._strategy.model
        of: Any
        if plan.recipe.pooled:
            now, said = model.predictions(self._strategy)
            of, raw, names = said, said.raw, said.model_id
        else:
            of = now = model.view(self._strategy)
            raw = np.full(now.panel.shape, np.nan, np.float32)
            names = np.full(len(now.panel.time), "", "<U1")
        if self._signals is not None and self._signals[0] is of:
            return self._signals[1], False
        frame = signals.finish(now.panel, raw, plan.spec, model_id=names)
        self._signals = (of, frame)
        return frame, True
