"""The pages of the documentation as text: their fenced blocks, their links, their commands."""

from __future__ import annotations

import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EXTENSION = DOCS / "_ext"
SHELL = ("sh", "bash", "console", "shell", "")

_FENCE = re.compile(r"^( *)(`{3,}|~{3,}) *([^\s`]*)[^`]*$")
_LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: where it stands.
        line: number of its first line of content, from 1.
        language: word after the fence, maybe empty.
        text: content, without the indentation of the fence.
    """

    page: Path
    line: int
    language: str
    text: str


def pages() -> list[Path]:
    """All pages as they stand in the repository."""
    found = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    if (ROOT / "CONTRIBUTING.md").exists():
        found.append(ROOT / "CONTRIBUTING.md")
    return [page for page in found if "_" not in page.relative_to(ROOT).parts[1:2]]


def name(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = page.read_text("utf-8").splitlines()
    at = 0
    while at < len(lines):
        opened = _FENCE.match(lines[at])
        if not opened:
            at += 1
            continue
        indent, mark, language = len(opened[1]), opened[2], opened[3]
        end = at + 1
        while end < len(lines) and lines[end].strip() not in (mark, mark + mark[0]):
            end += 1
        text = "\n".join(line[indent:] for line in lines[at + 1 : end])
        found.append(Block(page, at + 2, language, text))
        at = end + 1
    return found


def prose(page: Path) -> str:
    """The page without fenced blocks and HTML comments."""
    lines = page.read_text("utf-8").splitlines()
    for block in blocks(page):
        for at in range(block.line - 2, block.line + block.text.count("\n") + 1):
            if at < len(lines):
                lines[at] = ""
    return re.sub(r"<!--.*?-->", "", "\n".join(lines), flags=re.DOTALL)


def links(page: Path) -> list[str]:
    """Targets of links and pictures outside of code."""
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and MyST make them, and its explicit targets."""
    text = prose(page)
    found = set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found


def command_lines(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Every call of ``bascule`` in a page's shell blocks: line number and words."""
    for block in blocks(page):
        if block.language not in SHELL:
            continue
        pending = ""
        for number, line in enumerate(block.text.splitlines(), block.line):
            line = pending + line.strip()
            if line.endswith("\\"):
                pending = line[:-1] + " "
                continue
            pending = ""
            found = re.search(r"(?:^\$ |^|[;&|] *|bin/)(bascule (?!:).*)", line)
            if found:
                yield number, _words(found[1])


def _words(line: str) -> list[str]:
    words = shlex.split(re.sub(r"\s#.*", "", line), posix=True)
    stop = next((i for i, word in enumerate(words) if word in ("|", ">", ">>", "&&", "&", ";")), len(words))
    return words[:stop]


def tools() -> Any:
    """The site's own extension (api, reference, languages), which the tests hold against the code."""
    if str(EXTENSION) not in sys.path:
        sys.path.insert(0, str(EXTENSION))
    with warnings.catch_warnings():
        # jieba's source has invalid escapes, which are told when it is compiled for the first time
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        from bascule_docs import api, languages, reference

    return api, reference, languages
