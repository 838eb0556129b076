"""The log of a run: one JSON line an event in its folder, for whoever has to find out later what happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from bascule import __version__


@contextmanager
def run_log(path: Path, **about: Any) -> Iterator[Any]:
    """Yield a structlog logger that appends to a file; the run's end, good or bad, is logged too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        log = structlog.wrap_logger(
            structlog.WriteLogger(stream),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(sort_keys=True, default=str),
            ],
        )
        log.msg("run starts", version=__version__, **about)
        try:
            yield log
        except BaseException as error:
            log.msg("run ends with an error", kind=type(error).__name__, error=str(error))
            raise
        log.msg("run ends")
