"""What freqtrade's loader of FreqAI models finds: it takes only classes that the file itself defines."""

from bascule.bridge.freqtrade.freqai.model import BasculeFreqaiModel as _Model


class BasculeFreqaiModel(_Model):
    """Any of qlib's models, pooled or per pair."""
