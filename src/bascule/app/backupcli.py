"""``bascule backup``: copy what cannot be made again, check copies, put them back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bascule.app.command import Commands, answer
from bascule.app.console import bar

backup_app = Commands()

One = Annotated[Path, typer.Argument(help="a backup's folder", show_default=False)]


@backup_app.command("create", example="bascule backup create runs bot --to backups --keep 14")
def create(
    sources: Annotated[list[Path], typer.Argument(help="files and folders", show_default=False)],
    to: Annotated[Path, typer.Option("--to", help="folder of backups")],
    keep: Annotated[int | None, typer.Option(min=1, help="remove all but so many")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="patterns of names to leave out")] = None,
    patience: Annotated[float, typer.Option(min=0, help="seconds to wait for writers")] = 60.0,
) -> None:
    """Copy stores, runs, user folders, databases."""
    from bascule.app import backup

    with bar("Backup") as progress:
        made = backup.create(
            sources, to, now=datetime.now(UTC), skip=skip or (), patience=patience, progress=progress
        )
    files = len(made.manifest.entries)
    gone = [one.name for one in backup.prune(to, keep)] if keep is not None else []
    answer(
        {"backup": made.path, "files": files, "bytes": made.size, "removed": gone},
        f"{made.path}: {files:,} files, {made.size / 1e6:,.1f} MB",
        *(f"removed {name}" for name in gone),
    )


@backup_app.command("verify", example="bascule backup verify backups/backup-20260101T021500Z")
def verify(path: One) -> None:
    """Read every byte of a backup again."""
    from bascule.app import backup

    with bar("Verify") as progress:
        found = backup.verify(path, progress)
    files, created = len(found.manifest.entries), found.manifest.created
    answer({"backup": path, "files": files, "created": created}, f"good: {files:,} files of {created}")


@backup_app.command("restore", example="bascule backup restore backups/backup-20260101T021500Z --to restored")
def restore(
    path: One, to: Annotated[Path, typer.Option("--to", help="folder that gets the content")]
) -> None:
    """Put a backup back; what is there is kept beside it. Stop what uses it first."""
    from bascule.app import backup

    with bar("Restore") as progress:
        places = list(backup.restore(path, to, now=datetime.now(UTC), progress=progress))
    answer({"restored": places}, *(f"restored {place}" for place in places))
