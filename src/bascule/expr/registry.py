"""All operators of the language by name: the one place where an operator is registered."""

from __future__ import annotations

from difflib import get_close_matches

from bascule.core import Registry
from bascule.expr import crosssection, elementwise, instrument, own, pair, rolling, shift, trend, weighted
from bascule.expr.node import Operator

_ALL: tuple[type[Operator], ...] = (
    # element-wise
    elementwise.Abs, elementwise.Sign, elementwise.Log, elementwise.SignedLog, elementwise.Not,
    elementwise.Add, elementwise.Sub, elementwise.Mul, elementwise.Div,
    elementwise.Power, elementwise.SignedPower, elementwise.Greater, elementwise.Less,
    elementwise.Gt, elementwise.Ge, elementwise.Lt, elementwise.Le, elementwise.Eq, elementwise.Ne,
    elementwise.And, elementwise.Or, elementwise.If,
    # in time
    shift.Ref, shift.Delta,
    rolling.Sum, rolling.Mean, rolling.Count, rolling.Var, rolling.Std, rolling.Skew, rolling.Kurt,
    rolling.Mad, rolling.Max, rolling.Min, rolling.IdxMax, rolling.IdxMin, rolling.Med, rolling.Rank,
    rolling.Quantile, rolling.TrimMean, rolling.Winsorize, rolling.TSZScore, rolling.TSMinMaxScale,
    rolling.TSMadZ,
    trend.Slope, trend.Rsquare, trend.Resi,
    weighted.WMA, weighted.EMA, weighted.Decay,
    pair.Corr, pair.Cov,
    # across instruments
    crosssection.CSRank, crosssection.CSZScore, crosssection.CSDemean, crosssection.CSQuantile,
    crosssection.CSNeutralize, crosssection.CSMadZ, crosssection.CSRankGauss, crosssection.CSWinsorize,
    crosssection.CSTrimDemean, crosssection.CSGroupZScore,
    instrument.ChangeInstrument, instrument.Mask,
)  # fmt: skip

OPERATORS: Registry[type[Operator]] = Registry(
    "operators", {operator.__name__: operator for operator in _ALL}, own.accept
)

# operators of qlib that this language leaves to qlib itself, with the reason
LEFT_TO_QLIB: dict[str, str] = {
    "P": "point-in-time data is not part of a panel",
    "PRef": "point-in-time data is not part of a panel",
    "TResample": "it changes the time axis",
    "Rolling": "its statistic is named by a text; use the operator of that statistic, such as Mean",
    "Feature": "write the field as $name",
    "PFeature": "point-in-time data is not part of a panel",
    "DayCumsum": "it is bound to the trading hours of one exchange",
    "DayLast": "it is bound to the trading hours of one exchange",
    "FFillNan": "a filled value hides that nothing was traded",
    "BFillNan": "it fills from the future",
    "Date": "it returns dates, not numbers",
    "Select": "it changes the time axis",
    "IsNull": "compare instead: $x!=$x",
    "IsInf": "compare instead",
    "Cut": "it changes the time axis",
}


def nearest(name: str) -> str | None:
    """The operator whose name is most like ``name``, or None."""
    lower = {known.lower(): known for known in OPERATORS}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.7)
    return lower[close[0]] if close else None
