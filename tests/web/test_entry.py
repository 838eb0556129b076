"""Logging in: fixation, rotation, limits, redirects, and what a failure tells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bascule.app.web.pages.entry import onward
from bascule.app.web.server import application, serve
from bascule.app.web.services import Services
from bascule.app.web.settings import WebSettings
from bascule.core import ConfigError
from tests.web.conftest import log_in
from tests.web.office import PASSWORD

COOKIE = "bascule_session"


def attempt(client: TestClient, name: str, password: str, secret: str | None = None) -> int:
    found = re.search(r'name="secret" value="([^"]+)"', client.get("/login").text)
    assert found
    data = {"name": name, "password": password, "secret": found[1] if secret is None else secret}
    return client.post("/login", data=data).status_code


def test_a_session_that_was_fixed_beforehand_opens_nothing(client: TestClient) -> None:
    fixed = "A" * 43
    client.cookies.set(COOKIE, fixed)
    assert client.get("/").status_code == 303
    log_in(client, "ada")
    assert [c.value for c in client.cookies.jar if c.name == COOKIE] != [fixed]
    with_fixed = TestClient(client.app, follow_redirects=False, cookies={COOKIE: fixed})
    assert with_fixed.get("/account").status_code == 303


def test_a_login_rotates_the_session(client: TestClient) -> None:
    log_in(client, "ada")
    first = client.cookies[COOKIE]
    log_in(client, "ada")
    assert client.cookies[COOKIE] != first
    old = TestClient(client.app, follow_redirects=False, cookies={COOKIE: first})
    assert old.get("/account").status_code == 303


def test_the_cookie_is_out_of_reach_of_scripts(client: TestClient) -> None:
    found = re.search(r'name="secret" value="([^"]+)"', client.get("/login").text)
    assert found
    answer = client.post("/login", data={"name": "ada", "password": PASSWORD, "secret": found[1]})
    cookie = next(v for v in answer.headers.get_list("set-cookie") if v.startswith(COOKIE))
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie


def test_a_logout_ends_the_session_on_the_server(operator: TestClient) -> None:
    token = operator.cookies[COOKIE]
    assert operator.post("/logout").status_code == 204
    again = TestClient(operator.app, follow_redirects=False, cookies={COOKIE: token})
    assert again.get("/account").status_code == 303


def test_a_session_ends_after_a_rest(services: Services, operator: TestClient) -> None:
    services.clock.now += 60 * 60 + 1  # type: ignore[attr-defined]
    assert operator.get("/account").status_code == 303
    assert operator.get("/api/me").status_code == 401


def test_the_login_form_needs_its_own_secret(client: TestClient) -> None:
    assert attempt(client, "ada", PASSWORD, secret="x" * 43) == 403
    assert attempt(client, "ada", PASSWORD, secret="") == 403
    client.cookies.clear()
    assert client.post("/login", data={"name": "ada", "password": PASSWORD}).status_code == 403


def test_failures_look_alike_and_are_limited(services: Services, client: TestClient) -> None:
    def told(name: str) -> str:
        found = re.search(r'name="secret" value="([^"]+)"', client.get("/login").text)
        assert found
        sent = {"name": name, "password": "wrong password", "secret": found[1]}
        text = client.post("/login", data=sent).text
        return re.sub(r'value="[^"]{43}"', "", text)

    assert told("ada") == told("nobody")
    for _ in range(4):
        assert attempt(client, "ada", "wrong password") == 401
    assert attempt(client, "ada", PASSWORD) == 429
    outcomes = [one.outcome for one in services.audit.newest()]
    assert outcomes.count("refused") == 6 and outcomes[0] == "refused: too many"
    assert PASSWORD not in str(services.audit.newest()) and "wrong password" not in str(
        services.audit.newest()
    )


@pytest.mark.parametrize(
    "place",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "/a\r\nSet-Cookie: x=1",
    ],
)
def test_nobody_is_sent_elsewhere_after_the_login(place: str) -> None:
    assert onward(place) == "/"
    assert onward("/runs/small?x=1") == "/runs/small?x=1"


def test_another_password_ends_all_sessions(services: Services, operator: TestClient) -> None:
    wrong = operator.post("/account/password", json={"old": "not this one", "new": "another good one"})
    assert wrong.status_code == 400 and "old password" in wrong.json()["error"]
    weak = operator.post("/account/password", json={"old": PASSWORD, "new": "short"})
    assert weak.status_code == 400
    assert (
        operator.post("/account/password", json={"old": PASSWORD, "new": "another good one"}).status_code
        == 204
    )
    assert operator.get("/").status_code == 303
    assert log_in(operator, "ada", "another good one")


def test_without_users_nothing_is_served(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no users"):
        serve(WebSettings(home=tmp_path))


def test_viewers_may_change_their_own_password(viewer: TestClient) -> None:
    answer = viewer.post("/account/password", json={"old": PASSWORD, "new": "another good one"})
    assert answer.status_code == 204


def test_the_application_can_be_built_twice(services: Services) -> None:
    assert application(services).routes and application(services).routes
