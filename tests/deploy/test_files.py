"""The files of `deploy`: linted, valid by their schemas, and true to the commands and metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from click import Command, Context, Group

from bascule.app.cli import app
from bascule.app.web.settings import WebSettings
from bascule.monitor.loop import rule_book
from bascule.monitor.samples import METRICS
from bascule.monitor.settings import MonitorSettings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BIN = Path(sys.executable).parent
OWN = {"bascule_rule_firing", "bascule_events", "bascule_actions", "bascule_messages", "bascule_jobs"}


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


def tool(name: str, *arguments: str) -> None:
    """Run a checker of the development environment; it must have nothing to say against us."""
    place = BIN / name if (BIN / name).exists() else shutil.which(name)
    if place is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([str(place), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def command(arguments: list[str]) -> None:
    """Check that a command line of `bascule` names a command with its options (values are not looked at)."""
    found: Command = typer.main.get_command(app)
    context = Context(found)
    rest = list(arguments)
    while isinstance(found, Group):
        assert rest, f"{arguments} is not whole"
        name = rest.pop(0)
        inner = found.get_command(context, name)
        assert inner is not None, f"there is no command {name} in {arguments}"
        found = inner
    inner_context = Context(found)
    parser = found.make_parser(inner_context)
    parser.parse_args(rest)


def test_the_dockerfile_is_linted_and_runs_as_nobody_special() -> None:
    tool("hadolint", str(DEPLOY / "docker" / "Dockerfile"))
    text = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")
    assert re.findall(r"^USER (\S+)", text, re.M)[-1] == "10001:10001" and "HEALTHCHECK" in text


def test_compose_is_of_its_schema() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml"))


def test_every_service_is_kept_small() -> None:
    compose = load("compose.yaml")
    for name, service in compose["services"].items():
        assert service["user"].split(":")[0] not in ("0", "root"), name
        assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"], name
        assert "healthcheck" in service or name == "research", name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} is open to the world"
        assert not service.get("privileged")
        if not service["image"].startswith("bascule"):
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), f"{name} is not pinned"
        for key, value in (service.get("environment") or {}).items():
            secret = re.search(r"password|secret|token|key", key, re.I)
            assert not secret or str(value).startswith("/run/secrets/"), f"{name}: {key}"
    used = {one for service in compose["services"].values() for one in service.get("secrets", ())}
    assert used == set(compose["secrets"])


def test_what_compose_starts_exists() -> None:
    for name, service in load("compose.yaml")["services"].items():
        if service["image"].startswith("bascule") and service["command"] != ["--help"]:
            command(service["command"])
        test = service.get("healthcheck", {}).get("test", [])
        if test[1:2] == ["bascule"]:
            command(test[2:])
        assert service["command" if name != "grafana" else "image"]


def test_the_settings_are_good_and_their_jobs_are_commands() -> None:
    settings = MonitorSettings.read(load("config/monitor.yaml"))
    assert rule_book(settings).rules
    for job in settings.jobs:
        assert job.command[0] == "bascule"
        command(list(job.command[1:]))
    asked = {"retrain", "rotate"}
    assert asked <= {job.name for job in settings.jobs}
    web = WebSettings.read(load("config/web.yaml"))
    assert web.login and {bot.name for bot in web.bots} == {bot.name for bot in settings.bots}
    services = load("compose.yaml")["services"]
    for secret in (settings.bots[0].password.file, settings.notify.urls and settings.notify.urls.file):
        assert secret is not None and secret.name in services["monitor"]["secrets"]


def test_units_and_timers_are_good(tmp_path: Path) -> None:
    units = sorted((DEPLOY / "systemd").iterdir())
    for unit in units:
        text = unit.read_text("utf-8")
        for line in re.findall(r"^ExecStart=/opt/bascule/bin/bascule (.*)$", text, re.M):
            command(line.split())
            assert "User=bascule" in text and "NoNewPrivileges=yes" in text
        (tmp_path / unit.name).write_text(text.replace("/opt/bascule/bin/bascule", "/bin/true"))
    jobs = {job["name"] for job in load("config/monitor.yaml")["jobs"]}
    timers = {unit.stem.removeprefix("bascule-job-") for unit in units if unit.suffix == ".timer"}
    lines = (DEPLOY / "bascule.cron").read_text("utf-8").splitlines()
    cron = {line.split()[-1] for line in lines if "bascule monitor job" in line and not line.startswith("#")}
    assert timers == cron and timers <= jobs
    files = [str(tmp_path / unit.name) for unit in units if "@" not in unit.name]
    tool("systemd-analyze", "verify", *files)


def test_dashboards_are_what_their_code_writes_and_name_metrics_that_exist(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(DEPLOY / "grafana" / "build.py"), "--check"], check=False)
    assert done.returncode == 0
    known = OWN | {"bascule_monitor_last_cycle_seconds"}
    known |= {metric.prometheus + end for metric in METRICS.values() for end in ("", "_low", "_high")}
    expressions = []
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        board = json.loads(path.read_text("utf-8"))
        places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
        assert len(set(places)) == len(places) and len({panel["id"] for panel in board["panels"]}) == len(
            places
        )
        expressions += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    alerts = load("prometheus/alerts.yml")
    expressions += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    for expression in expressions:
        assert set(re.findall(r"bascule_\w+", expression)) <= known, expression
    shown = {name for expression in expressions for name in re.findall(r"bascule_\w+", expression)}
    missing = {m.prometheus for m in METRICS.values()} - shown
    few = "venue_up book_var fills_seconds model_challengers model_turns"
    assert missing <= {f"bascule_{name}" for name in few.split()}
    rules = [{"record": f"x:y{n}", "expr": expression} for n, expression in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    tool("promtool", "check", "rules", str(tmp_path / "rules.yml"), str(DEPLOY / "prometheus" / "alerts.yml"))


def test_provisioning_leads_to_the_dashboards() -> None:
    (source,) = load("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    (provider,) = load("grafana/provisioning/dashboards/bascule.yaml")["providers"]
    volumes = load("compose.yaml")["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in volumes
    boards = [
        json.loads(path.read_text("utf-8")) for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")
    ]
    for board in boards:
        for panel in board["panels"]:
            assert panel["datasource"]["uid"] == source["uid"]


def test_no_secret_lies_in_the_files() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file() and "secrets" not in path.parts:
            text = path.read_text("utf-8")
            assert not re.search(r"(?i)(password|token|secret)\s*[:=]\s*['\"]?[A-Za-z0-9+/]{12,}", text), path
