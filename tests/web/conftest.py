"""One workspace for all tests of the dashboard; state of its own for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bascule.app.web.server import application
from bascule.app.web.services import Services
from tests.web import office


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    office.workspace(folder)
    return folder


@pytest.fixture
def services(home: Path, tmp_path: Path) -> Services:
    return office.services(home, tmp_path)


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    """Nobody, logged in nowhere."""
    with TestClient(application(services), follow_redirects=False) as found:
        yield found


Login = Callable[[str], TestClient]


def log_in(client: TestClient, name: str, password: str = office.PASSWORD) -> TestClient:
    """Log a client in through the form, and let it send the CSRF token."""
    form = client.get("/login").text
    secret = re.search(r'name="secret" value="([^"]+)"', form)
    assert secret
    sent = {"name": name, "password": password, "secret": secret[1], "next": "/"}
    answer = client.post("/login", data=sent)
    assert answer.status_code == 303, answer.text
    page = client.get("/account").text
    found = re.search(r'"csrf": "([^"]+)"', page)
    assert found
    client.headers["X-CSRF-Token"] = found[1]
    return client


@pytest.fixture
def viewer(client: TestClient) -> TestClient:
    return log_in(client, "vic")


@pytest.fixture
def operator(client: TestClient) -> TestClient:
    return log_in(client, "ada")
