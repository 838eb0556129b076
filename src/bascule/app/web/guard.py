"""Before any route: host names, who asks, roles, CSRF, and what browsers are allowed to do with the answer.

A list says what is open; all else is closed, routes that do not exist included:

1. A host name that is not ours is refused, so that a page elsewhere cannot point its name at this address
   (DNS rebinding), loopback or not.
2. `OPEN` paths need no login. Everything else needs a session or, below ``/api/``, an API token.
3. A method that changes something needs the role operator (but for `OWN`, things of one's own), and, from a
   browser, the session's CSRF token in a header and an origin that is ours. `OPERATOR` paths are the
   operator's even to read.
4. Each answer carries a policy: scripts, styles and connections of this origin only, no framing by others,
   no guessing of types, no copies of pages in caches.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bascule.app.web.services import Services
from bascule.app.web.sessions import Session, same

OPEN = ("/login", "/healthz", "/static")
OPERATOR = ("/audit", "/emergency", "/api/audit")
OWN = ("/logout", "/account")
QUIET = ("/api/events",)
SAFE = ("GET", "HEAD")
LARGEST = 64 * 1024  # bytes of a request: forms and small JSON
CSRF_HEADER, QUIET_HEADER = "x-csrf-token", "x-background"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# a report of another command: its scripts run, but without an origin, and can reach nothing
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,200}")


def cookie_name(https: bool) -> str:
    """Of the session; the prefix makes browsers refuse it from other hosts and without TLS."""
    return "__Host-bascule" if https else "bascule_session"


def cookies(headers: Headers) -> Mapping[str, str]:
    """The request's cookies; none if they cannot be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def below(path: str, places: tuple[str, ...]) -> bool:
    """True if a path is one of ``places`` or lies below one."""
    return any(path == place or path.startswith(f"{place}/") for place in places)


class Guard:
    """The middleware."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app, self.services = app, services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self.services.settings.https:
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        taken = 0

        async def measured() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > LARGEST:
                raise HTTPException(413, f"more than {LARGEST // 1024} KiB")
            return message

        refusal = await self._refusal(scope)
        if refusal is None:
            await self.app(scope, measured, framed)
        else:
            await _answer(framed, *refusal)

    async def _refusal(self, scope: Scope) -> tuple[int, dict[str, str], str] | None:
        """Status, headers and reason of a refusal; None = go on."""
        headers, path, method = Headers(scope=scope), str(scope["path"]), str(scope["method"])
        host = headers.get("host", "")
        if _host(host) not in self.services.settings.allowed_hosts:
            return 400, {}, "this host name is not served here; see 'names' in the settings"
        if method not in SAFE and not _same_origin(headers, host):
            return 403, {}, "the request comes from another site"
        if below(path, OPEN):
            return None
        who = await self._who(headers, path)
        if who is None:
            if path.startswith("/api/"):
                return 401, {"www-authenticate": "Bearer"}, "log in, or send an API token"
            place = path + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            return 303, {"location": f"/login?next={quote(place, safe='/')}"}, "log in"
        scope.setdefault("state", {})["session"] = who
        if below(path, OPERATOR) and not who.operator:
            return 403, {}, "this takes the role operator"
        if method in SAFE:
            return None
        if not who.operator and not (below(path, OWN) and who.key):
            return 403, {}, "this takes the role operator"
        if who.key and not same(headers.get(CSRF_HEADER, ""), who.csrf):
            return 403, {}, "the page is out of date: load it again"
        return None

    async def _who(self, headers: Headers, path: str) -> Session | None:
        services, now = self.services, self.services.clock()
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and path.startswith("/api/"):
            known = await asyncio.to_thread(services.accounts.bearer, token.strip(), now)
            return None if known is None else Session(f"token:{known.name}", known.role)
        if not services.settings.login:
            return Session("anybody", "viewer")
        token = cookies(headers).get(cookie_name(services.settings.https), "")
        if not _TOKEN.fullmatch(token):
            return None
        active = not below(path, QUIET) and QUIET_HEADER not in headers
        return await asyncio.to_thread(services.sessions.find, token, now, active=active)


def _host(value: str) -> str:
    """A host header without its port."""
    if value.startswith("["):
        return value.partition("]")[0].lower() + "]"
    return value.rpartition(":")[0].lower() if value.count(":") == 1 else value.lower()


def _same_origin(headers: Headers, host: str) -> bool:
    """False if a browser says that another site's page asks."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


async def _answer(send: Send, status: int, headers: dict[str, str], reason: str) -> None:
    body = b"" if status == 303 else json.dumps({"error": reason}).encode()
    given: list[Any] = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    given += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": given})
    await send({"type": "http.response.body", "body": body})
