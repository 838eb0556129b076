"""``bascule extension …``: look at users' own parts, and try them by the laws that the built-in ones keep."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from bascule.app.command import Code, Commands, answer
from bascule.core import extensions
from bascule.core.extensionfile import installed

extension_app = Commands()


@extension_app.command("ls", example="bascule extension ls")
def ls() -> None:
    """List the extensions that are loaded (BASCULE_EXTENSIONS) or installed, and what they bring."""
    table = Table("extension", "version", "brings", "from", box=None)
    told: list[dict[str, Any]] = []
    for one in extensions.loaded():
        brings = _brings(one)
        told.append({**one.record.model_dump(), "loaded": True, "brings": brings, "source": one.source})
        table.add_row(one.record.name, one.record.version, _listed(brings), one.source)
    for name, point in sorted(installed().items()):
        if name not in {row["name"] for row in told}:
            told.append({"name": name, "loaded": False, "source": point.value})
            table.add_row(name, "", "[dim]not loaded[/]", point.value)
    nothing = (
        f"no extension is loaded; name some: {extensions.VARIABLE}=own.py, or extensions: in a run's file"
    )
    answer({"extensions": told}, table if told else nothing)


@extension_app.command("check", example="bascule extension check own.py")
def check(
    sources: Annotated[
        list[str],
        typer.Argument(help="Python files, modules, or names of installed extensions", show_default=False),
    ],
) -> None:
    """Load extensions, and try each part: no look-ahead, live = research, the same by the same seed.

    Exit code 1 if a law does not hold. Sources are only loaded: they need settings and days to be tried on
    (bascule.testing.source).
    """
    from bascule import testing

    table = Table("part", "law", "what was seen", box=None)
    told, kept = [], []
    for source in sources:
        held = extensions.load(source, where="bascule extension check")
        found = testing.check(held)
        for one in found:
            table.add_row(one.subject, one.law, one.problem)
        told.append({**held.record.model_dump(), "brings": _brings(held), "findings": found})
        if not found:
            kept.append(f"{held.record.name} {held.record.version}: {_listed(_brings(held))}: all laws hold")
    broken = any(one["findings"] for one in told)
    answer({"fine": not broken, "extensions": told}, *kept, *([table] if broken else []))
    if broken:
        raise typer.Exit(Code.FOUND)


def _brings(held: extensions.Loaded) -> dict[str, list[str]]:
    """Names of the parts by seam."""
    parts = {seam: [name for name, _ in held.extension.parts(seam)] for seam in extensions.SEAMS}
    return {seam: names for seam, names in parts.items() if names}


def _listed(brings: dict[str, list[str]]) -> str:
    return "; ".join(f"{seam} {', '.join(names)}" for seam, names in brings.items())
