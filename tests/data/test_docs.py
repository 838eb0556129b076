"""The page on market data shows what works."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from bascule.data.issues import KINDS
from bascule.data.sources import SOURCES
from bascule.data.update import UpdateSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs/data.md").read_text("utf-8")


def test_the_update_file_is_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    settings = UpdateSettings.read(yaml.safe_load(block))
    for feed in settings.feeds:
        SOURCES[feed.source].settings.read(feed.options)


def test_every_kind_of_issue_is_named() -> None:
    assert [kind for kind in KINDS if f"`{kind}`" not in PAGE] == []
