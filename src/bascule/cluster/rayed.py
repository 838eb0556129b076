"""A Ray cluster: an existing one by its address, or one of this machine's processors (``auto`` starts none).

Ray keeps the shared values once a node and lends them without a copy, tries tasks again whose worker or node
died, and spreads them over the nodes. The nodes need this package at the same version; that is checked,
because other code could give other numbers. Token authentication is Ray's default: give every node and the
driver the same ``RAY_AUTH_MODE`` and token.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import cycle, repeat
from typing import Any, TypeVar

from bascule import __version__
from bascule.cluster.executor import ClusterSettings, Executor, Work, noted
from bascule.cluster.shared import Shared
from bascule.core import BasculeError, ConfigError

R = TypeVar("R")
_AHEAD = 2  # tasks handed out for each processor: enough to keep all busy, few enough to stop soon
_LOOK = 5.0  # seconds without a result until the nodes are looked at
_SILENT = 30.0  # seconds without an answer of the head node until the cluster is given up


class RayCluster(Executor):
    """Tasks on Ray.

    Raises:
        ConfigError: Ray is not installed, the address does not answer, or the nodes have another version.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        super().__init__(settings)
        try:
            import ray
        except ImportError:
            raise ConfigError(
                "Ray is not installed", where="cluster", remedy="install bascule[cluster]"
            ) from None
        self._ray: Any = ray
        self._mine = not ray.is_initialized()
        if self._mine:
            try:
                _knock(settings.address)
                ray.init(address=settings.address, log_to_driver=False, configure_logging=False)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise ConfigError(
                    f"the cluster does not answer ({error})",
                    where=settings.address,
                    remedy="start it (ray start --head), check address and token, or use address: local",
                ) from None
        self._lost = False
        self._check_versions()

    @property
    def workers(self) -> int:
        """Processors of the cluster over those that one task uses."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)) // self.settings.threads)

    def place(self, values: Mapping[str, Any]) -> Shared:
        """In the object store."""
        return _Lent(self._ray, values)

    def _run(self, work: Work[R], tasks: Mapping[str, Any], shared: Shared) -> Iterator[tuple[str, R]]:
        if not isinstance(shared, _Lent):
            raise TypeError("placed by another executor")
        ray = self._ray
        remote = ray.remote(num_cpus=self.settings.threads, max_retries=self.settings.retries)(_do)
        waiting, found = deque(tasks), set[str]()
        handed: dict[Any, str] = {}
        doubtful: dict[Any, str] = {}  # perhaps on a dead node: begun anew, and whichever ends first counts
        dead = self._dead()
        places: Iterator[Any] = repeat("DEFAULT")
        try:
            while waiting or handed:
                while waiting and len(handed) < self.workers * _AHEAD:
                    name = waiting.popleft()
                    if name not in found:
                        placed = remote.options(scheduling_strategy=next(places))
                        handed[placed.remote(work, tasks[name], shared.reference)] = name
                if not handed:
                    break
                finished, _ = ray.wait([*handed, *doubtful], num_returns=1, timeout=_LOOK)
                if not finished:
                    self._seek_head()
                    if not (now := self._dead()) <= dead:
                        dead, places = now, cycle(self._living())
                        waiting.extendleft(handed.values())
                        doubtful |= handed
                        handed.clear()
                for reference in finished:
                    again = reference in doubtful
                    name = (doubtful if again else handed).pop(reference)
                    if name in found or (again and self._is_lost(reference)):
                        continue
                    with noted(name):
                        result = self._result(name, reference)
                    found.add(name)
                    for twin in [one for one, its in handed.items() if its == name]:
                        del handed[twin]
                        ray.cancel(twin, force=True)
                    yield name, result
        finally:
            for reference in (*handed, *doubtful) if not self._lost else ():
                ray.cancel(reference, force=True)

    def _seek_head(self) -> None:
        """Make sure that the head node answers.

        Ray waits for it for a minute or more in every question, and then ends this process without a word to
        its caller.

        Raises:
            BasculeError: it does not answer.
        """
        address = self._ray.get_runtime_context().gcs_address
        until = time.monotonic() + _SILENT
        while True:
            try:
                return _knock(address)
            except OSError as error:
                if time.monotonic() < until:
                    time.sleep(1.0)
                    continue
                self._lost = True
                raise BasculeError(
                    f"the cluster's head node has not answered for {_SILENT:g} s ({error})",
                    where=address,
                    remedy="look at the network and at the node (ray status), then run again: tasks that a "
                    "journal holds are not done again",
                ) from None

    def _dead(self) -> set[str]:
        """Nodes that the cluster has given up.

        A node that falls silent, behind a network that swallows packets, is missed by the cluster within half
        a minute, but the driver's connection to its task stands until gRPC looks after it: seven minutes with
        Ray's settings. Hence `_run` begins anew what may have been there.
        """
        return {node["NodeID"] for node in self._ray.nodes() if not node["Alive"]}

    def _living(self) -> list[Any]:
        """The nodes left, as places for tasks.

        What Ray places by itself queues up behind the question whether the silent node has room.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        return [NodeAffinitySchedulingStrategy(node["NodeID"], soft=True) for node in nodes] or ["DEFAULT"]

    def _is_lost(self, reference: Any) -> bool:
        """Whether a finished task ended with its process, not with an answer."""
        from ray.exceptions import RayError, RayTaskError

        try:
            self._ray.get(reference)
        except RayTaskError:
            return False
        except RayError:
            return True
        return False

    def _result(self, name: str, reference: Any) -> Any:
        from ray.exceptions import RayTaskError, WorkerCrashedError

        try:
            return self._ray.get(reference)
        except RayTaskError as error:
            cause = error.cause
            raise (cause if isinstance(cause, Exception) else error) from None
        except (WorkerCrashedError, self._ray.exceptions.RayError) as error:
            raise BasculeError(
                f"the process of this task died {self.settings.retries + 1} times ({type(error).__name__})",
                where=f"task {name}",
                remedy="look for lack of memory on the nodes, or give each task more processors (threads)",
            ) from None

    def _check_versions(self) -> None:
        ray = self._ray
        asked = ray.remote(_version).options(num_cpus=0, scheduling_strategy="SPREAD", max_retries=1)
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        found = set(ray.get([asked.remote() for _ in range(2 * nodes)]))
        if found != {__version__}:
            raise ConfigError(
                f"the cluster's nodes have {', '.join(sorted(found))}, this machine has {__version__}",
                where=self.settings.address,
                remedy="install the same version on all",
            )

    def close(self) -> None:
        """Leave the cluster."""
        # of a head node that does not answer Ray takes leave for minutes: first of all the caller is told
        if self._mine and not self._lost and self._ray.is_initialized():
            self._ray.shutdown()


class _Lent(Shared):
    """Values in Ray's object store."""

    def __init__(self, ray: Any, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.reference = ray.put(dict(values))


def _do(work: Work[R], task: Any, shared: Mapping[str, Any]) -> R:
    return work(task, shared)


def _knock(address: str) -> None:
    """Ask a host and port whether anybody listens there: Ray itself asks for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10.0).close()


def _version() -> str:
    from bascule import __version__ as found

    return found
