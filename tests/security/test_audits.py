"""The audits find what is planted, and say plainly what they could not do."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.security import advisories, leaks, licences, sbom
from tests.security.sbom import ROOT, Trouble

TODAY = dt.date(2026, 11, 22)
HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.0"]}


@pytest.fixture(scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return sbom.make(tmp_path_factory.mktemp("sbom") / "sbom.cdx.json")


def component(package: str, /, **licence: str) -> dict[str, Any]:
    said = [{"expression": licence["expression"]}] if "expression" in licence else []
    return {
        "name": package,
        "version": "1.0",
        "purl": f"pkg:pypi/{package}@1.0",
        "licenses": said or [{"license": licence}],
    }


# -- bill of materials ----------------------------------------------------------------------------------


def test_the_bill_names_all_that_is_installed_and_vendored(components: list[dict[str, Any]]) -> None:
    names = {one["name"].lower().replace("_", "-") for one in components}
    needed = [Requirement(one) for one in requires("bascule") or []]
    direct = {one.name.lower().replace("_", "-") for one in needed if not one.marker or one.marker.evaluate()}
    assert len(direct) > 15 and direct <= names
    scripts = {one["bom-ref"]: one for one in components if one["bom-ref"].startswith("vendored:")}
    for file in (path for path in sbom.VENDORED.iterdir() if path.suffix in (".js", ".css")):
        digest = scripts[f"vendored:{file.name}"]["hashes"][0]["content"]
        assert digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_bill_is_of_its_schema(components: list[dict[str, Any]]) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    few = [*components[:5], *(one for one in components if one["bom-ref"].startswith("vendored:"))]
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps({**head, "components": few})) is None
    assert validator.validate_str(json.dumps({**head, "components": [{"name": "no type"}]})) is not None


def test_a_vendored_script_of_nobody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mystery.js").write_text("alert(1)")
    with pytest.raises(Trouble, match=r"mystery\.js"):
        sbom.vendored(tmp_path)
    (tmp_path / "mystery.js").rename(tmp_path / "echarts-9.9.9.min.js")
    with pytest.raises(Trouble, match="LICENSE"):
        sbom.vendored(tmp_path)


# -- licences -------------------------------------------------------------------------------------------


def test_all_licences_go_with_ours(components: list[dict[str, Any]]) -> None:
    taken, wrong = licences.judge(components, licences.rules())
    assert wrong == []
    assert taken["freqtrade"] == "GPL-3.0-only"


@pytest.mark.parametrize(
    "planted",
    [
        component("a", expression="GPL-2.0-only"),
        component("a", expression="MIT AND SSPL-1.0"),
        component("a", id="BUSL-1.1"),
        component("a", name="License :: Other/Proprietary License"),
        component("a", name="ask us"),
        {"name": "a", "version": "1"},
    ],
)
def test_a_licence_that_does_not_go_is_found(planted: dict[str, Any]) -> None:
    _, wrong = licences.judge([component("b", id="MIT"), planted], licences.rules())
    assert len(wrong) == 1 and wrong[0].startswith("a:")


def test_either_licence_will_do() -> None:
    either = component("a", expression="GPL-2.0-only OR Apache-2.0")
    assert licences.judge([either], licences.rules())[1] == []


# -- advisories -----------------------------------------------------------------------------------------


@contextmanager
def service(holes: dict[str, list[dict[str, Any]]]) -> Iterator[list[str]]:
    """A service of advisories on this machine, in the form of OSV: pip-audit's options for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"vulns": holes.get(asked["package"]["name"], [])}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield ["-s", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}/v1/query"]
    finally:
        server.shutdown()
        server.server_close()


def hole(package: str, name: str) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}]
    affected = [{"package": {"ecosystem": "PyPI", "name": package}, "ranges": ranges}]
    return {
        "id": name,
        "aliases": [],
        "affected": affected,
        "details": "",
        "modified": "2026-01-01T00:00:00Z",
    }


def test_pip_audit_finds_what_a_service_knows() -> None:
    canary = [hole("jinja2", "GHSA-canary")]
    mine, clean = [component("leaky", id="MIT")], [component("sound", id="MIT")]
    with service({"jinja2": canary, "leaky": [hole("leaky", "GHSA-planted")]}) as there:
        found, line = advisories.find([*mine, *clean], [], TODAY, [there])
        assert len(found) == 1 and "leaky 1.0: GHSA-planted" in found[0] and "9.9" in found[0]
        assert line.startswith("advisories: 2 components audited")
        accepted = {"package": "leaky", "id": "GHSA-planted", "until": TODAY, "reason": "a test"}
        assert advisories.find(mine, [accepted], TODAY, [there])[0] == []
        late = advisories.find(mine, [accepted], TODAY + dt.timedelta(days=1), [there])[0]
        assert len(late) == 1 and "accepted until" in late[0]


def test_a_service_that_knows_nothing_is_no_service() -> None:
    # it answers, but does not know the canary: "no known vulnerabilities" would be worth nothing
    with service({}) as there:
        found, line = advisories.find([component("leaky", id="MIT")], [], TODAY, [there])
    assert (found, "NOT AUDITED" in line) == ([], True)
    gone = ["-s", "osv", "--osv-url", "http://127.0.0.1:9/v1/query"]
    assert "NOT AUDITED" in advisories.find([], [], TODAY, [gone])[1]


def test_what_is_accepted_is_written_with_date_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for entry in advisories.accepted():
        assert entry["until"] - TODAY < dt.timedelta(days=400)
    monkeypatch.setattr(advisories, "LIST", tmp_path / "list.yaml")
    advisories.LIST.write_text("- {id: CVE-1, package: a, until: some day, reason: none}\n")
    with pytest.raises(Trouble, match="a date"):
        advisories.accepted()


def test_findings_by_any_name_of_a_hole() -> None:
    answer = [{"name": "a", "version": "1", "vulns": [HOLE]}, {"name": "b", "skip_reason": "not there"}]
    accepted = {"package": "a", "id": "CVE-1", "until": TODAY, "reason": "a test"}
    assert advisories.judge(answer, [accepted], TODAY) == ([], ["b"])
    assert "PYSEC-1/CVE-1, mended in 2.0" in advisories.judge(answer, [], TODAY)[0][0]
    assert advisories.pin({"name": "torch", "version": "2.0+cpu"}) == "torch==2.0"


# -- leaks ----------------------------------------------------------------------------------------------


def random_text(seed: bytes) -> str:
    return base64.b64encode(hashlib.sha384(seed).digest()).decode()


def planted(folder: Path) -> None:
    # put together here, so that this file holds none
    texts = {
        "a.py": f"token = 'ghp_{hashlib.sha256(b'a').hexdigest()[:36]}'\n",
        "b.yaml": f"aws: AKIA{'QWERTYUIOPASDFGH'}\n",
        "key.pem": "-----BEGIN " + "PRIVATE KEY-----\nMIIB\n",
        "tests/c.py": f"secret = '{random_text(b'b')}'\n",
        "settings.json": json.dumps({"api_" + "password": "hunter2hunter2"}),
        "clean.py": "colour = 'green'\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_planted_secrets_are_found_unless_known(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    planted(tmp_path)
    files = leaks.tracked(tmp_path)
    found = leaks.scan(tmp_path, files)
    assert {one[0] for one in found} == set(files) - {"clean.py"}
    lines = leaks.new(found, set())
    assert not any("hunter2" in line for line in lines)
    assert leaks.new(found, {one[:3] for one in found}) == []
    # the same text in another file is new
    assert leaks.new({("else.py", kind, sha, 1) for _, kind, sha, _ in found}, {one[:3] for one in found})


def test_passwords_of_tests_servers_are_none(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("tests/a.py", "a.py"):
        (tmp_path / name).write_text("pass" + "word = 'hunter2hunter2'\n")
    assert {one[0] for one in leaks.scan(tmp_path, ["tests/a.py", "a.py"])} == {"a.py"}


def test_pictures_of_notebooks_are_none(tmp_path: Path) -> None:
    for name, kind in (("a.ipynb", "image/png"), ("b.ipynb", "token")):
        (tmp_path / name).write_text(f'{{\n "{kind}": "{random_text(b"c")}"\n}}\n')
    assert {one[0] for one in leaks.scan(tmp_path, ["a.ipynb", "b.ipynb"])} == {"b.ipynb"}


def test_known_ones_are_let_through() -> None:
    # the whole tree takes half a minute, and is scanned by `make audit`
    sample = sorted({file for file, _, _ in leaks.known() if (ROOT / file).is_file()})
    found = leaks.scan(ROOT, sample)
    assert found and leaks.new(found, leaks.known()) == []


def test_ci_runs_the_audits() -> None:
    assert "make audit" in (ROOT / ".ci" / "run").read_text("utf-8")
    done = subprocess.run(
        ["make", "-n", "audit", "READY="], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "-m tests.security" in done.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "tests.security", "nothing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 2 and "no such audit" in wrong.stderr
