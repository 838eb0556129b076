"""What `bascule.app.doctor` finds of the machine: Python, packages, the core, memory, disk, ports."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from bascule.core.cores import cores
from bascule.core.ports import is_free

Mark = Literal["ok", "warn", "fail"]
GIGABYTE = 1e9
LITTLE_MEMORY, LITTLE_DISK, NO_DISK = 2.0, 5.0, 0.5  # GB
PORTS = {8050: "bascule web serve", 8080: "freqtrade's REST server", 9108: "bascule monitor's metrics"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: environment, machine, data, config, bundle, keys, bot, clock, ports.
        what: the thing.
        mark: ok, warn or fail.
        said: what was found.
        remedy: what to do; empty if all is well.
    """

    area: str
    what: str
    mark: Mark
    said: str
    remedy: str = ""


def judged(area: str, what: str, good: bool, said: str, remedy: str, *, mark: Mark = "fail") -> Finding:
    """Ok, or the mark with its remedy."""
    return Finding(area, what, "ok", said) if good else Finding(area, what, mark, said, remedy)


def environment() -> Iterator[Finding]:
    """Python, packages, the two sides of the bridge, the compiled core, a browser."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield judged("environment", "Python", good, version, "install Python 3.11 or later")
    yield _packages()
    yield _constraints()
    for package, name in (("pyqlib", "qlib"), ("freqtrade", "freqtrade")):
        try:
            yield Finding("environment", name, "ok", metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Finding("environment", name, "fail", "not installed", "pip install 'bascule[all]'")
    yield _core()
    browser = next((name for name in BROWSERS if shutil.which(name)), None)
    said = browser or "none: only the dashboard's browser tests need one"
    yield Finding("environment", "browser", "ok", said)


def _packages() -> Finding:
    """Whether what bascule requires is there, in versions that it takes."""
    from packaging.requirements import Requirement

    wrong = []
    for text in metadata.requires("bascule") or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            held = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(held, prereleases=True):
            wrong.append(f"{wanted.name} {held} is not {wanted.specifier}")
    if wrong:
        return Finding(
            "environment",
            "packages",
            "fail",
            "; ".join(wrong),
            "install bascule again with its constraints.txt",
        )
    return Finding("environment", "packages", "ok", "all that bascule requires")


def _constraints() -> Finding:
    """How far the installed versions are those that were tested together."""
    import bascule

    path = Path(bascule.__file__).resolve().parents[2] / "constraints.txt"
    if not path.is_file():
        return Finding(
            "environment", "tested versions", "ok", "no constraints.txt beside the package: not compared"
        )
    other, same = [], 0
    for line in path.read_text("utf-8").splitlines():
        name, pinned, version = line.partition("==")
        if not pinned or name.startswith("#"):
            continue
        version = version.split(";")[0].strip()
        try:
            held = metadata.version(name.strip())
        except metadata.PackageNotFoundError:
            continue  # an extra that is not wanted here
        if held.split("+")[0] == version.split("+")[0]:
            same += 1
        else:
            other.append(f"{name.strip()} {held}, tested {version}")
    if other:
        more = f" and {len(other) - 5} more" if len(other) > 5 else ""
        return Finding(
            "environment",
            "tested versions",
            "warn",
            f"{'; '.join(other[:5])}{more}",
            "pip install --constraint constraints.txt --editable .",
        )
    return Finding("environment", "tested versions", "ok", f"{same} packages as in constraints.txt")


def _core() -> Finding:
    from bascule.kernels.native import library

    switch = os.environ.get("BASCULE_NATIVE", "")
    if library() is not None:
        return Finding("environment", "compiled core", "ok", "loaded")
    if switch == "off":
        remedy = "unset BASCULE_NATIVE"
        return Finding("environment", "compiled core", "warn", "switched off: factors are far slower", remedy)
    return Finding(
        "environment",
        "compiled core",
        "warn",
        "not to be had: factors are computed with NumPy, with the same meaning but far slower",
        "install a wheel, or a C++20 compiler and install again",
    )


def machine(folder: Path) -> Iterator[Finding]:
    """Processors, memory, and the disk under ``folder``."""
    count = cores()
    yield judged("machine", "processors", count > 1, str(count), "long runs want two or more", mark="warn")
    free = _free_memory()
    said = f"{free:.1f} GB free"
    remedy = "close other programs, or take fewer instruments and --workers 1"
    yield judged("machine", "memory", free >= LITTLE_MEMORY, said, remedy, mark="warn")
    disk = shutil.disk_usage(folder).free / GIGABYTE
    said, remedy = f"{disk:.1f} GB free in {folder}", "make room, or work in another folder"
    mark: Mark = "fail" if disk < NO_DISK else "warn"
    yield judged("machine", "disk", disk >= LITTLE_DISK, said, remedy, mark=mark)


def _free_memory() -> float:
    """GB that can be had, by the machine and by the container's limit."""
    free = float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError):  # Linux: what caches would give back counts, too
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = next(
            (1024.0 * float(line.split()[1]) for line in lines if line.startswith("MemAvailable")), free
        )
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # no container, or none with a limit ("max")
        limit = float((group / "memory.max").read_text("ascii"))
        free = min(free, limit - float((group / "memory.current").read_text("ascii")))
    return free / GIGABYTE


def ports() -> Iterator[Finding]:
    """Whether the usual ports of this machine are free."""
    for port, whose in PORTS.items():
        if is_free(port):
            yield Finding("ports", str(port), "ok", f"free for {whose}")
        else:
            remedy = f"fine if {whose} is running; else choose another port"
            yield Finding("ports", str(port), "warn", "in use", remedy)
