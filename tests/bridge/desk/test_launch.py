"""A bot whose REST server cannot start ends, where freqtrade would wait for ever."""

from __future__ import annotations

import socket
import subprocess
import sys

CODE = """
import sys
import uvicorn
from freqtrade.rpc.api_server.uvicorn_threaded import UvicornServer
from bascule.bridge.freqtrade import launch
launch.install(trading=True)

async def application(scope, receive, send):
    message = await receive()
    await send({"type": message["type"] + ".complete"})

settings = {"host": "127.0.0.1", "port": int(sys.argv[1]), "log_level": "critical"}
server = UvicornServer(uvicorn.Config(application, **settings))
server.run_in_thread()
print("listens")
server.cleanup()
"""


def started(port: int) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "ignore", "-c", CODE, str(port)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)


def test_a_bot_whose_port_is_taken_ends_and_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = started(port)
    assert done.returncode == 1 and f"no REST server can listen on port {port}" in done.stderr
    done = started(port)
    assert done.returncode == 0 and done.stdout.split() == ["listens"], done.stderr
