"""Secrets: where they come from, how they are kept out of logs, and a scan that proves that they were.

1. Secrets reach freqtrade by environment variables alone (``FREQTRADE__EXCHANGE__KEY`` …), which freqtrade
   merges into its configuration at start. No file of a user folder holds one; ``.env`` is the user's own.
2. `Redact` is a logging filter. It replaces every secret of the environment in a record, and everything that
   looks like a signature, before a handler sees it: ccxt puts signed URLs into its exceptions.
3. `scan` looks for secrets in files: as they are, and in base64, hexadecimal and URL spelling; inside zip and
   gzip archives, SQLite databases, and the texts of parquet and feather tables.

freqtrade's own redaction knows keys and passwords; the API server's tokens are not on its list (checked on
2026.9, ``configuration/config_secrets.py``).
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import logging
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from zipfile import BadZipFile

PREFIX = "FREQTRADE__"
# parts of a variable's name that say that its value is secret
_MARKS = ("KEY", "SECRET", "PASSWORD", "TOKEN", "CHAT_ID", "PRODUCERS", "WALLETADDRESS", "UID", "URL")
SHORTEST = 6  # characters; a shorter text is found by chance everywhere
HIDDEN = "[secret]"
_SIGNED = re.compile(
    r"(?i)((?:signature|listenKey|apiKey|X-MBX-APIKEY|token)\"?'?\s*[=:]\s*\"?'?)([\w%./+~-]{8,})"
)
_SHAPES = {
    "a Telegram bot token": re.compile(rb"\b\d{8,10}:[A-Za-z0-9_-]{35}\b"),
    "a private key": re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "an exchange key": re.compile(
        rb"(?i)[\"']?(?:api_?key|key|secret)[\"']?\s*[:=]\s*[\"'][A-Za-z0-9]{64}[\"']"
    ),
    "a signed request": re.compile(rb"(?i)[?&]signature=[0-9a-f]{64}"),
}


@dataclass(frozen=True)
class Leak:
    """A secret where none may be.

    Attributes:
        path: the file.
        name: of the variable whose value was found, or what it looks like. Never the value.
        member: the file within an archive, or the column within a table; empty for the file itself.
    """

    path: Path
    name: str
    member: str = ""


def secrets_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of freqtrade whose values are secret: name → value; of lists of producers also each token."""
    found = {
        name: value
        for name, value in environment.items()
        if name.startswith(PREFIX) and any(mark in name.rsplit("__", 1)[-1].upper() for mark in _MARKS)
    }
    for name in [one for one in found if one.endswith("PRODUCERS")]:
        found |= {f"{name}[{i}]": token for i, token in enumerate(_tokens(found[name]))}
    return {name: value for name, value in found.items() if len(value) >= SHORTEST}


def _tokens(text: str) -> list[str]:
    """Tokens in a JSON list of producers; of a malformed one none: it is secret as a whole."""
    try:
        return [str(one["ws_token"]) for one in json.loads(text)]
    except (ValueError, TypeError, KeyError):
        return []


class Redact(logging.Filter):
    """Takes secrets out of log records.

    Used in freqtrade's ``log_config``: ``{"filters": {"redact": {"()": "…secrets.Redact"}}}``. Attached to
    handlers, so that it sees the records of all loggers. The secrets are those of the environment when it is
    made.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        import os

        super().__init__()
        found = secrets_of(os.environ if environment is None else environment).values()
        # the longest first: one secret may be part of another
        self._spellings = sorted({s for value in found for s in _texts(value)}, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; never drops one."""
        message = record.getMessage()
        clean = self.clean(message)
        if clean != message:
            record.msg, record.args = clean, None
        if record.exc_info and record.exc_text is None:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.clean(record.exc_text)
            # rich handlers draw exc_info themselves: what is redacted must be all that there is
            record.exc_info = None
        return True

    def clean(self, text: str) -> str:
        """The text without secrets."""
        for spelling in self._spellings:
            text = text.replace(spelling, HIDDEN)
        return _SIGNED.sub(rf"\1{HIDDEN}", text)


def scan(paths: Iterable[Path], secrets: Mapping[str, str]) -> tuple[Leak, ...]:
    """Look for secrets.

    Args:
        paths: files, and folders with all that is below them. Symbolic links are not followed.
        secrets: name → value; values shorter than `SHORTEST` are refused, not skipped.

    Returns:
        What was found, by path; empty = clean.

    Raises:
        ValueError: a value is too short to be looked for.
    """
    short = sorted(name for name, value in secrets.items() if len(value) < SHORTEST)
    if short:
        raise ValueError(f"{', '.join(short)}: too short to be looked for (under {SHORTEST} characters)")
    wanted = {name: tuple(spelling.encode() for spelling in _texts(value)) for name, value in secrets.items()}
    leaks: dict[Leak, None] = {}
    for path in _files(paths):
        for member, data in _contents(path):
            for name, spellings in wanted.items():
                if any(one in data for one in spellings):
                    leaks[Leak(path, name, member)] = None
            for name, shape in _SHAPES.items():
                if shape.search(data):
                    leaks[Leak(path, name, member)] = None
    return tuple(leaks)


def _texts(value: str) -> set[str]:
    """Spellings of a secret. Base64 depends on where the value begins in what was encoded: three ways."""
    raw = value.encode()
    found = {value, quote(value, safe=""), raw.hex(), raw.hex().upper()}
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        # characters that also hold bits of the neighbours are left away
        begin, end = -(-shift * 4 // 3), len(coded) - (1 if (shift + len(raw)) % 3 else 0)
        if end - begin >= SHORTEST:
            found.add(coded[begin:end])
    return found


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (one for one in sorted(path.rglob("*")) if one.is_file() and not one.is_symlink())
        elif path.is_file():
            yield path


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """What is in a file: its bytes, and what its packing hides, as far as it can be unpacked."""
    import pyarrow as pa

    unreadable = (OSError, EOFError, RuntimeError, ValueError, zlib.error, BadZipFile, pa.ArrowException)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return  # a running bot's databases come with files that come and go
    yield "", data
    # cut off or damaged: nobody else reads what is in it either
    with contextlib.suppress(*unreadable):
        yield from _unpacked(path.name, data)


def _unpacked(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                inner = archive.read(member)
                yield member, inner
                yield from ((f"{member}/{deep}", more) for deep, more in _unpacked(member, inner))
    elif data[:2] == b"\x1f\x8b":
        yield "gzip", gzip.decompress(data)
    elif name.endswith((".parquet", ".feather")):
        yield from _columns(name, data)


def _columns(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Texts and metadata of a table."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    source = pa.BufferReader(data)
    table = parquet.read_table(source) if name.endswith(".parquet") else feather.read_table(source)
    for key, value in (table.schema.metadata or {}).items():
        yield key.decode("utf-8", "replace"), value
    for column in table.column_names:
        kind = table.schema.field(column).type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
            distinct = table.column(column).unique().to_pylist()
            yield column, "\n".join(str(one) for one in distinct if one is not None).encode()
