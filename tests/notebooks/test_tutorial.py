"""The tutorial, typed as it stands: every file written, every command run in order, what it shows compared.

Figures of deterministic steps (candles, factors) are compared as printed; where models are trained or bots
trade only the words are, since a figure may differ between machines.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from bascule.core.ports import free_port
from tests.docs.pages import DOCS, Block, blocks

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tutorial")]
PAGES = [DOCS / "tutorial.md", DOCS / "zh" / "tutorial.md"]
STEPS = (1, 2, 3, 4, 5)
EXACT = ("bascule data", "bascule factor", "bascule check")
_FILE = re.compile(r"# file: (\S+)\n")
_NUMBER = re.compile(r"[-+–]?\d[\d,.:%T-]*")


def step_of(block: Block) -> int:
    """The step that a block stands in: number of the last heading ``## 3. …`` above it, 0 = before them."""
    above = block.page.read_text("utf-8").splitlines()[: block.line]
    found = [int(line[3]) for line in above if re.match(r"## \d\. ", line)]
    return found[-1] if found else 0


def typed(text: str) -> list[tuple[str, list[str]]]:
    """Commands of a console block, each with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def pieces(line: str, exact: bool) -> list[str]:
    """What a shown line claims, in order: its parts between ellipses, without regard to spaces."""
    words = " ".join((line if exact else _NUMBER.sub("#", line)).split())
    return [part.strip() for part in words.split("…") if part.strip()]


def unseen(shown: list[str], output: str, exact: bool) -> list[str]:
    """Shown lines that are nowhere in the output, or not in this order."""
    actual = [" ".join((one if exact else _NUMBER.sub("#", one)).split()) for one in output.splitlines()]
    missing, at = [], 0
    for line in shown:
        wanted = pieces(line, exact)
        if not wanted:
            continue
        hit = next((n for n in range(at, len(actual)) if all(part in actual[n] for part in wanted)), None)
        if hit is None:
            missing.append(line)
        else:
            at = hit + 1
    return missing


class Reader:
    """Somebody who follows the page in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done = 0
        self.ports = {"8080": str(free_port()), "8050": str(free_port())}
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "160",
        }
        # freqtrade leaves its logging alone where pytest runs
        for name in ("PYTHONDONTWRITEBYTECODE", "PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
            self.environment.pop(name, None)

    def until(self, step: int) -> None:
        """Do what is on the page up to the end of a step."""
        for number in range(self.done + 1, step + 1):
            for block in blocks(PAGES[0]):
                if step_of(block) == number:
                    self.follow(block)
            self.done = number

    def follow(self, block: Block) -> None:
        text = block.text
        for port, ours in self.ports.items():
            text = text.replace(port, ours)
        named = _FILE.match(text)
        if named:
            (self.folder / named[1]).write_text(text, "utf-8")
        elif block.language == "console":
            commands = typed(text)
            if any("web serve" in command for command, _ in commands):
                self.serve([command for command, _ in commands])
                return
            for command, shown in commands:
                output = self.run(command)
                missing = unseen(shown, output, command.startswith(EXACT))
                assert missing == [], f"{command} printed:\n{output}"

    def run(self, command: str) -> str:
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-4_000:]}"
        return done.stdout

    def serve(self, commands: list[str]) -> None:
        """A server that is left running in another terminal: it answers, and ends when told to."""
        script = "; ".join([*commands[:-1], f"exec {commands[-1]}"])
        server = subprocess.Popen(
            script, shell=True, cwd=self.folder, env=self.environment, start_new_session=True
        )
        try:
            page = self.answer(f"http://127.0.0.1:{self.ports['8050']}/", server)
            assert "tutorial" in page  # the newest run is on the overview
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGINT)
            assert server.wait(60) in (0, 130, -signal.SIGINT)

    def answer(self, url: str, server: subprocess.Popen[bytes]) -> str:
        end = time.monotonic() + 90
        while True:
            try:
                with urlopen(url, timeout=30) as answer:
                    return str(answer.read().decode("utf-8"))
            except URLError:
                assert server.poll() is None and time.monotonic() < end
                time.sleep(0.5)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(tmp_path_factory.mktemp("tutorial"))


@pytest.mark.parametrize("step", STEPS)
def test_a_step_does_what_the_page_says(reader: Reader, step: int) -> None:
    reader.until(step)
    left = {
        1: ["market.store/manifest.json", "health.html"],
        2: ["reports/factors.html", "runs/trials.sqlite"],
        3: ["runs/tutorial/report.html", "runs/tutorial/bundles/current/manifest.json"],
        4: [],
        5: ["bot/config.json", "bot/exchange.sqlite"],
    }[step]
    assert [name for name in left if not (reader.folder / name).exists()] == []
