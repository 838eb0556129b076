"""Signatures: whoever can write to the folder of bundles should not be able to trade for you.

A bundle's manifest holds the SHA-256 of all its other files, so a signature of the manifest's bytes (Ed25519,
RFC 8032) vouches for everything. It lies beside it as ``manifest.sig``: finished bundles are never changed,
only vouched for. Research signs with its private key after looking at the report; the bot knows public keys
only. A password of the key file, if it has one, is read from ``BASCULE_SIGNING_PASSWORD``.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bascule.core import BundleError, ConfigError
from bascule.core.files import atomic_file, write_json
from bascule.signals.manifest import MANIFEST, SIGNATURE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PRIVATE, PUBLIC = "signing.key", "signing.pub"
KEY_VARIABLE = "BASCULE_SIGNING_KEY"
PASSWORD_VARIABLE = "BASCULE_SIGNING_PASSWORD"  # noqa: S105 - the name of a variable


def keygen(folder: Path) -> tuple[Path, Path]:
    """Make a pair of keys: ``signing.key`` (for its owner's eyes only) and ``signing.pub``.

    Raises:
        ConfigError: there are keys already.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = folder / PRIVATE, folder / PUBLIC
    for path in (private, public):
        if path.exists():
            raise ConfigError("there is a key already", where=str(path), remedy="name another folder")
    key = Ed25519PrivateKey.generate()
    password = os.environ.get(PASSWORD_VARIABLE)
    lock = form.BestAvailableEncryption(password.encode()) if password else form.NoEncryption()
    with atomic_file(private) as aside:
        aside.touch(0o600)
        aside.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock))
    with atomic_file(public) as aside:
        aside.write_bytes(
            key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        )
    return private, public


def sign(bundle: Path, key: Path) -> str:
    """Vouch for a whole, verified bundle; returns the id of the key.

    Raises:
        BundleError: the bundle is damaged.
        ConfigError: the key cannot be read.
    """
    from bascule.signals.bundle import Bundle

    folder = Bundle.open(bundle).path
    private = _private(key)
    manifest = (folder / MANIFEST).read_bytes()
    name = key_id(private.public_key())
    write_json(
        folder / SIGNATURE, {"key": name, "signature": base64.b64encode(private.sign(manifest)).decode()}
    )
    return name


def signer(bundle: Path, trusted: Sequence[Path]) -> str | None:
    """The id of the trusted key that vouches for a bundle; None if it is unsigned.

    Raises:
        BundleError: the signature is damaged, does not fit the manifest, or is of a key that is not trusted.
        ConfigError: a trusted key cannot be read.
    """
    from cryptography.exceptions import InvalidSignature

    path = bundle / SIGNATURE
    if not path.exists():
        return None
    keys = {key_id(key): key for key in map(_public, trusted)}
    try:
        told = json.loads(path.read_text("utf-8"))
        name, signature = str(told["key"]), base64.b64decode(told["signature"], validate=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"the signature cannot be read ({error})", where=str(path), remedy="sign the bundle again"
        ) from None
    if name not in keys:
        raise BundleError(
            f"it is signed by key {name}, which is not among the {len(keys)} trusted ones",
            where=str(path),
            remedy="add its public key to the trusted ones, if it is yours; else do not trade it",
        )
    try:
        keys[name].verify(signature, (bundle / MANIFEST).read_bytes())
    except InvalidSignature:
        raise BundleError(
            f"the signature of key {name} does not fit the manifest: the bundle was changed after signing",
            where=str(path),
            remedy="do not trade it; write and sign it anew",
        ) from None
    return name


def require_signed(bundle: Path, trusted: Sequence[Path]) -> str:
    """As `signer`, and unsigned bundles are refused.

    Raises:
        BundleError: as `signer`, or it is unsigned.
    """
    name = signer(bundle, trusted)
    if name is None:
        raise BundleError(
            "the bundle is not signed, and live trading takes signed ones only",
            where=str(bundle),
            remedy="look at its report, then: bascule bundle sign; or set bascule.unsigned: true and bear it",
        )
    return name


def key_id(key: Ed25519PublicKey) -> str:
    """16 hex digits by which a public key is called."""
    import hashlib

    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _private(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    password = os.environ.get(PASSWORD_VARIABLE)
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(
                "others than its owner may read the private key", where=str(path), remedy=f"chmod 600 {path}"
            )
        found = load_pem_private_key(path.read_bytes(), password.encode() if password else None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"the private key cannot be read ({error})",
            where=str(path),
            remedy=f"make one with: bascule bundle keygen; its password belongs into {PASSWORD_VARIABLE}",
        ) from None
    if not isinstance(found, Ed25519PrivateKey):
        raise ConfigError("not an Ed25519 key", where=str(path), remedy="bascule bundle keygen makes one")
    return found


def _public(path: Path) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        found = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the public key cannot be read ({error})", where=str(path), remedy="name a signing.pub"
        ) from None
    if not isinstance(found, Ed25519PublicKey):
        raise ConfigError("not an Ed25519 key", where=str(path), remedy="bascule bundle keygen makes one")
    return found
