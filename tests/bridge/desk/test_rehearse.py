"""What `rehearse` refuses before anything is started; whole rehearsals: the tutorial's test, tests/e2e."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pytest

from bascule.bridge.freqtrade import credentials, prepare, rehearsal
from bascule.bridge.freqtrade.prepare import PrepareSettings
from bascule.bridge.freqtrade.rehearsal import RehearsalSettings, rehearse
from bascule.core import BridgeError, ConfigError
from bascule.core.ports import free_port, is_free
from tests.bridge.research import Research

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def bot(spot: Research, tmp_path: Path) -> Path:
    prepare.prepare(spot.bundle.path.parent, tmp_path / "bot", PrepareSettings(mode="rehearse"))
    return tmp_path / "bot"


def refused(folder: Path, spot: Research, **given: object) -> BridgeError:
    with pytest.raises(BridgeError) as caught:
        rehearse(folder, spot.raw, **given)  # type: ignore[arg-type]
    assert caught.value.where and caught.value.remedy
    assert not (folder / rehearsal.OVERLAY).exists()
    return caught.value


def test_a_bot_for_real_prices_is_refused(spot: Research, tmp_path: Path) -> None:
    prepare.prepare(spot.bundle.path.parent, tmp_path / "bot", PrepareSettings(mode="dry"))
    assert "not for rehearsals" in str(refused(tmp_path / "bot", spot))


def test_candles_must_reach_over_look_back_and_rehearsal(bot: Path, spot: Research) -> None:
    first, last = spot.raw.time[0], spot.raw.time[-1]
    early = first + np.timedelta64(spot.bundle.lookback - 1, "h")
    assert f"({spot.bundle.lookback} of look-back)" in str(refused(bot, spot, start=early))
    settings = RehearsalSettings(hours=2)
    assert "reach" in str(refused(bot, spot, start=last, settings=settings))
    less = spot.raw.select(spot.raw.instruments[1:])
    with pytest.raises(BridgeError, match=spot.raw.instruments[0]):
        rehearse(bot, less, settings=RehearsalSettings(hours=1))


def test_what_is_bad_in_the_folder_is_named(bot: Path, spot: Research) -> None:
    (bot / ".env").write_text("FREQTRADE__API_SERVER__PASSWORD=short\n")
    (bot / ".env").chmod(0o600)
    told = str(refused(bot, spot, settings=RehearsalSettings(hours=1)))
    assert credentials.JWT in told and "shorter than" in told


def test_a_second_rehearsal_goes_on_or_begins_afresh(bot: Path, spot: Research) -> None:
    window = spot.bundle.manifest.models[-1].test
    begin = np.datetime64(window.start.removesuffix("Z"), "ns")
    assert rehearsal._begin(bot, spot.bundle, None, fresh=False) == begin
    past = {"begin": str(begin), "end": str(begin + np.timedelta64(90, "m"))}
    (bot / rehearsal.PAST).write_text(json.dumps(past))
    (bot / "trades-rehearse.sqlite").write_text("")
    (bot / "bascule").mkdir()
    for mode in ("rehearse", "dry"):
        (bot / "bascule" / f"BasculeStrategy.trades-{mode}.guard.json").write_text("{}")
    assert rehearsal._begin(bot, spot.bundle, None, fresh=False) == begin + np.timedelta64(1, "h")
    # the exchange's books are of that time: its clock cannot go back
    assert rehearsal._clock(bot, begin + np.timedelta64(1, "h")) == begin + np.timedelta64(90, "m")
    assert "already rehearsed" in str(refused(bot, spot, start=begin))
    assert rehearsal._begin(bot, spot.bundle, begin, fresh=True) == begin
    assert not (bot / "trades-rehearse.sqlite").exists() and not (bot / rehearsal.PAST).exists()
    assert rehearsal._clock(bot, begin) == begin + np.timedelta64(2, "s")
    (kept,) = (bot / "bascule").glob("*.guard.json")
    assert kept.name == "BasculeStrategy.trades-dry.guard.json"


def test_a_rehearsal_leaves_a_port_to_the_one_that_has_it(bot: Path) -> None:
    wanted = {"enabled": True, "listen_ip_address": "127.0.0.1", "listen_port": free_port(), "username": "x"}
    assert rehearsal._server(wanted) == wanted
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", wanted["listen_port"]))
        taken.listen()
        assert rehearsal._server(wanted | {"enabled": False})["listen_port"] == wanted["listen_port"]
        other = rehearsal._server(wanted)
    assert other["listen_port"] != wanted["listen_port"] and is_free(other["listen_port"])
    assert other | wanted == wanted


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError):
        RehearsalSettings.read({"hours": -1}, where="options")
