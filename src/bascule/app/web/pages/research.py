"""Pages of researchers: factors, searches, models, runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from bascule.app.web import charts
from bascule.app.web.guard import REPORT_POLICY
from bascule.app.web.kept import Missing, readable
from bascule.app.web.mined import REPORT, Search
from bascule.app.web.render import render
from bascule.app.web.runs import Run, Runs, numbers
from bascule.app.web.services import services
from bascule.core import BasculeError
from bascule.factors import LIBRARIES

router = APIRouter(include_in_schema=False)


def report(path: Path) -> Response:
    """A self-contained page of another command, in a sandbox.

    Raises:
        Missing: it was not made.
    """
    if not path.is_file():
        raise Missing("this report was not made yet")
    return FileResponse(
        path, media_type="text/html; charset=utf-8", headers={"content-security-policy": REPORT_POLICY}
    )


# -- factors ---------------------------------------------------------------------------------------------


@router.get("/factors")
def factors(request: Request) -> Response:
    """The library; its rows come from the API."""
    listing = services(request).catalogue.listing()
    return render(request, "factors.html", listing=listing, shipped=tuple(LIBRARIES))


@router.get("/factors/{library}/{name}")
def factor(request: Request, library: str, name: str) -> Response:
    """One factor, and its tear sheet if there is one."""
    from bascule.engine import compile as plan

    found = services(request)
    item = found.catalogue.get(library, name)
    return render(
        request,
        "factor.html",
        item=item,
        listing=found.catalogue.listing(),
        explained=plan([item.factor.text]).explain(),
        sheet=found.catalogue.sheet(item).is_file(),
        job=found.jobs.waiting_for("sheet", f"{library}/{name}"),
        synthetic=found.settings.data is None,
    )


@router.get("/factors/{library}/{name}/sheet")
def sheet(request: Request, library: str, name: str) -> Response:
    """The tear sheet."""
    found = services(request).catalogue
    return report(found.sheet(found.get(library, name)))


# -- searches --------------------------------------------------------------------------------------------


@router.get("/searches")
def searches(request: Request) -> Response:
    """All searches."""
    found = services(request).searches.all()
    return render(
        request,
        "searches.html",
        searches=found,
        chart=_curves(found[:8]),
        problems=services(request).searches.problems(),
    )


@router.get("/searches/{name}")
def search(request: Request, name: str) -> Response:
    """One search, live."""
    found = services(request).searches.get(name)
    members = sorted(found.members, key=lambda one: -abs(one["weight"]))
    has_report = (found.folder / REPORT).is_file()
    chart = learning(found)
    return render(request, "search.html", search=found, members=members, chart=chart, report=has_report)


@router.get("/searches/{name}/report")
def search_report(request: Request, name: str) -> Response:
    """Its report."""
    return report(services(request).searches.get(name).folder / REPORT)


def learning(search: Search) -> dict[str, Any]:
    """The learning curve of a search."""
    x = [look.proposals for look in search.looks]
    parts = {"valid": [one.valid for one in search.looks], "train": [one.train for one in search.looks]}
    return charts.line(x, parts, format_="ic", kind="value", x_name="proposals")


def _curves(found: list[Search]) -> dict[str, Any] | None:
    """Valid IC of several searches over their proposals."""
    named = {one.id: {look.proposals: look.valid for look in one.looks} for one in found if one.looks}
    if not named:
        return None
    x = sorted({at for points in named.values() for at in points})
    series = {name: [points.get(at) for at in x] for name, points in named.items()}
    return charts.line(x, series, format_="ic", kind="value", x_name="proposals")


# -- models ----------------------------------------------------------------------------------------------


@router.get("/models")
def models(request: Request) -> Response:
    """Who serves, and the leaderboards."""
    found = services(request)
    signals = {run.name: run.folder for run in found.runs.all() if "signals" in run.facts}
    windows, problems = readable(signals, lambda name, _: _windows(found.runs, name))
    boards = [
        (
            board,
            charts.bars(
                [s["name"] for s in board.scores], [s["rank_ic"] for s in board.scores], format_="ic"
            ),
        )
        for board in found.learned.boards()
    ]
    return render(
        request,
        "models.html",
        stores=found.learned.stores(),
        boards=boards,
        windows=windows,
        problems=(*found.learned.problems(), *problems),
    )


def _windows(runs: Runs, name: str) -> tuple[Run, list[dict[str, Any]]]:
    """A run and the models of its bundle."""
    run = runs.get(name)
    models: list[dict[str, Any]] = runs.manifest(run)["models"]
    return run, models


# -- runs ------------------------------------------------------------------------------------------------


@router.get("/runs")
def runs(request: Request) -> Response:
    """All runs."""
    return render(
        request, "runs.html", runs=services(request).runs.all(), problems=services(request).runs.problems()
    )


@router.get("/runs/{name}")
def run(request: Request, name: str) -> Response:
    """One run: alpha, factors, backtest."""
    found = services(request)
    one = found.runs.get(name)
    drawn, problems = _drawn(found.runs, one)
    alpha: dict[str, Any] = {}
    if "signals" in one.facts:
        try:
            alpha = found.runs.alpha(one)
        except BasculeError as error:
            problems.append(str(error))
    return render(
        request,
        "run.html",
        run=one,
        alpha=alpha,
        charts=drawn,
        problems=problems,
        report=(one.folder / "report.html").is_file(),
    )


@router.get("/runs/{name}/report")
def run_report(request: Request, name: str) -> Response:
    """Its report."""
    return report(services(request).runs.get(name).folder / "report.html")


def _drawn(runs: Runs, run: Run) -> tuple[list[tuple[str, dict[str, Any], str]], list[str]]:
    """Title, chart and size of what is done of a run, and what cannot be shown."""

    def wealth() -> dict[str, Any]:
        when, curves = runs.equity(run)
        return charts.line(when, curves, log=True, zoom=True)

    def cumulative() -> dict[str, Any]:
        when, sums = runs.cumulative(run)
        return charts.line(when, sums)

    def decay() -> dict[str, Any]:
        told = runs.alpha(run)["decay"]
        return charts.line([str(h) for h in told["horizons"]], {"rank IC": told["rank_ic"]}, format_="ic")

    def quantiles() -> dict[str, Any]:
        values = runs.alpha(run)["quantiles"]
        return charts.bars([f"Q{k + 1}" for k in range(len(values))], numbers(values), format_="percent")

    def factors() -> dict[str, Any]:
        _, measured = runs.factors(run)
        spec = runs.manifest(run)["spec"]["factors"]
        names = {one["text"]: one["name"] for one in spec}
        best = sorted(measured.items(), key=lambda item: -abs(item[1].t or 0.0))[:20][::-1]
        labels = [names.get(text, text) for text, _ in best]
        return charts.bars(labels, [one.rank_ic for _, one in best], format_="ic", flat=True)

    wanted = []
    if "backtest" in run.facts:
        wanted.append(("Wealth in the backtest, after costs", wealth, "wide"))
    if "signals" in run.facts:
        wanted += [
            ("Cumulative IC, out of sample", cumulative, ""),
            ("Rank IC by horizon in candles", decay, ""),
            ("Excess return by alpha quantile", quantiles, "tall"),
            ("Strongest factors by t of the rank IC", factors, "tall"),
        ]
    drawn, problems = [], []
    for title, make, size in wanted:
        try:
            drawn.append((title, make(), size))
        except (BasculeError, KeyError) as error:
            problems.append(f"{title}: {error}")
    return drawn, problems
