"""What freqtrade's loader of losses finds: it takes only classes that the file itself defines."""

from bascule.bridge.freqtrade.hyperopt.losses import CalmarTurnoverLoss as _Loss


class CalmarTurnoverLoss(_Loss):
    """See `bascule.bridge.freqtrade.hyperopt.losses`."""
