"""Every operator and every field of Alpha158 and Alpha360 against qlib's own ``D.features``.

Both read the same provider folder. `ROWS` holds texts for each operator; `GAPS` those that differ on purpose,
with the reason: a gap that closes fails the test, so the table stays true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bascule import engine, factors
from bascule.core import ExpressionError, Panel
from bascule.engine import Dialect
from bascule.expr import LEFT_TO_QLIB, OPERATORS, parse
from tests.conformance.provider import (
    candles,
    clean_panel,
    dirty_panel,
    panel_of,
    qlib_features,
    write_provider,
)

pytestmark = [
    # third parties' own warnings
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

OURS = {
    "CSRank", "CSZScore", "CSDemean", "CSQuantile", "CSNeutralize", "TSZScore", "TSMinMaxScale", "TrimMean",
    "CSMadZ", "CSRankGauss", "CSWinsorize", "CSTrimDemean", "CSGroupZScore", "TSMadZ",
    "Winsorize", "Decay", "SignedLog", "SignedPower",
}  # fmt: skip
RETURN, LOG_VOLUME = "$close/Ref($close,1)-1", "Log($volume+1)"
ROLLING = (
    "Sum", "Mean", "Count", "Var", "Std", "Skew", "Kurt", "Mad", "Max", "Min", "IdxMax", "IdxMin", "Med",
    "Rank", "Slope", "Rsquare", "Resi", "WMA",
)  # fmt: skip
LEAST = {"Skew": 3, "Kurt": 4}


def _rolling(name: str) -> list[str]:
    windows = [n for n in (1, 2, 3, 4, 5, 20, 60, 0) if n == 0 or n >= LEAST.get(name, 1)]
    inner = (RETURN, LOG_VOLUME, "$close>$open", "Mean($close,3)")
    return [f"{name}($close,{n})" for n in windows] + [f"{name}({x},10)" for x in inner]


ROWS: dict[str, list[str]] = {
    "Abs": ["Abs($close-$open)"],
    "Sign": ["Sign($close-$open)", "Sign(Mean($close-$open,3))", "Sign($close>$open)"],
    "Log": ["Log($volume)", "Log($close-$open)"],
    "Power": [
        "Power($close,2)", "Power($close,0)", "$close**0.5", "2**($close/$open)", "Power($close-$open,0.5)",
    ],
    "Add": ["$close+$open", "$close+1e-12", "($close>$open)+($volume>400)", "($close>$open)+1"],
    "Sub": ["$close-$open", "1-($close>$open)", "Mean($close,5)-$close"],
    "Mul": ["2*$close", "($close>$open)*($volume>400)", "($close>$open)*$close", "($close>$open)*0.5"],
    "Div": ["$close/$volume", "1/($close-$open)", "($close>$open)/2", "$close/$close"],
    "Greater": ["Greater($close,$open)", "Greater($close,100)"],
    "Less": ["Less($close,$open)", "Less($close-$open,0)"],
    "Gt": ["$close>$open", "100<$close"],
    "Ge": ["$close>=$open"],
    "Lt": ["$close<$open"],
    "Le": ["$close<=$open"],
    "Eq": ["$close==$open", "$close==$close"],
    "Ne": ["$close!=$open", "$close!=$close"],
    "And": ["($close>$open)&($volume>400)"],
    "Or": ["($close>$open)|($volume>400)"],
    "Not": ["Not($close>$open)"],
    "If": [
        "If($close>$open,$close,$open)", "If($close>$open,1,0)", "If($close>$open,1,-1.5)",
        "If($close>$open,$close>$low,$open>$close)", "If($close>$open,$close,0)", "If($volume,$high,$low)",
    ],
    "Ref": [
        "Ref($close,1)", "Ref($close,60)", "Ref($close,-3)", "Ref($close,0)", "Ref($close>$open,2)",
        "Sum(Ref($close>$open,2),5)", "Ref(Mean($close,5),3)", "Ref(Ref($close,-1),1)",
    ],
    "Delta": [
        "Delta($close,1)", "Delta($close,10)", "Delta($close,-2)", "Delta($close,0)", "Delta($close>$open,1)",
    ],
    **{name: _rolling(name) for name in ROLLING},
    "EMA": ["EMA($close,1)", "EMA($close,2)", "EMA($close,1.5)", "EMA($close,20)", "EMA($volume,60)",
            "EMA($close,0.1)", "EMA($close,0.5)", "EMA($close,0)", f"EMA({RETURN},10)"],
    "Quantile": [f"Quantile($close,10,{q})" for q in (0, 0.2, 0.5, 1)]
    + ["Quantile($close,0,0.3)", "Quantile($volume,1,0.3)", "Quantile($volume,60,0.9)"],
    "Corr": [f"Corr($close,$volume,{n})" for n in (1, 2, 3, 5, 20, 60)]
    + [f"Corr({RETURN},{LOG_VOLUME},10)", "Mean(Corr($close,$volume,10),5)"],
    "Cov": [f"Cov($close,$volume,{n})" for n in (1, 2, 3, 5, 20, 60)] + ["Cov($close>$open,$volume,10)"],
    # qlib's Corr raises on instruments of different ranges
    "ChangeInstrument": [
        "$close-ChangeInstrument('{0}',$close)", "Cov($close,ChangeInstrument('{0}',$close),10)",
    ],
    "Mask": ["$close-Mask(Mean($close,5),'{0}')"],
}  # fmt: skip
EXACT = {
    "Ref", "Gt", "Ge", "Lt", "Le", "Eq", "Ne", "And", "Or", "Not", "Max", "Min", "IdxMax", "IdxMin", "Count",
    "Greater", "Less",
}  # fmt: skip
# running sums of qlib and pandas lose digits here
LOOSE = {"Slope", "Resi", "Rsquare", "Corr", "Skew", "Kurt"}


@dataclass(frozen=True)
class Gap:
    """A text whose values differ from qlib's on a market, on purpose."""

    market: str
    text: str
    reason: str
    dialects: tuple[Dialect, ...] = ("bascule", "qlib")


EMA_HALT = "qlib's EMA carries over a halt of any length; ours forgets what weighs below 1e-9 (live = batch)"
GAPS = (
    *(Gap("dirty", f"EMA($close,{n})", EMA_HALT) for n in ("1", "2", "1.5", "0.5")),
    Gap("dirty", f"EMA({RETURN},10)", EMA_HALT),
    *(
        Gap(
            "dirty", f"{name}(Mean($close,3),10)", "one value left: qlib divides rounding by 0, thus infinite"
        )
        for name in ("Slope", "Rsquare")
    ),
    *(
        Gap("infinite", f"{name}(Log($volume),10)", "one infinite value spoils all later rows of qlib's")
        for name in ("Slope", "Rsquare", "Resi")
    ),
    *(
        Gap("cheap", text, "qlib takes a coin priced far below 1e-4 for constant", ("bascule",))
        for text in ("Rsquare($close,20)", "Corr($close,$volume,20)")
    ),
    *(
        Gap("cheap", text, "pandas takes a variance below 1e-14 for 0", ("bascule",))
        for text in ("Skew($close,20)", "Kurt($close,20)")
    ),
    Gap("missing", "If($close-$open,1,2)", "qlib takes a missing condition for true", ("bascule",)),
    Gap("spike", "Kurt($close,20)", "pandas' running sums keep traces of a spike that has left the window"),
    Gap("spike", "Rsquare($close,2)", "qlib's running sums keep traces of a spike that has left the window"),
)


def infinite_panel() -> Panel:
    """Volumes of zero, whose logarithm is infinite."""
    columns = {"A_USDT": candles(150, 31), "B_USDT": candles(150, 32)}
    columns["B_USDT"]["volume"][40:44] = 0.0
    return panel_of(columns)


def cheap_panel() -> Panel:
    """A coin priced at a billionth."""
    return panel_of({"A_USDT": candles(120, 33, level=1e-9), "B_USDT": candles(120, 34)})


def missing_panel() -> Panel:
    """Single missing candles."""
    columns = {"A_USDT": candles(120, 35)}
    for values in columns["A_USDT"].values():
        values[[20, 50, 51]] = np.nan
    return panel_of(columns)


def spike_panel() -> Panel:
    """A price that is ten thousand times too high in one bar."""
    columns = {"A_USDT": candles(160, 36)}
    columns["A_USDT"]["close"][50] *= 10_000
    return panel_of(columns)


MARKETS = {
    "clean": clean_panel, "dirty": dirty_panel, "infinite": infinite_panel, "cheap": cheap_panel,
    "missing": missing_panel, "spike": spike_panel,
}  # fmt: skip


class Compared:
    """Ours and qlib's values of many texts on one market."""

    def __init__(self, folder: Path, market: str, texts: list[str]) -> None:
        self.panel = MARKETS[market]()
        write_provider(folder, self.panel)
        self.texts = [text.format(self.panel.instruments[0]) for text in texts]
        self.qlib = qlib_features(folder, self.panel, self.texts)
        plans = {d: engine.compile(self.texts, dialect=d) for d in ("bascule", "qlib")}
        self.ours = {d: engine.evaluate(plan, self.panel) for d, plan in plans.items()}
        # after the last trade qlib has no rows; ours are NaN fields and what operators make of them
        trades = np.isfinite(self.panel["close"])
        self.alive = np.flip(np.logical_or.accumulate(np.flip(trades, 0), axis=0), 0)

    def differs(self, text: str, dialect: Dialect, rtol: float, atol: float) -> str | None:
        """Where the two differ first, or None."""
        index = self.texts.index(text.format(self.panel.instruments[0]))
        ours = np.where(self.alive, self.ours[dialect][index], np.nan)
        theirs = np.where(self.alive, self.qlib[index], np.nan)
        same = np.isclose(ours, theirs, rtol=rtol, atol=atol, equal_nan=True)
        if same.all():
            return None
        row, column = np.argwhere(~same)[0]
        first = f"{ours[row, column]} != {theirs[row, column]}"
        return f"{text}: {(~same).sum()} cells, first at {row, column}: {first}"


def _tolerance(name: str) -> tuple[float, float]:
    if name in EXACT:
        return 0.0, 0.0
    return (1e-3, 1e-5) if name in LOOSE else (1e-4, 1e-6)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Compared]]:
    texts = [text for row in ROWS.values() for text in row]
    found = {
        name: Compared(tmp_path_factory.mktemp(name) / "provider", name, texts) for name in ("clean", "dirty")
    }
    for name in ("infinite", "cheap", "missing", "spike"):
        wanted = [gap.text for gap in GAPS if gap.market == name]
        found[name] = Compared(tmp_path_factory.mktemp(name) / "provider", name, wanted)
    yield found


def test_every_operator_of_qlib_has_a_row_or_a_reason() -> None:
    from qlib.data.ops import OpsList

    theirs = {operator.__name__ for operator in OpsList} | {"P", "PRef"}
    assert theirs <= set(OPERATORS) | set(LEFT_TO_QLIB)
    assert set(OPERATORS) == set(ROWS) | OURS


@pytest.mark.parametrize("dialect", ["bascule", "qlib"])
@pytest.mark.parametrize("market", ["clean", "dirty"])
@pytest.mark.parametrize("name", ROWS)
def test_operator_equals_qlib(
    compared: dict[str, Compared], name: str, market: str, dialect: Dialect
) -> None:
    gaps = {gap.text for gap in GAPS if gap.market == market and dialect in gap.dialects}
    problems = [
        compared[market].differs(text, dialect, *_tolerance(name)) for text in ROWS[name] if text not in gaps
    ]
    assert [problem for problem in problems if problem] == []


def test_the_rows_have_values(compared: dict[str, Compared]) -> None:
    for name in ("clean", "dirty"):
        for text, values in zip(compared[name].texts, compared[name].qlib, strict=True):
            # one observation has no deviation; all else must compare something
            if not text.endswith(",1)") or not text.startswith(
                ("Std", "Var", "Slope", "Rsq", "Resi", "Corr", "Cov")
            ):
                assert np.isfinite(values).any(), text


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: f"{gap.market}-{gap.text}")
def test_gap_is_still_there(compared: dict[str, Compared], gap: Gap) -> None:
    assert gap.reason
    name = gap.text.split("(")[0]
    for dialect in ("bascule", "qlib"):
        different = compared[gap.market].differs(gap.text, dialect, *_tolerance(name)) is not None
        assert different == (dialect in gap.dialects), f"{dialect}: {gap.reason}"


REFUSED = {
    "Mean($close,0.3)": "qlib takes any fractional window for an exponential mean; ours asks for EMA",
    "Std($close,0.3)": "the same, and not even a deviation",
    "1<$close<4": "qlib silently reads $close<4",
    "Corr($close,$open,0)": "qlib raises",
    "Corr($close,3,5)": "qlib raises",
    "$close&$open": "qlib raises",
    "Sub($close>1,$open>1)": "qlib raises",
    "Skew($close,2)": "qlib raises",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.remedy


@pytest.mark.parametrize("market", ["clean", "dirty"])
@pytest.mark.parametrize("library", ["alpha158", "alpha360"])
def test_library_equals_qlib(tmp_path: Path, library: str, market: str) -> None:
    texts = [factor.text for factor in factors.library(library)]
    both = Compared(tmp_path / "provider", market, texts)
    problems = [both.differs(text, "bascule", 1e-4, 1e-6) for text in texts]
    assert [problem for problem in problems if problem] == []
    # all but a few cells hold values, so that the comparison means something
    assert np.isfinite(both.qlib[:, 100:, :2][:, both.alive[100:, :2]]).mean() > 0.5


def test_qlib_reads_canonical_text(tmp_path: Path) -> None:
    panel = clean_panel()
    write_provider(tmp_path / "provider", panel)
    rows = [text.format(panel.instruments[0]) for row in ROWS.values() for text in row if "EMA" not in text]
    texts = rows + [factor.text for factor in factors.library("alpha158")]
    canonical = [str(parse(text)) for text in texts]
    asked, read = (qlib_features(tmp_path / "provider", panel, t) for t in (texts, canonical))
    np.testing.assert_array_equal(asked, read)
