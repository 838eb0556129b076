"""Headlines to numbers: tone, and how much of the news is about regulation.

1. A `Scorer` gives each headline a tone in [-1, 1]. The default is VADER (Hutto & Gilbert 2014, "VADER: A
   Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM) with the words of
   `CRYPTO_LEXICON` added, for it knows neither "hack" as a loss nor "bullish" as hope.
2. `regulation_weight` says how surely a headline is about law and supervision: 1 − Π(1 − w) over the terms of
   `REGULATION_TERMS` in it.
3. `sentiment_index` puts headlines into buckets by the time at which they were *known*. A title counts once a
   bucket, however many papers print it.

Regulation pressure of a bucket is the mean of weight × (−tone) over its headlines: above zero when bad news
about regulation prevails, zero when nobody writes about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bascule.core import DataError, Timeframe

if TYPE_CHECKING:
    import pandas as pd

Tones = NDArray[np.float64]

# valence as VADER's own lexicon has it: -4 (most negative) … 4 (most positive)
CRYPTO_LEXICON: dict[str, float] = {
    "adoption": 1.8,
    "airdrop": 1.0,
    "ath": 2.2,
    "bailout": -1.2,
    "bearish": -2.3,
    "bullish": 2.3,
    "breakout": 1.5,
    "capitulation": -2.4,
    "contagion": -2.6,
    "crackdown": -2.2,
    "crash": -2.8,
    "crashes": -2.8,
    "default": -2.0,
    "delist": -2.2,
    "delisted": -2.2,
    "delisting": -2.2,
    "delists": -2.2,
    "depeg": -2.8,
    "depegs": -2.8,
    "downtime": -1.5,
    "drained": -2.4,
    "dump": -1.9,
    "dumps": -1.9,
    "exploit": -2.6,
    "exploited": -2.6,
    "fud": -1.6,
    "hack": -2.8,
    "hacked": -2.8,
    "hacker": -2.2,
    "halts": -1.6,
    "halving": 0.8,
    "inflows": 1.4,
    "insolvency": -3.0,
    "insolvent": -3.0,
    "integration": 1.0,
    "liquidated": -1.8,
    "liquidation": -1.8,
    "liquidations": -1.8,
    "listing": 1.0,
    "moon": 1.6,
    "mooning": 2.0,
    "outage": -1.8,
    "outflows": -1.4,
    "outperforms": 1.6,
    "partnership": 1.5,
    "plummets": -2.4,
    "plunges": -2.4,
    "ponzi": -3.2,
    "rallies": 2.0,
    "rally": 2.0,
    "rebound": 1.4,
    "rebounds": 1.4,
    "rugpull": -3.2,
    "selloff": -2.0,
    "slump": -1.9,
    "slumps": -1.9,
    "soars": 2.3,
    "surges": 2.0,
    "tumbles": -2.0,
    "upgrade": 1.2,
    "vulnerability": -1.8,
    "whale": 0.3,
}

# a term (regular expression on lower case) → how surely a headline with it is about regulation
REGULATION_TERMS: dict[str, float] = {
    r"\b(?:regulat\w+|regulators?)\b": 0.9,
    r"\b(?:sec|cftc|finra|fca|bafin|esma|mas|fsa|fincen|ofac)\b": 0.8,
    r"\bsecurities (?:and|&) exchange commission\b": 1.0,
    r"\b(?:mica|markets in crypto[- ]assets)\b": 0.9,
    r"\b(?:lawsuit|lawsuits|sues|sued|indict\w*|subpoena\w*|charges?d?|prosecut\w+|settle(?:s|ment))\b": 0.6,
    r"\b(?:ban|bans|banned|banning|crackdown|outlaw\w*|prohibit\w*)\b": 0.7,
    r"\b(?:senate|congress|parliament|lawmakers?|legislation|bill|treasury|white house)\b": 0.5,
    r"\b(?:license|licence|licensed|compliance|sanction\w*|anti-money laundering|aml|kyc)\b": 0.6,
    r"\b(?:tax|taxes|taxation|irs)\b": 0.4,
    r"\b(?:court|judge|appeals?|ruling)\b": 0.5,
    r"\betf (?:approval|approved|rejection|rejected|decision|filing)\b": 0.6,
}
_TERMS = tuple((re.compile(pattern), weight) for pattern, weight in REGULATION_TERMS.items())
_BLANK = re.compile(r"\W+")


class Scorer(Protocol):
    """Any model that tells tone."""

    def score(self, texts: Sequence[str]) -> Tones:
        """Tone of each text in [-1, 1] ``[n]``; must not depend on the other texts."""


class VaderScorer:
    """VADER's compound score with further words.

    Args:
        lexicon: word (lower case) → valence in [-4, 4], added to VADER's own.
    """

    def __init__(self, lexicon: dict[str, float] | None = None) -> None:
        self._lexicon = CRYPTO_LEXICON if lexicon is None else lexicon
        self._analyser: Any = None

    def score(self, texts: Sequence[str]) -> Tones:
        """See `Scorer.score`."""
        if self._analyser is None:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

            self._analyser = SentimentIntensityAnalyzer()
            self._analyser.lexicon.update(self._lexicon)
        return np.array([self._analyser.polarity_scores(text)["compound"] for text in texts], np.float64)


def regulation_weight(texts: Sequence[str]) -> Tones:
    """How surely each text is about regulation, in [0, 1] ``[n]``."""
    weights = np.zeros(len(texts))
    for i, text in enumerate(texts):
        low = text.lower()
        doubt = 1.0
        for pattern, weight in _TERMS:
            if pattern.search(low):
                doubt *= 1 - weight
        weights[i] = 1 - doubt
    return weights


def sentiment_index(headlines: pd.DataFrame, timeframe: Timeframe, scorer: Scorer) -> pd.DataFrame:
    """Headlines of one key (an asset, or the whole market) by bucket.

    Args:
        headlines: ``available_time`` (UTC) and ``title``.
        timeframe: length of a bucket.
        scorer: tells tone.

    Returns:
        one row a bucket that has headlines: ``time`` (open of the bucket, UTC), ``headlines`` (distinct
        titles), ``sentiment`` (mean tone), ``regulation_share`` (mean weight) and ``regulation`` (mean of
        weight × −tone), all a pure number; sorted by time.

    Raises:
        DataError: the scorer broke its promise.
    """
    import pandas as pd

    columns = ["time", "headlines", "sentiment", "regulation_share", "regulation"]
    if headlines.empty:
        return pd.DataFrame(columns=columns)
    known = pd.DatetimeIndex(headlines["available_time"])
    frame = pd.DataFrame(
        {
            "time": known.floor(pd.Timedelta(timeframe.delta)),
            "title": headlines["title"].astype(str).to_numpy(),
        }
    )
    frame["same"] = [_BLANK.sub(" ", title.lower()).strip() for title in frame["title"]]
    # one order whatever the order of arrival: which of two spellings is scored must not depend on it
    frame = frame.sort_values(["time", "same", "title"]).drop_duplicates(["time", "same"])
    titles = frame["title"].tolist()
    tone = np.asarray(scorer.score(titles), np.float64)
    if tone.shape != (len(titles),) or not bool((np.abs(tone) <= 1).all()):
        raise DataError(
            f"{type(scorer).__name__} must give one tone in [-1, 1] a text",
            where="sentiment",
            remedy="correct the scorer",
        )
    weight = regulation_weight(titles)
    frame = frame.assign(sentiment=tone, regulation_share=weight, regulation=-weight * tone)
    means = frame.groupby("time")[["sentiment", "regulation_share", "regulation"]].mean()
    means.insert(0, "headlines", frame.groupby("time").size())
    return means.reset_index()[columns]
