"""The embedded synthetic market as a source: from feed to store without a network or real candles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bascule.core import Timeframe
from bascule.data.sources.context import Context
from bascule.data.sources.fields import CARRIED, PRICES, VOLUMES
from bascule.data.sources.files import WholeSource
from bascule.data.synthetic import SyntheticSettings, generate

if TYPE_CHECKING:
    import pandas as pd


class GeneratedMarket(WholeSource):
    """See `bascule.data.synthetic`: the same settings, the same candles, whatever range is asked for."""

    def __init__(self, settings: SyntheticSettings, context: Context) -> None:
        timeframe = Timeframe.parse(settings.timeframe, where="synthetic.timeframe")
        fields = (*PRICES, *VOLUMES, *(CARRIED if settings.market == "futures" else ()))
        super().__init__("synthetic", timeframe, fields, context)
        self._settings = settings

    def _read(self) -> pd.DataFrame:
        return generate(self._settings).frame
