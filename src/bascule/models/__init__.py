"""Floor 4: learning, walk-forward only.

1. `folds.py`: train, valid and test windows with purge and embargo.
2. `samples.py`: panels to samples; labels compared within each row.
3. `registry.py`: the kinds of model (qlib's own classes) and how each is stored.
4. `train.py`: fold by fold, resumable, deterministic; `dataset.py` and `recording.py` are the seam to qlib.
5. `predictor.py`: a stored model; predicting needs neither qlib nor what trained it.
"""

from bascule.models.folds import Fold, WalkForwardSettings, folds
from bascule.models.predictor import Predictor, importance, load
from bascule.models.registry import KINDS, Kind, kind
from bascule.models.samples import target
from bascule.models.train import ModelSettings, Predictions, train_walk_forward

__all__ = [
    "KINDS",
    "Fold",
    "Kind",
    "ModelSettings",
    "Predictions",
    "Predictor",
    "WalkForwardSettings",
    "folds",
    "importance",
    "kind",
    "load",
    "target",
    "train_walk_forward",
]
