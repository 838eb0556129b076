"""Candles that a command is pointed at: a store, a run's file, a panel's file, or the synthetic market."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bascule.app.console import bar
from bascule.app.trials import DEFAULT, UNKNOWN, Generated
from bascule.core import ConfigError, Panel, Timeframe

RUN_FILES = (".yaml", ".yml")


@dataclass(frozen=True, eq=False)
class Candles:
    """A prepared panel and where it came from.

    Attributes:
        panel: with its universe.
        source: what to call it.
        synthetic: of a generated market its settings, or `trials.UNKNOWN`; None = real candles.
        ledger: where trials on it are counted, unless a command says otherwise.
    """

    panel: Panel
    source: str
    synthetic: Generated | None = None
    ledger: Path = DEFAULT


def read(
    data: Path | None,
    timeframe: str,
    start: str | None = None,
    end: str | None = None,
    *,
    top: int | None = None,
) -> Candles:
    """What the options of a command name.

    Args:
        data: a store's folder, a run's YAML, a parquet or CSV panel, or None: the synthetic market.
        timeframe: of a store or panel.
        start: first day, UTC.
        end: first day not used.
        top: size of the universe by traded value; None = all that trade.

    Raises:
        ConfigError: no candle lies in these days.
        DataError: the data are missing or malformed.
    """
    step = Timeframe.parse(timeframe, where="--timeframe")
    with bar("Read candles") as progress:
        progress(0, 1, "synthetic market" if data is None else str(data))
        found = (
            _generated() if data is None else _run(data) if data.suffix in RUN_FILES else _stored(data, step)
        )
    panel = found.panel.between(start, end)
    if panel.shape[0] == 0:
        raise ConfigError("no candle lies in these days", where="--start, --end", remedy="widen them")
    if top is not None:
        from bascule.data.universe import UniverseSettings, membership

        panel = panel.with_universe(membership(panel, UniverseSettings(top=top)))
    return Candles(panel, found.source, found.synthetic, found.ledger)


def _generated() -> Candles:
    from bascule.data.synthetic import SyntheticSettings, generate

    settings = SyntheticSettings()
    return Candles(generate(settings).panel(), "synthetic market", settings)


def _run(path: Path) -> Candles:
    from bascule.app.config import load
    from bascule.app.sources import read_source, synthetic
    from bascule.data.prepare import prepare

    config = load(path)
    panel = prepare(Panel.from_long(read_source(config), config.bar), vwap=config.vwap)
    generated = synthetic(config) or _invented(panel)
    source = config.name if generated is None else f"synthetic market of {config.name}"
    return Candles(panel, source, generated, config.ledger_file)


def _stored(path: Path, step: Timeframe) -> Candles:
    from bascule.data import readers
    from bascule.data.prepare import prepare
    from bascule.data.store import Store

    if path.is_dir():
        panel, name = Store.open(path).panel(step), f"store {path.resolve().name}"
    else:
        panel, name = prepare(Panel.from_long(readers.read_long(path), step)), path.stem
    generated = _invented(panel)
    return Candles(panel, name if generated is None else f"synthetic market of {name}", generated)


def _invented(panel: Panel) -> str | None:
    from bascule.data.synthetic import is_synthetic

    return UNKNOWN if is_synthetic(panel.instruments) else None
