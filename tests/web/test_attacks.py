"""Path traversal, scripts in names and log lines, damaged files: nothing of it gets through."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.testclient import TestClient

from bascule.app.web.kept import readable
from bascule.app.web.server import application
from bascule.app.web.services import Services
from tests.web import office
from tests.web.conftest import log_in
from tests.web.office import EVIL

PAGES = (
    "/", "/factors", "/factors/own/evil", "/searches", "/searches/random-0", "/models", "/runs",
    "/runs/small", "/portfolio", "/risk", "/bots", "/bots/main", "/alerts", "/emergency", "/audit",
    "/account",
)  # fmt: skip


class Scripts(HTMLParser):
    """What of a page a browser would run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.sources: list[str] = []
        self.handlers: list[str] = []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.handlers += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        for name in ("src", "href", "action"):
            value = given.get(name) or ""
            if value.lower().startswith(("javascript:", "http:", "https:", "//")):
                self.sources.append(value)
        self._open = tag == "script" and given.get("type") != "application/json" and "src" not in given
        if tag == "img":
            self.handlers.append("img")

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_hold_no_script_but_their_own(
    services: Services, operator: TestClient, path: str, language: str
) -> None:
    services.watch.alert(f"candles of {EVIL}")  # type: ignore[attr-defined]
    services.audit.note(1.8e9, f"ada{EVIL}", EVIL, EVIL, EVIL, EVIL, EVIL)
    operator.cookies.set("bascule_language", language)
    answer = operator.get(path)
    assert answer.status_code == 200
    found = Scripts(answer.text)
    assert (found.inline, found.sources, found.handlers) == ([], [], [])
    assert EVIL not in answer.text and "<script>window" not in answer.text


def test_evil_texts_are_really_on_the_pages(services: Services, operator: TestClient) -> None:
    escaped = "&lt;script&gt;window.hit=1"
    services.watch.alert(EVIL)  # type: ignore[attr-defined]
    for path in ("/factors/own/evil", "/bots/main", "/alerts", "/models"):
        assert escaped in operator.get(path).text, path


def test_json_inside_pages_cannot_be_left(services: Services, operator: TestClient) -> None:
    services.jobs.ask("sheet", EVIL, ["--version"], EVIL)
    text = operator.get("/runs/small").text
    for part in text.split('type="application/json"')[1:]:
        body = part.split(">", 1)[1].split("</script>", 1)[0]
        json.loads(body)
        assert "<" not in body


TRAVERSALS = [
    "../small", "..%2fsmall", "%2e%2e%2fsmall", "..\\small", "....//small", "small/../small", "small%00", ".",
    "..", "%2e", "/etc/passwd", "small/../../web.sqlite", "~", "small~..~..", "C:\\x", "small/stages",
]  # fmt: skip


def raw(app: Any, path: str, cookie: str) -> tuple[int, bytes]:
    """Ask for exactly this path: clients would tidy it up before."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    bare, _, query = path.partition("?")
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "",
        "path": unquote(bare), "raw_path": bare.encode(), "query_string": query.encode(), "state": {},
        "headers": [(b"host", b"localhost"), (b"cookie", cookie.encode())], "client": ("127.0.0.1", 1),
        "server": ("localhost", 80), "app": app,
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:])


@pytest.mark.parametrize("name", TRAVERSALS)
def test_names_lead_nowhere_else(services: Services, name: str) -> None:
    app = application(services)
    cookie = f"bascule_session={services.sessions.begin('ada', '127.0.0.1', services.clock())}"
    assert raw(app, "/runs/small", cookie)[0] == 200
    for path in (
        f"/runs/{name}", f"/runs/{name}/report", f"/runs/{name}/risk", f"/searches/{name}/report",
        f"/api/runs/{name}", f"/api/runs/{name}/trades", f"/api/searches/{name}", f"/static/{name}",
        f"/static/vendor/../{name}", f"/factors/alpha158/{name}/sheet", f"/factors/{name}/KMID",
        f"/bots/{name}", f"/portfolio?run={name}",
    ):  # fmt: skip
        status, body = raw(app, path, cookie)
        assert status in (404, 405), path
        assert b"SQLite" not in body and b"root:" not in body


def test_links_in_the_runs_folder_are_not_a_way_out(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    (folder / "runs").mkdir(parents=True)
    (folder / "secret.html").write_text("secret")
    found = office.services(folder, tmp_path, factors=())
    with TestClient(application(found), follow_redirects=False) as client:
        log_in(client, "ada")
        for name in ("secret.html", "..%2fsecret.html", "../secret.html"):
            assert client.get(f"/runs/{name}/report").status_code in (404, 303)


def test_files_of_another_shape_hide_only_themselves(tmp_path: Path) -> None:
    def read(name: str, path: Path) -> int:
        return int(json.loads(path.read_text())["value"])

    places = {name: tmp_path / name for name in ("good", "foreign", "list", "text")}
    for name, text in zip(places, ('{"value": 1}', "{}", "[]", '{"value": "x"}'), strict=True):
        (tmp_path / name).write_text(text)
    found, problems = readable(places, read)
    assert found == [1] and [one.partition(":")[0] for one in problems] == ["foreign", "list", "text"]


def damaged(home: Path) -> Iterator[tuple[Path, bytes]]:
    """Files that are whole, to be damaged one at a time."""
    for pattern in (
        "runs/*/stages/backtest.json", "runs/*/work/signals-*/alpha.json",
        "runs/*/compare/*/leaderboard.json",
        "runs/*/champions/history/000001.json", "runs/*/work/backtest-*/user_data/*/*.zip",
        "mined/*/state.npz", "mined/*/result.json", "mined/*/factors.yaml", "own.yaml",
    ):  # fmt: skip
        for path in home.glob(pattern):
            yield path, path.read_bytes()


@pytest.mark.parametrize("damage", [b"{\x00 damaged", b'{"facts": [1], "seconds": "x"}', b"[]"])
def test_one_damaged_file_hides_only_itself(home: Path, tmp_path: Path, damage: bytes) -> None:
    lists = ("/", "/factors", "/searches", "/models", "/runs", "/api/models", "/api/searches", "/api/runs")
    seen = 0
    for path, whole in list(damaged(home)):
        try:
            path.write_bytes(damage)
            folder = tmp_path / f"state{seen}"
            with TestClient(application(office.services(home, folder)), follow_redirects=False) as client:
                log_in(client, "ada")
                for place in lists:
                    assert client.get(place).status_code == 200, (path, place)
                for place in ("/runs/small", "/api/runs/small/trades"):
                    answer = client.get(place)  # an error that is not of the tree would be raised here
                    assert answer.status_code in (200, 404, 500) and "Traceback" not in answer.text
        finally:
            path.write_bytes(whole)
        seen += 1
    assert seen >= 8
