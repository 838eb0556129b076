"""The application, and serving it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bascule import __version__
from bascule.app.web import api, statics
from bascule.app.web.guard import Guard
from bascule.app.web.kept import Missing, NotNow
from bascule.app.web.pages import entry, operate, research
from bascule.app.web.render import render
from bascule.app.web.services import Services
from bascule.app.web.settings import WebSettings
from bascule.core import BasculeError, BridgeError, ConfigError, SetupError


def application(services: Services) -> FastAPI:
    """The dashboard as an ASGI application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.hub.start()
        await services.jobs.start()
        yield
        await services.jobs.stop()
        await services.hub.stop()

    app = FastAPI(
        title="Bascule",
        version=__version__,
        description="Research and trading at a glance. Log in, or send `Authorization: Bearer <API token>`.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.services = services
    app.state.packed = api.Packed()
    app.include_router(api.router)
    for router in (entry.router, research.router, operate.router):
        app.include_router(router)
    app.routes.append(Route("/api/openapi.json", api.schema))
    app.routes.append(Route("/static/{name:path}", statics.serve))
    app.routes.append(Route("/healthz", _healthy))
    app.add_exception_handler(BasculeError, _mendable)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Guard, services=services)
    return app


async def _healthy(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _mendable(request: Request, error: Exception) -> Response:
    """An error that says what to do about it."""
    assert isinstance(error, BasculeError)
    status = 500
    for kind, code in ((Missing, 404), (NotNow, 409), (ConfigError | SetupError, 400), (BridgeError, 502)):
        if isinstance(error, kind):
            status = code
            break
    return _told(request, status, error.message, error.where, error.remedy)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = _told(request, error.status_code, str(error.detail))
    found.headers.update(error.headers or {})
    return found


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return _told(request, 422, str(first["msg"]), place, "correct the value")


def _told(
    request: Request, status: int, error: str, where: str | None = None, remedy: str | None = None
) -> Response:
    if request.url.path.startswith(("/api/", "/account/")):
        return JSONResponse({"error": error, "where": where, "remedy": remedy}, status)
    return render(request, "error.html", status, code=status, error=error, remedy=remedy)


def serve(settings: WebSettings, services: Services | None = None) -> None:
    """Serve until interrupted.

    Raises:
        ConfigError: nobody could log in.
    """
    import uvicorn

    found = services or Services(settings)
    if settings.login and not found.accounts.users():
        raise ConfigError(
            "there are no users, so nobody could log in",
            where=str(found.database.path),
            remedy="bascule web user add NAME --role operator",
        )
    if settings.nice:
        os.nice(settings.nice)  # the bots go first
    uvicorn.run(
        application(found),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies) or None,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
    )
