"""Callbacks that freqtrade need not protect its trades from.

freqtrade copies the trade deeply before every callback of a user's strategy, so that a careless one cannot
change it; its own methods, told by their qualified name, it trusts. A copy takes half a millisecond, once a
callback, open position and candle: more than all else that a backtest does. Callbacks that are marked here
only read the trade, which the tests hold them to, and ask for the same trust. A subclass's own callback is
copied for as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def untouched(method: Method) -> Method:
    """Promise that a callback leaves the trade as it is; freqtrade then gives it the trade itself."""
    method.__qualname__ = f"IStrategy.{method.__name__}"
    return method
