"""Chinese and English: one catalogue, English text → Chinese text; what it lacks stays English."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files as resources
from typing import Any, Literal

Language = Literal["en", "zh"]
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "中文"}
COOKIE = "bascule_language"


@cache
def catalogue() -> Mapping[str, str]:
    """English → Chinese."""
    import yaml

    text = resources("bascule.app.web").joinpath("strings.yaml").read_text("utf-8")
    found: dict[str, str] = yaml.safe_load(text)
    return found


def choose(cookie: str | None, accepted: str) -> Language:
    """The language of a request.

    Args:
        cookie: what the visitor chose here before.
        accepted: header ``Accept-Language``.
    """
    for known in LANGUAGES:
        if cookie == known:
            return known
    # the first of the two that the browser names; its order of preference is the usual order of writing
    for part in accepted.lower().split(","):
        for known in LANGUAGES:
            if part.strip().startswith(known):
                return known
    return "en"


class Translator:
    """Called as ``t("text", name=value)`` in templates."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, text: str, **values: Any) -> str:
        """The text in the language, with ``{name}`` filled in."""
        found = catalogue().get(text, text) if self.language == "zh" else text
        return found.format(**values) if values else found
