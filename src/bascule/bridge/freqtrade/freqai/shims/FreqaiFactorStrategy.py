"""What freqtrade's loader of strategies finds: it takes only classes that the file itself defines."""

from bascule.bridge.freqtrade.freqai.strategy import FreqaiFactorStrategy as _Strategy


class FreqaiFactorStrategy(_Strategy):
    """Trades what the FreqAI model predicts, by the recipe's rules."""
