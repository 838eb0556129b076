"""Prepared user folders: complete, valid for freqtrade, without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bascule.bridge.freqtrade import credentials, prepare
from bascule.bridge.freqtrade.config import TradeSettings
from bascule.bridge.freqtrade.prepare import PrepareSettings
from bascule.bridge.freqtrade.secrets import scan
from bascule.core import BridgeError, BundleError, ConfigError
from tests.bridge.research import Research

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
MODES: tuple[prepare.Mode, ...] = ("rehearse", "dry", "live")


def config(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "config.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("mode", MODES)
def test_a_folder_is_complete_and_freqtrade_takes_it(spot: Research, tmp_path: Path, mode: str) -> None:
    settings = PrepareSettings.read({"mode": mode})
    folder = tmp_path / "bot"
    space = prepare.prepare(spot.bundle.path.parent, folder, settings)
    values = config(folder)
    assert values["dry_run"] is (mode == "dry")
    assert str(values["db_url"]).endswith(f"trades-{mode}.sqlite")
    assert (space.folder / "strategies" / "BasculeStrategy.py").read_text().count("GuardedStrategy") == 2
    names = {line.partition("=")[0] for line in (folder / ".env.example").read_text().splitlines()}
    assert {name for name in names if name.startswith("FREQTRADE")} == set(credentials.required(settings))
    assert (credentials.KEY in names) is (mode != "dry")
    assert (folder / "current").resolve() == spot.bundle.path
    assert ".env" in (folder / ".gitignore").read_text()
    prepare.validate(values, credentials.placeholders(settings))


def test_without_its_secrets_a_configuration_is_not_valid(spot: Research, tmp_path: Path) -> None:
    prepare.prepare(spot.bundle.path.parent, tmp_path / "bot", PrepareSettings(mode="live"))
    with pytest.raises(BridgeError, match="password"):
        prepare.validate(config(tmp_path / "bot"), {})


def test_no_secret_is_written_whatever_the_environment(
    spot: Research, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        name: f"sEcReT{i}abcdefghijklmnopqrstuvwx"
        for i, name in enumerate((credentials.KEY, credentials.JWT))
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    prepare.prepare(spot.bundle.path.parent, tmp_path / "bot", PrepareSettings(mode="live"))
    assert scan([tmp_path / "bot"], secrets) == ()


def test_a_rehearsals_secrets_are_made_up_once(spot: Research, tmp_path: Path) -> None:
    folder = tmp_path / "bot"
    settings = PrepareSettings(mode="rehearse")
    prepare.prepare(spot.bundle.path.parent, folder, settings)
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    made = credentials.load(folder, {})
    assert set(made) == set(credentials.required(settings))
    prepare.validate(config(folder), made)
    prepare.prepare(spot.bundle.path.parent, folder, settings)
    assert credentials.load(folder, {}) == made
    prepare.prepare(spot.bundle.path.parent, tmp_path / "live", PrepareSettings(mode="live"))
    assert not (tmp_path / "live" / ".env").exists()


def test_a_bot_does_not_follow_a_name_that_may_change(spot: Research, tmp_path: Path) -> None:
    """A run's `bundles` leads to the newest settings' folder; the bot stays with the one it was given."""
    (tmp_path / "bundles").symlink_to(spot.bundle.path.parent)
    prepare.prepare(tmp_path / "bundles", tmp_path / "bot", PrepareSettings())
    (tmp_path / "bundles").unlink()
    assert (tmp_path / "bot" / "current").resolve() == spot.bundle.path


def test_the_three_modes_differ_in_little(spot: Research, tmp_path: Path) -> None:
    configs = {}
    for mode in MODES:
        prepare.prepare(spot.bundle.path.parent, tmp_path / "bot", PrepareSettings(mode=mode))
        configs[mode] = config(tmp_path / "bot")
        # only a rehearsal has nothing to lose by a bundle that nobody has signed
        assert configs[mode]["bascule"].pop("unsigned") is (mode == "rehearse")
    differ = {
        key
        for key in set().union(*configs.values())
        if len({json.dumps(values.get(key), sort_keys=True) for values in configs.values()}) > 1
    }
    assert differ == {"bot_name", "dry_run", "dry_run_wallet", "fee", "db_url", "exchange"}


def test_preparing_again_keeps_what_is_not_its_own(spot: Research, tmp_path: Path) -> None:
    folder = tmp_path / "bot"
    prepare.prepare(spot.bundle.path.parent, folder, PrepareSettings())
    (folder / ".env").write_text("FREQTRADE__EXCHANGE__KEY=mine\n")
    (folder / "trades-dry.sqlite").write_bytes(b"trades")
    prepare.prepare(spot.bundle.path.parent, folder, PrepareSettings(api_port=9090))
    assert (folder / "trades-dry.sqlite").read_bytes() == b"trades"
    assert config(folder)["api_server"]["listen_port"] == 9090  # type: ignore[index]


def test_a_promotion_is_followed(spot: Research, tmp_path: Path) -> None:
    """The link leads to the folder's own `current`: turning that turns the bot."""
    from bascule.core.files import point

    bundles = tmp_path / "bundles"
    bundles.mkdir()
    for name in ("old", "new"):
        (bundles / name).symlink_to(spot.bundle.path)
    point(bundles / "current", bundles / "old")
    prepare.prepare(bundles, tmp_path / "bot", PrepareSettings())
    assert (tmp_path / "bot" / "current").readlink().name == "current"
    point(bundles / "current", bundles / "new")
    assert (tmp_path / "bot" / "current").resolve() == spot.bundle.path


def test_roles_bring_their_sections(spot: Research, tmp_path: Path) -> None:
    producer = PrepareSettings(role="producer")
    assert credentials.WS_TOKEN in credentials.required(producer)
    consumer = PrepareSettings(role="consumer")
    prepare.prepare(spot.bundle.path.parent, tmp_path / "bot", consumer)
    values = config(tmp_path / "bot")
    assert values["external_message_consumer"]["enabled"] is True  # type: ignore[index]
    assert "ConsumerStrategy" in (tmp_path / "bot" / "strategies" / "BasculeStrategy.py").read_text()
    environment = credentials.placeholders(consumer)
    del environment[credentials.PRODUCERS]
    with pytest.raises(BridgeError, match="roducer"):
        prepare.validate(values, environment)


def test_what_cannot_be_traded_is_refused_before_anything_is_written(spot: Research, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        prepare.prepare(tmp_path, tmp_path / "bot")
    with pytest.raises(BridgeError, match="no signals for"):
        prepare.prepare(spot.bundle.path, tmp_path / "bot", PrepareSettings(pairs=("LTC/USDT",)))
    with pytest.raises(BridgeError, match="stake currency"):
        prepare.prepare(
            spot.bundle.path, tmp_path / "bot", PrepareSettings(trade=TradeSettings(stake_currency="EUR"))
        )
    with pytest.raises(ConfigError, match="guard"):
        prepare.prepare(spot.bundle.path, tmp_path / "bot", PrepareSettings(guard={"late_shar": 1}))
    with pytest.raises(ConfigError, match="reconcile"):
        prepare.prepare(spot.bundle.path, tmp_path / "bot", PrepareSettings(reconcile={"alarm": "shout"}))
    with pytest.raises(BridgeError, match="freqtrade refuses"):
        prepare.prepare(spot.bundle.path, tmp_path / "bot", PrepareSettings(exchange="nowhere"))
    assert not (tmp_path / "bot").exists()


def test_futures_have_margin_and_their_own_urls(futures: Research, tmp_path: Path) -> None:
    prepare.prepare(futures.bundle.path, tmp_path / "bot", PrepareSettings(mode="rehearse"))
    values = config(tmp_path / "bot")
    assert values["trading_mode"] == "futures" and values["margin_mode"] == "isolated"
    assert "fapiPrivate" in json.dumps(values["exchange"])


def test_env_files_are_read_as_a_shell_reads_them(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# a comment\n\nFREQTRADE__EXCHANGE__KEY='with = sign'\nB=\"two words\"\nC=plain\n")
    with pytest.raises(BridgeError, match="others may read"):
        path.chmod(0o644)
        credentials.load(tmp_path, {})
    path.chmod(0o600)
    found = credentials.load(tmp_path, {"C": "given"})
    assert found == {"FREQTRADE__EXCHANGE__KEY": "with = sign", "B": "two words", "C": "given"}
    path.write_text("no equals sign\n")
    with pytest.raises(BridgeError, match="line 1"):
        credentials.load(tmp_path, {})
