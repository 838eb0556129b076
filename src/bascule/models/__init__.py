"""Floor 4: learning, out of sample only.

1. `folds.py`: train, valid and test windows with purge and embargo.
2. `samples.py`, `labels.py`, `weights.py`: panels to samples, what they teach, and how much each counts.
3. `kind.py`, `registry.py`: the kinds of model, qlib's own classes, and how each is kept as data: `trees.py`,
   `linear.py`, `nets.py` with the table `networks.py`; `zoo.py` says of every model of qlib whether it works.
4. `task.py`: one model, resumable, deterministic; `dataset.py`, `recording.py`, `quiet.py`: the seam to qlib.
5. `train.py`: walk forward, fold by fold; `audit.py`: leaks, refused or found.
6. `predictor.py`: a stored model; predicting runs nothing that a file brings along.
"""

from bascule.models.audit import Finding, audit
from bascule.models.folds import Fold, WalkForwardSettings, folds
from bascule.models.kind import Kind
from bascule.models.predictor import Predictor, importance, load
from bascule.models.registry import KINDS, kind
from bascule.models.samples import target
from bascule.models.sequence import sequence
from bascule.models.settings import ModelSettings, WeightSettings
from bascule.models.train import Predictions, train_walk_forward

__all__ = [
    "KINDS",
    "Finding",
    "Fold",
    "Kind",
    "ModelSettings",
    "Predictions",
    "Predictor",
    "WalkForwardSettings",
    "WeightSettings",
    "audit",
    "folds",
    "importance",
    "kind",
    "load",
    "sequence",
    "target",
    "train_walk_forward",
]
