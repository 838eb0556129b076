"""The two options with which long commands are spread over processes or machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bascule.app.options import SPREAD

if TYPE_CHECKING:
    from bascule.cluster import Executor

Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=0,
        help="processes side by side; 0: one for each processor",
        rich_help_panel=SPREAD,
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        "--cluster",
        help="local, or the address of a Ray cluster: auto, host:port, ray://…",
        rich_help_panel=SPREAD,
    ),
]


def spread(workers: int, address: str) -> Executor:
    """The executor that the options ask for."""
    from bascule import cluster

    return cluster.connect(address, workers=workers)
