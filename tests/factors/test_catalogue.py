"""Libraries that are YAML: complete, described, searchable; fields that lack are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bascule import engine
from bascule.core import ConfigError, DataError
from bascule.data.prepare import prepare
from bascule.data.sources.coinmetrics import METRICS
from bascule.factors import LIBRARIES, Factor, available, library, load, names, require, search
from tests.markets import random_panel

# what prepared panels and the sources of the store call their columns
PRICES = {"open", "high", "low", "close", "volume", "vwap"}
DERIVATIVES = {
    "funding_rate", "open_interest", "long_short_ratio", "top_long_short_ratio", "taker_ratio",
    "taker_buy_volume", "liquidated_long", "liquidated_short",
}  # fmt: skip
CONTEXT = {"btc_dominance", "fear_greed", "premium", "venue_spread", *METRICS}


def test_sizes_names_and_descriptions() -> None:
    assert {name: len(library(name)) for name in LIBRARIES} == {
        "alpha158": 158, "alpha360": 360, "alpha101": 101, "macd": 3, "crypto": len(library("crypto")),
    }  # fmt: skip
    assert [f.name for f in library("alpha101")] == [f"WQ{n:03d}" for n in range(1, 102)]
    for name in LIBRARIES:
        for factor in library(name):
            assert factor.family
            assert factor.source
            assert factor.horizon >= 1
            assert factor.inputs
            assert factor.tags, factor.name
            assert factor.lookback is not None, factor.name
    for name in ("alpha158", "alpha360", "macd", "crypto"):
        assert all(factor.note for factor in library(name))


def test_alpha101_without_industries_says_so_and_needs_candles_only() -> None:
    tiered = [f for f in library("alpha101") if "liquidity tiers" in f.tags]
    assert len(tiered) == 18  # the formulae of the paper with IndNeutralize
    assert all("two liquidity tiers" in f.note and "CSNeutralize" in f.text for f in tiered)
    assert {f.name for f in library("alpha101") if not set(f.inputs) <= PRICES} == {"WQ056"}


def test_crypto_factors_read_fields_that_the_sources_have() -> None:
    for factor in library("crypto"):
        assert set(factor.inputs) <= PRICES | DERIVATIVES | CONTEXT, factor.name
    used = {name for factor in library("crypto") for name in factor.inputs}
    assert {"funding_rate", "open_interest", "mvrv", "nvt", "fees", "premium", "fear_greed"} <= used


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("funding carry and its z-score", "FUNDING_CARRY_1D FUNDING_Z"),
        ("open-interest change and divergence", "OI_CHANGE_1D OI_DIVERGENCE"),
        ("long/short crowding", "LS_CROWDING"),
        ("liquidation imbalance", "LIQ_IMBALANCE"),
        ("taker imbalance", "TAKER_IMBALANCE_4H TAKER_IMBALANCE_1D"),
        ("on-chain activity growth", "TRANSACTION_GROWTH ADDRESS_GROWTH"),
        ("network value", "NVT NVT_SIGNAL MVRV FEE_PRESSURE ADDRESS_MOMENTUM"),
        ("dominance beta and size", "DOMINANCE_BETA SIZE"),
        ("venues", "VENUE_SPREAD KRW_PREMIUM"),
        ("fear and greed", "FEAR_GREED_REVERSAL"),
        ("seasons of the day and the week", "SEASON_24H SEASON_WEEK"),
        ("volatility", "REALISED_VOL VOL_REGIME IDIO_VOL"),
        ("illiquidity and lottery", "AMIHUD MAX_RETURN"),
        ("momentum", "XMOM_1D XMOM_7D XMOM_30D"),
        ("reversal", "REV_1H REV_4H REV_1D"),
    ],
)
def test_crypto_has_what_the_literature_names(what: str, names: str) -> None:
    held = {factor.name: factor for factor in library("crypto")}
    for name in names.split():
        assert name in held, what
        assert search(name.lower(), libraries=["crypto"])[0].factor.name.startswith(name)


def test_every_factor_of_candles_has_values_that_vary() -> None:
    panel = prepare(random_panel(0, 1700, 12, missing=0.01))
    for name in ("alpha101", "macd", "crypto"):
        factors = available(library(name), panel.fields)
        values = engine.evaluate([f.text for f in factors], panel)
        for factor, value in zip(factors, values[:, 1000:], strict=True):
            good = value[panel.members[1000:] & np.isfinite(value)]
            assert len(good) > 0.4 * panel.members[1000:].sum(), factor.name
            assert good.std() > 0, factor.name


def test_look_back_is_true() -> None:
    """A window of rows that covers the look-back gives the bits of the whole history."""
    panel = prepare(random_panel(1, 900, 8))
    for factor in library("alpha101"):
        if factor.lookback is None or factor.lookback > 400 or factor.name == "WQ056":
            continue
        whole = engine.evaluate([factor.text], panel)[0, -1]
        window = engine.evaluate([factor.text], panel.rows(899 - factor.lookback, None))[0, -1]
        np.testing.assert_array_equal(window, whole, err_msg=factor.name)


def test_search() -> None:
    assert {f.factor.name for f in search("funding z")} >= {"FUNDING_Z"}
    assert {f.library for f in search("macd")} == {"macd"}
    assert [f.factor.name for f in search("#41,")] == ["WQ041"]
    assert all("$volume" in f.factor.text for f in search(libraries=["alpha101"], field="$volume"))
    assert all(f.factor.lookback <= 5 for f in search(libraries=["alpha158"], max_lookback=5))  # type: ignore[operator]
    momentum = search(family="momentum", libraries=["crypto"])
    assert len(momentum) >= 5
    assert search("no such thing at all") == ()
    assert {f.factor.name for f in search(tag="lottery")} == {"SKEW_30D", "MAX_RETURN"}
    with pytest.raises(ConfigError, match="unknown factor library"):
        search(libraries=["nope"])


def test_a_library_is_searched_with_a_users_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- {name: MINE, text: $close/$open, horizon: 24, tags: [own, fast]}\n")
    assert load(path) == (Factor("MINE", "$close/$open", horizon=24, tags=("own", "fast")),)
    assert [f.library for f in search(libraries=[str(path)], tag="fast")] == [str(path)]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{name: A, text: $close, horizon: 0}", "horizon is 0"),
        ("{name: A, text: $close, horizon: day}", "horizon is 'day'"),
        ("{name: A, text: $close, horizon: true}", "horizon is True"),
        ("{name: A, text: $close, tags: fast}", "tags must be a list"),
        ("{name: A, text: $close, tags: [1]}", "tags must be a list"),
    ],
)
def test_bad_descriptions_are_one_clear_error(tmp_path: Path, entry: str, problem: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(f"- {entry}\n")
    with pytest.raises(ConfigError, match=problem):
        load(path)


def test_missing_fields_are_named() -> None:
    factors = library("crypto")
    assert len(available(factors, PRICES)) < len(factors)
    assert {f.name for f in available(factors, PRICES | {"funding_rate"})} >= {"FUNDING_CARRY_1D", "REV_1H"}
    with pytest.raises(DataError, match=r"\$open_interest for OI_CHANGE_1D") as caught:
        require(factors, PRICES)
    assert caught.value.remedy
    assert require(available(factors, PRICES), PRICES)


@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_names_are_told_without_building_factors(name: str) -> None:
    assert names(name) == tuple(factor.name for factor in library(name))
