"""Live trading takes bundles that somebody trusted vouches for, and no others unless it is told to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from freqtrade.enums import RunMode

from bascule.bridge.freqtrade.trust import require_least_privilege, require_trusted
from bascule.core import BridgeError, BundleError
from bascule.signals import Bundle
from bascule.signals.signing import keygen, sign
from tests.bridge.research import Research


@pytest.fixture
def bundle(spot: Research, tmp_path: Path) -> Bundle:
    shutil.copytree(spot.bundle.path, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def config(mode: RunMode, **options: Any) -> dict[str, Any]:
    return {"runmode": mode, "bascule": options}


def test_unsigned_bundles_are_for_dry_runs_and_backtests(bundle: Bundle) -> None:
    for mode in (RunMode.BACKTEST, RunMode.HYPEROPT, RunMode.DRY_RUN):
        assert require_trusted(bundle, config(mode)) is None
    with pytest.raises(BundleError, match="signed ones only"):
        require_trusted(bundle, config(RunMode.LIVE))
    assert require_trusted(bundle, config(RunMode.LIVE, unsigned=True)) is None


def test_signed_bundles_need_a_trusted_key(bundle: Bundle, tmp_path: Path) -> None:
    private, public = keygen(tmp_path / "keys")
    name = sign(bundle.path, private)
    assert require_trusted(bundle, config(RunMode.LIVE, trusted_keys=[str(public)])) == name
    stranger = str(keygen(tmp_path / "others")[1])
    for mode in (RunMode.LIVE, RunMode.DRY_RUN, RunMode.BACKTEST):
        with pytest.raises(BundleError, match="not among the 1 trusted"):
            require_trusted(bundle, config(mode, trusted_keys=[stranger]))


@pytest.mark.parametrize("wrong", [{"trusted_keys": "key"}, {"trusted_keys": [1]}, {"unsigned": "no"}])
def test_wrong_settings_are_told(bundle: Bundle, wrong: dict[str, Any]) -> None:
    with pytest.raises(BridgeError, match=next(iter(wrong))):
        require_trusted(bundle, config(RunMode.LIVE, **wrong))


def test_keys_are_asked_about_in_live_runs_only() -> None:
    # a dry run has no key: the exchange is not even touched
    assert require_least_privilege(None, config(RunMode.DRY_RUN)) is None
