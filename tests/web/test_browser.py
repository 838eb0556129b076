"""What a user does, in a real browser: login, search, tear sheet, live mining, an alert, the kill switch."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from bascule.app.web import riskfacts
from bascule.app.web.held import RISK
from bascule.app.web.services import Services
from bascule.bridge.freqtrade import emergency
from tests.web import office
from tests.web.browser import FLAGS, chromium, log_in, served, shot

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason="no Chromium here (Debian: apt-get install chromium)"),
    pytest.mark.xdist_group("chromium"),
    # playwright's own loop, left to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
DESK = {"viewport": {"width": 1360, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def address(services: Services) -> Iterator[str]:
    with served(services) as found:
        yield found


class Visit:
    """A page, and everything that went wrong on it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.problems: list[str] = []
        self.foreign: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("request", self._request)

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.foreign.append(request.url)


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:  # closed before the server is
    context = browser.new_context(color_scheme="light", locale="en-GB", **DESK)
    found = Visit(context.new_page())
    yield found
    context.close()
    assert found.problems == [] and found.foreign == []


def test_login_search_and_factor(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit.page
    page.goto(f"{address}/factors")
    assert "/login?next=" in page.url
    page.locator("input[name=name]").press_sequentially("vic")
    page.locator("input[name=password]").press_sequentially(office.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/factors")  # onward to what was asked for
    page.wait_for_selector("html[data-ready]")
    page.locator("#words-sought").press_sequentially("body over range")
    expect(page.locator("#count")).to_have_text(re.compile("^1 of"))
    assert page.locator(".tabulator-row a").all_inner_texts() == ["KMID2"]
    shot(page, "factor-search", tmp_path)
    page.locator("#words-sought").fill("")
    page.locator("#by-library").select_option("crypto")
    expect(page.locator("#count")).to_have_text(re.compile(r"^\d\d of"))
    page.locator("#by-library").select_option("alpha158")
    page.locator("#words-sought").press_sequentially("KMID2")
    page.locator(".tabulator-row a", has_text="KMID2").click()
    page.wait_for_url("**/factors/alpha158/KMID2")
    assert page.locator("h1").inner_text() == "KMID2"
    assert page.locator("button[data-post*=sheet]").count() == 0  # a viewer asks for nothing


def test_factors_sort_by_strength(visit: Visit, address: str) -> None:
    page = visit.page
    log_in(page, address)
    page.goto(f"{address}/factors")
    page.wait_for_selector("html[data-ready]")
    header = page.locator(".tabulator-col[tabulator-field=rank_ic]")
    header.click()
    shown = [
        cell.replace("−", "-")
        for cell in page.locator(".tabulator-cell[tabulator-field=rank_ic]").all_inner_texts()
    ]
    strengths = [abs(float(v)) for v in shown[:3]]
    assert strengths == sorted(strengths, reverse=True) and shown[3] == "–"  # the run measured three


def test_the_library_is_there_within_a_second(visit: Visit, address: str) -> None:
    page = visit.page
    log_in(page, address)
    page.goto(f"{address}/factors")
    page.wait_for_selector("html[data-ready]")
    fastest = 9.0
    for _ in range(3):  # the best of three: other work shares this machine
        began = time.perf_counter()
        page.goto(f"{address}/factors")
        page.wait_for_selector("html[data-ready]")
        fastest = min(fastest, time.perf_counter() - began)
    assert page.locator(".tabulator-row").count() > 5
    assert fastest < 3.0  # docs/web.md says what it takes on a machine of its own


def test_a_search_is_watched_live(visit: Visit, address: str, home: Path, tmp_path: Path) -> None:
    folder = home / "mined" / "live-2"
    office.search(folder, done=False, looks=2)
    page = visit.page
    log_in(page, address)
    page.goto(f"{address}/searches/live-2")
    page.wait_for_selector("html[data-live]")
    number = page.locator("[data-put=proposals]")
    assert number.inner_text() == "256"
    office.state(folder, 6)
    expect(number).to_have_text("768")
    assert page.locator("progress").evaluate("bar => bar.value") == pytest.approx(0.6)
    drawn = (
        "echarts.getInstanceByDom(document.querySelector('[data-curve]')).getOption().series[0].data.length"
    )
    assert page.evaluate(drawn) == 6
    shot(page, "search-live", tmp_path)
    office.search(folder, done=True)
    expect(page.locator("[data-put=status]")).to_have_text("done")
    page.wait_for_selector("text=IC, test part")
    shutil.rmtree(folder)


def test_an_alert_arrives_on_an_open_page(
    visit: Visit, address: str, services: Services, tmp_path: Path
) -> None:
    services.watch.alert("the first")  # type: ignore[attr-defined]
    page = visit.page
    log_in(page, address, "vic")
    page.goto(f"{address}/alerts")
    page.wait_for_selector("#open-alerts:not([hidden])")
    services.watch.alert(f"candles are late {office.EVIL}", "critical")  # type: ignore[attr-defined]
    page.wait_for_selector(".toast.critical")
    assert page.locator("#open-alerts").inner_text() == "2"
    rows = page.locator("#alert-rows tr").all_inner_texts()
    assert "candles are late <script>" in rows[0] and "the first" in rows[1]
    assert page.evaluate("window.hit") is None
    shot(page, "alert", tmp_path)


def test_the_kill_switch_asks_before_it_acts(
    visit: Visit, address: str, services: Services, tmp_path: Path
) -> None:
    user_data = services.settings.bots[0].folder
    assert user_data is not None
    page = visit.page
    log_in(page, address)
    page.goto(f"{address}/emergency")
    page.locator("button[data-mode=flatten]").click()
    send = page.locator("#order button[name=send]")
    assert send.is_disabled()
    page.locator("#order textarea").press_sequentially("the venue is on fire")
    page.locator("#order input[name=typed]").press_sequentially("halt")  # the wrong word
    assert send.is_disabled()
    page.locator("#order input[name=typed]").fill("")
    page.locator("#order input[name=typed]").press_sequentially("flatten")
    shot(page, "kill-switch", tmp_path)
    assert emergency.in_force(user_data).state == "run"  # nothing happened so far
    send.click()
    page.wait_for_selector("#answers li.good")
    given = emergency.in_force(user_data)
    assert (str(given.state), given.reason, given.by) == ("flatten", "the venue is on fire", "ada")
    page.wait_for_selector("#brake:not([hidden])")
    emergency.obey(user_data, given, "sold 3 of 3", now=datetime.now(UTC))
    page.wait_for_selector("td:has-text('sold 3 of 3')")
    shot(page, "kill-switch-done", tmp_path)
    page.locator("button[data-mode=run]").click()
    page.locator("#order textarea").press_sequentially("all is well")
    page.locator("#order input[name=typed]").press_sequentially("run")
    send.click()
    page.wait_for_selector("#brake", state="hidden")
    assert emergency.in_force(user_data).state == "run"
    told = [(one.action, one.target, one.detail) for one in services.audit.newest()]
    assert ("emergency", "main", "flatten: the venue is on fire") in told
    assert ("emergency order", "all bots", "run: all is well") in told


def test_a_bot_is_paused(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit.page
    log_in(page, address)
    page.goto(f"{address}/bots/main")
    assert "odd pair <script>" in page.locator(".log").inner_text()
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    page.locator("button[data-post$=pause]").click()
    page.wait_for_selector(".tag.paused")
    assert len(asked) == 1 and page.evaluate("window.hit") is None
    shot(page, "bot", tmp_path)


@pytest.mark.slow
def test_a_tear_sheet_is_made_and_shown(browser: Any, home: Path, tmp_path: Path) -> None:
    services = office.services(home, tmp_path, data=Path("run.yaml"), state=tmp_path / "sheet.sqlite")
    with served(services) as address:
        context = browser.new_context(**DESK)
        page = context.new_page()
        log_in(page, address)
        page.goto(f"{address}/factors/alpha158/KMID2")
        page.locator("button[data-post*=sheet]").click()
        frame = page.frame_locator("iframe")
        expect(frame.locator("h1")).to_have_text("KMID2", timeout=240_000)  # the page loads itself again
        expect(frame.locator(".plotly .main-svg").first).to_be_visible()
        shot(page, "tear-sheet", tmp_path)
        (job,) = services.jobs.all()
        assert (job.state, job.who, job.target) == ("done", "ada", "alpha158/KMID2")
        page.goto(f"{address}/factors")
        page.wait_for_selector("html[data-ready]")
        page.locator("#words-sought").press_sequentially("KMID2")
        expect(page.locator(".tabulator-cell[tabulator-field=sheet]").first).to_have_text("●")
        context.close()


PRYING = """<!doctype html><body><script>
const out = [origin];
try { out.push(document.cookie) } catch { out.push("no cookie") }
fetch("/api/me").then(() => out.push("asked"), () => out.push("not asked"))
  .then(() => { document.title = out.join("|") })
</script>"""


def test_reports_cannot_reach_the_session(browser: Any, address: str, home: Path) -> None:
    (home / "runs/small/report.html").write_text(PRYING)
    context = browser.new_context(**DESK)
    page = context.new_page()
    log_in(page, address)
    page.goto(f"{address}/runs/small/report")
    expect(page).to_have_title("null|no cookie|not asked")
    context.close()


def test_scripts_of_others_do_not_run(browser: Any, address: str) -> None:
    context = browser.new_context(**DESK)
    page = context.new_page()
    log_in(page, address)
    page.goto(f"{address}/factors/own/evil")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit=1\">')")
    script = "const s=document.createElement('script');s.textContent='window.hit=2';document.body.append(s)"
    page.evaluate(script)
    page.wait_for_timeout(200)
    assert page.evaluate("window.hit") is None
    context.close()


PAGES = {
    "overview": "/", "factors": "/factors", "factor": "/factors/alpha158/KMID", "searches": "/searches",
    "search": "/searches/random-0", "models": "/models", "risk": "/risk", "portfolio": "/portfolio",
    "runs": "/runs", "run": "/runs/small", "bots": "/bots", "bot": "/bots/main", "alerts": "/alerts",
    "emergency": "/emergency", "audit": "/audit", "account": "/account",
}  # fmt: skip
LOOKS = {
    "desk-light-en": ({**DESK, "color_scheme": "light"}, "en"),
    "desk-dark-zh": ({**DESK, "color_scheme": "dark"}, "zh"),
    "phone-light-zh": ({**PHONE, "color_scheme": "light"}, "zh"),
    "phone-dark-en": ({**PHONE, "color_scheme": "dark"}, "en"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKS)
def test_every_page_in_every_look(
    browser: Any, address: str, services: Services, home: Path, tmp_path: Path, name: str
) -> None:
    options, language = LOOKS[name]
    report = home.joinpath("runs", "small", *RISK)
    if not report.is_file():
        riskfacts.write(services.runs.get("small"))
    services.watch.alert("candles of SYN03 are 12 minutes late")  # type: ignore[attr-defined]
    context = browser.new_context(**options)
    context.add_cookies([{"name": "bascule_language", "value": language, "url": address}])
    visit = Visit(context.new_page())
    page = visit.page
    page.goto(f"{address}/login")
    shot(page, f"login-{name}", tmp_path)
    log_in(page, address)
    for title, path in PAGES.items():
        answer = page.goto(f"{address}{path}")
        assert answer.status == 200
        if title == "factors":
            page.wait_for_selector("html[data-ready]")
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{title} is too wide"
        charts = page.locator("[data-chart]")
        assert page.locator("[data-chart][data-drawn]").count() == charts.count(), title
        text = page.locator("main").inner_text()
        assert bool(re.search("[\u4e00-\u9fff]", text)) == (language == "zh"), title
        shot(page, f"{title}-{name}", tmp_path)
    context.close()
    if name == list(LOOKS)[-1]:
        report.unlink()
    assert visit.problems == [] and visit.foreign == []
