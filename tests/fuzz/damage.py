"""Damaging good input as bytes say, and holding what is done with it to a promise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Broken(AssertionError):
    """A promise that does not hold."""


@contextmanager
def promised(*errors: type[Exception]) -> Iterator[None]:
    """These errors are the clear ones; anything else that is raised breaks the promise."""
    try:
        yield
    except errors as error:
        if not str(error).strip():
            raise Broken(f"{type(error).__name__} says nothing") from error
    except (Exception, RecursionError) as error:
        raise Broken(f"{type(error).__name__}: {error}") from error


def damaged(good: bytes, data: bytes) -> bytes:
    """A good input with bytes changed, cut out, doubled or put in, as ``data`` says: three bytes a change."""
    text = bytearray(good)
    for k in range(0, len(data) - 2, 3):
        kind, place, value = data[k : k + 3]
        at = place * max(1, len(text)) // 256 + (value if kind >= 128 else 0) % 7
        at = min(at, len(text))
        match kind % 6:
            case 0 if at < len(text):
                text[at] = value
            case 1:
                text[at:at] = bytes([value])
            case 2:
                del text[at : at + 1 + value % 16]
            case 3:
                text[at:at] = text[at : at + 1 + value % 64]
            case 4:
                del text[at:]
            case _ if at < len(text):
                text[at] ^= 1 << value % 8
    return bytes(text)


def pick(seeds: list[Any], data: bytes) -> tuple[Any, bytes]:
    """One of the seeds, and the bytes that are left."""
    return (seeds[data[0] % len(seeds)], data[1:]) if data else (seeds[0], b"")
