"""Tone and regulation of headlines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from bascule.core import DataError, Timeframe
from bascule.data.sentiment import (
    CRYPTO_LEXICON,
    Tones,
    VaderScorer,
    regulation_weight,
    sentiment_index,
)

HOUR = Timeframe.parse("1h")


def headlines(*rows: tuple[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["available_time", "title"])
    return frame.assign(available_time=pd.to_datetime(frame["available_time"], utc=True))


class Length:
    """A scorer of its own: the tone is a hundredth of the length."""

    def score(self, texts: Sequence[str]) -> Tones:
        return np.array([len(text) / 100 for text in texts])


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("Bitcoin rallies to a new ATH", "Bitcoin plunges in a brutal selloff"),
        ("Institutions turn bullish on Ethereum", "Bridge exploited, funds drained"),
        ("Exchange announces partnership", "Exchange halts withdrawals, insolvency feared"),
        ("Stablecoin adoption surges", "Stablecoin depegs amid contagion"),
    ],
)
def test_crypto_words_have_the_tone_of_the_trade(better: str, worse: str) -> None:
    good, bad = VaderScorer().score([better, worse])
    assert good > 0.1 and bad < -0.1
    # plain VADER does not know these words
    plain = VaderScorer({}).score([better, worse])
    assert good - bad > plain[0] - plain[1]


def test_lexicon_is_in_range() -> None:
    assert all(word == word.lower() and -4 <= value <= 4 for word, value in CRYPTO_LEXICON.items())


def test_regulation_is_told_from_the_rest() -> None:
    about = regulation_weight(
        [
            "SEC sues Coinbase over unregistered securities",
            "Lawmakers propose a ban on mining",
            "MiCA regulation enters into force",
            "U.S. Treasury sanctions a mixer",
        ]
    )
    other = regulation_weight(
        ["Bitcoin rallies above 40,000", "Solana seconds per block fall", "Massive airdrop announced", ""]
    )
    assert about.min() > 0.5 and other.max() == 0


def test_pressure_has_the_sign_of_bad_news() -> None:
    frame = sentiment_index(
        headlines(
            ("2024-01-01T00:10", "Regulators crackdown: SEC sues exchange for fraud"),
            ("2024-01-01T01:10", "SEC approves landmark ETF, a great win for investors"),
            ("2024-01-01T02:10", "Bitcoin crashes"),
        ),
        HOUR,
        VaderScorer(),
    )
    bad, good, apart = frame["regulation"]
    assert bad > 0.3 and good < -0.2 and apart == 0
    assert list(frame["time"].dt.hour) == [0, 1, 2]


def test_a_story_counts_once_a_bucket() -> None:
    frame = sentiment_index(
        headlines(
            ("2024-01-01T00:10", "Bitcoin rallies"),
            ("2024-01-01T00:40", "BITCOIN rallies!"),
            ("2024-01-01T00:50", "Something else"),
            ("2024-01-01T01:00", "Bitcoin rallies"),
        ),
        HOUR,
        VaderScorer(),
    )
    assert list(frame["headlines"]) == [2, 1]


def test_order_does_not_matter_and_scorers_are_pluggable() -> None:
    rows = [(f"2024-01-01T{h:02d}:{m:02d}", f"story {h * m} {m}") for h in range(5) for m in range(0, 60, 7)]
    frame = headlines(*rows)
    one = sentiment_index(frame, HOUR, Length())
    two = sentiment_index(frame.sample(frac=1, random_state=1), HOUR, Length())
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert one["sentiment"].between(0.05, 0.15).all()


def test_later_news_change_nothing_earlier() -> None:
    rows = [("2024-01-01T00:10", "Bitcoin rallies"), ("2024-01-01T01:30", "SEC sues exchange")]
    early = sentiment_index(headlines(*rows), HOUR, VaderScorer())
    late = sentiment_index(headlines(*rows, ("2024-01-01T02:00", "Bitcoin rallies")), HOUR, VaderScorer())
    pd.testing.assert_frame_equal(late[:2], early, check_exact=True)


def test_no_news() -> None:
    frame = sentiment_index(headlines(), HOUR, VaderScorer())
    assert frame.empty and list(frame.columns)[:2] == ["time", "headlines"]


@pytest.mark.parametrize("tones", [[2.0], [0.1, 0.2], [np.nan]])
def test_a_scorer_must_keep_its_promise(tones: list[float]) -> None:
    class Broken:
        def score(self, texts: Sequence[str]) -> Tones:
            return np.array(tones)

    with pytest.raises(DataError, match="one tone"):
        sentiment_index(headlines(("2024-01-01", "x")), HOUR, Broken())
