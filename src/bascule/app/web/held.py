"""Portfolios: the target weights of a run's bundle, and the risk report that was made of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bascule.app.web.kept import Kept, Missing, thinned
from bascule.app.web.runs import Run, numbers, times
from bascule.core import StoreError

RISK = ("risk", "risk.json")  # below a run's folder
RISK_PAGE = ("risk", "risk.html")
_COLUMNS = [
    "time", "instrument", "alpha_rank", "expected_return", "risk_score", "target_weight", "stop_distance",
    "portfolio_risk", "regime", "model_id",
]  # fmt: skip


@dataclass(frozen=True)
class Portfolio:
    """The newest target weights, and how they came to be.

    Attributes:
        time: candle open of the newest row, UTC.
        rows: one an instrument with a signal, largest weight first.
        gross: sum of absolute weights; net: sum of weights; both of the newest row.
        positions: number of weights that are not 0.
        portfolio_risk: in [0, 1], None if unknown.
        regime: market regime, None if unknown.
        model: behind the row.
        when: times of the history.
        history: ``long``, ``short``, ``net`` exposure and ``portfolio risk`` over time.
    """

    time: str
    rows: tuple[dict[str, Any], ...]
    gross: float
    net: float
    positions: int
    portfolio_risk: float | None
    regime: int | None
    model: str
    when: tuple[str, ...]
    history: dict[str, list[float | None]]


class Held:
    """Portfolios and risk reports of runs."""

    def __init__(self) -> None:
        self._portfolio: Kept[Portfolio] = Kept(_portfolio, 8)
        self._risk: Kept[dict[str, Any]] = Kept(_risk, 16)

    def portfolio(self, run: Run) -> Portfolio:
        """The run's portfolio.

        Raises:
            Missing: it has no signals yet.
        """
        return self._portfolio(run.bundle / "signals.parquet")

    def risk(self, run: Run) -> dict[str, Any] | None:
        """The run's risk report as figures, None if none was made."""
        try:
            return self._risk(run.folder.joinpath(*RISK))
        except Missing:
            return None


def _portfolio(path: Path) -> Portfolio:
    import pandas as pd

    table = pd.read_parquet(path, columns=_COLUMNS)
    weight = table["target_weight"].fillna(0.0)
    sides = pd.DataFrame(
        {
            "long": weight.clip(lower=0).groupby(table["time"]).sum(),
            "short": weight.clip(upper=0).groupby(table["time"]).sum(),
            "portfolio risk": table.groupby("time")["portfolio_risk"].first(),
        }
    )
    sides.insert(2, "net", sides["long"] + sides["short"])
    newest = table[table["time"] == table["time"].max()]
    order = newest["target_weight"].fillna(0.0).abs().sort_values(ascending=False, kind="stable").index
    newest = newest.loc[order]
    first, held = newest.iloc[0], newest["target_weight"].fillna(0.0)
    shown = ("alpha_rank", "expected_return", "risk_score", "target_weight", "stop_distance")
    columns = {name: numbers(newest[name]) for name in shown}
    rows = tuple(
        {"instrument": str(name), **{key: values[k] for key, values in columns.items()}}
        for k, name in enumerate(newest["instrument"])
    )
    at = thinned(len(sides))
    regime = int(first["regime"])
    return Portfolio(
        time=str(first["time"].strftime("%Y-%m-%d %H:%M")),
        rows=rows,
        gross=float(held.abs().sum()),
        net=float(held.sum()),
        positions=int((held != 0).sum()),
        portfolio_risk=numbers([first["portfolio_risk"]])[0],
        regime=None if regime < 0 else regime,
        model=str(first["model_id"]),
        when=tuple(times(sides.index[at])),
        history={name: numbers(sides[name].iloc[at]) for name in sides.columns},
    )


def _risk(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise StoreError(f"not JSON: {error}", where=path.name, remedy="make the report again") from None
    return found
