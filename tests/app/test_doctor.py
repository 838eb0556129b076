"""``bascule doctor`` on a house in order, and on one that is not."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bascule.app import doctor, doctormachine
from bascule.app.cli import main
from bascule.core import BridgeError
from bascule.data.store import Store
from tests.app.runs import write_run
from tests.bridge.research import Research
from tests.data.candles import make

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def marks(found: list[doctor.Finding]) -> dict[str, str]:
    return {one.what: one.mark for one in found}


def store_of(path: Path, *, broken: bool = False) -> Path:
    """Two weeks of hours that end on 2024-02-29."""
    store = Store.create(path)
    frame = make(("AAA_USDT", "BBB_USDT"), bars=24 * 14, start="2024-02-16")
    store.write(frame, "1h")
    if broken:
        part = next((path / "candles/1h").glob("*.parquet"))
        part.write_bytes(b"PAR1 no more")
    return path


def test_a_house_in_order(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--config", str(write_run(tmp_path)), "--json"])
    told = json.loads(capsys.readouterr().out)
    failures = [one for one in told["findings"] if one["mark"] == "fail"]
    assert failures == []
    assert caught.value.code == 0 and told["well"]
    areas = {one["area"] for one in told["findings"]}
    assert areas == {"environment", "machine", "data", "config", "keys", "clock", "ports"}
    assert all(one["remedy"] for one in told["findings"] if one["mark"] != "ok")


def test_a_failure_ends_with_its_own_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--store", str(tmp_path / "none"), "--config", str(tmp_path / "none.yaml")])
    assert caught.value.code == 1
    shown = capsys.readouterr().out
    assert "no store" in " ".join(shown.split()) and "2 failures" in shown


def test_stores_are_looked_at(tmp_path: Path) -> None:
    good = store_of(tmp_path / "run" / "store")
    found = list(doctor.stores([tmp_path / "run"], NOW))  # a run's folder stands for its store
    assert marks(found) == {f"{good} 1h": "ok", f"{good} 1h health": "ok"}
    late = list(doctor.stores([good], datetime(2024, 6, 1, tzinfo=UTC)))
    assert marks(late)[f"{good} 1h"] == "warn"
    assert "92 days ago" in late[0].said
    bad = store_of(tmp_path / "bad", broken=True)
    (one,) = (one for one in doctor.stores([bad], NOW) if one.mark == "fail")
    assert one.what == str(bad) and one.remedy


def test_unhealthy_candles_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store_of(tmp_path / "store")
    frame = Store.open(path).frame("1h")
    frame.loc[5, "low"] = np.float32(0)
    monkeypatch.setattr(Store, "frame", lambda *_, **__: frame)
    found = list(doctor.stores([path], NOW))
    assert marks(found)[f"{path} 1h health"] == "fail"
    assert found[-1].remedy == f"bascule data check {path}"


def test_bundles_and_their_signatures(spot: Research, tmp_path: Path) -> None:
    import shutil

    from bascule.signals.signing import keygen, sign

    bundle = tmp_path / "bundle"
    shutil.copytree(spot.bundle.path, bundle)
    window = spot.bundle.manifest.models[-1].test
    then = datetime.fromisoformat(window.end.removesuffix("Z")).replace(tzinfo=UTC)
    assert marks(list(doctor.bundle(bundle, (), then))) == {
        str(bundle): "ok",
        "signature": "warn",
        "age": "ok",
    }
    private, public = keygen(tmp_path / "keys")
    sign(bundle, private)
    found = list(doctor.bundle(bundle, (public,), datetime(2099, 1, 1, tzinfo=UTC)))
    assert marks(found) == {str(bundle): "ok", "signature": "ok", "age": "warn"}
    _, other = keygen(tmp_path / "others")
    refused = doctor.examine(doctor.Places(bundle=bundle, trusted=(other,)), now=then, environ={})
    assert [one.mark for one in refused if one.area == "bundle"] == ["ok", "fail"]


def test_secrets_are_named_and_never_shown(tmp_path: Path) -> None:
    secret = "s3cret-of-the-venue"
    key = tmp_path / "signing.key"
    key.write_text("x")
    key.chmod(0o644)
    found = list(doctor.keys({"FREQTRADE__EXCHANGE__KEY": secret, "BASCULE_SIGNING_KEY": str(key)}))
    assert secret not in repr(found)
    assert [one.said for one in found if one.what == "FREQTRADE__EXCHANGE__KEY"] == ["set"]
    assert found[-1].mark == "fail" and "chmod 600" in found[-1].remedy
    key.chmod(0o600)
    assert list(doctor.keys({"BASCULE_SIGNING_KEY": str(key)}))[-1].mark == "ok"


def away() -> float:
    raise BridgeError("no route", where="venue")


def test_the_clock() -> None:
    (quiet,) = doctor.clock(online=False)
    assert quiet.mark == "ok" and "--online" in quiet.said
    assert [one.mark for one in doctor.clock(online=True, skew=lambda: 0.2)] == ["ok"]
    assert [one.mark for one in doctor.clock(online=True, skew=lambda: -3.0)] == ["fail"]
    assert [one.mark for one in doctor.clock(online=True, skew=away)] == ["warn"]


def test_a_port_in_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(doctormachine, "PORTS", {port: "a server"})
        (one,) = doctormachine.ports()
    assert one.mark == "warn" and "a server" in one.remedy


def test_little_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctormachine, "LITTLE_MEMORY", 1e6)
    monkeypatch.setattr(doctormachine, "LITTLE_DISK", 1e9)
    assert marks(list(doctormachine.machine(tmp_path)))["memory"] == "warn"
    assert marks(list(doctormachine.machine(tmp_path)))["disk"] == "warn"
    monkeypatch.setattr(doctormachine, "NO_DISK", 1e9)
    assert marks(list(doctormachine.machine(tmp_path)))["disk"] == "fail"


def test_versions_that_were_not_tested_together_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctormachine.metadata.version
    monkeypatch.setattr(
        doctormachine.metadata, "version", lambda name: "0.0.1" if name in ("numpy", "ccxt") else real(name)
    )
    found = marks(list(doctormachine.environment()))
    assert found["tested versions"] == "warn"
    assert found["packages"] == "fail"


def test_a_bot_is_looked_at_as_before_a_start(spot: Research, tmp_path: Path) -> None:
    from bascule.bridge.freqtrade import credentials, prepare

    folder = tmp_path / "bot"
    prepare.prepare(spot.bundle.path, folder, prepare.PrepareSettings(mode="dry"))
    found = marks(list(doctor.bot(folder, {}, NOW, online=False)))
    assert found[credentials.PASSWORD] == "fail"
    assert found["leaks"] == found["emergency"] == "ok"
    assert "exchange" not in found  # nobody outside was asked
    (wrong,) = (
        one
        for one in doctor.examine(doctor.Places(bot=tmp_path / "none"), now=NOW, environ={})
        if one.area == "bot"
    )
    assert wrong.mark == "fail" and "trade prepare" in wrong.remedy
