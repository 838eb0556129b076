"""Processes that end with the one that started them, even where that one is killed.

A started process would outlive a killed parent and go on writing beside the next run. `Tethered` gives it
the reading end of a pipe whose other end only the parent holds: the kernel closes that one with the parent,
however it ends, and the process then kills its own group, its workers with it.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import IO, Any


class Tethered(subprocess.Popen[Any]):
    """``python -m module arguments`` as the leader of a process group of its own that ends with this process.

    Ctrl-C in a terminal does not reach the group: it is the parent's to answer.

    Args:
        module: what Python runs.
        arguments: of the module.
        stdout, stderr, env, text: as of `subprocess.Popen`; it has nothing to read.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: dict[str, str] | None = None,
        text: bool = False,
    ) -> None:
        reading, writing = os.pipe()
        self._hold = weakref.finalize(self, os.close, writing)
        try:
            super().__init__(
                [sys.executable, "-m", __name__, str(reading), module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=env,
                text=text,
                pass_fds=(reading,),
                process_group=0,
            )
        except BaseException:
            self._hold()
            raise
        finally:
            os.close(reading)

    def end(self) -> None:
        """Kill the group, if it still runs, and wait for its leader."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()


def main() -> None:
    """What the process does first: hold the rope, then be the module."""
    pipe, module = int(sys.argv[1]), sys.argv[2]

    def follow() -> None:
        os.read(pipe, 1)  # nobody writes: it returns at the end of the file, when the parent is gone
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()
    sys.argv[:] = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
