"""Work spread over processes or machines.

One seam, two ways behind it::

    with cluster.connect() as executor:                   # processes of this machine
    with cluster.connect("ray://…" or "host:port") as …:  # a Ray cluster (extra ``cluster``)
        results = executor.map(work, {"first": 1, "second": 2}, shared={"panel": panel})

``work(task, shared)`` is a function at the top of a module. Results come back by name in the order of the
tasks, whatever finished first, and a task draws randomness only from what it is given: so they are the same
to the bit on one process, on many, and on a cluster. Arrays and panels in ``shared`` are placed once and
mapped, not copied, by all workers of a machine. Tasks whose process was killed are tried again; with a
journal, work that was cut off goes on where it stopped.
"""

from bascule.cluster.connect import connect
from bascule.cluster.executor import ClusterSettings, Executor, InProcess, Work
from bascule.cluster.journal import Journal
from bascule.cluster.shared import Shared

__all__ = ["ClusterSettings", "Executor", "InProcess", "Journal", "Shared", "Work", "connect"]
