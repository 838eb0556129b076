"""Named tensors in one file that holds numbers and nothing else: the safetensors layout.

8 bytes: length of the header (little-endian); the header: JSON, name → dtype, shape and byte range, and texts
under ``__metadata__``; then the numbers. Any reader of that format opens it; reading it runs no code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bascule.core import BundleError

_TYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "BOOL": "|b1"}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}
_LARGEST_HEADER = 1 << 24


def write(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write tensors by name, in the order of their names.

    Raises:
        BundleError: a dtype that the layout does not have here.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    blocks: list[bytes] = []
    offset = 0
    for name in sorted(tensors):
        values = np.asarray(tensors[name])
        block = values.tobytes(order="C")
        try:
            kind = _NAMES[values.dtype]
        except KeyError:
            raise BundleError(
                f"tensor {name!r} is {values.dtype}",
                where=str(path),
                remedy=f"keep one of {', '.join(_TYPES)}",
            ) from None
        header[name] = {
            "dtype": kind,
            "shape": list(values.shape),
            "data_offsets": [offset, offset + len(block)],
        }
        blocks.append(block)
        offset += len(block)
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blocks))


def read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Tensors and metadata.

    Raises:
        BundleError: the file is not of this layout.
    """
    data = path.read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > min(_LARGEST_HEADER, len(data) - 8):
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(data[8 : 8 + length])
        metadata = {str(key): str(text) for key, text in header.pop("__metadata__", {}).items()}
        body = memoryview(data)[8 + length :]
        tensors = {}
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            if not 0 <= first <= last <= len(body):
                raise ValueError(f"tensor {name!r} lies outside of the file")
            flat = np.frombuffer(body[first:last], np.dtype(_TYPES[entry["dtype"]]))
            tensors[name] = flat.reshape(entry["shape"]).copy()
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"not a tensor file: {error}", where=str(path), remedy="train again") from error
    return tensors, metadata
