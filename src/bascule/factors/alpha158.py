"""qlib's Alpha158: candle shapes, prices, and 29 statistics over 5, 10, 20, 30 and 60 bars.

Names, texts and order are those of ``qlib.contrib.data.loader.Alpha158DL`` with its default settings, which
the tests compare one by one. ``{n}`` stands for the window.
"""

from __future__ import annotations

from collections.abc import Iterator

from bascule.factors.factor import Factor

SOURCE = "qlib Alpha158"
WINDOWS = (5, 10, 20, 30, 60)

_CANDLE = (
    ("KMID", "($close-$open)/$open", "body over open"),
    ("KLEN", "($high-$low)/$open", "range over open"),
    ("KMID2", "($close-$open)/($high-$low+1e-12)", "body over range"),
    ("KUP", "($high-Greater($open, $close))/$open", "upper shadow over open"),
    ("KUP2", "($high-Greater($open, $close))/($high-$low+1e-12)", "upper shadow over range"),
    ("KLOW", "(Less($open, $close)-$low)/$open", "lower shadow over open"),
    ("KLOW2", "(Less($open, $close)-$low)/($high-$low+1e-12)", "lower shadow over range"),
    ("KSFT", "(2*$close-$high-$low)/$open", "place of the close in the range, over open"),
    ("KSFT2", "(2*$close-$high-$low)/($high-$low+1e-12)", "place of the close in the range"),
)

_PRICE = ("open", "high", "low", "vwap")

_UP, _DOWN = "Greater($close-Ref($close, 1), 0)", "Greater(Ref($close, 1)-$close, 0)"
_MOVE = "(Sum(Abs($close-Ref($close, 1)), {n})+1e-12)"
_VOLUME_UP, _VOLUME_DOWN = "Greater($volume-Ref($volume, 1), 0)", "Greater(Ref($volume, 1)-$volume, 0)"
_VOLUME_MOVE = "(Sum(Abs($volume-Ref($volume, 1)), {n})+1e-12)"
_WEIGHTED = "Abs($close/Ref($close, 1)-1)*$volume"

# prefix of the name, family, text
_ROLLING = (
    ("ROC", "momentum", "Ref($close, {n})/$close"),
    ("MA", "momentum", "Mean($close, {n})/$close"),
    ("STD", "volatility", "Std($close, {n})/$close"),
    ("BETA", "trend", "Slope($close, {n})/$close"),
    ("RSQR", "trend", "Rsquare($close, {n})"),
    ("RESI", "trend", "Resi($close, {n})/$close"),
    ("MAX", "range", "Max($high, {n})/$close"),
    ("MIN", "range", "Min($low, {n})/$close"),
    ("QTLU", "range", "Quantile($close, {n}, 0.8)/$close"),
    ("QTLD", "range", "Quantile($close, {n}, 0.2)/$close"),
    ("RANK", "range", "Rank($close, {n})"),
    ("RSV", "range", "($close-Min($low, {n}))/(Max($high, {n})-Min($low, {n})+1e-12)"),
    ("IMAX", "timing", "IdxMax($high, {n})/{n}"),
    ("IMIN", "timing", "IdxMin($low, {n})/{n}"),
    ("IMXD", "timing", "(IdxMax($high, {n})-IdxMin($low, {n}))/{n}"),
    ("CORR", "price and volume", "Corr($close, Log($volume+1), {n})"),
    ("CORD", "price and volume", "Corr($close/Ref($close,1), Log($volume/Ref($volume, 1)+1), {n})"),
    ("CNTP", "direction", "Mean($close>Ref($close, 1), {n})"),
    ("CNTN", "direction", "Mean($close<Ref($close, 1), {n})"),
    ("CNTD", "direction", "Mean($close>Ref($close, 1), {n})-Mean($close<Ref($close, 1), {n})"),
    ("SUMP", "direction", f"Sum({_UP}, {{n}})/{_MOVE}"),
    ("SUMN", "direction", f"Sum({_DOWN}, {{n}})/{_MOVE}"),
    ("SUMD", "direction", f"(Sum({_UP}, {{n}})-Sum({_DOWN}, {{n}}))/{_MOVE}"),
    ("VMA", "volume", "Mean($volume, {n})/($volume+1e-12)"),
    ("VSTD", "volume", "Std($volume, {n})/($volume+1e-12)"),
    ("WVMA", "volume", f"Std({_WEIGHTED}, {{n}})/(Mean({_WEIGHTED}, {{n}})+1e-12)"),
    ("VSUMP", "volume", f"Sum({_VOLUME_UP}, {{n}})/{_VOLUME_MOVE}"),
    ("VSUMN", "volume", f"Sum({_VOLUME_DOWN}, {{n}})/{_VOLUME_MOVE}"),
    ("VSUMD", "volume", f"(Sum({_VOLUME_UP}, {{n}})-Sum({_VOLUME_DOWN}, {{n}}))/{_VOLUME_MOVE}"),
)


def alpha158() -> Iterator[Factor]:
    """The 158 factors, in qlib's order."""
    for name, text, note in _CANDLE:
        yield Factor(name, text, "candle", SOURCE, note)
    for field in _PRICE:
        yield Factor(f"{field.upper()}0", f"${field}/$close", "price", SOURCE)
    for prefix, family, text in _ROLLING:
        for n in WINDOWS:
            yield Factor(f"{prefix}{n}", text.format(n=n), family, SOURCE)
