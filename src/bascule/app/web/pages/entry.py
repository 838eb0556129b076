"""Logging in and out, and one's own password."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Body, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from bascule.app.web.accounts import LONGEST, TooMany
from bascule.app.web.guard import cookie_name
from bascule.app.web.render import render
from bascule.app.web.services import Services, address, services, session
from bascule.app.web.sessions import fresh, same
from bascule.core import ConfigError

router = APIRouter(include_in_schema=False)
LOGIN_COOKIE = "bascule_login"


def onward(place: str) -> str:
    """Where to go after the login: a path of this site, or its front page."""
    safe = place.startswith("/") and not place.startswith(("//", "/\\")) and place.isprintable()
    return place if safe and "\\" not in place else "/"


def _form(request: Request, place: str, problem: str = "", status: int = 200) -> Response:
    secret = fresh()
    answer = render(request, "login.html", status, place=place, secret=secret, problem=problem)
    _set(answer, services(request), LOGIN_COOKIE, secret, "strict", path="/login", seconds=3600)
    return answer


def _set(
    answer: Response, found: Services, name: str, value: str, same_site: str, *, path: str, seconds: int
) -> None:
    answer.set_cookie(
        name, value, max_age=seconds, path=path, secure=found.settings.https, httponly=True,
        samesite="strict" if same_site == "strict" else "lax",
    )  # fmt: skip


@router.get("/login")
def login_form(request: Request, next: str = "/") -> Response:
    """The form."""
    if not services(request).settings.login:
        return RedirectResponse("/", 303)
    return _form(request, onward(next))


@router.post("/login")
async def login(request: Request) -> Response:
    """A new session for the right name and password; every failure looks the same."""
    found, where, now = services(request), address(request), services(request).clock()
    fields = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
    given = {key: values[0] for key, values in fields.items()}
    name, password, place = given.get("name", ""), given.get("password", ""), onward(given.get("next", "/"))
    if not same(request.cookies.get(LOGIN_COOKIE, ""), given.get("secret", "")):
        return await asyncio.to_thread(_form, request, place, "The form is out of date. Try again.", 403)
    try:
        user = None
        if name and 0 < len(password) <= LONGEST:
            user = await asyncio.to_thread(found.accounts.check, name, password, where, now)
    except TooMany as limit:
        await asyncio.to_thread(found.audit.note, now, name, where, "login", outcome="refused: too many")
        answer = await asyncio.to_thread(_form, request, place, "Too many attempts. Try again later.", 429)
        answer.headers["retry-after"] = f"{limit.seconds:.0f}"
        return answer
    if user is None:
        await asyncio.to_thread(found.audit.note, now, name, where, "login", outcome="refused")
        return await asyncio.to_thread(_form, request, place, "Wrong name or password.", 401)
    kind = cookie_name(found.settings.https)
    token = await asyncio.to_thread(
        lambda: found.sessions.begin(user.name, where, now, instead_of=request.cookies.get(kind))
    )
    await asyncio.to_thread(found.audit.note, now, user.name, where, "login")
    answer = RedirectResponse(place, 303)
    _set(answer, found, kind, token, "lax", path="/", seconds=int(found.settings.session.hours * 3600))
    answer.delete_cookie(LOGIN_COOKIE, path="/login")
    return answer


@router.post("/logout")
def logout(request: Request) -> Response:
    """The end of the session."""
    found, who = services(request), session(request)
    found.sessions.end(who.key)
    found.audit.note(found.clock(), who.user, address(request), "logout")
    answer = Response(status_code=204)
    answer.delete_cookie(cookie_name(found.settings.https), path="/")
    answer.headers["clear-site-data"] = '"cache"'
    return answer


@router.get("/account")
def account(request: Request) -> Response:
    """One's own account."""
    return render(request, "account.html")


@router.post("/account/password")
def password(
    request: Request,
    old: Annotated[str, Body(max_length=LONGEST)],
    new: Annotated[str, Body(max_length=LONGEST)],
) -> Response:
    """Another password; all sessions of the user end."""
    found, who, where = services(request), session(request), address(request)
    now = found.clock()
    try:
        user = found.accounts.check(who.user, old, where, now)
        if user is None:
            raise ConfigError("the old password is wrong", where="password", remedy="try again")
        found.accounts.set_password(who.user, new, now)
    except TooMany as limit:
        return JSONResponse({"error": str(limit)}, 429)
    except ConfigError as error:
        found.audit.note(now, who.user, where, "password", outcome=f"refused: {error.message}")
        return JSONResponse({"error": error.message, "remedy": error.remedy}, 400)
    found.audit.note(now, who.user, where, "password")
    return Response(status_code=204)
