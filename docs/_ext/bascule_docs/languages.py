"""English and Chinese in one site: partners, the theme's words, and a search that knows Chinese words."""

from __future__ import annotations

import gettext
import logging
import re
from pathlib import Path
from typing import Any

import jieba
import pydata_sphinx_theme
import sphinx
from sphinx.application import Sphinx
from sphinx.search import languages as search_languages
from sphinx.search.zh import SearchChinese

FOLDER = "zh/"
# words of the theme that its own Chinese lacks
LACKING = {"Collapse Sidebar": "收起侧栏", "Expand Sidebar": "展开侧栏"}

# A query has no spaces between words. Runs of Chinese are cut, longest first, into words that the index has.
SPLITTER = r"""
function splitQuery(query) {
  const terms = (typeof Search !== "undefined" && Search._index) ? Search._index.terms : {};
  const titles = (typeof Search !== "undefined" && Search._index) ? Search._index.titleterms : {};
  const known = (word) => Object.hasOwn(terms, word) || Object.hasOwn(titles, word);
  const cut = (run) => {
    const found = [];
    for (let start = 0; start < run.length;) {
      let end = Math.min(run.length, start + 8);
      while (end > start + 1 && !known(run.slice(start, end))) end -= 1;
      if (end > start + 1 || run.length === 1) found.push(run.slice(start, end));
      start = end;
    }
    return found.length ? found : [run];
  };
  return query
    .split(/[^\p{Letter}\p{Number}_\p{Emoji_Presentation}]+/gu)
    .flatMap((part) => part.match(/\p{Script=Han}+|\P{Script=Han}+/gu) || [])
    .flatMap((part) => (/\p{Script=Han}/u.test(part) ? cut(part) : [part]))
    .filter((term) => term);
}
"""


class SearchBoth(SearchChinese):
    """Sphinx's Chinese search, which takes English words too, with a splitter for queries."""

    language_name = (
        "English"  # of the stemmer's script: Sphinx 9.0 asks for a Chinese one, which there is not
    )
    js_splitter_code = SPLITTER


def partner(page: str, pages: set[str]) -> str | None:
    """The same page in the other language, or None."""
    other = page.removeprefix(FOLDER) if page.startswith(FOLDER) else FOLDER + page
    return other if other in pages else None


_HAN = "[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef“”…]"
# a fenced block, or a line's end between two Chinese letters
_WRAP = re.compile(
    rf"^ *(?P<mark>`{{3,}}|~{{3,}}).*?^ *(?P=mark)$|(?<={_HAN})\n *(?={_HAN})", re.DOTALL | re.MULTILINE
)


def unwrapped(text: str) -> str:
    """Markdown in which a line's end between Chinese letters is gone: it would be shown as a space."""
    return _WRAP.sub(lambda found: found[0] if found["mark"] else "", text)


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    if page.startswith(FOLDER):
        source[0] = unwrapped(source[0])


def _words() -> gettext.NullTranslations:
    """The theme's words in Chinese, then Sphinx's own."""
    theme = Path(pydata_sphinx_theme.__file__).parent / "locale"
    words = gettext.translation("sphinx", theme, ["zh"], fallback=True)
    words.add_fallback(
        gettext.translation("sphinx", Path(sphinx.__file__).parent / "locale", ["zh_CN"], fallback=True)
    )
    return words


def _context(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    chinese = page.startswith(FOLDER)
    context["chinese"] = chinese
    context["partner"] = partner(page, set(app.env.found_docs))
    if chinese:
        words = _words()
        context["language"] = "zh-CN"
        context["_"] = context["gettext"] = lambda text: LACKING.get(text) or words.gettext(text)
        context["ngettext"] = words.ngettext


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    jieba.setLogLevel(logging.WARNING)
    search_languages["zh"] = SearchBoth
    app.connect("source-read", _read)
    app.connect("html-page-context", _context)
