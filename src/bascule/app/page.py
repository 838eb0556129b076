"""One self-contained HTML page out of cards, figures and tables: nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from bascule.core import files


@dataclass(frozen=True)
class Card:
    """A headline number."""

    label: str
    value: str


@dataclass(frozen=True)
class Figure:
    """A titled plotly figure."""

    title: str
    figure: Any

    @property
    def html(self) -> str:
        """The figure's HTML, without the library (the page carries it once)."""
        text: str = self.figure.to_html(
            full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
        )
        return text


@dataclass(frozen=True)
class Table:
    """Rows of already formatted cells; ``words`` sets them as text, not as numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    folded: bool = False
    words: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page: a sentence of explanation, figures, tables, folded text."""

    title: str
    note: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    code: str = ""
    code_title: str = ""


@dataclass(frozen=True)
class Page:
    """Everything on one page, in order."""

    title: str
    subtitle: str
    cards: Sequence[Card]
    sections: Sequence[Section]
    warnings: Sequence[str] = field(default=())
    footer: str = ""

    def render(self) -> str:
        """The page as HTML text."""
        import jinja2
        from plotly.offline import get_plotlyjs

        source = resources("bascule.app").joinpath("templates/report.html").read_text("utf-8")
        template = jinja2.Environment(autoescape=True).from_string(source)
        return template.render(
            plotly=get_plotlyjs(),
            title=self.title,
            subtitle=self.subtitle,
            warnings=self.warnings,
            cards=self.cards,
            sections=self.sections,
            footer=self.footer,
        )

    def write(self, path: Path) -> None:
        """Write the page atomically."""
        text = self.render()
        with files.atomic_file(path) as aside:
            aside.write_text(text, "utf-8")
