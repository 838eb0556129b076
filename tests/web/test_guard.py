"""No page without login, roles on every route, CSRF, host names: by enumerating what there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.testclient import TestClient

from bascule.app.web import guard
from bascule.app.web.server import application
from bascule.app.web.services import Services
from bascule.app.web.settings import WebSettings
from bascule.core import ConfigError
from tests.web import office
from tests.web.conftest import log_in

PUBLIC = {"/login", "/healthz", "/static/{name:path}"}
VALUES = {
    "{library}": "alpha158", "{name}": "small", "{action}": "pause", "{name:path}": "app.css",
}  # fmt: skip


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path that the application knows, included routers too."""

    def walk(found: list[BaseRoute]) -> Iterator[tuple[str, str]]:
        for route in found:
            below = getattr(route, "routes", None) or getattr(
                getattr(route, "original_router", None), "routes", None
            )
            if below:
                yield from walk(below)
            elif hasattr(route, "path"):
                for method in sorted(getattr(route, "methods", None) or {"GET"}):
                    yield method, route.path

    yield from walk(app.routes)


def filled(path: str) -> str:
    for name, value in VALUES.items():
        path = path.replace(name, value)
    return path


def test_all_routes_are_seen(client: TestClient) -> None:
    found = {path for _, path in routes(client.app)}  # type: ignore[arg-type]
    assert {
        "/",
        "/factors",
        "/api/emergency",
        "/api/jobs/risk/{name}",
        "/audit",
        "/account/password",
    } <= found
    assert len(found) > 40


def test_nothing_is_open_without_login(client: TestClient) -> None:
    for method, path in routes(client.app):  # type: ignore[arg-type]
        if path in PUBLIC:
            continue
        answer = client.request(method, filled(path))
        if path.startswith("/api/"):
            assert answer.status_code == 401, (method, path)
        else:
            assert answer.status_code == 303 and answer.headers["location"].startswith("/login"), (
                method,
                path,
            )
        assert b"csrf" not in answer.content


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api/nothing",
        "/loginx",
        "/static",
        "/Static/app.css",
        "//",
        "/login/../audit",
        "/%2e%2e/audit",
    ],
)
def test_paths_that_do_not_exist_are_closed_too(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (303, 401, 404)
    assert "csrf" not in client.get(path).text or client.get(path).status_code == 404


def test_viewers_change_nothing(services: Services, viewer: TestClient) -> None:
    before = services.audit.newest()
    changed = 0
    for method, path in routes(viewer.app):  # type: ignore[arg-type]
        if method in guard.SAFE or path in PUBLIC or path in ("/logout", "/account/password"):
            continue
        answer = viewer.request(
            method, filled(path), json={"mode": "halt", "confirm": "halt", "reason": "test"}
        )
        assert answer.status_code == 403, (method, path)
        changed += 1
    assert changed >= 4
    assert services.audit.newest() == before


def test_viewers_do_not_see_what_is_the_operators(viewer: TestClient) -> None:
    for path in ("/audit", "/api/audit", "/emergency"):
        assert viewer.get(path).status_code == 403, path
    assert '/audit"' not in viewer.get("/").text


def test_operators_reach_every_page(operator: TestClient) -> None:
    skip = {"/api/events", "/api/runs/{name}/risk", "/runs/{name}/risk", "/factors/{library}/{name}/sheet"}
    skip |= PUBLIC
    names = {
        "/searches/{name}": "random-0", "/searches/{name}/report": "random-0",
        "/api/searches/{name}": "random-0", "/bots/{name}": "main", "/api/bots/{name}": "main",
        "/factors/{library}/{name}": "KMID",
        "/api/factors/{library}/{name}": "KMID",
    }  # fmt: skip
    seen = 0
    for method, path in routes(operator.app):  # type: ignore[arg-type]
        if method != "GET" or path in skip:
            continue
        place = filled(path.replace("{name}", names.get(path, "small")))
        assert operator.get(place).status_code == 200, place
        seen += 1
    assert seen > 30


def test_changes_need_the_csrf_token_of_this_session(services: Services, operator: TestClient) -> None:
    token = operator.headers.pop("X-CSRF-Token")
    body = {"mode": "halt", "confirm": "halt", "reason": "a test"}
    for wrong in (None, "", "x" * 43, token[:-1], token.swapcase()):
        headers = {} if wrong is None else {"X-CSRF-Token": wrong}
        assert operator.post("/api/emergency", json=body, headers=headers).status_code == 403
    assert services.brake.states()[0].mode == "run"
    # a token of another session of the same user will not do
    strange = log_in(TestClient(operator.app, follow_redirects=False), "ada").headers["X-CSRF-Token"]
    assert strange != token
    answer = operator.post("/api/emergency", json=body, headers={"X-CSRF-Token": strange})
    assert answer.status_code == 403
    assert operator.post("/api/emergency", json=body, headers={"X-CSRF-Token": token}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}],
)
def test_requests_of_other_sites_are_refused(operator: TestClient, headers: dict[str, str]) -> None:
    body = {"mode": "halt", "confirm": "halt", "reason": "a test"}
    assert operator.post("/api/emergency", json=body, headers=headers).status_code == 403
    assert operator.post("/login", data={}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8050", "127.0.0.1.evil.example", "", "[::2]:8050"]
)
def test_other_host_names_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/login", headers={"Host": host}).status_code == 400
    assert client.get("/healthz", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8050", "127.0.0.1:8050", "[::1]:8050", "testserver"]
)
def test_our_host_names_are_served(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_api_tokens_open_the_api_and_nothing_else(services: Services, client: TestClient) -> None:
    reader = services.accounts.add_token("reader", "viewer", 1, services.clock())
    writer = services.accounts.add_token("writer", "operator", 1, services.clock())
    as_reader, as_writer = ({"Authorization": f"Bearer {token}"} for token in (reader, writer))
    assert client.get("/api/me", headers=as_reader).json() == {"user": "token:reader", "role": "viewer"}
    assert client.get("/", headers=as_reader).status_code == 303
    assert client.get("/api/me", headers={"Authorization": "Bearer bsc_wrong"}).status_code == 401
    assert client.get("/api/me", headers={"Authorization": "Basic YTpi"}).status_code == 401
    body = {"mode": "halt", "confirm": "halt", "reason": "a test"}
    assert client.post("/api/emergency", json=body, headers=as_reader).status_code == 403
    assert client.post("/api/emergency", json=body, headers=as_writer).status_code == 200
    services.clock.now += 90_000  # type: ignore[attr-defined]
    assert client.get("/api/me", headers=as_reader).status_code == 401


def test_every_answer_carries_the_policy(operator: TestClient) -> None:
    for path in ("/", "/login", "/static/app.js", "/api/factors", "/nothing", "/api/nothing"):
        headers = operator.get(path).headers
        assert headers["content-security-policy"] == guard.POLICY, path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and "server" not in headers
    assert operator.get("/").headers["cache-control"] == "no-store"


def test_reports_are_shown_without_an_origin(operator: TestClient) -> None:
    for path in ("/runs/small/report", "/searches/random-0/report"):
        policy = operator.get(path).headers["content-security-policy"]
        assert policy == guard.REPORT_POLICY
        assert policy.startswith("sandbox allow-scripts;") and "allow-same-origin" not in policy
        assert "connect-src" not in policy and "default-src 'none'" in policy


def test_large_requests_are_refused(operator: TestClient) -> None:
    body = {"mode": "halt", "confirm": "halt", "reason": "x" * 100_000}
    assert operator.post("/api/emergency", json=body).status_code in (400, 413, 422)


def test_without_login_only_loopback_and_only_reading(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="loopback"):
        WebSettings.read({"login": False, "host": "0.0.0.0"})
    found = office.services(home, tmp_path, login=False)
    with TestClient(application(found), follow_redirects=False) as client:
        assert client.get("/").status_code == 200
        assert client.get("/audit").status_code == 403
        body = {"mode": "halt", "confirm": "halt", "reason": "a test"}
        assert client.post("/api/emergency", json=body).status_code == 403
        assert client.post("/logout").status_code == 403


def test_over_tls_the_cookie_is_of_this_host_only(home: Path, tmp_path: Path) -> None:
    found = office.services(home, tmp_path, https=True)
    with TestClient(application(found), base_url="https://testserver", follow_redirects=False) as client:
        log_in(client, "ada")
        assert "__Host-bascule" in client.cookies
        assert "max-age" in client.get("/").headers["strict-transport-security"]
