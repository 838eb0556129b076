"""Every way to start live trading refuses what nobody vouches for, and keys that may withdraw, by default."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest
from freqtrade.enums import RunMode
from freqtrade.exceptions import OperationalException

from bascule.bridge.exchange import AccountSettings, ReplayExchange
from bascule.bridge.freqtrade import FactorStrategy, config, prepare
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.consumer import ConsumerStrategy
from bascule.bridge.freqtrade.guarded import GuardedStrategy
from bascule.bridge.freqtrade.prepare import PrepareSettings
from bascule.core import BundleError
from bascule.signals import Bundle
from bascule.signals.signing import keygen, sign
from tests.bridge.freqai import learning
from tests.bridge.research import Research, build
from tests.bridge.test_keys import PATHS, Venue, answer
from tests.e2e import realbot
from tests.e2e.test_rehearsal import KEYS, SECRETS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
# `bascule trade start` and plain `freqtrade trade` construct one of these; so does a bot that follows another
STRATEGIES = (FactorStrategy, GuardedStrategy, ConsumerStrategy)


def live(bundle: Bundle, research: Research, **options: Any) -> dict[str, Any]:
    """A configuration as `freqtrade trade` hands it to the strategy when it trades for real."""
    values = config.build(bundle, TradeSettings(), exchange={"name": "binance"}, assume_tiers=True)
    own = {"bundle": str(bundle.path), **options}
    changes = {"runmode": RunMode.LIVE, "dry_run": False, "datadir": research.datadir, "bascule": own}
    return {**values, "timerange": None, **changes}


def copied(bundle: Bundle, folder: Path) -> Bundle:
    return Bundle.open(shutil.copytree(bundle.path, folder / bundle.path.name))


@pytest.mark.parametrize("kind", STRATEGIES, ids=lambda one: one.__name__)
def test_a_strategy_refuses_an_unsigned_bundle(kind: type, spot: Research, tmp_path: Path) -> None:
    mine = type("Mine", (kind,), {})
    bundle = copied(spot.bundle, tmp_path)
    with pytest.raises(OperationalException, match="signed ones only"):
        mine(live(bundle, spot))
    private, public = keygen(tmp_path / "keys")
    sign(bundle.path, private)
    with pytest.raises(OperationalException, match="not among the 0 trusted"):
        mine(live(bundle, spot))
    assert mine(live(bundle, spot, trusted_keys=[str(public)]))._bundle.id == bundle.id
    # and what is changed after signing is refused before it is read
    (bundle.path / "manifest.json").write_bytes((bundle.path / "manifest.json").read_bytes() + b"\n")
    with pytest.raises(OperationalException, match="changed after signing"):
        mine(live(bundle, spot, trusted_keys=[str(public)]))


def test_no_strategy_is_forgotten() -> None:
    """Each class of ours that freqtrade can run is above, or is a base of one that is."""

    def below(one: type) -> set[type]:
        return {one}.union(*(below(child) for child in one.__subclasses__()))

    from bascule.bridge.freqtrade.freqai import FreqaiFactorStrategy
    from bascule.bridge.freqtrade.signalled import SignalStrategy

    ours = {one for one in below(SignalStrategy) if one.__module__.startswith("bascule.")}
    covered = {base for one in (*STRATEGIES, FreqaiFactorStrategy) for base in one.__mro__}
    assert ours <= covered


def test_a_bundle_that_is_fused_in_must_be_signed_too(spot: Research, tmp_path: Path) -> None:
    from tests.bridge.strategies.coarse import four_hours

    coarse = build(tmp_path / "coarse", "spot", candles=four_hours(spot.raw), timeframe="4h").bundle
    bundle = copied(spot.bundle, tmp_path)
    private, public = keygen(tmp_path / "keys")
    sign(bundle.path, private)
    options: dict[str, Any] = {
        "trusted_keys": [str(public)],
        "trading": {"fusion": [{"bundle": str(coarse.path)}]},
    }
    with pytest.raises(OperationalException, match="signed ones only"):
        FactorStrategy(live(bundle, spot, **options))
    sign(coarse.path, private)
    assert len(FactorStrategy(live(bundle, spot, **options))._coarse) == 1


def test_a_new_champion_must_be_signed_too(spot: Research, tmp_path: Path) -> None:
    old, new = copied(spot.bundle, tmp_path / "old"), copied(spot.bundle, tmp_path / "new")
    private, public = keygen(tmp_path / "keys")
    sign(old.path, private)
    mine = FactorStrategy(live(old, spot, trusted_keys=[str(public)]))
    with pytest.raises(BundleError, match="signed ones only"):
        mine._try_out(new)


def test_models_that_freqai_trains_are_nobodys_word(spot: Research, tmp_path: Path) -> None:
    from bascule.bridge.freqtrade.freqai import FreqaiFactorStrategy

    (tmp_path / "config.json").write_text("{}")
    values = {**learning.config(spot, tmp_path), "runmode": RunMode.LIVE, "dry_run": False}
    with pytest.raises(OperationalException, match="trains its models itself"):
        FreqaiFactorStrategy(values)
    # a signature that lies where a bundle's would does not help
    values["bascule"] = {**values.get("bascule", {}), "trusted_keys": [str(keygen(tmp_path / "keys")[1])]}
    with pytest.raises(OperationalException, match="trains its models itself"):
        FreqaiFactorStrategy(values)
    values["bascule"] = {**values["bascule"], "unsigned": True}
    assert FreqaiFactorStrategy(values).plan


@pytest.mark.parametrize("kind", STRATEGIES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", sorted(PATHS))
def test_a_strategy_refuses_a_key_that_may_withdraw(kind: type, name: str, spot: Research) -> None:
    mine = type("Mine", (kind,), {})(live(spot.bundle, spot, unsigned=True))
    venue = Venue()
    try:
        venue.answers[PATHS[name]] = answer(name, withdraw=True)
        pairs = [one.replace("_", "/") for one in spot.raw.instruments]
        mine.dp = SimpleNamespace(
            current_whitelist=lambda: pairs, _exchange=SimpleNamespace(_api=venue.client(name))
        )
        with pytest.raises(OperationalException, match="may withdraw"):
            mine.bot_start()
    finally:
        venue.server.shutdown()
        venue.server.server_close()
    assert venue.signed


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, ReplayExchange]]:
    """A folder for live trading on a replay exchange, with a good key, that takes signed bundles only."""
    folder = tmp_path_factory.mktemp("real")
    research = realbot.recent(folder)
    account = AccountSettings(balances={"USDT": Decimal(1_000)})
    with ReplayExchange(research.raw, account=account, keys=KEYS) as exchange:
        settings = PrepareSettings.read({"mode": "rehearse", "replay_url": exchange.url})
        prepare.prepare(folder / "bundles", folder / "bot", settings)
        path = folder / "bot" / "config.json"
        values = json.loads(path.read_text("utf-8"))
        assert values["dry_run"] is False and values["bascule"].pop("unsigned") is True
        values["api_server"]["enabled"] = False
        path.write_text(json.dumps(values), "utf-8")
        yield folder / "bot", exchange


@pytest.mark.slow
@pytest.mark.xdist_group("start")
@pytest.mark.parametrize("start", ["freqtrade", "bascule"])
def test_a_real_bot_ends_at_once(start: str, prepared: tuple[Path, ReplayExchange]) -> None:
    """``freqtrade trade``, and ``bascule trade start --force``, against an exchange on this machine."""
    folder, exchange = prepared
    plain = ["-m", "freqtrade", "trade", "--config", str(folder / "config.json"), "--userdir", str(folder)]
    plain += ["--strategy", json.loads((folder / "config.json").read_text("utf-8"))["strategy"]]
    own = ["-m", "bascule.app", "trade", "start", str(folder), "--force"]
    environment = {**os.environ, **SECRETS}
    # freqtrade leaves its logging alone where pytest runs
    for name in ("PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *(plain if start == "freqtrade" else own)],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode != 0, said[-3_000:]
    assert "live trading takes signed ones only" in " ".join(said.split()), said[-3_000:]
    with urlopen(f"{exchange.url}/admin/orders", timeout=30) as reply:
        assert json.load(reply) == []
