"""Factor rotation: leave out what has decayed, take in the candidates that hold now.

1. Decayed is a factor whose newest live rank IC, as the monitor measured it, left its interval to the side
   of 0: the measure behind ``factor.decayed``.
2. Candidates (a YAML list of factors) are measured over the same recent rows in the same way. In their order
   of |rank IC| / standard error, those with at least ``CERTAIN`` come in, one for each that leaves.
3. The rest of the list stays as it is. What comes in was chosen on recent rows: it has to prove itself in the
   walk-forward training that follows, and only a model that beats the champion serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from bascule.core import ConfigError
from bascule.monitor import schema
from bascule.monitor.schema import Database
from bascule.monitor.settings import MonitorSettings

CERTAIN = 2.0  # standard errors


@dataclass(frozen=True)
class Rotation:
    """A new list of factors.

    Attributes:
        factors: ``{name, text}`` of the new list.
        out: names that leave.
        come: names that come in.
    """

    factors: tuple[Mapping[str, str], ...]
    out: tuple[str, ...]
    come: tuple[str, ...]


def rotate(settings: MonitorSettings, database: Database) -> Rotation:
    """The list of factors after a rotation.

    Raises:
        ConfigError: the settings name no research, or a list cannot be read.
    """
    from bascule import factors

    if settings.research is None:
        raise ConfigError(
            "rotation needs candles and bundle", where="monitor: research", remedy="add the key research"
        )
    pool = settings.act.pool
    if pool is not None:
        used = {one.name: one.text for one in factors.load(settings.within(pool))}
    else:
        from bascule.signals import Bundle

        bundle = Bundle.open(settings.within(settings.research.bundles))
        if any(factor.timeframe is not None for factor in bundle.spec.factors):
            raise ConfigError(
                "factors on longer candles cannot be listed by their texts alone",
                where="rotate",
                remedy="name the list to rotate as act.pool",
            )
        used = {factor.name: factor.text for factor in bundle.spec.factors}
    out = tuple(name for name in decayed(database) if name in used)
    come: dict[str, str] = {}
    if out and settings.act.candidates is not None:
        listed = factors.load(settings.within(settings.act.candidates))
        texts = {one.name: one.text for one in listed if one.name not in used}
        come = _best(settings, texts, len(out)) if texts else {}
    kept = {name: text for name, text in used.items() if name not in out}
    if not kept | come:
        raise ConfigError(
            "every factor has decayed and no candidate holds", where="rotate", remedy="add candidates"
        )
    listing = tuple({"name": name, "text": text} for name, text in (kept | come).items())
    return Rotation(listing, out, tuple(come))


def decayed(database: Database) -> tuple[str, ...]:
    """Names of factors whose newest rank IC left its interval to the side of 0, sorted."""
    table = schema.latest
    with database.read() as connection:
        rows = connection.execute(
            sa.select(table.c.subject, table.c.value, table.c.low, table.c.high)
            .where(table.c.metric == "factor.rank_ic")
            .order_by(table.c.subject)
        ).all()
    return tuple(str(name) for name, value, low, high in rows if has_decayed(value, low, high))


def has_decayed(value: float, low: float | None, high: float | None) -> bool:
    """Whether a rank IC left its interval [low, high] to the side of 0 (or beyond)."""
    if low is None or high is None:
        return False
    return value < low if low + high > 0 else value > high


def _best(settings: MonitorSettings, texts: Mapping[str, str], count: int) -> dict[str, str]:
    from bascule.monitor.sources.research import recent_scores

    assert settings.research is not None
    scores = recent_scores(settings, texts)
    ranked = sorted(scores, key=lambda name: (-abs(scores[name]), name))
    return {name: texts[name] for name in ranked[:count] if abs(scores[name]) >= CERTAIN}
