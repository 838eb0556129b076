"""Ray nodes as processes of a test's own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOKEN = secrets.token_hex(32)  # one for the process: Ray keeps the first that it has read


@contextmanager
def authenticated() -> Iterator[None]:
    """A token for the nodes that are started, and for this process as their driver."""
    kept = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def node(*options: str, before: Sequence[str] = (), settings: dict[str, str] | None = None) -> Iterator[None]:
    """A node for as long as it is needed.

    Args:
        options: of ``ray start``.
        before: words before the command, e.g. to run it in a namespace.
        settings: Ray's own, as environment variables.
    """
    ray = str(Path(sys.executable).with_name("ray"))
    fixed = ["--block", "--disable-usage-stats", f"--object-store-memory={200 << 20}"]
    process = subprocess.Popen(
        [*before, ray, "start", *fixed, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_DISABLE_IMPORT_WARNING": "1", **(settings or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                break
        else:
            pytest.fail("the node did not start:\n" + "".join(said))
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
        process.stdout.close()
