"""Several models on the same folds: a leaderboard, and whether its differences mean anything.

1. Every contestant is trained walk-forward on the same features, folds, universe and seed.
2. All are judged on the same cells: those that every one of them predicted.
3. Each is measured: IC, rank IC, their ICIRs and Newey-West t; the Sharpe ratio of a long-short portfolio of
   its outer fifths after costs; its turnover; seconds of training and of predicting.
4. Intervals of the mean rank IC come from the stationary bootstrap (`evaluate.bootstrap`). For two models the
   *difference* of their ICs row by row is resampled: what the market did to both drops out.
5. With more than one pair, p-values are Holm's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import ConfigError, Panel, Progress, silent
from bascule.core.files import write_json
from bascule.core.panel import FloatArray
from bascule.evaluate import forward_return, ic_series, mean_interval, resampled_means, row_ranks, summarise
from bascule.evaluate.rows import trailing_sums
from bascule.models.folds import Fold
from bascule.models.settings import ModelSettings
from bascule.models.train import Predictions, train_walk_forward

if TYPE_CHECKING:
    import pandas as pd

Float64Array = NDArray[np.float64]
LEADERBOARD = "leaderboard.json"
_TIMES = "seconds.json"


@dataclass(frozen=True)
class Score:
    """One contestant.

    Attributes:
        name: its name.
        ic: mean IC.
        icir: mean IC / its deviation, per row.
        rank_ic: mean rank IC.
        rank_icir: mean rank IC / its deviation, per row.
        rank_t: Newey-West t of the rank IC.
        low: lower end of the 95 % bootstrap interval of the mean rank IC.
        high: upper end.
        sharpe: annualised Sharpe ratio of the long-short portfolio after costs.
        turnover: traded share of the portfolio's gross value a day.
        train_seconds: wall time of training all folds, None if that was another run's and was not kept.
        predict_seconds: wall time of predicting all test windows.
        rows: rows that entered.
    """

    name: str
    ic: float
    icir: float
    rank_ic: float
    rank_icir: float
    rank_t: float
    low: float
    high: float
    sharpe: float
    turnover: float
    train_seconds: float | None
    predict_seconds: float
    rows: int


@dataclass(frozen=True)
class Duel:
    """Two contestants.

    Attributes:
        better: the one with the higher mean rank IC.
        other: the other.
        difference: of their mean rank ICs on common rows.
        low: lower end of the difference's 95 % bootstrap interval.
        high: upper end.
        p: two-sided p-value, Holm-adjusted over all pairs.
    """

    better: str
    other: str
    difference: float
    low: float
    high: float
    p: float

    @property
    def significant(self) -> bool:
        """True at 5 %."""
        return self.p < 0.05

    @property
    def statement(self) -> str:
        """The outcome in a sentence."""
        span = f"{self.difference:+.4f} rank IC, 95 % interval {self.low:+.4f} to {self.high:+.4f}"
        if self.significant:
            return f"{self.better} is better than {self.other}: {span}, p = {self.p:.3f}."
        return f"No significant difference between {self.better} and {self.other}: {span}, p = {self.p:.2f}."


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Scores, best rank IC first, and duels of every pair.

    Attributes:
        scores: one a contestant.
        duels: one a pair.
        horizon: bars of the label.
        cost: cost of trading one unit of notional.
    """

    scores: tuple[Score, ...]
    duels: tuple[Duel, ...]
    horizon: int
    cost: float

    def frame(self) -> pd.DataFrame:
        """One row a contestant."""
        import pandas as pd

        return pd.DataFrame([asdict(score) for score in self.scores]).set_index("name")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what is not a finite number is null."""

        def plain(value: Any) -> Any:
            return None if isinstance(value, float) and not np.isfinite(value) else value

        return {
            "horizon": self.horizon,
            "cost": self.cost,
            "scores": [{k: plain(v) for k, v in asdict(score).items()} for score in self.scores],
            "duels": [
                {
                    **{k: plain(v) for k, v in asdict(duel).items()},
                    "significant": duel.significant,
                    "statement": duel.statement,
                }
                for duel in self.duels
            ],
        }


def compare(
    values: FloatArray,
    names: Sequence[str],
    panel: Panel,
    folds: Sequence[Fold],
    contestants: Mapping[str, ModelSettings],
    folder: Path,
    *,
    horizon: int,
    cost: float = 0.001,
    seed: int,
    reps: int = 1_000,
    progress: Progress = silent,
) -> Leaderboard:
    """Train all contestants on the same folds and write ``leaderboard.json`` into ``folder``.

    Args:
        values: features ``[F, T, N]``.
        names: their names.
        panel: gives opens, axes and members.
        folds: purged for the longest label of all contestants.
        contestants: name → what it is; names become folders.
        folder: receives one folder a contestant; what is finished there is reused.
        horizon: bars of the main label, which all are judged by.
        cost: cost of trading one unit of notional, as a fraction.
        seed: of training and bootstrap.
        reps: bootstrap samples.
        progress: told after every fold of every contestant.

    Raises:
        ConfigError: fewer than two contestants, or one's settings are wrong.
    """
    if len(contestants) < 2:
        raise ConfigError(
            f"{len(contestants)} model", where="compare", remedy="name two or more models to compare"
        )
    found: dict[str, Predictions] = {}
    seconds: dict[str, float | None] = {}
    total = len(contestants) * len(folds)
    for place, (name, settings) in enumerate(contestants.items()):
        home = folder / name
        told = _shifted(progress, place * len(folds), total, name)
        label = forward_return(panel, horizon, funding=settings.funding)
        found[name] = train_walk_forward(
            values, names, label, panel, folds, settings, home / "models", seed=seed, progress=told
        )
        seconds[name] = _train_seconds(home, found[name])
    board = judge(
        {name: one.values for name, one in found.items()},
        panel,
        horizon=horizon,
        cost=cost,
        seed=seed,
        reps=reps,
        seconds={name: (seconds[name], one.predict_seconds) for name, one in found.items()},
    )
    write_json(folder / LEADERBOARD, board.to_dict())
    return board


def _shifted(progress: Progress, before: int, whole: int, name: str) -> Progress:
    """Progress of one contestant as part of all."""

    def told(done: int, total: int, note: str = "") -> None:
        progress(before + done, whole, f"{name} {note}".rstrip())

    return told


def _train_seconds(home: Path, found: Predictions) -> float | None:
    """Seconds of training, kept beside the models so that a run that goes on still knows them."""
    path = home / _TIMES
    before = json.loads(path.read_text("utf-8")) if path.exists() else {"folds": 0, "seconds": 0.0}
    folds, spent = before["folds"] + found.fresh, before["seconds"] + found.train_seconds
    if found.fresh:
        write_json(path, {"folds": folds, "seconds": round(spent, 3)})
    return round(spent, 3) if folds == len(found.folds) else None


def judge(
    signals: Mapping[str, FloatArray],
    panel: Panel,
    *,
    horizon: int,
    cost: float = 0.001,
    seed: int = 0,
    reps: int = 1_000,
    seconds: Mapping[str, tuple[float | None, float]] | None = None,
) -> Leaderboard:
    """Measure signals ``[T, N]`` on the cells that all of them have.

    Args:
        signals: name → signal.
        panel: gives opens and members.
        horizon: bars of the label.
        cost: cost of trading one unit of notional.
        seed: of the bootstrap.
        reps: bootstrap samples.
        seconds: name → seconds of training and predicting.
    """
    label = forward_return(panel, horizon)
    common = panel.members.copy()
    for signal in signals.values():
        common &= np.isfinite(signal)
    series: dict[str, Float64Array] = {}
    scores = []
    for name, signal in signals.items():
        plain = summarise(ic_series(signal, label, common), horizon)
        series[name] = ic_series(signal, label, common, rank=True)
        ranked = summarise(series[name], horizon)
        span = mean_interval(series[name], horizon, reps=reps, seed=seed)
        earned, traded = long_short(np.where(common, signal, np.nan), panel, horizon=horizon, cost=cost)
        times = (seconds or {}).get(name, (None, 0.0))
        score = Score(
            name,
            ic=plain.mean,
            icir=plain.ir,
            rank_ic=ranked.mean,
            rank_icir=ranked.ir,
            rank_t=ranked.t,
            low=span.low,
            high=span.high,
            sharpe=_sharpe(earned, panel),
            turnover=traded,
            train_seconds=times[0],
            predict_seconds=round(times[1], 3),
            rows=ranked.n,
        )
        scores.append(score)
    scores.sort(key=lambda score: -score.rank_ic if np.isfinite(score.rank_ic) else np.inf)
    return Leaderboard(tuple(scores), _duels(scores, series, horizon, reps, seed), horizon, cost)


def long_short(
    signal: FloatArray, panel: Panel, *, horizon: int, cost: float, share: float = 0.2
) -> tuple[Float64Array, float]:
    """Bar returns after costs of the long-short portfolio, and its turnover.

    Every row opens a slice: the top ``share`` of the signal long, the bottom short, equal weights, each leg
    ½. It is held for ``horizon`` bars; the portfolio is the mean of the slices held.

    Returns:
        Return of the bar that opens after each row ``[T]``, NaN before the first portfolio and at the end;
        and traded share of the gross value a day.
    """
    ranks = row_ranks(signal)
    count = np.isfinite(ranks).sum(axis=1)[:, None]
    leg = np.maximum(1, np.floor(count * share))
    usable = count >= 2
    long, short = (ranks > count - leg) & usable, (ranks <= leg) & usable
    legs = [side / np.maximum(side.sum(axis=1), 1)[:, None] / 2.0 for side in (long, short)]
    slices = legs[0] - legs[1]
    weight = trailing_sums(slices, horizon) / horizon
    weight[np.abs(weight) < 1e-12] = 0.0
    before = np.vstack([np.zeros((1, weight.shape[1])), weight[:-1]])
    traded = np.abs(weight - before).sum(axis=1)
    bar = forward_return(panel, 1)
    earned = np.where(np.isfinite(bar), bar, 0.0)
    result = (weight * earned).sum(axis=1) - cost * traded
    held = np.abs(weight).sum(axis=1) > 0.0
    held[-2:] = False
    if not held.any():
        return np.full(len(result), np.nan), float("nan")
    gross = np.abs(weight[held]).sum(axis=1).mean()
    a_day = float(traded[held].mean() / gross * panel.timeframe.bars_a_day)
    return np.where(held, result, np.nan), a_day


def _sharpe(returns: Float64Array, panel: Panel) -> float:
    known = returns[np.isfinite(returns)]
    if len(known) < 2 or known.std() == 0.0:
        return float("nan")
    return float(known.mean() / known.std(ddof=1) * np.sqrt(panel.timeframe.bars_a_year))


def _duels(
    scores: Sequence[Score], series: Mapping[str, Float64Array], horizon: int, reps: int, seed: int
) -> tuple[Duel, ...]:
    found = []
    for better, other in combinations([score.name for score in scores], 2):
        gap = series[better] - series[other]
        gap = gap[np.isfinite(gap)]
        span = mean_interval(gap, horizon, reps=reps, seed=seed)
        if len(gap) < 2:
            found.append(Duel(better, other, span.mean, span.low, span.high, 1.0))
            continue
        means = resampled_means(gap, block=span.block, reps=reps, seed=seed)[:, 0]
        beyond = np.abs(means - means.mean()) >= abs(span.mean)
        p = (1.0 + float(beyond.sum())) / (reps + 1.0)
        found.append(Duel(better, other, span.mean, span.low, span.high, p))
    return _holm(found)


def _holm(duels: Sequence[Duel]) -> tuple[Duel, ...]:
    order = sorted(range(len(duels)), key=lambda i: duels[i].p)
    adjusted = [1.0] * len(duels)
    worst = 0.0
    for place, i in enumerate(order):
        worst = max(worst, min(1.0, duels[i].p * (len(duels) - place)))
        adjusted[i] = worst
    return tuple(
        Duel(d.better, d.other, d.difference, d.low, d.high, p) for d, p in zip(duels, adjusted, strict=True)
    )
