"""One self-contained HTML page out of cards, figures and tables: nothing is loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Literal

from bascule.core import files

Tone = Literal["", "good", "fair", "bad", "faint"]
SYNTHETIC = (
    "Synthetic market: these candles were generated, with formulas planted in them that can be found. "
    "Nothing here says anything about a real market."
)


def number(value: float, form: str) -> str:
    """A value in a format, or a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:{form}}"


@dataclass(frozen=True)
class Card:
    """A headline number; its tone colours it."""

    label: str
    value: str
    tone: Tone = ""


@dataclass(frozen=True)
class Cell:
    """A table's cell with a colour."""

    text: str
    tone: Tone = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Figure:
    """A titled plotly figure; ``wide`` gives it a row of its own."""

    title: str
    figure: Any
    wide: bool = False

    @property
    def html(self) -> str:
        """The figure's HTML, without the library (the page carries it once)."""
        text: str = self.figure.to_html(
            full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
        )
        return text


@dataclass(frozen=True)
class Table:
    """Rows of already formatted cells; ``words`` sets all columns as text, ``texts`` single ones."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    title: str = ""
    folded: bool = False
    words: bool = False
    texts: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """A part of the page: a sentence of explanation, figures, tables, text that can be folded."""

    title: str
    note: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    code: str = ""
    code_title: str = ""
    code_open: bool = False


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
