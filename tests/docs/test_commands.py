"""What pages tell the reader to type exists: commands, options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import command_lines, name, pages, prose, tools


@pytest.fixture(scope="module")
def root() -> Any:
    return tools()[1].root()


def problem(root: Any, words: list[str]) -> str | None:
    """Why such a call cannot be right, or None."""
    command, path = root, []
    for at, word in enumerate(words[1:], 1):
        inner = getattr(command, "commands", None)
        if word.startswith("-") and word != "-":
            known = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
            if command is root:
                known |= {"--debug"}
            option = word.split("=")[0]
            if option not in known and option != "--debug":
                return f"{' '.join(words[:at])} has no option {option}"
        elif inner:
            if word not in inner:
                return f"there is no command {' '.join(['bascule', *path, word])}"
            command, path = inner[word], [*path, word]
    return None


@pytest.mark.parametrize("page", [pytest.param(p, id=name(p)) for p in pages()])
def test_commands_in_blocks_exist(root: Any, page: Path) -> None:
    wrong = [
        f"{name(page)}:{number}: {found}"
        for number, words in command_lines(page)
        if (found := problem(root, words))
    ]
    assert wrong == []


@pytest.mark.parametrize("page", [pytest.param(p, id=name(p)) for p in pages()])
def test_commands_in_sentences_exist(root: Any, page: Path) -> None:
    wrong = []
    for text in re.findall(r"`bascule ([^`\n]+)`", prose(page)):
        words = ["bascule"]
        for word in text.split():
            if not re.fullmatch(r"[\w./:=-]+", word):
                break  # a placeholder: what follows is not to be typed as it is
            words.append(word)
        found = problem(root, words)
        if found:
            wrong.append(f"{name(page)}: {found}")
    assert wrong == []


def test_a_wrong_command_is_found(root: Any) -> None:
    assert problem(root, ["bascule", "factor", "reprot"]) == "there is no command bascule factor reprot"
    assert problem(root, ["bascule", "factor", "report", "--horizons=3"])
    assert problem(root, ["bascule", "factor", "report", "alpha158", "--horizon", "24"]) is None
