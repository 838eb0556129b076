"""``bascule robust …``: what becomes of a bundle's signals when the world is a little different."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from bascule.app.command import Code, Commands, answer, note
from bascule.app.console import bar
from bascule.app.options import BundlePath, SettingsFile

if TYPE_CHECKING:
    from bascule.bridge.freqtrade.config import TradeSettings
    from bascule.bridge.freqtrade.robust import Report
    from bascule.bridge.freqtrade.run import Job
    from bascule.signals import Bundle

robust_app = Commands()
COSTS = "Costs"
COLOURS = {"passes": "green", "fragile": "yellow", "fails": "red", "unknown": "dim"}


@robust_app.command(
    "study",
    resume="finished scenarios are kept: run the same command again to go on from here",
    example="bascule robust study runs/demo/bundles --data runs/demo/store",
)
def robust_study(
    bundle: BundlePath,
    data: Annotated[
        Path | None,
        typer.Option(help="the candles behind it: a store's folder, a run's YAML, or a parquet/CSV panel"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="where the study lives; default runs/robust-<bundle>")
    ] = None,
    settings: SettingsFile = None,
    fee: Annotated[
        float,
        typer.Option(min=0, help="exchange fee a side, fraction of the value", rich_help_panel=COSTS),
    ] = 0.001,
    slippage: Annotated[
        float, typer.Option(min=0, help="slippage a side, fraction of the value", rich_help_panel=COSTS)
    ] = 0.0005,
    freqtrade: Annotated[
        bool, typer.Option(help="run the key points in the real freqtrade (the data must be a store)")
    ] = True,
    ledger: Annotated[
        Path | None, typer.Option(help="trial ledger; default the data's own, else runs/trials.sqlite")
    ] = None,
) -> None:
    """Run all tests and write report.html and report.json; a study that was cut off goes on."""
    from bascule.app.candles import read
    from bascule.app.robustpage import robust_page
    from bascule.app.trials import RUNS, Tries
    from bascule.app.yamlfile import read_settings
    from bascule.bridge.freqtrade.config import TradeSettings
    from bascule.bridge.freqtrade.robust import RobustSettings, study
    from bascule.core.files import write_json
    from bascule.signals import Bundle

    opened = Bundle.open(bundle)
    wanted = read_settings(RobustSettings, settings)
    trade = TradeSettings(fee=fee, slippage=slippage)
    home = out or RUNS / f"robust-{opened.id[:8]}"
    found = read(data, opened.spec.timeframe)
    tries = Tries.on(ledger or found.ledger, found.synthetic)
    span = opened.manifest.signals
    first, past = span.start.removesuffix("Z"), span.end.removesuffix("Z")
    trials = tries.count(first, past)
    job = _job(opened, data, home, trade) if freqtrade and wanted.keypoints else None
    with bar("Robustness") as progress:
        report = study(
            opened,
            found.panel,
            trade=trade,
            settings=wanted,
            job=job,
            folder=home,
            trials=trials,
            progress=progress,
        )
    # scenarios are looks at the same window: a later search has to pay for them
    window = found.panel.between(first, past)
    tries.add([f"robust {opened.id} {one.test} {one.name}" for one in report.cells], window, (1,), "robust")
    write_json(home / "report.json", report.to_dict())
    robust_page(report, source=found.source, trade=trade, synthetic=found.synthetic is not None).write(
        home / "report.html"
    )
    show(report, home / "report.html")


def _job(bundle: Bundle, data: Path | None, home: Path, trade: TradeSettings) -> Job | None:
    """The base for freqtrade, with its candle files; None where the data are no store."""
    from bascule.bridge.freqtrade.run import Job
    from bascule.data.export import to_freqtrade
    from bascule.data.store import Store

    if data is None or not data.is_dir():
        note("no store: freqtrade's key points are left out", style="yellow")
        return None
    job = Job(bundle, home / "freqtrade", home / "freqtrade" / "data", trade)
    first, stop = job.span
    with bar("Candles for freqtrade") as progress:
        to_freqtrade(
            Store.open(data),
            bundle.spec.bar,
            job.datadir,
            market=bundle.spec.market,
            instruments=bundle.instruments,
            start=first - 2 * bundle.spec.bar.delta,
            end=stop,
            progress=progress,
        )
    return job


def show(report: Report, page: Path) -> None:
    """Answer with the verdicts."""
    table = Table("test", "verdict", "why", box=None)
    for one in report.verdicts:
        table.add_row(one.test, f"[{COLOURS[one.outcome]}]{one.outcome}[/]", one.reason)
    overall = Text.from_markup(
        f"overall: [{COLOURS[report.outcome]}]{report.outcome}[/]; {report.scenarios} scenarios; "
        f"{report.trials} trials on this window before"
    )
    answer({**report.to_dict(), "page": page}, table, overall, str(page))


@robust_app.command(
    "lookahead",
    resume="run the same command again: it begins anew",
    example="bascule robust lookahead runs/demo/bundles --data runs/demo/store --days 10",
)
def robust_lookahead(
    bundle: BundlePath,
    data: Annotated[Path, typer.Option(help="store with the candles of the days and the bundle's look-back")],
    days: Annotated[int, typer.Option(min=2, help="so many of the signals' last days are traded")] = 14,
    cuts: Annotated[int, typer.Option(min=1, help="at so many moments the future is withheld")] = 4,
    out: Annotated[
        Path | None, typer.Option("--out", help="where freqtrade works; default runs/lookahead-<bundle>")
    ] = None,
) -> None:
    """Withhold the future from a backtest of the whole book: no order may change; exit code 1 if one does."""
    import numpy as np

    from bascule.app.trials import RUNS
    from bascule.bridge.freqtrade import wholebook
    from bascule.bridge.freqtrade.config import TradeSettings
    from bascule.bridge.freqtrade.run import Job
    from bascule.core import moment
    from bascule.data.export import to_freqtrade
    from bascule.data.store import Store
    from bascule.signals import Bundle

    opened = Bundle.open(bundle)
    bar_of = opened.spec.bar
    home = out or RUNS / f"lookahead-{opened.id[:8]}"
    stop = moment(opened.manifest.signals.end.removesuffix("Z"))
    begin = bar_of.floor(stop - np.timedelta64(days, "D"))
    # computed as a live bot does it: of stored signals one could not see how they came about
    trade = TradeSettings(mode="computed")
    job = Job(opened, home, home / "data", trade, start=begin, end=stop)
    with bar("Backtests with the future withheld") as progress:
        to_freqtrade(
            Store.open(data),
            bar_of,
            job.datadir,
            market=opened.spec.market,
            instruments=opened.instruments,
            end=stop,  # from the beginning: also who is gone by then has a file
            progress=progress,
        )
        found = wholebook.lookahead(job, cuts=cuts)
    verdict = "bias" if found.has_bias else "no look-ahead"
    lines = [f"{verdict}: {found.orders:,} orders compared, the future withheld at {len(found.runs)} moments"]
    lines += [
        f"  {one.run}: {'missing' if one.missing else 'only there'}: {one.deed}"
        for one in found.differences[:10]
    ]
    answer({**vars(found), "has_bias": found.has_bias}, *lines)
    if found.has_bias:
        raise typer.Exit(Code.FOUND)
