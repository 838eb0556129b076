"""What the documentation site adds to Sphinx.

1. Before pages are read, the reference is written from the code itself (`reference`, `api`): commands,
   settings, operators, public names. It cannot say what the code does not.
2. Chinese pages get the theme's words in Chinese, a link to their partner in the other language, and no
   spaces where lines were wrapped (`languages`). The search cuts Chinese into words when it indexes and when
   it is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from bascule_docs import api, languages, reference


def write_reference(app: Sphinx) -> None:
    """Write the generated pages below ``reference/``; unchanged ones keep their time."""
    folder = Path(app.srcdir) / "reference"
    pages = reference.pages() | {f"api/{name}.rst": text for name, text in api.pages().items()}
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    languages.setup(app)
    app.connect("builder-inited", write_reference)
    app.connect("autodoc-process-signature", api.signature)
    app.connect("autodoc-process-docstring", api.docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
