"""The page on market data shows what works."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from bascule.data.issues import KINDS
from bascule.data.sources import SOURCES
from bascule.data.update import UpdateSettings
from bascule.expr import parse
from bascule.factors.processors import ProcessorSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs/data.md").read_text("utf-8")


def test_the_update_file_is_valid() -> None:
    block, steps = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    settings = UpdateSettings.read(yaml.safe_load(block))
    for feed in settings.feeds:
        SOURCES[feed.source].settings.read(feed.options)
    for step in yaml.safe_load(steps)["processors"]:
        ProcessorSettings.read(step)


def test_every_source_and_robust_operator_is_named() -> None:
    assert [kind for kind in SOURCES if f"`{kind}`" not in PAGE] == []
    for text in re.findall(r"`((?:CS|TS|Trim|Wins)\w+\(.*?\))`", PAGE):
        parse(text.replace("x", "$close").replace("by", "$open").replace(",n", ",9").replace(",q", ",0.1"))


def test_every_kind_of_issue_is_named() -> None:
    assert [kind for kind in KINDS if f"`{kind}`" not in PAGE] == []
