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

# prefix of the name, family, text, note
_ROLLING = (
    (
        "ROC",
        "momentum",
        "Ref($close, {n})/$close",
        "price {n} bars ago over the price: falls as the coin rises",
    ),
    ("MA", "momentum", "Mean($close, {n})/$close", "mean of {n} bars over the price"),
    ("STD", "volatility", "Std($close, {n})/$close", "deviation of prices of {n} bars over the price"),
    ("BETA", "trend", "Slope($close, {n})/$close", "slope of a line through {n} bars over the price"),
    ("RSQR", "trend", "Rsquare($close, {n})", "how straight the path of {n} bars is"),
    ("RESI", "trend", "Resi($close, {n})/$close", "distance of the price from the line through {n} bars"),
    ("MAX", "range", "Max($high, {n})/$close", "highest price of {n} bars over the price"),
    ("MIN", "range", "Min($low, {n})/$close", "lowest price of {n} bars over the price"),
    (
        "QTLU",
        "range",
        "Quantile($close, {n}, 0.8)/$close",
        "upper fifth of prices of {n} bars over the price",
    ),
    (
        "QTLD",
        "range",
        "Quantile($close, {n}, 0.2)/$close",
        "lower fifth of prices of {n} bars over the price",
    ),
    ("RANK", "range", "Rank($close, {n})", "place of the price among those of {n} bars"),
    (
        "RSV",
        "range",
        "($close-Min($low, {n}))/(Max($high, {n})-Min($low, {n})+1e-12)",
        "place of the price in the range of {n} bars",
    ),
    ("IMAX", "timing", "IdxMax($high, {n})/{n}", "bars since the high of {n}, inverted, as a share"),
    ("IMIN", "timing", "IdxMin($low, {n})/{n}", "bars since the low of {n}, inverted, as a share"),
    (
        "IMXD",
        "timing",
        "(IdxMax($high, {n})-IdxMin($low, {n}))/{n}",
        "how much later the high of {n} bars came than the low",
    ),
    (
        "CORR",
        "price and volume",
        "Corr($close, Log($volume+1), {n})",
        "correlation of price and log volume in {n} bars",
    ),
    (
        "CORD",
        "price and volume",
        "Corr($close/Ref($close,1), Log($volume/Ref($volume, 1)+1), {n})",
        "correlation of the changes of price and volume in {n} bars",
    ),
    ("CNTP", "direction", "Mean($close>Ref($close, 1), {n})", "share of rising bars among {n}"),
    ("CNTN", "direction", "Mean($close<Ref($close, 1), {n})", "share of falling bars among {n}"),
    (
        "CNTD",
        "direction",
        "Mean($close>Ref($close, 1), {n})-Mean($close<Ref($close, 1), {n})",
        "rising less falling bars among {n}, as a share",
    ),
    ("SUMP", "direction", f"Sum({_UP}, {{n}})/{_MOVE}", "share of the path of {n} bars that went up"),
    ("SUMN", "direction", f"Sum({_DOWN}, {{n}})/{_MOVE}", "share of the path of {n} bars that went down"),
    (
        "SUMD",
        "direction",
        f"(Sum({_UP}, {{n}})-Sum({_DOWN}, {{n}}))/{_MOVE}",
        "up less down path of {n} bars, as a share",
    ),
    ("VMA", "volume", "Mean($volume, {n})/($volume+1e-12)", "mean volume of {n} bars over the volume"),
    (
        "VSTD",
        "volume",
        "Std($volume, {n})/($volume+1e-12)",
        "deviation of the volume of {n} bars over the volume",
    ),
    (
        "WVMA",
        "volume",
        f"Std({_WEIGHTED}, {{n}})/(Mean({_WEIGHTED}, {{n}})+1e-12)",
        "how uneven the moves of {n} bars, weighted by volume, are",
    ),
    (
        "VSUMP",
        "volume",
        f"Sum({_VOLUME_UP}, {{n}})/{_VOLUME_MOVE}",
        "share of the volume's path of {n} bars that went up",
    ),
    (
        "VSUMN",
        "volume",
        f"Sum({_VOLUME_DOWN}, {{n}})/{_VOLUME_MOVE}",
        "share of the volume's path of {n} bars that went down",
    ),
    (
        "VSUMD",
        "volume",
        f"(Sum({_VOLUME_UP}, {{n}})-Sum({_VOLUME_DOWN}, {{n}}))/{_VOLUME_MOVE}",
        "up less down path of the volume in {n} bars, as a share",
    ),
)


def alpha158() -> Iterator[Factor]:
    """The 158 factors, in qlib's order."""
    for name, text, note in _CANDLE:
        yield Factor(name, text, "candle", SOURCE, note, tags=("shape", "price only"))
    for field in _PRICE:
        note = f"{field} of the bar over its close"
        yield Factor(
            f"{field.upper()}0", f"${field}/$close", "price", SOURCE, note, tags=("shape", "price only")
        )
    for prefix, family, text, note in _ROLLING:
        tag = "volume" if "$volume" in text else "price only"
        for n in WINDOWS:
            yield Factor(
                f"{prefix}{n}", text.format(n=n), family, SOURCE, note.format(n=n), tags=("rolling", tag)
            )
