"""freqtrade as a process of its own: start it, keep its log, put its failure into one error."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bascule.core import BridgeError
from bascule.core.tether import Tethered

_STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
_ERROR = re.compile(
    rf"^{_STAMP} - \S+ - (?:ERROR|CRITICAL) - (.*?)(?=^{_STAMP} - |\Z)", re.DOTALL | re.MULTILINE
)
_EVER = 1e9  # seconds
_TAIL = 12  # lines of an error that are shown


@dataclass(frozen=True)
class Finished:
    """A freqtrade command that ended well.

    Attributes:
        output: everything it wrote, in order.
        log: the same on disk.
    """

    output: str
    log: Path


def freqtrade(
    command: str,
    arguments: Sequence[str],
    *,
    log: Path,
    timeout: float | None = None,
    module: str = "freqtrade",
) -> Finished:
    """Run ``freqtrade <command> <arguments>`` to its end.

    Args:
        command: freqtrade's sub-command, e.g. ``backtesting``.
        arguments: its further arguments.
        log: file that takes all output; replaced if there.
        timeout: seconds after which the process is killed; None waits for ever.
        module: what Python runs; `launch` is freqtrade with assumed leverage tiers.

    Raises:
        BridgeError: freqtrade is missing, failed, or took longer than ``timeout``. The message is freqtrade's
            own; the place is the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        # killed with us: the next run in this folder must not find it still writing
        process = Tethered(
            module, [command, *arguments], stdout=stream, stderr=subprocess.STDOUT, env=_environment()
        )
        try:
            # with a limit: a wait for ever has been seen to sleep through Ctrl-C, one with a limit looks up
            code = process.wait(_EVER if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            raise BridgeError(
                f"freqtrade {command} took longer than {timeout:g} s",
                where=str(log),
                remedy="choose a shorter time range or fewer pairs, or allow more time",
            ) from None
        finally:
            process.end()  # timed out or interrupted: leave no worker either
    output = log.read_text("utf-8", errors="replace")
    # a configuration error ends freqtrade with status 0, so the log decides too
    if code != 0 or "Configuration error:" in output:
        raise BridgeError(
            f"freqtrade {command} failed (status {code}): {_reason(output)}",
            where=str(log),
            remedy="the place holds the whole log",
        )
    return Finished(output, log)


def _environment() -> dict[str, str]:
    """The parent's, but free of configuration overrides, with byte code kept and wide tables."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("FREQTRADE__")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    cache = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    env.setdefault("PYTHONPYCACHEPREFIX", str(cache / "bascule" / "pycache"))
    return env | {"COLUMNS": "500", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


def _reason(output: str) -> str:
    """freqtrade's last error with the lines that belong to it, or the end of what it wrote."""
    errors = _ERROR.findall(output)
    lines = (errors[-1] if errors else output).strip().splitlines()
    return "\n".join(lines[-_TAIL:]) if lines else "it wrote nothing"
