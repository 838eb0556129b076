"""AlphaGen's own two searchers, run by AlphaGen's own code on the rows that our searchers see.

1. Its data object gets the train rows behind `LEAD` rows of NaN, so that no row is lost to look-backs; the target
   is the train part's label, normalised by row as its calculator does. It learns of valid and test nothing.
2. *PPO*: `MaskablePPO` on its environment, LSTM network and `MseAlphaPool`, with the settings of its `scripts/rl.py`.
   *GP*: its gplearn with the settings of its `gp.py`; the pool is made of the best formulae whose mutual IC stays
   below 0.7. Both with a pool of ten, and with our windows and lags in place of theirs, since the planted formulae
   are written with some of these.
3. Snapshots of the pool are taken every so many CPU seconds; taking them is not on the clock.
4. A snapshot's signal on another part: members normalised by row, summed with the pool's weights.

Formulae are texts of its own grammar: Python for GP, its parser's language for PPO; both are evaluated by it.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bascule.evaluate import ic_series
from bascule.miners import Part

LEAD = 400  # rows before the first: more than two of the longest windows, one within the other
FIELDS = ("open", "close", "high", "low", "volume", "vwap")
CAPACITY = 10
KINDS = ("alphagen-ppo", "alphagen-gp")


@dataclass
class Snapshot:
    """A pool at some time of a search.

    Attributes:
        cpu: seconds spent.
        evaluations: formulae that were given a value so far.
        expressions: members, as AlphaGen holds them.
        weights: of these.
    """

    cpu: float
    evaluations: int
    expressions: list[Any]
    weights: list[float]


@dataclass
class Clock:
    """CPU seconds of a search, with pauses."""

    limit: float
    every: float
    _began: float = field(default_factory=time.process_time)
    _paused: float = 0.0
    _next: float = 0.0

    @property
    def spent(self) -> float:
        return time.process_time() - self._began - self._paused

    @property
    def over(self) -> bool:
        return self.spent >= self.limit

    @contextlib.contextmanager
    def pause(self) -> Any:
        """What happens within is not counted."""
        begin = time.process_time()
        yield
        self._paused += time.process_time() - begin

    def due(self) -> bool:
        """Whether it is time for a snapshot."""
        if self.spent < self._next:
            return False
        self._next = self.spent + self.every
        return True


class _OutOfTime(Exception):
    """Ends a search within its callback."""


class Rivals:
    """AlphaGen's searchers on a part.

    Args:
        folder: of AlphaGen's repository.
        part: to search on.
        windows: of rolling operators and lags, for both.
    """

    def __init__(self, folder: Path, part: Part, windows: tuple[int, ...]) -> None:
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        import torch

        torch.set_num_threads(1)
        self._torch = torch
        config = importlib.import_module("alphagen.config")
        config.DELTA_TIMES = list(windows)
        self._windows = windows
        self._stock: Any = importlib.import_module("alphagen_qlib.stock_data")
        self._stock._QLIB_INITIALIZED = True
        self._pools: Any = importlib.import_module("alphagen.models.linear_alpha_pool")
        self._expression: Any = importlib.import_module("alphagen.data.expression")
        self._day: Any = importlib.import_module("alphagen.utils.pytorch_utils").normalize_by_day
        calculators = importlib.import_module("alphagen.data.calculator")
        data, by_day = self._data(part), self._day
        target = by_day(torch.from_numpy(part.label[part.first :].copy()))

        class Calculator(calculators.TensorAlphaCalculator):  # type: ignore[misc, name-defined]
            n_days = data.n_days

            def evaluate_alpha(self, expr: Any) -> Any:
                return by_day(expr.evaluate(data))

        self._calculator = Calculator(target)

    def _data(self, part: Part) -> Any:
        """Rows of a part behind `LEAD` rows of history, NaN where there is none."""
        import pandas as pd

        first = max(0, part.first - LEAD)
        values = np.stack([part.panel[name][first:] for name in FIELDS], axis=1)
        lead = LEAD - (part.first - first)
        values = np.pad(values, ((lead, 0), (0, 0), (0, 0)), constant_values=np.nan)
        preloaded = (
            self._torch.from_numpy(values),
            pd.Index(np.arange(len(values))),
            pd.Index(part.panel.instruments),
        )
        return self._stock.StockData(
            "all", "", "", LEAD, 0, device=self._torch.device("cpu"), preloaded_data=preloaded
        )

    def _pool(self) -> Any:
        return self._pools.MseAlphaPool(
            capacity=CAPACITY, calculator=self._calculator, ic_lower_bound=None, l1_alpha=5e-3,
            device=self._torch.device("cpu"),
        )  # fmt: skip

    def search(self, kind: str, seed: int, cpu_seconds: float, every: float) -> list[Snapshot]:
        """Snapshots of one search."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return (self._ppo if kind == "alphagen-ppo" else self._gp)(seed, Clock(cpu_seconds, every))

    def _ppo(self, seed: int, clock: Clock) -> list[Snapshot]:
        from sb3_contrib.ppo_mask import MaskablePPO
        from stable_baselines3.common.callbacks import BaseCallback

        env: Any = importlib.import_module("alphagen.rl.env.wrapper")
        network: Any = importlib.import_module("alphagen.rl.policy")
        importlib.import_module("alphagen.utils.random").reseed_everything(seed)
        cpu, pool, found = self._torch.device("cpu"), self._pool(), []

        def snapshot() -> None:
            size = pool.size
            found.append(
                Snapshot(
                    clock.spent, pool.eval_cnt, list(pool.exprs[:size]), [float(w) for w in pool.weights]
                )
            )

        class Watch(BaseCallback):
            def _on_step(self) -> bool:
                if clock.due():
                    snapshot()
                return not clock.over

        model = MaskablePPO(
            "MlpPolicy", env.AlphaEnv(pool=pool, device=cpu, print_expr=False),
            policy_kwargs={
                "features_extractor_class": network.LSTMSharedNet,
                "features_extractor_kwargs": {"n_layers": 2, "d_model": 128, "dropout": 0.1, "device": cpu},
            },
            gamma=1.0, ent_coef=0.01, batch_size=128, device=cpu, seed=seed, verbose=0,
        )  # fmt: skip
        model.learn(total_timesteps=10_000_000, callback=Watch())
        snapshot()
        return found

    def _gp(self, seed: int, clock: Clock) -> list[Snapshot]:
        functions: Any = importlib.import_module("gplearn.functions")
        genetic: Any = importlib.import_module("gplearn.genetic")
        fitness: Any = importlib.import_module("gplearn.fitness")
        operators: Any = importlib.import_module("alphagen_generic.operators")
        names = {**vars(self._expression), **vars(importlib.import_module("alphagen_generic.features"))}
        importlib.import_module("alphagen.utils.random").reseed_everything(seed)
        kinds = [(operators.unary(op), op.__name__, 1) for op in operators.unary_ops]
        kinds += [(operators.binary(op), op.__name__, 2) for op in operators.binary_ops]
        for make, ops, arity in (
            (operators.rolling, operators.rolling_ops, 1),
            (operators.rolling_binary, operators.rolling_binary_ops, 2),
        ):
            kinds += [(make(op, n), f"{op.__name__}{n}", arity) for op in ops for n in self._windows]
        made = [functions.make_function(function=f, name=n, arity=a, wrap=False) for f, n, a in kinds]
        known: dict[str, float] = {}
        found: list[Snapshot] = []

        def snapshot() -> None:
            with clock.pause():
                found.append(self._best_apart(known, names, clock.spent))

        def metric(x: Any, y: Any, weight: Any) -> float:
            text = str(y[0])
            if text in known:
                return known[text]
            if text.count("(") + text.count(")") > 20:
                return -1.0
            try:
                ic = self._calculator.calc_single_IC_ret(eval(text, names))
            except self._expression.OutOfDataRangeError:
                ic = -1.0
            known[text] = -1.0 if np.isnan(ic) else ic
            if clock.due():
                snapshot()
            if clock.over:
                raise _OutOfTime
            return known[text]

        constants = [-30.0, -10.0, -5.0, -2.0, -1.0, -0.5, -0.01, 0.01, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]
        terminals = [
            "open_",
            "close",
            "high",
            "low",
            "volume",
            "vwap",
            *(f"Constant({v})" for v in constants),
        ]
        search = genetic.SymbolicRegressor(
            population_size=1000, generations=1000, init_depth=(2, 6), tournament_size=600,
            stopping_criteria=1.0, p_crossover=0.3, p_subtree_mutation=0.1, p_hoist_mutation=0.01,
            p_point_mutation=0.1, p_point_replace=0.6, max_samples=0.9, verbose=0, parsimony_coefficient=0.0,
            random_state=seed, function_set=made, const_range=None, n_jobs=1,
            metric=fitness.make_fitness(function=metric, greater_is_better=True, wrap=False),
        )  # fmt: skip
        with contextlib.suppress(_OutOfTime):
            search.fit(np.array([terminals]), np.array([[1]]))
        snapshot()
        return found

    def _best_apart(self, known: dict[str, float], names: dict[str, Any], spent: float) -> Snapshot:
        """Its `try_pool`: the best formulae, each unlike those before it, weights fitted."""
        chosen: list[Any] = []
        for text, ic in Counter(known).most_common():
            if ic <= -1.0 or len(chosen) == CAPACITY:
                break
            one = eval(text, names)
            if all(abs(self._calculator.calc_mutual_IC(other, one)) <= 0.7 for other in chosen):
                chosen.append(one)
        pool = self._pool()
        if chosen:
            pool.force_load_exprs(chosen)
        return Snapshot(spent, len(known), chosen[: pool.size], [float(w) for w in pool.weights])

    def ic(self, snapshot: Snapshot, part: Part) -> float:
        """Mean IC of a snapshot's signal on a part; NaN where it has none."""
        data = self._data(part)
        total = np.zeros((len(part.label) - part.first, part.label.shape[1]), np.float64)
        with self._torch.no_grad():
            for one, weight in zip(snapshot.expressions, snapshot.weights, strict=True):
                total += weight * self._day(one.evaluate(data)).numpy().astype(np.float64)
        label = part.label[part.first :]
        series = ic_series(total.astype(np.float32), label, np.isfinite(label))
        return float(np.nanmean(series)) if np.isfinite(series).any() else float("nan")
