"""The journal of finished chunks: what was fetched before an interruption is not fetched again.

One parquet file a chunk, written aside and renamed: a chunk is in the journal when its file is there. The
name is a digest of all that decides the chunk's content.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bascule.core.files import atomic_file, sweep

if TYPE_CHECKING:
    import pandas as pd


class Journal:
    """Finished chunks of fetches.

    Args:
        folder: where they lie; made when the first chunk is kept. One process writes to it at a time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if folder.is_dir():
            sweep(folder)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.parquet"

    def get(self, key: str) -> pd.DataFrame | None:
        """The rows of a finished chunk, or None. A file that cannot be read counts as not there."""
        import pandas as pd
        import pyarrow

        path = self._path(key)
        if not path.is_file():
            return None
        try:
            return pd.read_parquet(path)
        except (pyarrow.ArrowException, OSError):
            path.unlink(missing_ok=True)
            return None

    def put(self, key: str, frame: pd.DataFrame) -> None:
        """Keep the rows of a finished chunk."""
        with atomic_file(self._path(key)) as aside:
            frame.to_parquet(aside, index=False, compression="zstd")

    def clear(self) -> int:
        """Forget everything (once the rows are in the store), return how many chunks that were."""
        count = 0
        if self.folder.is_dir():
            for path in self.folder.glob("*.parquet"):
                path.unlink()
                count += 1
        return count
