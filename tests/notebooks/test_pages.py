"""Tutorial in two languages: the same blocks in the same order, and a test that reads them rightly."""

from __future__ import annotations

from tests.docs.pages import blocks
from tests.notebooks.test_tutorial import PAGES, STEPS, pieces, step_of, typed, unseen


def test_both_languages_say_the_same_to_the_machine() -> None:
    """Comments in files may be translated; commands, settings and what is printed are the same."""

    def told(text: str) -> list[str]:
        return [line.split("  # ")[0].rstrip() for line in text.splitlines()]

    english, chinese = (
        [(step_of(one), one.language, told(one.text)) for one in blocks(page)] for page in PAGES
    )
    assert english == chinese
    assert {step for step, _, _ in english} >= set(STEPS)


def test_shown_output_is_compared() -> None:
    assert typed("$ a b\none\n$ c\n") == [("a b", ["one"]), ("c", [])]
    assert pieces(" x   1.5 … y", exact=True) == ["x 1.5", "y"]
    output = "head\n x  2.5   z y\nlast 7 %"
    assert unseen(["x 2.5 … y", "last"], output, exact=True) == []
    assert unseen(["x 1.5 … y"], output, exact=True) == ["x 1.5 … y"]
    assert unseen(["x 1.5 … y"], output, exact=False) == []
    assert unseen(["last 7", "head"], output, exact=False) == ["head"]  # out of order
