"""``bascule web …`` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from bascule.app.webcli import web_app
from bascule.core import ConfigError
from tests.web.office import PASSWORD


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "web.yaml"
    path.write_text(yaml.safe_dump({"state": "web.sqlite", "port": 8123}))
    return str(path)


def ask(*arguments: str, given: str = "") -> str:
    result = CliRunner().invoke(web_app, list(arguments), input=given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_users_come_and_go(config: str, tmp_path: Path) -> None:
    said = ask(
        "user", "add", "ada", "--role", "operator", "--config", config, given=f"{PASSWORD}\n{PASSWORD}\n"
    )
    assert "ada: operator" in said and PASSWORD not in said
    ask("user", "add", "vic", "--password-stdin", "--config", config, given=f"{PASSWORD}\n")
    ask("user", "role", "vic", "operator", "--config", config)
    ask("user", "passwd", "vic", "--password-stdin", "--config", config, given="another good one\n")
    ask("user", "rm", "ada", "--config", config)
    listed = ask("user", "ls", "--config", config)
    assert "vic" in listed and "operator" in listed and "ada" not in listed
    log = ask("audit", "--config", config)
    assert all(word in log for word in ("user add", "user role", "user passwd", "user rm", "command line"))
    assert (tmp_path / "web.sqlite").is_file()


def test_tokens_are_shown_once(config: str) -> None:
    token = ask("token", "add", "notebook", "--config", config).strip()
    assert token.startswith("bsc_") and len(token) > 40
    listed = ask("token", "ls", "--config", config)
    assert "notebook" in listed and token not in listed
    ask("token", "rm", "notebook", "--config", config)
    assert "notebook" not in ask("token", "ls", "--config", config)


@pytest.mark.parametrize(
    ("content", "where"),
    [("bots: [{name: x}]", "bots"), ("prt: 1", "prt"), ("[1]", "mapping"), ("a: [", "cannot be read")],
)
def test_a_wrong_file_is_one_clear_error(tmp_path: Path, content: str, where: str) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as refused:
        ask("user", "ls", "--config", str(path))
    assert where in str(refused.value)


def test_users_are_managed_without_the_bots_passwords(tmp_path: Path) -> None:
    bot = {"name": "main", "url": "http://127.0.0.1:8080", "username": "bot", "password_env": "NOT_SET_HERE"}
    path = tmp_path / "web.yaml"
    path.write_text(yaml.safe_dump({"state": "web.sqlite", "bots": [bot]}))
    ask("user", "add", "ada", "--password-stdin", "--config", str(path), given=f"{PASSWORD}\n")
    assert "ada" in ask("user", "ls", "--config", str(path))
    with pytest.raises(ConfigError, match="NOT_SET_HERE"):
        ask("serve", "--config", str(path))


def test_nothing_is_served_without_users_or_login_elsewhere(config: str) -> None:
    with pytest.raises(ConfigError, match="no users"):
        ask("serve", "--config", config)
    with pytest.raises(ConfigError, match="loopback"):
        ask("serve", "--config", config, "--no-login", "--host", "0.0.0.0")


def test_the_monitor_is_read(tmp_path: Path) -> None:
    from bascule.app.web.watch import Reader
    from bascule.app.webcli import _services, _settings

    path = tmp_path / "web.yaml"
    path.write_text("monitor: monitor.sqlite\nstate: web.sqlite")
    found = _services(_settings(path))
    assert isinstance(found.watch, Reader) and (tmp_path / "monitor.sqlite").is_file()
    assert list(found.watch.alerts(5)) == list(found.watch.deeds(5)) == list(found.watch.series(5)) == []


def test_terminals_are_not_told_what_to_do(config: str) -> None:
    from bascule.app.webcli import _services, _settings

    services = _services(_settings(Path(config)))
    services.audit.note(1.8e9, "\x1b[31mada", "x", "[bold]login", "\x07", "", "refused")
    log = ask("audit", "--config", config)
    assert "\x1b" not in log and "\x07" not in log and "[bold]login" in log
