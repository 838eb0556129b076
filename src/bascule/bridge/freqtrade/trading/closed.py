"""freqtrade answers an error in a callback with that callback's default, and some defaults open positions."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

log = logging.getLogger(__name__)
Method = TypeVar("Method", bound=Callable[..., Any])


def fails_with(answer: Any) -> Callable[[Method], Method]:
    """Whatever goes wrong inside, log it and give this answer: the one that does not trade."""

    def wrap(method: Method) -> Method:
        @functools.wraps(method)
        def safe(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except Exception:
                log.exception("%s failed, so nothing is traded", method.__name__)
                return answer

        return safe  # type: ignore[return-value]

    return wrap
