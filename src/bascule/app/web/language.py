"""Chinese and English: one catalogue, English text → Chinese text; what it lacks stays English.

A word that means different things in different places stands under a key with both its texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files as resources
from typing import Any, Literal

Language = Literal["en", "zh"]
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "中文"}
COOKIE = "bascule_language"


@cache
def catalogue(language: Language) -> Mapping[str, str]:
    """What texts become in a language; the rest stays as it is."""
    import yaml

    text = resources("bascule.app.web").joinpath("strings.yaml").read_text("utf-8")
    found: dict[str, str | dict[Language, str]] = yaml.safe_load(text)
    both = {key: value if isinstance(value, dict) else {"zh": value} for key, value in found.items()}
    return {key: value[language] for key, value in both.items() if language in value}


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
        found = catalogue(self.language).get(text, text)
        return found.format(**values) if values else found
