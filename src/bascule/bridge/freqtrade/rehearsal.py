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
    # only futures pairs that freqtrade knows no leverage tiers of need anything but freqtrade itself
    module = (
        "bascule.bridge.freqtrade.launch"
        if values["bascule"].get("assumed_tiers") and values.get("dry_run")
        else "freqtrade"
    )
    return [
        sys.executable,
        "-m",
        module,
        "trade",
        *("--config", str(folder / "config.json")),
        *("--userdir", str(folder)),
        *("--strategy", str(values["strategy"])),
    ]
