"""Floor 4: learning, out of sample only.

1. `folds.py`: train, valid and test windows with purge and embargo.
2. `samples.py`, `labels.py`, `weights.py`: panels to samples, what they teach, and how much each counts;
   `sequence.py`, `timeframes.py`: features of several times and of several timeframes.
3. `settings.py`: which model; `kind.py`, `registry.py`: the kinds of model, qlib's own classes, and how each
   is kept as data: `trees.py`, `boosters.py`, `linear.py`, `nets.py` (in `tensors.py`'s form) with the table
   `networks.py` and our own `fusion.py`; `zoo.py` says of every model of qlib whether it works.
4. `task.py`: one model, resumable, deterministic; `dataset.py`, `recording.py`, `quiet.py`: the seam to qlib.
5. `train.py`: walk forward, fold by fold, or side by side (`ahead.py`); `schemes.py`: combinatorial purged
   cross-validation; `tune.py`: hyper-parameters; `audit.py`: leaks, refused or found.
6. `predictor.py`: a stored model; predicting runs nothing that a file brings along. `explain.py`: its
   reasons.
7. `compare.py`: several models on the same folds. `combine.py`: factors weighted by what held lately.
8. `drift.py`, `retrain.py`, `judging.py`, `champions.py`: when to train again, and which model serves;
   `lineage.py`: where a signal came from.
"""

from bascule.models.audit import Finding, audit
from bascule.models.champions import Champions, Event, Publisher
from bascule.models.combine import Combination, CombineSettings, combine, market_states, recovery
from bascule.models.compare import Duel, Leaderboard, Score, compare, judge, long_short
from bascule.models.drift import DriftSettings, FeatureDrift, Trigger, feature_drift, ks, psi, watch
from bascule.models.explain import (
    Stability,
    contributions,
    permutation_importance,
    shap_importance,
    stability,
)
from bascule.models.folds import Fold, WalkForwardSettings, folds
from bascule.models.judging import RetrainSettings, Verdict
from bascule.models.kind import Kind
from bascule.models.lineage import Lineage, Origin
from bascule.models.predictor import Predictor, explained, importance, load
from bascule.models.registry import KINDS, kind
from bascule.models.retrain import Adaptive, Check, Retrainer, run_adaptive
from bascule.models.samples import target
from bascule.models.schemes import CrossSettings, CrossValidation, cross_validate
from bascule.models.sequence import sequence
from bascule.models.settings import ModelSettings, WeightSettings
from bascule.models.timeframes import coarse, join
from bascule.models.train import Predictions, train_walk_forward
from bascule.models.weights import sample_weights, uniqueness

__all__ = [
    "KINDS",
    "Adaptive",
    "Champions",
    "Check",
    "Combination",
    "CombineSettings",
    "CrossSettings",
    "CrossValidation",
    "DriftSettings",
    "Duel",
    "Event",
    "FeatureDrift",
    "Finding",
    "Fold",
    "Kind",
    "Leaderboard",
    "Lineage",
    "ModelSettings",
    "Origin",
    "Predictions",
    "Predictor",
    "Publisher",
    "RetrainSettings",
    "Retrainer",
    "Score",
    "Stability",
    "Trigger",
    "Verdict",
    "WalkForwardSettings",
    "WeightSettings",
    "audit",
    "coarse",
    "combine",
    "compare",
    "contributions",
    "cross_validate",
    "explained",
    "feature_drift",
    "folds",
    "importance",
    "join",
    "judge",
    "kind",
    "ks",
    "load",
    "long_short",
    "market_states",
    "permutation_importance",
    "psi",
    "recovery",
    "run_adaptive",
    "sample_weights",
    "sequence",
    "shap_importance",
    "stability",
    "target",
    "train_walk_forward",
    "uniqueness",
    "watch",
]
