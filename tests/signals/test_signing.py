"""Signatures vouch for the whole bundle, and nothing else passes for one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bascule.app.cli import main
from bascule.core import BundleError, ConfigError
from bascule.signals import Bundle
from bascule.signals.manifest import MANIFEST, SIGNATURE
from bascule.signals.signing import KEY_VARIABLE, PASSWORD_VARIABLE, keygen, require_signed, sign, signer
from tests.bridge.research import Research, build


@pytest.fixture
def bundle(spot: Research, tmp_path: Path) -> Path:
    path = tmp_path / spot.bundle.path.name
    shutil.copytree(spot.bundle.path, path)
    return path


def test_a_signed_bundle_is_vouched_for_by_trusted_keys_only(bundle: Path, tmp_path: Path) -> None:
    private, public = keygen(tmp_path / "mine")
    other = keygen(tmp_path / "theirs")[1]
    assert signer(bundle, [public]) is None
    with pytest.raises(BundleError, match="not signed"):
        require_signed(bundle, [public])
    name = sign(bundle, private)
    assert require_signed(bundle, [other, public]) == name
    assert Bundle.open(bundle).path == bundle.resolve()
    with pytest.raises(BundleError, match="not among the 1 trusted"):
        require_signed(bundle, [other])
    with pytest.raises(BundleError, match="not among the 0 trusted"):
        require_signed(bundle, [])


def test_any_change_of_any_file_is_found(bundle: Path, tmp_path: Path) -> None:
    private, public = keygen(tmp_path / "mine")
    sign(bundle, private)
    # the manifest and all checksums made to fit a changed file: only the signature tells
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["rows"] += 1
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="changed after signing"):
        require_signed(bundle, [public])
    with pytest.raises(BundleError):
        (bundle / "factors.yaml").write_text("[]")
        Bundle.open(bundle)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"key": 1, "signature": "%%"}', '{"signature": "AAAA"}', "\x00"]
)
def test_damaged_signatures_are_refused(bundle: Path, tmp_path: Path, text: str) -> None:
    _, public = keygen(tmp_path / "mine")
    (bundle / SIGNATURE).write_text(text)
    with pytest.raises(BundleError, match=r"cannot be read|not among"):
        require_signed(bundle, [public])


def test_keys_are_private_and_may_have_a_password(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "of the key")
    private, public = keygen(tmp_path / "mine")
    assert private.stat().st_mode & 0o777 == 0o600
    name = sign(bundle, private)
    assert require_signed(bundle, [public]) == name
    monkeypatch.setenv(PASSWORD_VARIABLE, "another")
    with pytest.raises(ConfigError, match="private key cannot be read"):
        sign(bundle, private)
    private.chmod(0o644)
    with pytest.raises(ConfigError, match="others than its owner"):
        sign(bundle, private)
    with pytest.raises(ConfigError, match="there is a key already"):
        keygen(tmp_path / "mine")
    with pytest.raises(ConfigError, match="public key cannot be read"):
        signer(bundle, [bundle / MANIFEST])


def test_from_the_command_line(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*words: object) -> int:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        return int(caught.value.code or 0)

    keys = tmp_path / "keys"
    assert call("bundle", "keygen", keys) == 0
    assert call("bundle", "verify", bundle, "--trust", keys / "signing.pub") == 3
    assert call("bundle", "sign", bundle, "--key", keys / "signing.key") == 0
    assert call("bundle", "verify", bundle, "--trust", keys / "signing.pub") == 0
    assert "signed by key" in capsys.readouterr().out


def test_what_is_written_with_a_key_at_hand_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keygen(tmp_path / "keys")
    monkeypatch.setenv(KEY_VARIABLE, str(private))
    made = build(tmp_path / "made", "spot")
    assert require_signed(made.bundle.path, [public])
