"""A headless Chromium, and the dashboard on a port of its own in a thread."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bascule.app.web.server import application
from bascule.app.web.services import Services
from bascule.core.ports import free_port
from tests.web.office import PASSWORD

# without these Chromium asks its maker's servers for this and that
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
SHOTS = "BASCULE_SHOTS"  # environment variable: folder that keeps the screenshots


def chromium() -> str | None:
    """Path of the browser, None if there is none (Debian: ``apt-get install chromium``)."""
    return os.environ.get("BASCULE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def served(services: Services) -> Iterator[str]:
    """The dashboard's address while the block runs."""
    import uvicorn

    port = free_port()
    config = uvicorn.Config(
        application(services), host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline and thread.is_alive(), "the server does not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(15)


def log_in(page: Any, address: str, name: str = "ada") -> None:
    """Through the form, by typing."""
    page.goto(f"{address}/login")
    page.locator("input[name=name]").press_sequentially(name)
    page.locator("input[name=password]").press_sequentially(PASSWORD)
    page.locator("form button.main").click()
    page.wait_for_url(f"{address}/")


def shot(page: Any, name: str, folder: Path) -> Path:
    """A screenshot of the whole page, kept as an artefact."""
    path = Path(os.environ.get(SHOTS, folder)) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=True)
    return path
