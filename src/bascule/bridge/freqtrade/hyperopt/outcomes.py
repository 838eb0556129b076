"""What is asked of a walk and what came of it: settings, folds, outcomes, and the files that keep them.

A finished fold is one JSON file below ``folds/``; ``walk.json`` beside them says what the whole was. Both are
written by `walkforward`; a report needs this module only (`stored`).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from bascule.core import ConfigError, Settings
from bascule.core.files import write_json

if TYPE_CHECKING:
    import pandas as pd

Loss = Literal["DeflatedSharpeLoss", "CalmarTurnoverLoss", "WorstRegimeLoss"]
WALK, FOLDS = "walk.json", "folds"


class HyperoptSettings(Settings):
    """How the thresholds are optimised and tested."""

    train_days: int = Field(default=90, ge=2, description="days of a window to optimise on")
    test_days: int = Field(default=30, ge=1, description="days of a window to test on")
    anchored: bool = Field(default=False, description="windows to optimise on all begin at the first candle")
    embargo_bars: int = Field(default=1, ge=0, description="candles between the two windows of a fold")
    start: date | None = Field(default=None, description="first day used; default that of the signals")
    end: date | None = Field(default=None, description="first day not used; default the signals' end")
    epochs: int = Field(default=100, ge=1, description="sets of parameters tried a fold")
    spaces: tuple[str, ...] = Field(
        default=("buy", "sell"), min_length=1, description="freqtrade's spaces: buy, sell, stoploss, …"
    )
    loss: Loss = Field(default="DeflatedSharpeLoss", description="what is minimised")
    turnover_cost: float = Field(
        default=0.0005, ge=0, le=0.05, description="CalmarTurnoverLoss: further cost of what is traded"
    )
    regime_days: int = Field(default=10, ge=2, description="WorstRegimeLoss: fewest days of a regime")
    min_trades: int = Field(default=10, ge=1, description="an epoch with fewer trades is no candidate")
    jobs: int = Field(
        default=1, ge=1, description="worker processes; the number changes which sets are tried"
    )
    seed: int = Field(default=0, ge=0, lt=1 << 30, description="of the optimiser; each fold adds its number")


@dataclass(frozen=True)
class Fold:
    """Two half-open windows of candle opens, UTC."""

    number: int
    train: tuple[np.datetime64, np.datetime64]
    test: tuple[np.datetime64, np.datetime64]


@dataclass(frozen=True)
class Epoch:
    """One set of parameters tried.

    Attributes:
        loss: what the optimiser saw.
        params: parameter → value.
        trades: number of trades.
        profit: of the wallet, a fraction.
    """

    loss: float
    params: dict[str, float | str | bool]
    trades: int
    profit: float


@dataclass(frozen=True)
class Outcome:
    """A finished fold.

    Attributes:
        fold: its windows.
        prior: trials that the ledger had counted on the first window before.
        epochs: all that was tried, in order.
        best: number of the epoch that was chosen; −1 = none had enough trades, the strategy's own serve.
        tested: figures of the second window with the chosen parameters.
        untouched: the same with the strategy's own parameters.
        days: days of the second window (ISO).
        returns: daily returns with the chosen parameters.
        own: daily returns with the strategy's own.
    """

    fold: Fold
    prior: int
    epochs: tuple[Epoch, ...]
    best: int
    tested: dict[str, float | None]
    untouched: dict[str, float | None]
    days: tuple[str, ...]
    returns: tuple[float, ...]
    own: tuple[float, ...]

    @property
    def chosen(self) -> Epoch | None:
        """The chosen epoch."""
        return None if self.best < 0 else self.epochs[self.best]


@dataclass(frozen=True, eq=False)
class WalkForward:
    """All folds.

    Attributes:
        settings: how.
        outcomes: in order of time.
        trials: different sets of parameters and other trials that the ledger counts on all these candles.
    """

    settings: HyperoptSettings
    outcomes: tuple[Outcome, ...]
    trials: int

    def table(self) -> pd.DataFrame:
        """One row a fold: windows, the chosen parameters' loss, and out of sample both ways."""
        import pandas as pd

        rows = []
        for one in self.outcomes:
            best = one.chosen
            rows.append(
                {
                    "optimised on": "{} to {}".format(*(str(t)[:10] for t in one.fold.train)),
                    "tested on": "{} to {}".format(*(str(t)[:10] for t in one.fold.test)),
                    "trials": one.prior + len(one.epochs),
                    "loss": math.nan if best is None else best.loss,
                    "profit in sample": math.nan if best is None else best.profit,
                    **{f"{name} tested": _number(one.tested[name]) for name in ("profit_total", "sharpe")},
                    **{f"{name} own": _number(one.untouched[name]) for name in ("profit_total", "sharpe")},
                    "trades": _number(one.tested["total_trades"]),
                }
            )
        return pd.DataFrame(rows)

    def returns(self) -> pd.DataFrame:
        """Daily out-of-sample returns, one fold after the other: ``chosen`` and ``own`` parameters."""
        import pandas as pd

        days = [day for one in self.outcomes for day in one.days]
        columns = {
            "chosen": [value for one in self.outcomes for value in one.returns],
            "own": [value for one in self.outcomes for value in one.own],
        }
        return pd.DataFrame(columns, pd.DatetimeIndex(days))

    def deflated(self) -> float:
        """Probability that the chosen parameters' out-of-sample Sharpe ratio is real, all trials counted."""
        from scipy.special import ndtr

        from bascule.bridge.freqtrade.hyperopt.losses import standard_errors_above_luck

        found = standard_errors_above_luck(self.returns()["chosen"].to_numpy(np.float64), max(1, self.trials))
        return float(ndtr(found)) if math.isfinite(found) else math.nan


def keep(path: Path, found: Outcome, recipe: str) -> None:
    """Write a finished fold.

    Args:
        path: its file.
        found: what came of it.
        recipe: digest of everything that it follows from.
    """
    write_json(path, {"recipe": recipe, **plain(found)})


def plain(found: Outcome) -> dict[str, Any]:
    """A fold as JSON."""
    values = asdict(found)
    values["fold"] = {
        "number": found.fold.number,
        "train": [str(t) for t in found.fold.train],
        "test": [str(t) for t in found.fold.test],
    }
    return values


def read(path: Path, recipe: str) -> Outcome:
    """A finished fold, if it follows from the same.

    Raises:
        ConfigError: the file is damaged, or of another walk.
    """
    values = _json(path)
    if values.get("recipe") != recipe:
        raise ConfigError(
            "the folder holds a walk of another bundle, other costs, settings or windows",
            where=str(path),
            remedy="give another folder, or remove this one",
        )
    return _outcome(values)


def stored(folder: Path) -> WalkForward:
    """A finished walk, read from its folder.

    Raises:
        ConfigError: there is none, or it is not finished.
    """
    about = _json(folder / WALK)
    paths = sorted((folder / FOLDS).glob("*.json"))
    settings = HyperoptSettings.read(about["settings"], where=str(folder / WALK))
    return WalkForward(settings, tuple(_outcome(_json(path)) for path in paths), int(about["trials"]))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot be read: {error}", where=str(path), remedy="finish the walk, or remove its folder"
        ) from None
    return values


def _outcome(values: dict[str, Any]) -> Outcome:
    train, test = (
        (np.datetime64(values["fold"][name][0], "ns"), np.datetime64(values["fold"][name][1], "ns"))
        for name in ("train", "test")
    )
    return Outcome(
        Fold(values["fold"]["number"], train, test),
        values["prior"],
        tuple(Epoch(**one) for one in values["epochs"]),
        values["best"],
        values["tested"],
        values["untouched"],
        tuple(values["days"]),
        tuple(values["returns"]),
        tuple(values["own"]),
    )
