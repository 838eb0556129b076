"""Ctrl-C that is not lost.

Python raises `KeyboardInterrupt` wherever the main thread happens to be. Out of a finalizer or the callback
of a weak reference nothing can be raised: Python reports it to `sys.unraisablehook` and goes on as if nothing
had been asked for. SQLAlchemy's objects have many of those: Optuna lost one Ctrl-C in twenty to them.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SOON = 0.02  # seconds; by then the callback has ended


@contextmanager
def insistent() -> Iterator[None]:
    """A Ctrl-C in the block that was lost comes again a moment later, until one gets through."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    report, before = sys.unraisablehook, signal.getsignal(signal.SIGALRM)
    lost = False

    def ask_again(what: UnraisableHookArgs) -> None:
        nonlocal lost
        if not issubclass(what.exc_type, KeyboardInterrupt):
            report(what)
            return
        lost = True
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, _SOON)

    sys.unraisablehook = ask_again
    try:
        yield
    finally:
        sys.unraisablehook = report
        if lost:  # else the timer may be somebody else's
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
