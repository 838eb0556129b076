"""Pages from templates: everything is escaped, and a name that a template lacks is an error."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from bascule import __version__
from bascule.app.web import language, statics
from bascule.app.web.services import services
from bascule.app.web.sessions import Session

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "bascule_theme"
# path, title; operator: for operators only
NAVIGATION: tuple[tuple[str, str, bool], ...] = (
    ("/", "Overview", False),
    ("/factors", "Factors", False),
    ("/searches", "Mining", False),
    ("/models", "Models", False),
    ("/risk", "Risk", False),
    ("/portfolio", "Portfolio", False),
    ("/runs", "Runs", False),
    ("/bots", "Bots", False),
    ("/alerts", "Alerts", False),
    ("/emergency", "Emergency", True),
    ("/audit", "Audit", True),
)


@cache
def environment() -> jinja2.Environment:
    """The templates and their filters."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("bascule.app.web", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "percent": percent, "when": when, "money": money, "tone": tone}
    made.globals |= {"static": statics.address, "version": __version__}
    return made


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page in the visitor's language and colours."""
    found = services(request)
    who: Session | None = getattr(request.state, "session", None)
    chosen = language.choose(request.cookies.get(language.COOKIE), request.headers.get("accept-language", ""))
    theme = request.cookies.get(THEME_COOKIE, "auto")
    t = language.Translator(chosen)
    brake = found.brake.worst() if who else None
    text = environment().get_template(template).render(
        t=t,
        language=chosen,
        languages=language.LANGUAGES,
        theme=theme if theme in THEMES else "auto",
        who=who,
        brake=brake,
        path=request.url.path,
        navigation=[one for one in NAVIGATION if not one[2] or (who and who.operator)],
        words=language.catalogue(chosen),
        **values,
    )  # fmt: skip
    return HTMLResponse(text, status)


def number(value: Any, form: str = ".4f") -> str:
    """A figure, or a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:{form}}".replace("-", "−")


def percent(value: Any, digits: int = 1) -> str:
    """A fraction as percent."""
    seen = value is not None and abs(value) >= 0.5 * 10.0 ** (-2 - digits)  # else it is shown as 0
    return number(value, f"{'+' if seen else ''}.{digits}%")


def money(value: Any) -> str:
    """An amount with thousands separated."""
    return number(value, ",.2f")


def when(value: Any) -> str:
    """Seconds since 1970, or a time, as UTC to the minute."""
    if not value:
        return "–"
    moment = value if isinstance(value, datetime) else datetime.fromtimestamp(float(value), UTC)
    return moment.strftime("%Y-%m-%d %H:%M")


def tone(value: Any) -> str:
    """Colour class of a gain or loss."""
    if not isinstance(value, int | float) or not math.isfinite(value) or value == 0:
        return ""
    return "good" if value > 0 else "bad"
