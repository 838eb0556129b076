"""`BasculeFreqaiModel`: any of Bascule's kinds of model inside FreqAI. FreqAI keeps time, files and threads.

1. On loading, recipe and schedule are checked, and the identifier's folder is marked with their digest:
   FreqAI takes stored predictions of an identifier without asking what made them; here another recipe under
   the same identifier is an error.
2. `view` makes one panel of everybody's candles, once a candle (a backtest: once); the strategy's feature
   hooks and the pooled model read from it.
3. FreqAI decides when to train. Pooled, a training is that of the grid (`pooled.py`), shared by all pairs;
   else FreqAI splits, scales and sieves one pair's features, and `single.fit` learns.
4. `predict` gives FreqAI the pair's column of the pooled predictions and 1 or 0 for each row: 0 where the
   model has no output, or the row is an outlier. One model a pair: FreqAI's own prediction; where a feature
   is missing the row is 0 too (FreqAI's regressors drop that mark).
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import pandas as pd
from datasieve.pipeline import Pipeline
from freqtrade.enums import RunMode
from freqtrade.exceptions import OperationalException
from freqtrade.freqai.base_models.BaseRegressionModel import BaseRegressionModel
from freqtrade.freqai.data_kitchen import FreqaiDataKitchen
from freqtrade.strategy import IStrategy
from numpy.typing import NDArray

from bascule.bridge.freqtrade.freqai import outliers, pooled, single
from bascule.bridge.freqtrade.freqai.recipe import Plan
from bascule.bridge.freqtrade.freqai.view import View, joined, view
from bascule.core import BasculeError, ConfigError, DataError
from bascule.core.files import write_json
from bascule.evaluate.rows import Float64Array, IntArray

log = logging.getLogger(__name__)
LIVE_MODES = (RunMode.DRY_RUN, RunMode.LIVE)
MARK = "bascule.json"
LABEL = "&-alpha"
FITS = "pooled"
# candles that carry predictions in a live run: it trades on the newest, its charts show some more
SHOWN_LIVE = 200


class BasculeFreqaiModel(BaseRegressionModel):
    """The model class for freqtrade's ``freqaimodel``; see the module."""

    def __init__(self, config: dict[str, Any]) -> None:
        try:
            self.plan = Plan.of(config)
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        super().__init__(config)
        try:
            self._claim()
        except BasculeError as error:
            raise OperationalException(str(error)) from None
        self._strategy: IStrategy | None = None
        self._lock = threading.RLock()  # the training thread makes views too
        self._view: View | None = None
        self._fits: dict[np.datetime64, pooled.Fit | None] = {}
        self._said: tuple[Any, pooled.Predictions] | None = None

    def _claim(self) -> None:
        """Mark the identifier's folder with the recipe's digest.

        Raises:
            ConfigError: it holds models or predictions of another recipe.
        """
        import json

        mark = self.full_path / MARK
        if mark.exists():
            known = json.loads(mark.read_text("utf-8")).get("recipe")
            if known != self.plan.id:
                raise ConfigError(
                    f"identifier {self.identifier!r} holds models of another recipe, and FreqAI would take "
                    "its stored predictions",
                    where="freqai.identifier",
                    remedy=f"choose another identifier, or remove {self.full_path}",
                )
        elif any(self.full_path.glob("sub-train-*")) or (self.full_path / "pair_dictionary.json").exists():
            raise ConfigError(
                f"identifier {self.identifier!r} holds models that Bascule did not make",
                where="freqai.identifier",
                remedy="choose another identifier",
            )
        else:
            write_json(mark, {"recipe": self.plan.id})

    # -- candles and features ----------------------------------------------------------------------------

    def start(self, dataframe: pd.DataFrame, metadata: dict[str, Any], strategy: IStrategy) -> pd.DataFrame:
        """FreqAI's entry for one pair and candle; see `IFreqaiModel`."""
        self._strategy = strategy
        if self._live():
            self._begin_histories(strategy)
        found: pd.DataFrame = super().start(dataframe, metadata, strategy)
        return found

    def _begin_histories(self, strategy: IStrategy) -> None:
        """Give pairs without candles on disk those of the exchange: FreqAI fails where it has none."""
        with self.dd.history_lock:
            for pair, frames in self.dd.historic_data.items():
                for bar, frame in frames.items():
                    if not len(frame):
                        frames[bar] = strategy.dp.get_pair_dataframe(pair, bar)

    def view(self, strategy: IStrategy) -> View:
        """Everybody's candles and factors as they are now; computed once a candle.

        Raises:
            BasculeError: nobody has a candle, or a factor needs what candles do not give.
            OperationalException: live: FreqAI keeps no history of a pair of the universe.
        """
        with self._lock:
            frames, key = self._candles(strategy)
            if self._view is None or self._view.key != key:
                live = strategy.dp.runmode in LIVE_MODES
                self._view = view(frames, self.plan, key, bars=self._span() if live else None)
            return self._view

    def _candles(self, strategy: IStrategy) -> tuple[dict[str, pd.DataFrame], Any]:
        provider, pairs, bar = strategy.dp, self.plan.recipe.pairs, self.plan.spec.timeframe
        key: Any
        if provider.runmode not in LIVE_MODES:
            key = (id(provider), self.config.get("timerange"), self.config.get("startup_candle_count"))
            if self._view is not None and self._view.key == key:
                return {}, key
            return {pair: provider.historic_ohlcv(pair, bar) for pair in pairs}, key
        kept = self.dd.historic_data
        lacking = [pair for pair in pairs if kept and pair not in kept]
        if lacking:
            raise OperationalException(
                f"FreqAI keeps no history of {', '.join(lacking)}, which the universe bascule.freqai.pairs "
                "names\n  remedy: put them into the whitelist or into include_corr_pairlist"
            )
        recent = {pair: provider.ohlcv(pair, bar, copy=False) for pair in pairs}
        frames = {pair: joined(kept.get(pair, {}).get(bar), one) for pair, one in recent.items()}
        key = tuple(
            (pair, one["date"].iat[0], one["date"].iat[-1]) for pair, one in frames.items() if len(one)
        )
        return frames, key

    def _span(self) -> int:
        """Candles that a live run needs: a training window before each instant in charge, and warm-up."""
        days = self.plan.train_days + self.plan.retrain_days
        return int(self.plan.spec.bar.bars(days)) + self.plan.lookback + SHOWN_LIVE

    # -- training ----------------------------------------------------------------------------------------

    def train(self, unfiltered_df: pd.DataFrame, pair: str, dk: FreqaiDataKitchen, **kwargs: Any) -> Any:
        """Train for one pair's window, or join the fit that all pairs share."""
        if not self.plan.recipe.pooled:
            return super().train(unfiltered_df, pair, dk, **kwargs)
        assert self._strategy is not None
        now = self.view(self._strategy)
        last = unfiltered_df["date"].iloc[-1] + pd.Timedelta(self.plan.spec.bar.delta)
        instant = self.plan.instants(np.array([last.tz_convert("UTC").tz_localize(None)], "datetime64[ns]"))[
            0
        ]
        fit = self._fit(now, instant)
        # FreqAI keeps these of every training; the samples themselves are in the shared fit
        dk.data_dictionary = {
            "train_features": unfiltered_df.filter(dk.training_features_list).head(0),
            "train_dates": unfiltered_df["date"].head(0),
            "train_labels": unfiltered_df.filter(dk.label_list).dropna(),
        }
        if len(dk.data_dictionary["train_labels"]):
            dk.fit_labels()
        else:
            dk.data["labels_mean"], dk.data["labels_std"] = {LABEL: 0.0}, {LABEL: 0.0}
        return None if fit is None else Shared(fit.predictor.model_id)

    def fit(self, data_dictionary: dict[str, Any], dk: FreqaiDataKitchen, **kwargs: Any) -> single.Fitted:
        """Train one pair's model on what FreqAI prepared."""
        return single.fit(data_dictionary, self.plan.model, self.plan.spec.bar, self.plan.recipe.seed)

    def define_data_pipeline(self, threads: int = -1) -> Pipeline:
        """FreqAI's pipeline, with verdicts that do not depend on later rows."""
        whole = self.plan.recipe.model.steps == 1
        return outliers.pipeline(self.freqai_info["feature_parameters"], threads, reduce=whole)

    def _fit(self, now: View, instant: np.datetime64) -> pooled.Fit | None:
        """The fit of an instant; None if there is too little to learn from, which is logged once."""
        with self._lock:
            if instant not in self._fits:
                parameters = self.freqai_info["feature_parameters"]
                folder, live = self.full_path / FITS, self._live()
                try:
                    self._fits[instant] = pooled.train(
                        now, self.plan, instant, folder, parameters, reuse=live
                    )
                except DataError as error:
                    log.warning("no model for %s: %s", instant, error)
                    self._fits[instant] = None
            return self._fits[instant]

    def _live(self) -> bool:
        return self._strategy is not None and self._strategy.dp.runmode in LIVE_MODES

    # -- predicting --------------------------------------------------------------------------------------

    def predictions(self, strategy: IStrategy) -> tuple[View, pooled.Predictions]:
        """Pooled predictions of the view's rows that may be traded.

        A backtest trains what is missing. A live run takes what is there: until the training thread has the
        instant's fit, the one before serves.
        """
        self._strategy = strategy
        with self._lock:
            now = self.view(strategy)
            if self._live():
                self._recall(now)
            known = tuple(one for one, fit in self._fits.items() if fit is not None) if self._live() else ()
            if self._said is None or self._said[0] != (now.key, known):
                found = pooled.Predictions.nothing(now.panel)
                for fit, rows in self._in_charge(now):
                    found.add(now, fit, rows)
                self._said = ((now.key, known), found)
            return now, self._said[1]

    def _recall(self, now: View) -> None:
        """Take up stored fits that are in charge of rows to predict, as after a restart; forget old ones."""
        folder = self.full_path / FITS
        stored = np.array(sorted(p.name for p in folder.glob("????-??-??")), "datetime64[ns]")
        instants = np.unique(self.plan.instants(now.panel.time[self._first(now) :]))
        for index in np.unique(np.searchsorted(stored, instants, side="right") - 1):
            if index >= 0:
                self._fit(now, stored[index])
        for old in [one for one in self._fits if one < now.panel.time[0]]:
            del self._fits[old]

    def _in_charge(self, now: View) -> list[tuple[pooled.Fit, IntArray]]:
        """Each fit with the rows that it predicts."""
        rows = np.arange(self._first(now), len(now.panel.time))
        instants = self.plan.instants(now.panel.time[rows])
        if not self._live():
            fits = [(self._fit(now, one), rows[instants == one]) for one in np.unique(instants)]
            return [(fit, part) for fit, part in fits if fit is not None]
        known = sorted(instant for instant, fit in self._fits.items() if fit is not None)
        which = np.searchsorted(np.array(known, "datetime64[ns]"), instants, side="right") - 1
        found = []
        for index in np.unique(which[which >= 0]):
            fit = self._fits[known[int(index)]]
            assert fit is not None
            found.append((fit, rows[which == index]))
        return found

    def _first(self, now: View) -> int:
        """First row to predict: a backtest's first candle, or the first that a live chart shows."""
        if self._live():
            return max(0, len(now.panel.time) - SHOWN_LIVE)
        from freqtrade.configuration import TimeRange

        start = TimeRange.parse_timerange(str(self.config["timerange"])).startts
        return int(np.searchsorted(now.panel.time, np.datetime64(int(start), "s").astype("datetime64[ns]")))

    def predict(
        self, unfiltered_df: pd.DataFrame, dk: FreqaiDataKitchen, **kwargs: Any
    ) -> tuple[pd.DataFrame, NDArray[np.int_]]:
        """Predictions and verdicts for the rows of a pair's data frame."""
        if not self.plan.recipe.pooled:
            return self._single(unfiltered_df, dk, **kwargs)
        dk.find_features(unfiltered_df)
        raw, dk.do_predict, dk.DI_values = self._pair(dk.pair, unfiltered_df["date"])
        return pd.DataFrame(dict.fromkeys(dk.label_list, raw)), dk.do_predict

    def _pair(self, pair: str, dates: pd.Series) -> tuple[Float64Array, NDArray[np.int_], Float64Array]:
        """Outputs (0 where there is none), verdicts and dissimilarity of a pair's dates."""
        assert self._strategy is not None
        now, said = self.predictions(self._strategy)
        rows, column = now.rows(dates), now.column(pair)
        raw = np.where(rows >= 0, said.raw[rows, column], np.nan)
        known = np.isfinite(raw)
        verdict = (known & said.kept[rows, column]).astype(np.int_)
        index = np.where(known, said.dissimilarity[rows, column], 0.0)
        return np.where(known, raw, 0.0), verdict, index

    def completed(self, predicted: pd.DataFrame, pair: str) -> pd.DataFrame:
        """What FreqAI gives back for a pair, with the very last candle of a backtest, which it leaves out.

        Mean and deviation of labels are of single pairs, and are taken out.
        """
        found = predicted.drop(columns=[f"{LABEL}_mean", f"{LABEL}_std"], errors="ignore")
        if self._live():
            return found  # FreqAI knows of expired models
        raw, verdict, index = self._pair(pair, found["date"])
        found = found.assign(**{LABEL: raw, "do_predict": verdict})
        return found.assign(DI_values=index) if "DI_values" in found else found

    def _single(
        self, unfiltered_df: pd.DataFrame, dk: FreqaiDataKitchen, **kwargs: Any
    ) -> tuple[pd.DataFrame, NDArray[np.int_]]:
        found, kept = super().predict(unfiltered_df, dk, **kwargs)
        features = unfiltered_df.filter(dk.training_features_list).to_numpy(np.float64)
        complete = np.isfinite(features).all(axis=1)
        # two detections take one off each
        dk.do_predict = ((np.asarray(kept) == 1) & complete).astype(np.int_)
        return found, dk.do_predict


class Shared:
    """What FreqAI stores of a pair's training when the fit is shared: its name.

    Args:
        model_id: of the fit, whose folder holds the model as data.
    """

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id

    def predict(self, features: Any) -> Any:
        """A shared fit compares instruments: it cannot predict one pair's features."""
        raise OperationalException(f"{self.model_id} is pooled: ask the FreqAI model for its predictions")
