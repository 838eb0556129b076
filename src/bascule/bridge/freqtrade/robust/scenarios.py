"""Which scenarios a study consists of, test by test; all drawn numbers come from the settings' seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bascule.bridge.freqtrade.robust.book import Scenario
from bascule.bridge.freqtrade.robust.settings import RobustSettings
from bascule.core import Timeframe
from bascule.signals import RuleSettings

THRESHOLDS = tuple(RuleSettings.model_fields)
_LOWEST = {"entry_rank": 0.501, "exit_rank": 0.0}


def base(rules: RuleSettings, fee: float, slippage: float, tradable: float) -> Scenario:
    """Everything as it is meant to be."""
    return Scenario("base", "base", rules, fee, slippage, tradable=tradable)


def nudged(rules: RuleSettings, changes: dict[str, float]) -> RuleSettings:
    """Rules with some thresholds moved, and put back within what rules allow."""
    values = rules.model_dump()
    for name, change in changes.items():
        values[name] = float(np.clip(values[name] + change, _LOWEST.get(name, 0.01), 1.0))
    values["exit_rank"] = min(values["exit_rank"], values["entry_rank"])
    for limit, critical in (("risk_limit", "critical_risk"), ("portfolio_limit", "critical_portfolio")):
        # the one that was moved gives the other its bound
        if critical in changes and limit not in changes:
            values[limit] = min(values[limit], values[critical])
        else:
            values[critical] = max(values[limit], values[critical])
    return RuleSettings(**values)


def costs(first: Scenario, settings: RobustSettings) -> Iterator[Scenario]:
    """The grid of fees and slippages."""
    for fee in settings.fees:
        for slippage in settings.slippages:
            yield replace(
                first,
                test="costs",
                name=f"fee {fee:.3%}, slippage {slippage:.3%}",
                fee=fee,
                slippage=slippage,
            )


def delays(first: Scenario, settings: RobustSettings) -> Iterator[Scenario]:
    """All signals some candles late."""
    for late in settings.delays:
        yield replace(first, test="delay", name=f"{late} candle{'s' * (late > 1)} late", delay=late)


def starts(first: Scenario, settings: RobustSettings, bar: Timeframe, rows: int) -> Iterator[Scenario]:
    """Begun some days later."""
    for days in settings.starts:
        if bar.bars(days) <= rows // 3:
            yield replace(
                first, test="start", name=f"{days} day{'s' * (days > 1)} later", start=bar.bars(days)
            )


def parameters(first: Scenario, settings: RobustSettings) -> Iterator[Scenario]:
    """Each parameter moved alone, then all at once; sets that rules cannot tell apart come once."""
    seen = {(first.rules, first.stop, first.size)}

    def fresh(one: Scenario) -> bool:
        key = (one.rules, one.stop, one.size)
        known = key in seen
        seen.add(key)
        return not known

    for name in THRESHOLDS:
        for change in (-2, -1, 1, 2):
            moved = nudged(first.rules, {name: change * settings.step})
            label = f"{name} {getattr(moved, name):.3g}"
            one = replace(first, test="parameters", name=label, rules=moved)
            if fresh(one):
                yield one
    for scale in settings.scales:
        yield replace(first, test="parameters", name=f"stop x{scale:g}", stop=scale)
        yield replace(first, test="parameters", name=f"size x{scale:g}", size=scale)
    for number, row in enumerate(_hypercube(settings.draws, len(THRESHOLDS) + 1, settings.seed)):
        shifts = {name: settings.reach * u for name, u in zip(THRESHOLDS, row, strict=False)}
        one = replace(
            first,
            test="parameters",
            name=f"draw {number + 1}",
            rules=nudged(first.rules, shifts),
            stop=float(2.0 ** row[-1]),
        )
        if fresh(one):
            yield one


def _hypercube(draws: int, width: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Latin hypercube in [-1, 1] ``[draws, width]`` (McKay, Beckman & Conover 1979)."""
    rng = np.random.default_rng(seed)
    places = (
        np.stack([rng.permutation(draws) for _ in range(width)], axis=1) if draws else np.empty((0, width))
    )
    return 2.0 * (places + rng.random(places.shape)) / max(draws, 1) - 1.0


def one_out(first: Scenario, names: tuple[str, ...]) -> Iterator[Scenario]:
    """One instrument left out each time."""
    for name in names:
        yield replace(first, test="instruments", name=f"without {name}", without=name)
