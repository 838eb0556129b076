"""Two places with a router between them that can swallow what passes: Linux network namespaces.

`Network` lays out ``here`` (this namespace) and ``there`` (one of its own), joined by two ways:

- the *data* way through a third namespace, the router. `cut` gives the router black-hole routes: packets
  vanish there without a word, in one direction or both, as in a partition. Nobody is refused, nothing is
  reset; connections that stand go on standing, and what was sent is sent again by the kernel once the way is
  healed.
- the *control* way, straight from one to the other and never cut, for a test's own questions.

Addresses are of 198.18.0.0/15, which RFC 2544 keeps for tests of networks.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import pytest

Direction = Literal["to", "from", "both"]  # of what is there: what goes to it, what comes from it


def _ip(*words: str, inside: str | None = None) -> None:
    done = subprocess.run(
        ["ip", *(("-n", inside) if inside else ()), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Network:
    """Context manager: the two ways. Skips the test where the machine does not allow it.

    Attributes:
        here, there: addresses of the two ends of the data way.
        here_control, there_control: of the control way.
    """

    def __init__(self) -> None:
        # a number of this process, so that tests side by side do not meet
        number = os.getpid() % 8_192
        base, rest = 18 + number // 4_096, (number % 4_096) * 16
        net = f"198.{base}.{rest // 256}."
        self._tag = f"bsc{number:x}"
        self._router, self._far = f"{self._tag}r", f"{self._tag}f"
        at = rest % 256
        self.here, self._near_gate = f"{net}{at + 1}", f"{net}{at + 2}"
        self.there, self._far_gate = f"{net}{at + 5}", f"{net}{at + 6}"
        self.here_control, self.there_control = f"{net}{at + 9}", f"{net}{at + 10}"
        self._near_net = f"{net}{at}/30"
        self._cuts: set[str] = set()

    def __enter__(self) -> Self:
        if shutil.which("ip") is None:
            pytest.skip("a partition needs iproute2 (the command ip)")
        try:
            self._lay()
        except OSError as error:
            self._remove()
            pytest.skip(f"this machine does not let us make network namespaces: {error}")
        return self

    def _lay(self) -> None:
        near, far, control = f"{self._tag}a", f"{self._tag}b", f"{self._tag}c"
        for name in (self._router, self._far):
            _ip("netns", "add", name)
            _ip("link", "set", "lo", "up", inside=name)
        _ip("link", "add", near, "type", "veth", "peer", "name", "near", "netns", self._router)
        _ip(
            "link",
            "add",
            far,
            "netns",
            self._far,
            "type",
            "veth",
            "peer",
            "name",
            "far",
            "netns",
            self._router,
        )
        _ip("link", "add", control, "type", "veth", "peer", "name", control, "netns", self._far)
        for inside, device, address in (
            (None, near, self.here),
            (self._router, "near", self._near_gate),
            (self._router, "far", self._far_gate),
            (self._far, far, self.there),
            (None, control, self.here_control),
            (self._far, control, self.there_control),
        ):
            _ip("addr", "add", f"{address}/30", "dev", device, inside=inside)
            _ip("link", "set", device, "up", inside=inside)
        _ip("route", "add", f"{self.there}/32", "via", self._near_gate)
        _ip("route", "add", self._near_net, "via", self._far_gate, inside=self._far)
        forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
        done = subprocess.run(
            [*self._enter(self._router), "sh", "-c", forward], capture_output=True, check=False
        )
        if done.returncode:
            raise OSError(f"no forwarding: {done.stderr.decode().strip()}")

    def _enter(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", name]

    def command(self, line: Sequence[str]) -> list[str]:
        """A command line that runs over there; the process keeps its number."""
        return [*self._enter(self._far), *line]

    def cut(self, direction: Direction = "both") -> None:
        """Let packets vanish from now on."""
        self.heal()
        for wanted, address in (("to", self.there), ("from", self.here)):
            if direction in (wanted, "both"):
                _ip("route", "add", "blackhole", f"{address}/32", inside=self._router)
                self._cuts.add(address)

    def heal(self) -> None:
        """Let them pass again."""
        while self._cuts:
            _ip("route", "del", "blackhole", f"{self._cuts.pop()}/32", inside=self._router)

    def _remove(self) -> None:
        # the kernel takes a namespace down some time later: what the next network's names need goes at once
        for device in (f"{self._tag}a", f"{self._tag}c"):
            subprocess.run(["ip", "link", "del", device], capture_output=True, check=False)
        for name in (self._router, self._far):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()


class Relay:
    """Context manager: a port of an address of ours that leads to a server on the loopback interface.

    Args:
        address: to listen on.
        to: port of the server.
        look: is shown all that a client sends, before it is passed on.
    """

    def __init__(self, address: str, to: int, look: Callable[[bytes], None] | None = None) -> None:
        self._to, self._look = to, look
        self._server = socket.create_server((address, 0))
        self.port = int(self._server.getsockname()[1])
        self._others: dict[Any, Any] = {}
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._selector.register(self._server, selectors.EVENT_READ)
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread.start()
        return self

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    return
                if key.fileobj is self._server:
                    self._join(self._server.accept()[0])
                elif key.fileobj in self._others:
                    self._pass(key.fileobj)

    def _join(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._to), timeout=10)
        except OSError:
            client.close()
            return
        for one, other in ((client, server), (server, client)):
            # a peer behind a black hole reads nothing: what does not fit its buffer ends the connection
            one.settimeout(2.0)
            self._others[one] = other
            self._selector.register(one, selectors.EVENT_READ, one is client)

    def _pass(self, one: Any) -> None:
        from_client = self._selector.get_key(one).data
        try:
            data = one.recv(1 << 16)
            if data and from_client and self._look is not None:
                self._look(data)
            if data:
                self._others[one].sendall(data)
                return
        except OSError:
            pass  # either end is gone: so is the other, below
        for gone in (one, self._others[one]):
            self._selector.unregister(gone)
            del self._others[gone]
            gone.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.send(b"x")
        self._thread.join(10)
        with contextlib.ExitStack() as stack:
            for one in (self._server, self._stop, self._stopped, *self._others):
                stack.callback(one.close)
            stack.callback(self._selector.close)
