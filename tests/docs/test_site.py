"""The site is built without a warning, works without network, and speaks both languages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS

# the site is built once for all of them
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-W",
            "--keep-going",
            "-b",
            "html",
            "-d",
            out / "trees",
            DOCS,
            out / "html",
        ],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out / "html"


def test_every_page_is_built_and_reachable(site: Path) -> None:
    written = {p.relative_to(DOCS).with_suffix(".html") for p in DOCS.rglob("*.md") if "_ext" not in p.parts}
    assert [str(page) for page in sorted(written) if not (site / page).exists()] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in (
        site / "index.html",
        site / "zh/index.html",
        site / "reference/settings.html",
        site / "search.html",
    ):
        text = page.read_text("utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=\"(https?:[^\"]+)", text)
        loaded += re.findall(
            r"<link[^>]+rel=\"(?:stylesheet|preload|icon)\"[^>]+href=\"(https?:[^\"]+)", text
        )
        assert loaded == [], page


def test_pages_lead_to_their_partners(site: Path) -> None:
    english = (site / "concepts/timing.html").read_text("utf-8")
    chinese = (site / "zh/concepts/timing.html").read_text("utf-8")
    switch = r'class="language-switch" href="([^"]+)" lang="([^"]+)"'
    assert ("../zh/concepts/timing.html", "zh-CN") in re.findall(switch, english)
    assert ("../../concepts/timing.html", "en") in re.findall(switch, chinese)
    assert '<html lang="zh-CN"' in chinese
    assert "当前页面" in chinese and "On this page" not in chinese  # the theme's own words


def test_the_search_knows_both_languages(site: Path) -> None:
    text = (site / "searchindex.js").read_text("utf-8")
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    terms = index["terms"] | index["titleterms"]
    assert {"embargo", "未来函数", "因子"} <= set(terms)
    script = (site / "_static/language_data.js").read_text("utf-8")
    assert "Script=Han" in script
    stemmer = re.search(r"window\.Stemmer = (\w+);", script)
    assert stemmer and f"var {stemmer[1]}=" in script  # else every search ends in an error
