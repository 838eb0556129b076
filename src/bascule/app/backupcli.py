"""``bascule backup``: copy what cannot be made again, check copies, put them back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bascule.app.console import bar

backup_app = typer.Typer(
    help="Backups: consistent while everything runs, checked, restorable.", no_args_is_help=True
)
console = Console()

One = Annotated[Path, typer.Argument(help="a backup's folder", show_default=False)]


@backup_app.command("create")
def create(
    sources: Annotated[list[Path], typer.Argument(help="files and folders", show_default=False)],
    to: Annotated[Path, typer.Option("--to", help="folder of backups")],
    keep: Annotated[int | None, typer.Option(min=1, help="remove all but so many")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="patterns of names to leave out")] = None,
    patience: Annotated[float, typer.Option(min=0, help="seconds to wait for writers")] = 60.0,
) -> None:
    """Copy stores, runs, user folders, databases."""
    from bascule.app import backup

    with bar(console, "Backup") as progress:
        made = backup.create(
            sources, to, now=datetime.now(UTC), skip=skip or (), patience=patience, progress=progress
        )
    files = len(made.manifest.entries)
    console.print(f"{made.path}: {files:,} files, {made.size / 1e6:,.1f} MB", highlight=False, soft_wrap=True)
    for gone in backup.prune(to, keep) if keep is not None else ():
        console.print(f"removed {gone.name}", highlight=False)


@backup_app.command("verify")
def verify(path: One) -> None:
    """Read every byte of a backup again."""
    from bascule.app import backup

    with bar(console, "Verify") as progress:
        found = backup.verify(path, progress)
    console.print(f"good: {len(found.manifest.entries):,} files of {found.manifest.created}", highlight=False)


@backup_app.command("restore")
def restore(
    path: One, to: Annotated[Path, typer.Option("--to", help="folder that gets the content")]
) -> None:
    """Put a backup back; what is there is kept beside it. Stop what uses it first."""
    from bascule.app import backup

    with bar(console, "Restore") as progress:
        for place in backup.restore(path, to, now=datetime.now(UTC), progress=progress):
            console.print(f"restored {place}", highlight=False, soft_wrap=True)
