"""``bascule web …``: serve the dashboard; its users, API tokens and audit log; the risk report of a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from bascule.app.command import Commands, answer, note
from bascule.app.console import bar
from bascule.app.options import Last
from bascule.app.yamlfile import mapping
from bascule.core import ConfigError

if TYPE_CHECKING:
    from bascule.app.web.accounts import Accounts
    from bascule.app.web.audit import Audit
    from bascule.app.web.services import Services
    from bascule.app.web.settings import WebSettings

web_app = Commands()
user_app = Commands(help="Who may log in.")
token_app = Commands(help="Programs that may ask the JSON API.")
web_app.add_typer(user_app, name="user")
web_app.add_typer(token_app, name="token")

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of the dashboard's settings")]
Name = Annotated[str, typer.Argument(help="its name", show_default=False)]
RoleOption = Annotated[str, typer.Option("--role", help="viewer: reads; operator: acts, too")]
FromInput = Annotated[bool, typer.Option("--password-stdin", help="read it from standard input, one line")]


@web_app.command("serve", answers=False, example="bascule web serve --config web.yaml --port 8050")
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="address to listen on; default loopback only")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="default 8050")] = None,
    login: Annotated[bool | None, typer.Option("--login/--no-login", help="only loopback without")] = None,
) -> None:
    """Serve the dashboard until interrupted."""
    settings = _settings(config, host=host, port=port, login=login)
    with _extra():
        from bascule.app.web.server import serve as run

        services = _services(settings)
    note(f"http://{settings.host}:{settings.port}  (Ctrl-C ends it)")
    run(settings, services)


@web_app.command("risk", example="bascule web risk runs/demo")
def risk(
    folder: Annotated[Path, typer.Argument(help="folder of a finished run", show_default=False)],
) -> None:
    """Measure the risk of a run's newest target weights; the dashboard shows it."""
    from bascule.app.web import riskfacts
    from bascule.app.web.runs import Runs

    run = Runs(folder.resolve().parent).get(folder.resolve().name)
    with bar("Risk") as progress:
        path = riskfacts.write(run, progress)
    answer({"risk": path}, f"risk: {path}")


@web_app.command("audit", example="bascule web audit --last 20")
def audit(config: Config = None, last: Last = 50) -> None:
    """Show who did what, newest first."""
    table = Table("time (UTC)", "who", "from", "action", "target", "detail", "outcome", box=None)
    found = list(_books(config).audit.newest(last))
    for one in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.at))
        table.add_row(
            when, *map(_plain, (one.who, one.address, one.action, one.target, one.detail, one.outcome))
        )
    answer({"entries": found}, table)


# -- users -----------------------------------------------------------------------------------------------


@user_app.command("add", example="bascule web user add ada --role operator")
def user_add(
    name: Name, role: RoleOption = "viewer", password_stdin: FromInput = False, config: Config = None
) -> None:
    """Add a user; the password is asked for."""
    books = _books(config)
    user = books.accounts.add(name, _password(password_stdin), role, time.time())
    _noted(books, "user add", name, user.role)
    answer({"user": user.name, "role": user.role}, f"{user.name}: {user.role}")


@user_app.command("ls", example="bascule web user ls")
def user_ls(config: Config = None) -> None:
    """List the users."""
    table = Table("user", "role", "added", box=None)
    found = list(_books(config).accounts.users())
    for user in found:
        table.add_row(user.name, user.role, time.strftime("%Y-%m-%d", time.gmtime(user.created)))
    told = [{"user": one.name, "role": one.role, "created": one.created} for one in found]
    answer({"users": told}, table)


@user_app.command("rm", example="bascule web user rm ada")
def user_rm(name: Name, config: Config = None) -> None:
    """Remove a user and end the sessions."""
    books = _books(config)
    books.accounts.remove(name)
    _noted(books, "user rm", name)
    answer({"user": name, "removed": True}, f"{name}: removed")


@user_app.command("role", example="bascule web user role ada viewer")
def user_role(
    name: Name, role: Annotated[str, typer.Argument(help="viewer or operator")], config: Config = None
) -> None:
    """Give a user another role."""
    books = _books(config)
    books.accounts.set_role(name, role)
    _noted(books, "user role", name, role)
    answer({"user": name, "role": role}, f"{name}: {role}")


@user_app.command("passwd", example="bascule web user passwd ada")
def user_passwd(name: Name, password_stdin: FromInput = False, config: Config = None) -> None:
    """Give a user another password and end the sessions."""
    books = _books(config)
    books.accounts.set_password(name, _password(password_stdin), time.time())
    _noted(books, "user passwd", name)
    answer({"user": name, "changed": True}, f"{name}: changed; sessions are ended")


# -- tokens ----------------------------------------------------------------------------------------------


@token_app.command("add", example="bascule web token add grafana --role viewer --days 30")
def token_add(
    name: Name,
    role: RoleOption = "viewer",
    days: Annotated[float, typer.Option(min=0.01, max=3650, help="days until it expires")] = 90.0,
    config: Config = None,
) -> None:
    """Make an API token; it is shown once."""
    books = _books(config)
    text = books.accounts.add_token(name, role, days, time.time())
    _noted(books, "token add", name, role)
    answer({"token": text, "name": name, "role": role}, text)


@token_app.command("ls", example="bascule web token ls")
def token_ls(config: Config = None) -> None:
    """List the API tokens."""
    table = Table("token", "role", "expires", box=None)
    found = list(_books(config).accounts.tokens())
    for token in found:
        table.add_row(token.name, token.role, time.strftime("%Y-%m-%d", time.gmtime(token.expires)))
    told = [{"token": one.name, "role": one.role, "expires": one.expires} for one in found]
    answer({"tokens": told}, table)


@token_app.command("rm", example="bascule web token rm grafana")
def token_rm(name: Name, config: Config = None) -> None:
    """Let a token open nothing any more."""
    books = _books(config)
    books.accounts.remove_token(name)
    _noted(books, "token rm", name)
    answer({"token": name, "removed": True}, f"{name}: removed")


# -- parts -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Books:
    """What the dashboard keeps, without the bots and readers that serving it takes."""

    accounts: Accounts
    audit: Audit


def _settings(config: Path | None, **given: Any) -> WebSettings:
    """Settings of the file, with what the command line says instead."""
    from bascule.app.web.settings import WebSettings

    values = {} if config is None else mapping(config, see="docs/web.md")
    values |= {key: value for key, value in given.items() if value is not None}
    found = WebSettings.read(values, where=str(config or "options"))
    if config is None:
        return found
    # relative paths start from the file, wherever the command is called
    return found.model_copy(update={"home": config.resolve().parent / found.home})


def _books(config: Path | None) -> _Books:
    settings = _settings(config)
    with _extra():
        from bascule.app.web.accounts import Accounts
        from bascule.app.web.audit import Audit
        from bascule.app.web.database import Database

        database = Database(settings.within(settings.state))
        return _Books(Accounts(database, settings.session), Audit(database))


def _services(settings: WebSettings) -> Services:
    from bascule.app.web.services import Services

    if settings.monitor is None:
        return Services(settings)
    from bascule.app.web.watch import Reader

    place = settings.monitor
    return Services(settings, watch=Reader(place if "://" in place else settings.within(Path(place))))


@contextmanager
def _extra() -> Iterator[None]:
    """A package that is not there is one of the extra's."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the package {error.name} is not installed", where="web", remedy="pip install 'bascule[web]'"
        ) from None


def _password(from_input: bool) -> str:
    if from_input:
        return sys.stdin.readline().rstrip("\n")
    text: str = typer.prompt("password", hide_input=True, confirmation_prompt=True)
    return text


def _noted(books: _Books, action: str, target: str, detail: str = "") -> None:
    books.audit.note(time.time(), "command line", "local", action, target, detail)


def _plain(text: str) -> str:
    """Without what a terminal would obey; rich's own marks are escaped."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "?" for c in text))
