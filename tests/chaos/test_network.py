"""The instrument itself: what `network` promises of a cut way."""

from __future__ import annotations

import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.chaos.network import Network, Relay

ASK = """
import sys
from urllib.request import urlopen
try:
    print(urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())
except OSError as error:
    print("timed out" if "timed out" in str(error) else repr(error))
"""


class Greets(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_packets_vanish_each_way_and_come_again() -> None:
    with Network() as network, ThreadingHTTPServer(("127.0.0.1", 0), Greets) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        seen: list[bytes] = []
        with (
            Relay(network.here, server.server_port, seen.append) as data,
            Relay(network.here_control, server.server_port) as control,
        ):

            def ask(address: str, port: int, timeout: float = 10.0) -> str:
                line = [sys.executable, "-S", "-c", ASK, f"http://{address}:{port}/", str(timeout)]
                return subprocess.run(
                    network.command(line), capture_output=True, text=True, check=True
                ).stdout.strip()

            assert ask(network.here, data.port) == "hello"
            assert len(seen) == 1 and seen[0].startswith(b"GET / ")
            for direction in ("to", "from", "both"):
                network.cut(direction)  # type: ignore[arg-type]
                assert ask(network.here, data.port, 0.5) == "timed out", direction
                # the other way is not concerned
                assert ask(network.here_control, control.port) == "hello"
            network.heal()
            assert ask(network.here, data.port) == "hello"
        server.shutdown()


def test_a_standing_connection_hears_later_what_was_said() -> None:
    with Network() as network:
        listener = socket.create_server((network.here, 0))
        say = "import socket,sys\ns=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
        say += "s.sendall(b'a')\nsys.stdin.readline()\ns.sendall(b'b')\nsys.stdin.readline()\n"
        line = [sys.executable, "-S", "-c", say, network.here, str(listener.getsockname()[1])]
        with listener, subprocess.Popen(network.command(line), stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            heard, _ = listener.accept()
            with heard:
                heard.settimeout(20)
                assert heard.recv(1) == b"a"
                network.cut()
                process.stdin.write(b"\n")
                process.stdin.flush()
                heard.settimeout(0.5)
                with pytest.raises(TimeoutError):
                    heard.recv(1)
                network.heal()
                heard.settimeout(20)
                assert heard.recv(1) == b"b"
                process.stdin.write(b"\n")
                process.stdin.flush()
