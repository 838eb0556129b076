"""Metrics for Prometheus, and a health check, over HTTP.

Each metric of the catalogue is a gauge ``bascule_<metric>{subject="…"}`` with the newest value, its interval
as ``…_low`` and ``…_high``. Of the monitor itself: time of the last cycle, rules that fire, events, actions
and messages by state. Everything is read from the journal, so that a restart shows the same figures.

``/metrics`` is for Prometheus; ``/health`` answers 200 while cycles end in time, else 503.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from bascule.core import ConfigError
from bascule.monitor import schema
from bascule.monitor.samples import METRICS
from bascule.monitor.schema import Database


class Exposed(Collector):
    """What is exposed.

    Args:
        database: of the journal.
        age: seconds since the last cycle ended, by a clock that nobody sets.
    """

    def __init__(self, database: Database, age: Callable[[], float]) -> None:
        self.database, self.age = database, age

    def collect(self) -> Iterator[Any]:
        """All metric families."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(schema.latest)).all()
            firing = connection.execute(
                sa.select(schema.states.c.rule, schema.states.c.subject).where(schema.states.c.firing)
            ).all()
            events = _counted(connection, schema.events, "kind", "level")
            actions = _counted(connection, schema.actions, "do", "status")
            messages = _counted(connection, schema.messages, "status")
            runs = _counted(connection, schema.jobs, "job", "status")
        for name, metric in METRICS.items():
            mine = [row for row in rows if row.metric == name]
            for part, what in (
                ("value", ""),
                ("low", ", lower end expected"),
                ("high", ", upper end expected"),
            ):
                known = [(row.subject, getattr(row, part)) for row in mine if getattr(row, part) is not None]
                if known:
                    suffix = "" if part == "value" else f"_{part}"
                    family = GaugeMetricFamily(
                        metric.prometheus + suffix, metric.help + what, labels=["subject"]
                    )
                    for subject, value in known:
                        family.add_metric([subject], value)
                    yield family
        fires = GaugeMetricFamily("bascule_rule_firing", "1 = the rule fires", labels=["rule", "subject"])
        for rule, subject in firing:
            fires.add_metric([rule, subject], 1.0)
        yield fires
        yield _counts("bascule_events", "events of the journal", ("kind", "level"), events)
        yield _counts("bascule_actions", "actions by their state", ("do", "status"), actions)
        yield _counts("bascule_messages", "messages by their state", ("status",), messages)
        yield _counts("bascule_jobs", "runs of jobs by their state", ("job", "status"), runs)
        yield GaugeMetricFamily(
            "bascule_monitor_last_cycle_seconds",
            "end of the last cycle, Unix time",
            value=time.time() - self.age(),
        )


class MetricsServer:
    """Serves `Exposed` in a thread of its own.

    Args:
        exposed: what.
        host: address to listen on.
        port: 0 = any free one.
        patience: seconds since the last cycle that are healthy.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(self, exposed: Exposed, host: str, port: int, patience: float) -> None:
        registry = CollectorRegistry()
        registry.register(exposed)
        metrics = make_wsgi_app(registry)

        def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
            if environ.get("PATH_INFO") == "/metrics":
                found: Iterable[bytes] = metrics(environ, start)
                return found
            if environ.get("PATH_INFO") == "/health":
                age = exposed.age()
                good = age <= patience
                start("200 OK" if good else "503 Service Unavailable", [("Content-Type", "text/plain")])
                return [f"last cycle ended {age:.1f} s ago\n".encode()]
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/metrics or /health\n"]

        try:
            self._server = make_server(host, port, app, _Server, _Quiet)
        except OSError as error:
            raise ConfigError(
                f"cannot listen: {error.strerror}",
                where=f"monitor: {host}:{port}",
                remedy="choose another port, or end what uses it",
            ) from None
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A line for every scrape helps nobody."""


def _counted(connection: sa.Connection, table: sa.Table, *by: str) -> list[Any]:
    columns = [table.c[name] for name in by]
    return list(connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns)).all())


def _counts(name: str, help_: str, labels: tuple[str, ...], rows: list[Any]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=list(labels))
    for *values, count in rows:
        family.add_metric([str(value) for value in values], count)
    return family
