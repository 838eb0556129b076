"""The bot of a prepared user folder as a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from bascule.bridge.freqtrade.preflight import configuration


def command(folder: Path) -> list[str]:
    """The command line that runs the bot.

    Raises:
        BridgeError: it is no prepared folder.
    """
    values = configuration(folder)
    return [
        sys.executable,
        "-m",
        "bascule.bridge.freqtrade.launch",
        "trade",
        *("--config", str(folder / "config.json")),
        *("--userdir", str(folder)),
        *("--strategy", str(values["strategy"])),
    ]
