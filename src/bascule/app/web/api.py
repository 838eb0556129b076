"""The JSON API: the same readers as the pages, described by OpenAPI at ``/api/openapi.json``."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from bascule.app.web import replies
from bascule.app.web.brake import ACTION
from bascule.app.web.catalogue import Catalogue, Item, Listing
from bascule.app.web.kept import Missing, NotNow
from bascule.app.web.runs import Run
from bascule.app.web.services import address, services, session, summary, told
from bascule.core import BasculeError
from bascule.factors import LIBRARIES

Name = Annotated[str, Path(max_length=200, description="as the listing gives it")]
Count = Annotated[int, Query(ge=1, le=1000, description="at most so many")]
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": replies.Problem, "description": text}
    for code, text in {
        400: "the request cannot be carried out as it is",
        401: "not logged in",
        403: "the role does not allow it, or the CSRF token is missing",
        404: "there is nothing of that name",
        409: "as things stand, it cannot be done",
        502: "a bot did not answer",
    }.items()
}
router = APIRouter(prefix="/api", responses=ERRORS)


@router.get("/me")
def me(request: Request) -> replies.Me:
    """Who asks."""
    who = session(request)
    return replies.Me(user=who.user, role=who.role)


# -- factors ---------------------------------------------------------------------------------------------


def row(item: Item, sheets: frozenset[str], catalogue: Catalogue) -> replies.FactorRow:
    """A factor of the list."""
    factor, found = item.factor, item.measured
    return replies.FactorRow(
        library=item.library, name=factor.name, family=factor.family, text=factor.text, note=factor.note,
        source=factor.source, fields=list(factor.inputs), lookback=factor.lookback, horizon=factor.horizon,
        tags=list(factor.tags), rank_ic=found.rank_ic if found else None, t=found.t if found else None,
        turnover=found.turnover if found else None, sheet=catalogue.sheet(item).name in sheets,
    )  # fmt: skip


class Packed:
    """The whole list as bytes, plain and packed: built once for all viewers."""

    def __init__(self) -> None:
        self._mark: tuple[Listing, frozenset[str]] | None = None
        self._bytes = (b"", b"")

    def get(self, listing: Listing, sheets: frozenset[str], catalogue: Catalogue) -> tuple[bytes, bytes]:
        if self._mark is None or self._mark[0] is not listing or self._mark[1] != sheets:
            found = replies.FactorList(
                run=listing.run, horizon=listing.horizon,
                items=[row(item, sheets, catalogue) for item in listing.items],
            )  # fmt: skip
            plain = found.model_dump_json().encode()
            self._bytes, self._mark = (plain, gzip.compress(plain, 5)), (listing, sheets)
        return self._bytes


@router.get("/factors")
def factors(
    request: Request,
    words: Annotated[str, Query(max_length=200, description="each must occur somewhere")] = "",
    library: Annotated[str | None, Query(max_length=200)] = None,
    family: Annotated[str | None, Query(max_length=200)] = None,
    field: Annotated[str | None, Query(max_length=100, description="reads this field")] = None,
) -> replies.FactorList:
    """The factor library, searched; measurements are those of the newest run."""
    catalogue = services(request).catalogue
    listing = catalogue.listing()
    sheets = frozenset(path.name for path in catalogue.sheets.glob("*.html"))
    if not (words or library or family or field):
        held: Packed = request.app.state.packed
        plain, packed = held.get(listing, sheets, catalogue)
        zipped = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"Content-Encoding": "gzip"} if zipped else {}
        return Response(  # type: ignore[return-value]
            packed if zipped else plain, headers=headers, media_type="application/json"
        )
    wanted, bare = words.lower().split(), (field or "").removeprefix("$")
    items = []
    for item in listing.items:
        one = item.factor
        text = " ".join((one.name, one.family, one.source, one.note, *one.tags, one.text)).lower()
        if (
            all(word in text for word in wanted)
            and library in (None, item.library)
            and family in (None, one.family)
            and (not bare or bare in one.inputs)
        ):
            items.append(row(item, sheets, catalogue))
    return replies.FactorList(run=listing.run, horizon=listing.horizon, items=items)


@router.get("/factors/{library}/{name}")
def factor(request: Request, library: Name, name: Name) -> replies.FactorRow:
    """One factor."""
    catalogue = services(request).catalogue
    item = catalogue.get(library, name)
    sheet = catalogue.sheet(item)
    return row(item, frozenset({sheet.name} if sheet.is_file() else ()), catalogue)


# -- runs ------------------------------------------------------------------------------------------------


def _run(run: Run) -> replies.RunRow:
    alpha, backtest = run.facts.get("signals", {}), run.facts.get("backtest", {})
    return replies.RunRow(
        name=run.name, finished=run.finished, stages=list(run.facts), synthetic=run.synthetic,
        changed=run.changed, rank_ic=alpha.get("rank_ic"), rank_ic_t=alpha.get("rank_ic_t"),
        trades=backtest.get("trades"),
        **{key: run.backtest.get(key) for key in ("total", "sharpe", "max_drawdown", "calmar", "volatility")},
    )  # fmt: skip


@router.get("/runs")
def runs(request: Request) -> list[replies.RunRow]:
    """All runs, newest first."""
    return [_run(run) for run in services(request).runs.all()]


@router.get("/runs/{name}")
def run(request: Request, name: Name) -> replies.RunRow:
    """One run."""
    return _run(services(request).runs.get(name))


@router.get("/runs/{name}/equity")
def equity(request: Request, name: Name) -> replies.Curves:
    """Wealth from 1 in the backtest, and what it is compared with."""
    found = services(request).runs
    when, curves = found.equity(found.get(name))
    return replies.Curves(time=when, values=curves)


@router.get("/runs/{name}/trades")
def trades(
    request: Request, name: Name, offset: Annotated[int, Query(ge=0, le=10**9)] = 0, count: Count = 200
) -> replies.Trades:
    """Closed trades of the backtest."""
    found = services(request).runs
    every = found.trades(found.get(name))
    return replies.Trades(
        total=len(every), items=[replies.Trade(**t) for t in every[offset : offset + count]]
    )


@router.get("/runs/{name}/portfolio")
def portfolio(request: Request, name: Name) -> replies.Portfolio:
    """The newest target weights."""
    found = services(request)
    held = found.held.portfolio(found.runs.get(name))
    return replies.Portfolio(
        time=held.time, model=held.model, gross=held.gross, net=held.net, positions=held.positions,
        portfolio_risk=held.portfolio_risk, regime=held.regime,
        weights=[replies.Weight(**one) for one in held.rows],
    )  # fmt: skip


@router.get("/runs/{name}/risk")
def risk(request: Request, name: Name) -> dict[str, Any]:
    """The risk report of these weights: exposures, stress, value at risk."""
    found = services(request)
    report = found.held.risk(found.runs.get(name))
    if report is None:
        raise Missing("no risk report was made of this run yet")
    return report


# -- searches, models ------------------------------------------------------------------------------------


@router.get("/searches")
def searches(request: Request) -> list[replies.SearchRow]:
    """All searches, those at work first."""
    return [replies.SearchRow(**told(one)) for one in services(request).searches.all()]


@router.get("/searches/{name}")
def search(request: Request, name: Name) -> replies.SearchRow:
    """One search."""
    return replies.SearchRow(**told(services(request).searches.get(name)))


@router.get("/models")
def models(request: Request) -> replies.Models:
    """Which models serve, and the leaderboards."""
    learned = services(request).learned
    return replies.Models(
        stores=[replies.StoreRow(**asdict(one)) for one in learned.stores()],
        boards=[replies.BoardRow(**asdict(one)) for one in learned.boards()],
    )


# -- bots, alerts, emergency -----------------------------------------------------------------------------


@router.get("/bots")
async def bots(request: Request) -> list[replies.BotRow]:
    """All bots in short."""
    return [replies.BotRow(**summary(bot)) for bot in await services(request).bots.all()]


@router.get("/bots/{name}")
async def bot(request: Request, name: Name) -> replies.BotDetail:
    """One bot, with open trades and newest log lines."""
    found = await services(request).bots.get(name)
    return replies.BotDetail(
        **summary(found), trades=[dict(one) for one in found.trades],
        logs=[replies.LogLine(time=a, logger=b, level=c, message=d) for a, b, c, d in found.logs],
    )  # fmt: skip


@router.post("/bots/{name}/{action}")
async def act(request: Request, name: Name, action: Name) -> replies.Done:
    """Start, pause, stop a bot, or let it read its configuration again (operators)."""
    found, who = services(request), session(request)
    note = (found.clock(), who.user, address(request), f"bot {action}"[:80], name)
    try:
        answer = await found.bots.act(name, action)
    except BasculeError as error:
        outcome = f"failed: {error.message}"
        await asyncio.to_thread(lambda: found.audit.note(*note, outcome=outcome))
        raise
    await asyncio.to_thread(lambda: found.audit.note(*note, detail=answer))
    return replies.Done(message=answer)


@router.get("/alerts")
def alerts(request: Request, count: Count = 100) -> list[replies.AlertRow]:
    """The newest alerts."""
    return [replies.AlertRow(**asdict(one)) for one in services(request).watch.alerts(count)]


@router.get("/actions")
def actions(request: Request, count: Count = 100) -> list[replies.DeedRow]:
    """What the monitor did, newest first."""
    return [replies.DeedRow(**asdict(one)) for one in services(request).watch.deeds(count)]


@router.get("/series")
def series(request: Request, count: Count = 200) -> list[replies.SeriesRow]:
    """The monitor's figures over time."""
    return [replies.SeriesRow(**asdict(one)) for one in services(request).watch.series(count)]


@router.get("/emergency")
def emergency(request: Request) -> list[replies.BrakeRow]:
    """What is in force for each bot."""
    return [replies.BrakeRow(**asdict(one)) for one in services(request).brake.states()]


@router.post("/emergency")
def pull(request: Request, order: replies.Order) -> list[replies.BrakeAnswer]:
    """Halt, hedge, flatten or release all bots (operators); ``confirm`` repeats the mode."""
    found, who, where = services(request), session(request), address(request)
    if order.confirm != order.mode:
        raise NotNow("the order is not confirmed", where="emergency", remedy="give mode and confirm alike")
    if not found.settings.bots:
        raise NotNow("there are no bots", where="emergency", remedy="add bots to the settings")
    now, words = found.clock(), f"{order.mode}: {order.reason}"
    # written down before anything is done: an order may never be without a trace
    found.audit.note(now, who.user, where, f"{ACTION} order", "all bots", words, "given")
    answers = found.brake.give(order.mode, order.reason, who.user, now)
    for one in answers:
        outcome = f"failed: {one.problem}" if one.problem else "done"
        found.audit.note(now, who.user, where, ACTION, one.bot, words, outcome)
    return [replies.BrakeAnswer(**asdict(one)) for one in answers]


# -- jobs, audit, events ---------------------------------------------------------------------------------


@router.get("/jobs")
async def jobs(request: Request) -> list[replies.JobRow]:
    """Slow work that was asked for, newest first."""
    return [replies.JobRow(**asdict(one)) for one in services(request).jobs.all()]


@router.post("/jobs/sheet/{library}/{name}")
async def make_sheet(request: Request, library: Name, name: Name) -> replies.JobRow:
    """Make a factor's tear sheet (operators)."""
    found = services(request)
    item = await asyncio.to_thread(found.catalogue.get, library, name)
    one = item.factor
    what = f"{library}:{one.name}" if library in LIBRARIES else f"{one.name}={one.text}"
    given = ["factor", "report", what, "--timeframe", found.settings.timeframe]
    given += ["--horizon", str(max(1, one.horizon)), "--out", str(found.catalogue.sheet(item).resolve())]
    if found.settings.data is not None:
        given += ["--data", str(found.settings.within(found.settings.data).resolve())]
    return await _ask(request, "sheet", f"{library}/{name}", given)


@router.post("/jobs/risk/{name}")
async def make_risk(request: Request, name: Name) -> replies.JobRow:
    """Make the risk report of a run's newest weights (operators)."""
    run = await asyncio.to_thread(services(request).runs.get, name)
    if "signals" not in run.facts:
        raise NotNow(f"{name} has no signals yet", where="risk", remedy="finish the run")
    return await _ask(request, "risk", name, ["web", "risk", str(run.folder.resolve())])


async def _ask(request: Request, kind: str, target: str, arguments: list[str]) -> replies.JobRow:
    found, who = services(request), session(request)
    job = found.jobs.ask(kind, target, arguments, who.user)
    where = address(request)
    await asyncio.to_thread(found.audit.note, found.clock(), who.user, where, f"job {kind}", target)
    return replies.JobRow(**asdict(job))


@router.get("/audit")
def audit(request: Request, count: Count = 200) -> list[replies.AuditRow]:
    """Who did what (operators)."""
    return [replies.AuditRow(**asdict(one)) for one in services(request).audit.newest(count)]


@router.get("/events", include_in_schema=False)
async def events(request: Request) -> StreamingResponse:
    """Server-sent events: searches, alerts, bots, jobs, brake."""
    found, who = services(request), session(request)

    async def lasts() -> bool:
        if not who.key:
            return True
        return await asyncio.to_thread(found.sessions.lookup, who.key, found.clock()) is not None

    async def frames() -> AsyncIterator[bytes]:
        async for text in found.hub.listen(lasts):
            yield text.encode()

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(frames(), media_type="text/event-stream", headers=headers)


def schema(request: Request) -> Response:
    """The OpenAPI description."""
    return Response(json.dumps(request.app.openapi()), media_type="application/json")
