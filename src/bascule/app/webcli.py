"""``bascule web …``: serve the dashboard; its users, API tokens and audit log; the risk report of a run."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bascule.core import ConfigError

if TYPE_CHECKING:
    from bascule.app.web.services import Services
    from bascule.app.web.settings import WebSettings

web_app = typer.Typer(help="The dashboard: serve it; users, API tokens, audit log.", no_args_is_help=True)
user_app = typer.Typer(help="Who may log in.", no_args_is_help=True)
token_app = typer.Typer(help="Programs that may ask the JSON API.", no_args_is_help=True)
web_app.add_typer(user_app, name="user")
web_app.add_typer(token_app, name="token")
console = Console()

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of the dashboard's settings")]
Name = Annotated[str, typer.Argument(help="its name")]
RoleOption = Annotated[str, typer.Option("--role", help="viewer: reads; operator: acts, too")]
FromInput = Annotated[bool, typer.Option("--password-stdin", help="read it from standard input, one line")]


@web_app.command("serve")
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="address to listen on; default loopback only")] = None,
    port: Annotated[int | None, typer.Option(help="default 8050")] = None,
    login: Annotated[bool | None, typer.Option("--login/--no-login", help="only loopback without")] = None,
) -> None:
    """Serve the dashboard until interrupted."""
    from bascule.app.web.server import serve as run

    settings = _settings(config, host=host, port=port, login=login)
    services = _services(settings)
    console.print(f"http://{settings.host}:{settings.port}  (Ctrl-C ends it)", highlight=False)
    run(settings, services)


@web_app.command("risk")
def risk(folder: Annotated[Path, typer.Argument(help="folder of a finished run")]) -> None:
    """Measure the risk of a run's newest target weights; the dashboard shows it."""
    from bascule.app.console import bar
    from bascule.app.web import riskfacts
    from bascule.app.web.runs import Runs

    run = Runs(folder.resolve().parent).get(folder.resolve().name)
    with bar(console, "Risk") as progress:
        path = riskfacts.write(run, progress)
    console.print(f"risk: {path}", highlight=False, soft_wrap=True)


@web_app.command("audit")
def audit(config: Config = None, count: Annotated[int, typer.Option(help="entries")] = 50) -> None:
    """Show who did what, newest first."""
    table = Table("time (UTC)", "who", "from", "action", "target", "detail", "outcome", box=None)
    for one in _services(_settings(config)).audit.newest(count):
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.at))
        table.add_row(
            when, *map(_plain, (one.who, one.address, one.action, one.target, one.detail, one.outcome))
        )
    console.print(table)


# -- users -----------------------------------------------------------------------------------------------


@user_app.command("add")
def user_add(
    name: Name, role: RoleOption = "viewer", password_stdin: FromInput = False, config: Config = None
) -> None:
    """Add a user; the password is asked for."""
    services = _services(_settings(config))
    user = services.accounts.add(name, _password(password_stdin), role, services.clock())
    _noted(services, "user add", name, user.role)
    console.print(f"{user.name}: {user.role}", highlight=False)


@user_app.command("ls")
def user_ls(config: Config = None) -> None:
    """List the users."""
    table = Table("user", "role", "added", box=None)
    for user in _services(_settings(config)).accounts.users():
        table.add_row(user.name, user.role, time.strftime("%Y-%m-%d", time.gmtime(user.created)))
    console.print(table)


@user_app.command("rm")
def user_rm(name: Name, config: Config = None) -> None:
    """Remove a user and end the sessions."""
    services = _services(_settings(config))
    services.accounts.remove(name)
    _noted(services, "user rm", name)


@user_app.command("role")
def user_role(name: Name, role: Annotated[str, typer.Argument()], config: Config = None) -> None:
    """Give a user another role."""
    services = _services(_settings(config))
    services.accounts.set_role(name, role)
    _noted(services, "user role", name, role)


@user_app.command("passwd")
def user_passwd(name: Name, password_stdin: FromInput = False, config: Config = None) -> None:
    """Give a user another password and end the sessions."""
    services = _services(_settings(config))
    services.accounts.set_password(name, _password(password_stdin), services.clock())
    _noted(services, "user passwd", name)


# -- tokens ----------------------------------------------------------------------------------------------


@token_app.command("add")
def token_add(
    name: Name,
    role: RoleOption = "viewer",
    days: Annotated[float, typer.Option(min=0.01, max=3650, help="until it expires")] = 90.0,
    config: Config = None,
) -> None:
    """Make an API token; it is shown once."""
    services = _services(_settings(config))
    text = services.accounts.add_token(name, role, days, services.clock())
    _noted(services, "token add", name, role)
    console.print(text, highlight=False, soft_wrap=True)


@token_app.command("ls")
def token_ls(config: Config = None) -> None:
    """List the API tokens."""
    table = Table("token", "role", "expires", box=None)
    for token in _services(_settings(config)).accounts.tokens():
        table.add_row(token.name, token.role, time.strftime("%Y-%m-%d", time.gmtime(token.expires)))
    console.print(table)


@token_app.command("rm")
def token_rm(name: Name, config: Config = None) -> None:
    """Let a token open nothing any more."""
    services = _services(_settings(config))
    services.accounts.remove_token(name)
    _noted(services, "token rm", name)


# -- parts -----------------------------------------------------------------------------------------------


def _settings(config: Path | None, **given: Any) -> WebSettings:
    """Settings of the file, with what the command line says instead."""
    import yaml

    from bascule.app.web.settings import WebSettings

    values: dict[str, Any] = {}
    if config is not None:
        try:
            values = yaml.safe_load(config.read_text("utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"cannot be read: {reason}", where=str(config), remedy="give a YAML file"
            ) from None
        if not isinstance(values, dict):
            raise ConfigError("not a mapping", where=str(config), remedy="write key: value lines")
        home = Path(values.get("home", "."))
        values["home"] = str(config.resolve().parent / home)
    values |= {key: value for key, value in given.items() if value is not None}
    return WebSettings.read(values, where=str(config or "options"))


def _services(settings: WebSettings) -> Services:
    try:
        from bascule.app.web.services import Services
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the package {error.name} is not installed", where="web", remedy="pip install 'bascule[web]'"
        ) from None
    if settings.monitor is None:
        return Services(settings)
    from bascule.app.web.watch import Reader

    place = settings.monitor
    return Services(settings, watch=Reader(place if "://" in place else settings.within(Path(place))))


def _password(from_input: bool) -> str:
    if from_input:
        return sys.stdin.readline().rstrip("\n")
    text: str = typer.prompt("password", hide_input=True, confirmation_prompt=True)
    return text


def _noted(services: Services, action: str, target: str, detail: str = "") -> None:
    services.audit.note(services.clock(), "command line", "local", action, target, detail)


def _plain(text: str) -> str:
    """Without what a terminal would obey; rich's own marks are escaped."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "?" for c in text))
