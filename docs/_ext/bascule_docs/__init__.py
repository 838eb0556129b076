"""What the documentation site adds to Sphinx.

1. The reference is made from the code itself when pages are read (`reference`, `api`): commands, settings,
   operators, public names. It cannot say what the code does not. The files below ``reference/`` that it
   replaces tell readers of the repository where else to look.
2. Chinese pages get the theme's words in Chinese, a link to their partner in the other language, and no
   spaces where lines were wrapped (`languages`). The search cuts Chinese into words when it indexes and when
   it is asked.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sphinx.application import Sphinx

from bascule_docs import api, languages, reference


@cache
def generated() -> dict[str, str]:
    """Text of each page that is made from the code, by its name in the site."""
    markdown = {f"reference/{name.removesuffix('.md')}": text for name, text in reference.pages().items()}
    return markdown | {f"reference/api/{name}": text for name, text in api.pages().items()}


def _outdated(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Pages whose text is another than when they were read last, though their files are the same."""
    before = getattr(env, "bascule_generated", {})
    env.bascule_generated = generated()
    return [page for page, text in generated().items() if before.get(page) != text]


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = generated().get(page, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    languages.setup(app)
    app.connect("env-get-outdated", _outdated)
    app.connect("source-read", _read)
    app.connect("autodoc-process-signature", api.signature)
    app.connect("autodoc-process-docstring", api.docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
