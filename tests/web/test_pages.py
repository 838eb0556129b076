"""What pages and API tell: the same figures that commands left in their files."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from bascule.app.web import language
from bascule.app.web.runs import Runs
from bascule.app.web.services import Services
from bascule.factors import search
from bascule.signals import Bundle
from tests.web import office

WEB = Path(language.__file__).parent


def chart(text: str, name: str) -> dict[str, Any]:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.S)
    assert found
    value: dict[str, Any] = json.loads(found[1])
    return value


def test_the_library_is_whole_and_searched(viewer: TestClient) -> None:
    every = viewer.get("/api/factors").json()
    assert len(every["items"]) == len(search()) + 5  # four of our own, one mined
    assert every["run"] == "small" and every["horizon"] == 6
    found = viewer.get("/api/factors", params={"words": "body open", "library": "alpha158"}).json()["items"]
    assert [one["name"] for one in found] == [
        one.factor.name for one in search("body open", libraries=["alpha158"])
    ]
    volume = viewer.get("/api/factors", params={"field": "$volume", "family": "volume"}).json()["items"]
    assert volume and all("volume" in one["fields"] for one in volume)


def test_measurements_of_the_newest_run_stand_beside_factors(home: Path, viewer: TestClient) -> None:
    import pandas as pd

    path = next((home / "runs/small/work").glob("factors-*/factors.parquet"))
    expected = pd.read_parquet(path).loc[("reversal", 6), "rank_ic"]
    runs = Runs(home / "runs")
    horizon, measured = runs.factors(runs.get("small"))
    assert horizon == 6 and measured["$close/Ref($close,5)-1"].rank_ic == pytest.approx(expected)
    row = viewer.get("/api/factors/alpha158/KMID").json()
    assert row["rank_ic"] is None and row["text"] == "($close-$open)/$open"


def test_factors_are_sent_packed(viewer: TestClient) -> None:
    plain = viewer.get("/api/factors", headers={"Accept-Encoding": "identity"})
    packed = viewer.get("/api/factors", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 4


def test_a_run_is_told_as_it_is(home: Path, viewer: TestClient) -> None:
    told = viewer.get("/api/runs/small").json()
    marker = json.loads((home / "runs/small/stages/signals.json").read_text())
    assert told["rank_ic"] == marker["facts"]["rank_ic"] and told["synthetic"] and told["finished"]
    assert (told["sharpe"], told["max_drawdown"], told["trades"]) == (1.5, 0.11, 25)
    trades = viewer.get("/api/runs/small/trades?offset=20&count=10").json()
    assert trades["total"] == 25 and len(trades["items"]) == 5
    curves = viewer.get("/api/runs/small/equity").json()
    assert set(curves["values"]) == {"strategy", "equal weight", "SYNBTC_USDT"}
    assert all(
        values[0] == 1.0 and len(values) == len(curves["time"]) for values in curves["values"].values()
    )


def test_the_portfolio_is_the_newest_row_of_the_bundle(home: Path, viewer: TestClient) -> None:
    bundle = Bundle.open(next((home / "runs/small/work").glob("signals-*/bundles/current")))
    frame = bundle.signals
    row = frame.covered.nonzero()[0][-1]
    told = viewer.get("/api/runs/small/portfolio").json()
    assert told["time"] == str(frame.time[row])[:16].replace("T", " ")
    expected = {
        n: float(w) for n, w in zip(frame.instruments, frame.target_weight[row], strict=True) if w == w
    }
    got = {one["instrument"]: one["target_weight"] for one in told["weights"]}
    assert got == pytest.approx({name: expected[name] for name in got}, abs=1e-6)
    assert told["gross"] == pytest.approx(sum(abs(w) for w in expected.values()), abs=1e-5)
    assert told["model"] == frame.model_id[row]


def test_searches_tell_state_and_result(viewer: TestClient) -> None:
    found = {one["id"]: one for one in viewer.get("/api/searches").json()}
    done, live = found["random-0"], found["evolution-1"]
    assert (done["status"], done["found"], len(done["looks"])) == ("done", True, 10)
    assert (live["status"], live["proposals"], live["budget"]) == ("running", 384, 1280)
    assert chart(viewer.get("/searches/evolution-1").text, "learning")["x"] == [128, 256, 384]


def test_a_search_that_says_nothing_for_long_is_stopped(home: Path) -> None:
    from bascule.app.web.mined import QUIET, Searches

    found = Searches(home / "mined").get("evolution-1", now=time.time() + QUIET + 3600)
    assert found.status == "stopped"


def test_the_state_of_a_real_search_is_read(tmp_path: Path) -> None:
    from bascule.app.web.mined import Searches
    from bascule.miners import Grammar, GrammarSettings, Miner, SearchSettings
    from bascule.miners.searchers.uniform import RandomSearch
    from tests.miners.markets import problem

    grammar = Grammar(GrammarSettings(fields=("close", "volume")))
    settings = SearchSettings(proposals=32, batch=16, look_every=1)
    folder = tmp_path / "random-3"
    result = Miner(problem(), RandomSearch(grammar, 3), grammar, settings, folder=folder).run()
    (told,) = Searches(tmp_path).all()
    assert (told.proposals, told.trials) == (result.proposals, result.trials)
    assert [look.proposals for look in told.looks] == [look.proposals for look in result.looks]
    assert [one["text"] for one in told.members] == result.texts


def test_models_and_leaderboards(viewer: TestClient) -> None:
    told = viewer.get("/api/models").json()
    (store,), (board,) = told["stores"], told["boards"]
    assert store["serving"] == "2022-03" and [one["number"] for one in store["history"]] == [2, 1]
    assert [one["name"] for one in board["scores"]] == ["LGBModel", "TransformerModel"]
    assert board["statements"][0][1] is False


def test_a_risk_report_is_made_and_shown(home: Path, operator: TestClient) -> None:
    from bascule.app.web import riskfacts

    assert operator.get("/api/runs/small/risk").status_code == 404
    runs = Runs(home / "runs")
    path = riskfacts.write(runs.get("small"))
    try:
        told = operator.get("/api/runs/small/risk").json()
        assert sum(one["share"] for one in told["parts"]) == pytest.approx(1.0)
        assert told["volatility"] > 0 and told["losses"] and told["source"].startswith("synthetic")
        page = operator.get("/risk?run=small")
        assert page.status_code == 200 and chart(page.text, "exposures")["kind"] == "heat"
        assert operator.get("/runs/small/risk").status_code == 200
    finally:
        path.unlink()


def test_errors_of_the_api_say_what_to_do(operator: TestClient) -> None:
    answer = operator.get("/api/runs/nothing")
    assert answer.status_code == 404 and answer.json()["error"] == "there is no run 'nothing'"
    answer = operator.post("/api/emergency", json={"mode": "halt", "confirm": "run", "reason": "a test"})
    assert answer.status_code == 409 and "alike" in answer.json()["remedy"]
    answer = operator.get("/api/runs/small/trades?count=0")
    assert answer.status_code == 422 and answer.json()["where"] == "query.count"


# -- language ------------------------------------------------------------------------------------------------


def sources() -> dict[str, str]:
    found = {path.name: path.read_text() for path in (WEB / "templates").glob("*.html")}
    return found | {path.name: path.read_text() for path in (WEB / "static").glob("*.js")}


def test_every_text_of_templates_and_scripts_has_its_chinese() -> None:
    wanted = set()
    for text in sources().values():
        for quote in "\"'":
            wanted |= set(re.findall(rf"\bt\({quote}([^{quote}]+){quote}[,)]", text))
    assert len(wanted) > 150
    assert sorted(wanted - set(language.catalogue("zh"))) == []


def test_the_catalogue_keeps_the_values_of_its_texts() -> None:
    for english, chinese in language.catalogue("zh").items():
        assert isinstance(chinese, str) and chinese, english
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", chinese)), english


def test_yaml_has_no_text_twice() -> None:
    lines = (WEB / "strings.yaml").read_text().splitlines()
    keys = [yaml.safe_load(line) for line in lines if line and not line.startswith("#")]
    names = [next(iter(one)) for one in keys]
    assert len(names) == len(set(names))


def test_the_language_is_chosen_and_remembered(client: TestClient) -> None:
    assert "登录" in client.get("/login", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}).text
    assert "Log in" in client.get("/login", headers={"Accept-Language": "en-GB,zh;q=0.5"}).text
    client.cookies.set("bascule_language", "zh")
    assert 'lang="zh-CN"' in client.get("/login", headers={"Accept-Language": "en"}).text
    client.cookies.set("bascule_language", "../../etc")
    assert 'lang="en"' in client.get("/login", headers={"Accept-Language": "fr"}).text


def test_the_theme_is_remembered_and_nothing_else_is_believed(client: TestClient) -> None:
    client.cookies.set("bascule_theme", "dark")
    assert 'data-theme="dark"' in client.get("/login").text
    client.cookies.set("bascule_theme", '"><script>')
    assert 'data-theme="auto"' in client.get("/login").text


def test_pages_load_nothing_from_elsewhere() -> None:
    for name, text in sources().items():
        for address in re.findall(r"https?://[^\s\"'`<)]+", text):
            assert "127.0.0.1" in address, (name, address)


def test_static_files_are_kept_by_browsers_until_they_change(client: TestClient) -> None:
    from bascule.app.web import statics

    address = statics.address("app.js")
    answer = client.get(address, headers={"Accept-Encoding": "gzip"})
    assert "immutable" in answer.headers["cache-control"] and answer.headers["content-encoding"] == "gzip"
    assert answer.text == (WEB / "static/app.js").read_text()
    assert client.get("/static/app.js").headers["cache-control"] == "no-cache"
    again = client.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert client.get("/static/vendor/echarts-LICENSE.txt").status_code == 200


def test_an_empty_workspace_shows_what_to_do(tmp_path: Path) -> None:
    from bascule.app.web.server import application
    from tests.web.conftest import log_in

    found: Services = office.services(tmp_path / "empty", tmp_path, factors=(), bots=())
    with TestClient(application(found), follow_redirects=False) as client:
        log_in(client, "ada")
        for path in (
            "/",
            "/factors",
            "/searches",
            "/models",
            "/runs",
            "/portfolio",
            "/risk",
            "/bots",
            "/emergency",
        ):
            assert client.get(path).status_code == 200, path
        assert "bascule mine run" in client.get("/searches").text
        assert client.get("/api/bots").json() == [] and client.get("/api/runs").json() == []
