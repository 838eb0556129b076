"""``bascule bundle``: look at signal bundles, sign them, verify them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bascule.app.command import Commands, answer
from bascule.app.options import BundlePath, Trust

bundle_app = Commands()


@bundle_app.command("show", example="bascule bundle show runs/demo/bundles --json")
def bundle_show(path: BundlePath) -> None:
    """Check a signal bundle's checksums and print its manifest."""
    import json

    from bascule.signals import Bundle

    found = Bundle.open(path).manifest.model_dump(mode="json")
    answer(found, json.dumps(found, indent=2, ensure_ascii=False))


@bundle_app.command("keygen", example="bascule bundle keygen keys")
def bundle_keygen(
    folder: Annotated[Path, typer.Argument(help="where the pair of keys goes", show_default=False)],
) -> None:
    """Make a pair of keys for signing: the private one for research, the public one for bots."""
    from bascule.signals import signing

    private, public = signing.keygen(folder)
    answer(
        {"private": private, "public": public},
        f"private key: {private} (keep it off the bot's machine)",
        f"public key: {public}",
    )


@bundle_app.command("sign", example="bascule bundle sign runs/demo/bundles --key keys/signing.key")
def bundle_sign(
    path: BundlePath,
    key: Annotated[Path, typer.Option(envvar="BASCULE_SIGNING_KEY", help="the private key")],
) -> None:
    """Vouch for a bundle, after looking at its report."""
    from bascule.signals import signing

    name = signing.sign(path, key)
    answer({"bundle": path, "key": name}, f"signed by key {name}")


@bundle_app.command("verify", example="bascule bundle verify runs/demo/bundles --trust keys/signing.pub")
def bundle_verify(path: BundlePath, trust: Trust = None) -> None:
    """Check a bundle's files and its signature."""
    from bascule.signals import Bundle, signing

    bundle = Bundle.open(path)
    name = signing.require_signed(bundle.path, trust or [])
    answer({"bundle": bundle.path.name, "key": name}, f"{bundle.path.name}: whole, signed by key {name}")
