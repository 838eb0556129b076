"""What the routes share: readers, the bots, the monitor, accounts, jobs, events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
from argon2 import PasswordHasher
from starlette.requests import Request

from bascule.app.web.accounts import Accounts
from bascule.app.web.audit import Audit
from bascule.app.web.bots import Bots, BotState
from bascule.app.web.brake import Brake
from bascule.app.web.catalogue import Catalogue
from bascule.app.web.database import Database
from bascule.app.web.events import Hub
from bascule.app.web.held import Held
from bascule.app.web.jobs import Jobs
from bascule.app.web.learned import Learned
from bascule.app.web.mined import Search, Searches
from bascule.app.web.runs import Runs
from bascule.app.web.sessions import Session, Sessions
from bascule.app.web.settings import WebSettings
from bascule.app.web.watch import Nothing, Watch

Clock = Callable[[], float]


@dataclass
class Services:
    """Everything behind the routes.

    Args:
        settings: of the dashboard.
        watch: the monitor.
        clock: seconds since 1970.
        hasher: of passwords; None = argon2's defaults.
        environment: where the bots' passwords are; None = the process's.
        transport: to the bots; None = the network.
    """

    settings: WebSettings
    watch: Watch = field(default_factory=Nothing)
    clock: Clock = time.time
    hasher: PasswordHasher | None = None
    environment: Mapping[str, str] | None = None
    transport: httpx.AsyncBaseTransport | None = None

    def __post_init__(self) -> None:
        s = self.settings
        self.database = Database(s.within(s.state))
        self.accounts = Accounts(self.database, s.session, self.hasher)
        self.sessions = Sessions(self.database, s.session)
        self.audit = Audit(self.database)
        self.runs = Runs(s.within(s.runs))
        self.searches = Searches(s.within(s.mined))
        self.learned = Learned(self.runs, [s.within(path) for path in s.stores])
        self.held = Held()
        files = [s.within(path) for path in s.factors]
        self.catalogue = Catalogue(self.runs, self.searches, files, s.within(s.sheets))
        self.bots = Bots(s.bots, self.environment, self.transport)
        self.brake = Brake(s, self.audit, self.environment)
        self.jobs = Jobs(s.home.resolve())
        topics = {
            "searches": self._searches,
            "alerts": self._alerts,
            "bots": self._bots,
            "jobs": self._jobs,
            "brake": self._brake,
        }
        self.hub = Hub(topics, s.refresh)

    # -- what the event stream tells -----------------------------------------------------------------

    async def _searches(self) -> Any:
        found = await asyncio.to_thread(self.searches.all)
        return [told(search) for search in found]

    async def _alerts(self) -> Any:
        return [asdict(alert) for alert in await asyncio.to_thread(self.watch.alerts, 20)]

    async def _bots(self) -> Any:
        return [summary(bot) for bot in await self.bots.all()]

    async def _jobs(self) -> Any:
        return [asdict(job) for job in self.jobs.all()]

    async def _brake(self) -> Any:
        return [asdict(one) for one in await asyncio.to_thread(self.brake.states)]


def told(search: Search) -> dict[str, Any]:
    """A search in short, as pages and the API show it."""
    return {
        "id": search.id,
        "searcher": search.searcher,
        "seed": search.seed,
        "status": search.status,
        "proposals": search.proposals,
        "budget": search.budget,
        "trials": search.trials,
        "cpu_seconds": round(search.cpu_seconds, 1),
        "members": len(search.members),
        "best_valid": search.best,
        "found": search.verdict.found if search.verdict else None,
        "changed": search.changed,
        "looks": [asdict(look) for look in search.looks],
    }


def summary(bot: BotState) -> dict[str, Any]:
    """A bot in short: without trades and logs."""
    return {
        "name": bot.name,
        "state": bot.state,
        "problem": bot.problem,
        "strategy": str(bot.config.get("strategy", "")),
        "exchange": str(bot.config.get("exchange", "")),
        "dry_run": bool(bot.config.get("dry_run", False)),
        "currency": str(bot.config.get("stake_currency", "")),
        "open_trades": len(bot.trades),
        "profit": _figure(bot.profit.get("profit_all_coin")),
        "profit_ratio": _figure(bot.profit.get("profit_all_ratio")),
        "drawdown": _figure(bot.profit.get("max_drawdown")),
        "total": _figure(bot.balance.get("total")),
    }


def _figure(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < float("inf") else None


def services(request: Request) -> Services:
    """The services of the app that a request came to."""
    found: Services = request.app.state.services
    return found


def session(request: Request) -> Session:
    """Who asks; the guard has let nobody else through."""
    found: Session = request.state.session
    return found


def address(request: Request) -> str:
    """From where a request came."""
    return request.client.host if request.client else "?"
