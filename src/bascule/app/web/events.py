"""Server-sent events: what changes, sent to every open page.

1. One watcher for all pages looks at each topic while anybody listens, at the pace of the settings.
2. A topic is sent as a whole when it is unlike what was sent last. A page that opens gets all topics at once,
   so that a lost connection loses nothing.
3. A listener that is slow keeps only the newest of each topic; it holds nobody up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

Topic = Callable[[], Awaitable[Any]]
BEAT = 15.0  # seconds between signs of life, for proxies and for the check that the session still lasts
_log = logging.getLogger(__name__)


class _Listener:
    """What one page has not been sent yet: topic → text."""

    def __init__(self) -> None:
        self.waiting: dict[str, str] = {}
        self.wake = asyncio.Event()

    def put(self, topic: str, text: str) -> None:
        self.waiting[topic] = text
        self.wake.set()


class Hub:
    """The watcher and its listeners.

    Args:
        topics: name → what it is now, JSON-able.
        every: seconds between looks.
    """

    def __init__(self, topics: Mapping[str, Topic], every: float) -> None:
        self._topics, self._every = dict(topics), every
        self._listeners: set[_Listener] = set()
        self._newest: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._anybody = asyncio.Event()

    @property
    def listeners(self) -> int:
        """How many pages listen."""
        return len(self._listeners)

    async def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End watching."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def listen(self, lasts: Callable[[], Awaitable[bool]]) -> AsyncIterator[str]:
        """Frames of the event stream, until ``lasts`` (asked at every sign of life) says no."""
        listener = _Listener()
        for topic, text in self._newest.items():
            listener.put(topic, text)
        self._listeners.add(listener)
        self._anybody.set()
        try:
            yield "retry: 3000\n\n"
            while True:
                try:
                    await asyncio.wait_for(listener.wake.wait(), BEAT)
                except TimeoutError:
                    if not await lasts():
                        yield "event: over\ndata: {}\n\n"
                        return
                    yield ": here\n\n"
                    continue
                listener.wake.clear()
                waiting, listener.waiting = listener.waiting, {}
                for topic, text in waiting.items():
                    yield f"event: {topic}\ndata: {text}\n\n"
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._anybody.clear()

    async def _watch(self) -> None:
        while True:
            await self._anybody.wait()
            for topic, look in self._topics.items():
                try:
                    text = json.dumps(await look(), separators=(",", ":"), allow_nan=False)
                except Exception:  # noqa: BLE001
                    # a reader that fails must not end the others; the page that asks shows the error
                    _log.exception("cannot look at %s", topic)
                    continue
                if self._newest.get(topic) != text:
                    self._newest[topic] = text
                    for listener in self._listeners:
                        listener.put(topic, text)
            await asyncio.sleep(self._every)
