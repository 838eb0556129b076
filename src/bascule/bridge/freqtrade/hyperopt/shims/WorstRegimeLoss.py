"""What freqtrade's loader of losses finds: it takes only classes that the file itself defines."""

from bascule.bridge.freqtrade.hyperopt.losses import WorstRegimeLoss as _Loss


class WorstRegimeLoss(_Loss):
    """See `bascule.bridge.freqtrade.hyperopt.losses`."""
