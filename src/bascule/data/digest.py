"""A digest of rows that is a sum: appending rows adds the digest of these rows, in whatever order and files.

Each row with its values becomes one 128-bit number, by the finaliser of splitmix64 (Steele, Lea and Flood
2014, "Fast splittable pseudorandom number generators", OOPSLA); the digest is the sum of them. It tells equal
data from unequal, not honest from forged: damaged files are found by their SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
_MASK = (1 << 64) - 1
_SECOND = np.uint64(0x9E3779B97F4A7C15)  # another number from the same row: the second half of the digest


def digest(
    ids: Sequence[str],
    codes: NDArray[np.int32],
    times: Sequence[NDArray[np.int64]],
    values: Mapping[str, NDArray[np.float32]],
) -> str:
    """32 hex digits of rows ``[R]``; a value that is NaN counts as absent, an absent column as NaN.

    Args:
        ids: names that ``codes`` index.
        codes: name of each row.
        times: what else makes a row unique, ns since 1970.
        values: column → values.
    """
    key = _mixed(np.array([_word(name) for name in ids], np.uint64)[codes])
    for time in times:
        key = _mixed(key ^ np.ascontiguousarray(time, np.int64).view(np.uint64))
    low, high = _sums(key)
    for name, column in values.items():
        bits = (np.ascontiguousarray(column, np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)
        cells = _mixed(key + _mixed(bits ^ np.uint64(_word(name))))
        one, other = _sums(cells[~np.isnan(column)])
        low, high = low + one, high + other
    return f"{low & _MASK:016x}{high & _MASK:016x}"


def total(digests: Iterable[str]) -> str:
    """The digest of rows that are the union of disjoint sets of rows."""
    low = high = 0
    for one in digests:
        low, high = low + int(one[:16], 16), high + int(one[16:], 16)
    return f"{low & _MASK:016x}{high & _MASK:016x}"


def _word(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def _mixed(x: Words) -> Words:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Words = x ^ (x >> np.uint64(31))
    return mixed


def _sums(x: Words) -> tuple[int, int]:
    return int(x.sum(dtype=np.uint64)), int(_mixed(x + _SECOND).sum(dtype=np.uint64))
