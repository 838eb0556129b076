"""Links within the documentation lead somewhere, and Chinese pages have their partners."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, anchors, links, name, pages, tools

# pages that the site makes from the code
GENERATED = ("commands", "settings", "operators")
MAIN = ("index.md", "quickstart.md", "comparison.md", "concepts/index.md")


@pytest.mark.parametrize("page", [pytest.param(p, id=name(p)) for p in pages()])
def test_links_resolve(page: Path) -> None:
    wrong = []
    for target in links(page):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        made = aim.parent == DOCS / "reference" and aim.stem in GENERATED  # its anchors are on the site only
        lost = anchor and aim.suffix == ".md" and not made and anchor not in anchors(aim)
        if not aim.exists() or lost:
            wrong.append(target)
    assert wrong == [], name(page)


def test_no_source_file_becomes_a_download() -> None:
    """On the site a link to a file that is no page is a copy to download: of a source file, unwanted."""
    sources = DOCS.parent / "src"
    wrong = [
        f"{name(page)}: {target}"
        for page in DOCS.rglob("*.md")
        if not (page.parent == DOCS / "reference" and page.stem in GENERATED)  # the site replaces their text
        for target in links(page)
        if (page.parent / target).resolve().is_relative_to(sources)
    ]
    assert wrong == []


def test_chinese_pages_have_partners() -> None:
    chinese = {page.relative_to(DOCS / "zh") for page in (DOCS / "zh").rglob("*.md")}
    assert [str(page) for page in sorted(chinese) if not (DOCS / page).exists()] == []
    assert [page for page in MAIN if Path(page) not in chinese] == []
    concepts = {page.relative_to(DOCS) for page in (DOCS / "concepts").glob("*.md")}
    assert concepts <= chinese


def test_wrapped_chinese_lines_are_joined() -> None:
    languages = tools()[2]
    text = (
        "一行中文，\n接着是中文\nand English\n\n- 列表\n- 列表\n\n```python\n# 中文\n中 = 1\n```\n末行\n中文"
    )
    wanted = "一行中文，接着是中文\nand English\n\n- 列表\n- 列表\n\n```python\n# 中文\n中 = 1\n```\n末行中文"
    assert languages.unwrapped(text) == wanted
    assert languages.partner("zh/a", {"a"}) == "a" and languages.partner("b", {"zh/a"}) is None


def test_chinese_pages_are_chinese() -> None:
    for page in (DOCS / "zh").rglob("*.md"):
        text = page.read_text("utf-8")
        assert sum("\u4e00" <= letter <= "\u9fff" for letter in text) > 60, name(page)
