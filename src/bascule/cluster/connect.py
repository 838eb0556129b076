"""From settings to an executor."""

from __future__ import annotations

from typing import Any

from bascule.cluster.executor import ClusterSettings, Executor, InProcess


def connect(address: str | ClusterSettings = "local", **settings: Any) -> Executor:
    """An executor; use it in a ``with``.

    Args:
        address: ``local``, the address of a Ray cluster, or whole settings.
        settings: further keys of `ClusterSettings`.

    Raises:
        ConfigError: a setting is wrong, or the cluster does not answer.
    """
    values = address.model_dump() if isinstance(address, ClusterSettings) else {"address": address}
    chosen = ClusterSettings.read({**values, **settings}, where="cluster")
    if chosen.address != "local":
        from bascule.cluster.rayed import RayCluster

        return RayCluster(chosen)
    if chosen.workers == 1:
        return InProcess(chosen)
    from bascule.cluster.local import Processes

    return Processes(chosen)
