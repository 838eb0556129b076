"""Functions that workers import."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bascule import engine
from bascule.core import ConfigError


def double(task: int, shared: Mapping[str, Any]) -> int:
    """Twice the number."""
    return 2 * task


def slow_first(task: int, shared: Mapping[str, Any]) -> int:
    """Earlier tasks end later."""
    time.sleep(0.2 if task == 0 else 0.0)
    return task


def draw(task: int, shared: Mapping[str, Any]) -> np.ndarray:
    """Random numbers of a seed, times shared ones."""
    return np.random.default_rng(task).standard_normal(1000) @ shared["matrix"]


def address(task: int, shared: Mapping[str, Any]) -> tuple[int, str, bool]:
    """Process, kind of the shared array, and whether it can be written."""
    matrix = shared["matrix"]
    return os.getpid(), type(matrix).__name__, bool(matrix.flags.writeable)


def factors(task: list[str], shared: Mapping[str, Any]) -> np.ndarray:
    """Evaluate factor texts over the shared panel."""
    return np.array(engine.evaluate(task, shared["panel"]))


def refuse(task: int, shared: Mapping[str, Any]) -> int:
    """Fails for 3."""
    if task == 3:
        raise ConfigError("three is too many", where="task", remedy="give two")
    return task


def die_once(task: tuple[int, str], shared: Mapping[str, Any]) -> int:
    """Kills its process when it first meets task 2; leaves a mark for each that was done."""
    number, folder = task
    mark = Path(folder) / "died"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with (Path(folder) / "done").open("a") as stream:
        stream.write(f"{number}\n")
    return number


def die_always(task: int, shared: Mapping[str, Any]) -> int:
    """Kills its process for task 2."""
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def count_calls(task: tuple[int, str], shared: Mapping[str, Any]) -> int:
    """Writes down that it ran."""
    number, folder = task
    with (Path(folder) / "calls").open("a") as stream:
        stream.write(f"{number}\n")
    if (Path(folder) / "stop").exists() and number == 3:
        raise ConfigError("stopped", where="task", remedy="go on")
    return number * 10


def note_slowly(task: tuple[int, str], shared: Mapping[str, Any]) -> int:
    """Takes a moment, and writes down that it ran."""
    time.sleep(0.15)
    return count_calls(task, shared)


def starve(task: int, shared: Mapping[str, Any]) -> int:
    """Task 1 asks for more memory than it may have, and dies as the kernel would have it."""
    if task == 1:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
        try:
            np.ones(1 << 30)
        except MemoryError:
            os.kill(os.getpid(), signal.SIGKILL)
    return task


def starve_once(task: tuple[int, str], shared: Mapping[str, Any]) -> int:
    """As `starve`, the first time only."""
    number, folder = task
    mark = Path(folder) / "starved"
    if number == 1 and not mark.exists():
        mark.touch()
        starve(1, shared)
    return number


def draw_slowly(task: tuple[int, str], shared: Mapping[str, Any]) -> np.ndarray:
    """Writes down in which network it runs, and takes its time."""
    number, folder = task
    with (Path(folder) / "places").open("a") as stream:
        stream.write(f"{Path('/proc/self/ns/net').readlink()} {number}\n")
    time.sleep(0.5)
    return draw(number, shared)
