"""Pages of operators: overview, portfolio, risk, bots, alerts, the emergency brake, the audit log."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from bascule.app.web import charts
from bascule.app.web.bots import ACTIONS
from bascule.app.web.brake import MODES
from bascule.app.web.held import RISK_PAGE
from bascule.app.web.kept import Missing
from bascule.app.web.pages.research import learning, report
from bascule.app.web.render import render
from bascule.app.web.runs import Run
from bascule.app.web.services import Services, services, summary
from bascule.app.web.watch import Series
from bascule.core import BasculeError

router = APIRouter(include_in_schema=False)


@router.get("/")
async def overview(request: Request) -> Response:
    """What matters now, on one page."""
    found = services(request)
    bots = await found.bots.all()
    return await asyncio.to_thread(_overview, request, found, [summary(bot) for bot in bots])


def _overview(request: Request, found: Services, bots: list[dict[str, Any]]) -> Response:
    runs, listing = found.runs.all(), found.catalogue.listing()
    newest = next((run for run in runs if run.finished), None)
    wealth = None
    if newest is not None:
        with contextlib.suppress(BasculeError):  # the run's own page says what is wrong with it
            when, curves = found.runs.equity(newest)
            wealth = charts.line(when, curves, log=True)
    searches = found.searches.all()
    live = next((one for one in searches if one.looks), None)
    return render(
        request,
        "overview.html",
        runs=runs[:6],
        newest=newest,
        wealth=wealth,
        factors=len(listing.items),
        searches=searches[:6],
        live=live,
        curve=learning(live) if live else None,
        stores=found.learned.stores(),
        bots=bots,
        alerts=found.watch.alerts(6),
    )


def chosen(found: Services, name: str | None) -> tuple[Run | None, list[Run]]:
    """The run that a page is about, and all that could be: those with signals.

    Raises:
        Missing: one was named that is not there.
    """
    able = [run for run in found.runs.all() if "signals" in run.facts]
    if name is None:
        return (able[0] if able else None), able
    for run in able:
        if run.name == name:
            return run, able
    raise Missing(f"there is no run {name!r} with signals")


@router.get("/portfolio")
def portfolio(request: Request, run: str | None = None) -> Response:
    """The newest target weights of a run."""
    found = services(request)
    one, able = chosen(found, run)
    held = found.held.portfolio(one) if one else None
    weights = history = None
    if held is not None:
        rows = [row for row in held.rows if row["target_weight"]][:30][::-1]
        weights = charts.bars(
            [row["instrument"] for row in rows], [row["target_weight"] for row in rows],
            format_="percent", flat=True,
        )  # fmt: skip
        history = charts.line(held.when, held.history, zoom=True)
    return render(request, "portfolio.html", run=one, runs=able, held=held, weights=weights, history=history)


@router.get("/risk")
def risk(request: Request, run: str | None = None) -> Response:
    """The risk report of a run's newest weights."""
    found = services(request)
    one, able = chosen(found, run)
    told = found.held.risk(one) if one else None
    job = found.jobs.waiting_for("risk", one.name) if one else None
    has_page = one is not None and one.folder.joinpath(*RISK_PAGE).is_file()
    drawn = _risk_charts(told) if told else {}
    return render(request, "risk.html", run=one, runs=able, risk=told, charts=drawn, job=job, report=has_page)


def _risk_charts(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    parts, losses, days = told["parts"][::-1], told["losses"][::-1], told["days"]
    maps = told["exposures"]
    return {
        "parts": charts.bars(
            [p["factor"] for p in parts], [p["share"] for p in parts], format_="percent", flat=True
        ),
        "losses": charts.bars(
            [one["name"] for one in losses], [one["equity"] for one in losses], format_="percent", flat=True
        ),
        "days": charts.line(
            days["time"], {"return": days["returns"], "value at risk": days["var"]}, format_="percent"
        ),
        "exposures": charts.heat(maps["factors"], maps["instruments"][::-1], maps["values"][::-1]),
    }


@router.get("/runs/{name}/risk")
def risk_report(request: Request, name: str) -> Response:
    """The page of the risk report."""
    return report(services(request).runs.get(name).folder.joinpath(*RISK_PAGE))


@router.get("/bots")
async def bots(request: Request) -> Response:
    """All bots."""
    found = await services(request).bots.all()
    return await asyncio.to_thread(
        lambda: render(request, "bots.html", bots=[summary(bot) for bot in found], actions=ACTIONS)
    )


@router.get("/bots/{name}")
async def bot(request: Request, name: str) -> Response:
    """One bot: open trades, profit by day, log."""
    found = await services(request).bots.get(name)
    days = [str(day.get("date", ""))[:10] for day in found.daily]
    daily = charts.bars(days, [float(day.get("abs_profit") or 0.0) for day in found.daily])
    return await asyncio.to_thread(
        lambda: render(request, "bot.html", bot=found, brief=summary(found), daily=daily, actions=ACTIONS)
    )


@router.get("/alerts")
def alerts(request: Request) -> Response:
    """Alerts, actions and series of the monitor."""
    watch = services(request).watch
    drawn = [(one.name, _series(one)) for one in watch.series(400)]
    return render(request, "alerts.html", alerts=watch.alerts(200), deeds=watch.deeds(200), series=drawn)


def _series(one: Series) -> dict[str, Any]:
    from bascule.app.web.render import when

    curves: dict[str, list[float | None]] = {one.name: list(one.values)}
    for label, level in (("low", one.low), ("high", one.high)):
        if level is not None:
            curves[label] = [level] * len(one.times)
    return charts.line([when(t) for t in one.times], curves)


@router.get("/emergency")
def emergency(request: Request) -> Response:
    """The brake."""
    states = services(request).brake.states()
    return render(request, "emergency.html", modes=[mode for mode in MODES if mode != "run"], states=states)


@router.get("/audit")
def audit(request: Request) -> Response:
    """Who did what."""
    return render(request, "audit.html", entries=services(request).audit.newest())
