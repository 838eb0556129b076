"""Arguments and options that several areas share: one name and one help each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DATA = "Data"  # headings of groups of options
MEASURE = "Measure"
SPREAD = "Processes"


class Market(StrEnum):
    """freqtrade's trading mode."""

    spot = "spot"
    futures = "futures"


ConfigFile = Annotated[Path, typer.Argument(help="a run's YAML file", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="override a setting: key.sub=value (repeatable)")
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="YAML file with the settings of this command")
]
BundlePath = Annotated[
    Path, typer.Argument(help="a bundle's folder, or one with a current bundle", show_default=False)
]
Trust = Annotated[
    list[Path] | None, typer.Option("--trust", help="a signing.pub whose bundles are trusted (repeatable)")
]
Last = Annotated[int, typer.Option("--last", min=1, help="so many of the newest")]

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="a store's folder, a run's YAML, or a parquet/CSV panel; default: synthetic market",
        rich_help_panel=DATA,
    ),
]
Frame = Annotated[
    str,
    typer.Option("--timeframe", help="candle length of a store or panel, e.g. 1h, 4h", rich_help_panel=DATA),
]
Start = Annotated[
    str | None, typer.Option("--start", help="first day used, UTC, e.g. 2024-01-31", rich_help_panel=DATA)
]
End = Annotated[
    str | None, typer.Option("--end", help="first day not used any more, UTC", rich_help_panel=DATA)
]
Top = Annotated[
    int | None,
    typer.Option(
        "--top",
        min=1,
        help="universe: this many by traded value of 30 days; default all",
        rich_help_panel=DATA,
    ),
]
