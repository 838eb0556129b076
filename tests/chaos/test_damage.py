"""Files that changed behind the program's back: bytes flipped, cut off, swapped, or gone.

Promised: whatever file of a store or a bundle is damaged, and wherever, it is found, and one clear error
names it; no candle is ever read that was not written. A store whose provider alone is damaged loses nothing:
it is derived anew.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bascule.core import BundleError, StoreError, Timeframe
from bascule.data.store import Store
from bascule.signals import Bundle
from tests.bridge.research import Research
from tests.chaos import TIMES
from tests.chaos.conftest import Tried
from tests.data.candles import make

HOUR = Timeframe.parse("1h")
Damage = Callable[[Path, random.Random], None]


def flip(path: Path, dice: random.Random) -> None:
    """One bit."""
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def cut(path: Path, dice: random.Random) -> None:
    """The end is missing, perhaps all of it."""
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size)])


def zero(path: Path, dice: random.Random) -> None:
    """A page of nothing, as after a power cut."""
    data = bytearray(path.read_bytes())
    at = dice.randrange(len(data))
    end = min(at + 4_096, len(data))
    if not any(data[at:end]):
        flip(path, dice)
        return
    data[at:end] = bytes(end - at)
    path.write_bytes(data)


def grow(path: Path, dice: random.Random) -> None:
    """Something was put behind it."""
    path.write_bytes(path.read_bytes() + dice.randbytes(1 + dice.randrange(64)))


def remove(path: Path, dice: random.Random) -> None:
    """It is gone."""
    path.unlink()


DAMAGES: tuple[Damage, ...] = (flip, cut, zero, grow, remove)


def files(folder: Path) -> list[Path]:
    """All that holds something, by their names in the folder."""
    found = (
        path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    )
    return sorted(path for path in found if path.name != ".lock" and (folder / path).stat().st_size)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_refused_and_never_read_wrongly(
    tmp_path: Path, damage: Damage, tried: Tried
) -> None:
    frame = make(("AAA_USDT", "BBB_USDT"), bars=1_000, start="2024-01-01")
    store = Store.create(tmp_path / "store")
    store.write(frame, HOUR)
    store.build_provider(HOUR)
    panel = store.panel(HOUR)["close"].copy()
    dice = random.Random(damage.__name__)
    for number in range(TIMES):
        for name in files(store.path):
            if damage is grow and name.suffix in (".bin", ".f32"):
                continue  # what a killed writer leaves behind an array is not read
            copy = tmp_path / f"copy-{number}-{name.name}"
            shutil.copytree(store.path, copy, symlinks=True)
            damage(copy / name, dice)
            with pytest.raises(StoreError) as caught:
                Store.open(copy).verify()
            assert caught.value.where and caught.value.remedy, name
            if name.parts[0] == "provider":
                one = Store.open(copy)
                pd.testing.assert_frame_equal(one.frame(HOUR), frame)
                shutil.rmtree(copy / "provider")
                one.build_provider(HOUR)
                assert (one.panel(HOUR)["close"] == panel).all() and one.verify()
            else:
                with pytest.raises(StoreError):
                    Store.open(copy).frame(HOUR)
            shutil.rmtree(copy)
            tried(f"store: {damage.__name__}")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_bundle_is_refused(spot: Research, tmp_path: Path, damage: Damage, tried: Tried) -> None:
    dice = random.Random(damage.__name__)
    for number in range(TIMES):
        for name in files(spot.bundle.path):
            copy = tmp_path / f"copy-{number}-{name.name}"
            shutil.copytree(spot.bundle.path, copy)
            damage(copy / name, dice)
            with pytest.raises(BundleError) as caught:
                Bundle.open(copy)
            assert caught.value.where and caught.value.remedy, name
            shutil.rmtree(copy)
            tried(f"bundle: {damage.__name__}")
