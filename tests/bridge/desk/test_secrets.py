"""Secrets are found wherever they hide, and do not get into logs."""

from __future__ import annotations

import base64
import gzip
import io
import logging
import sqlite3
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from bascule.bridge.freqtrade.secrets import HIDDEN, Redact, scan, secrets_of

SECRET = "kQ7v/fW2+xYz9AbCdEfG1h"
NAMED = {"FREQTRADE__EXCHANGE__SECRET": SECRET}


def _zip(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.json", data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config.json", f'{{"secret": "{SECRET}"}}'.encode()),
        ("url.log", b"GET /x?k=kQ7v%2FfW2%2BxYz9AbCdEfG1h HTTP/1.1"),
        ("hex.txt", SECRET.encode().hex().encode()),
        ("packed.gz", gzip.compress(SECRET.encode())),
        ("result.zip", _zip(SECRET.encode())),
        ("nested.zip", _zip(_zip(SECRET.encode()))),
        *((f"basic{n}.txt", base64.b64encode(b"u" * n + SECRET.encode() + b"tail")) for n in range(6)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # packed bytes hold the time of packing
)
def test_every_hiding_place_is_looked_into(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "clean.txt").write_text("nothing here")
    found = scan([tmp_path], NAMED)
    assert {(leak.path.name, leak.name) for leak in found} >= {(name, "FREQTRADE__EXCHANGE__SECRET")}
    assert all(SECRET not in str(leak) for leak in found)
    assert scan([tmp_path / "clean.txt"], NAMED) == ()


def test_tables_and_databases_are_looked_into(tmp_path: Path) -> None:
    table = pd.DataFrame({"note": ["fine", f"with {SECRET} in it"], "price": [1.0, 2.0]})
    table.to_parquet(tmp_path / "signals.parquet", compression="zstd")
    table.to_feather(tmp_path / "candles.feather")
    with sqlite3.connect(tmp_path / "trades.sqlite") as connection:
        connection.execute("create table t (x text)")
        connection.execute("insert into t values (?)", (SECRET,))
    found = {(leak.path.name, leak.member) for leak in scan([tmp_path], NAMED)}
    assert {("signals.parquet", "note"), ("candles.feather", "note"), ("trades.sqlite", "")} <= found


def test_shapes_of_secrets_are_known(tmp_path: Path) -> None:
    samples = {
        "telegram": b"token 123456789:" + b"A" * 35,
        "pem": b"-----BEGIN RSA PRIVATE KEY-----",
        "binance": b'"apiKey": "' + b"a1" * 32 + b'"',
        "signed": b"/api/v3/order?symbol=BTCUSDT&signature=" + b"0f" * 32,
    }
    for name, data in samples.items():
        (tmp_path / name).write_bytes(data)
    assert {leak.path.name for leak in scan([tmp_path], {})} == set(samples)


def test_what_cannot_be_unpacked_is_looked_at_as_it_is(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", "word " * 2_000)
    packed = gzip.compress(b"word " * 2_000)
    tail = whole.getvalue()
    (tmp_path / "a.zip").write_bytes(b"PK" + b"\xff" * 40 + tail[42:] + SECRET.encode())
    (tmp_path / "b.gz").write_bytes(packed[:-12] + SECRET.encode())
    (tmp_path / "c.feather").write_bytes(b"not a table " + SECRET.encode())
    (tmp_path / "d.log").write_text("clean")
    assert [leak.path.name for leak in scan([tmp_path], NAMED)] == ["a.zip", "b.gz", "c.feather"]


def test_links_are_not_followed_and_short_values_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(SECRET)
    inside = tmp_path / "folder"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "a")
    assert scan([inside], NAMED) == ()
    with pytest.raises(ValueError, match="too short"):
        scan([inside], {"X": "abc"})


def test_which_variables_are_secret() -> None:
    environment = {
        "FREQTRADE__EXCHANGE__KEY": "a" * 20,
        "FREQTRADE__API_SERVER__PASSWORD": "b" * 20,
        "FREQTRADE__API_SERVER__WS_TOKEN": "c" * 20,
        "FREQTRADE__API_SERVER__JWT_SECRET_KEY": "d" * 40,
        "FREQTRADE__STAKE_CURRENCY": "USDTUSDT",
        "PATH": "/usr/bin:/bin",
    }
    producers = {
        "FREQTRADE__EXTERNAL_MESSAGE_CONSUMER__PRODUCERS": '[{"name": "a", "ws_token": "t0ken-of-a"}]'
    }
    assert "t0ken-of-a" in secrets_of(producers).values()
    assert set(secrets_of(environment)) == {name for name in environment if "CURRENCY" not in name} - {"PATH"}


def test_logs_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Redact({**NAMED, "FREQTRADE__EXCHANGE__KEY": SECRET[:12]}))
    log = logging.getLogger("desk.test")
    log.addHandler(handler)
    log.propagate = False
    try:
        log.warning("login with %s", SECRET)
        log.warning("GET https://x/api/v3/order?symbol=A&signature=%s", "0f" * 32)
        try:
            raise RuntimeError(f"binance said no to {SECRET}")
        except RuntimeError:
            log.exception("failed")
        log.warning("plain %d", 7)
    finally:
        log.removeHandler(handler)
    text = stream.getvalue()
    assert SECRET not in text and "0f0f0f0f" not in text
    assert text.count(HIDDEN) >= 3 and "plain 7" in text
    assert "RuntimeError: binance said no to " + HIDDEN in text
