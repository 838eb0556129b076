"""The package's own scripts and styles, kept in memory, packed, under a name that changes with the content.

Only files of this table can be asked for: there is no path to walk out of.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources

from starlette.requests import Request
from starlette.responses import Response

_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_YEAR = 31_536_000


@dataclass(frozen=True)
class Static:
    """A file."""

    plain: bytes
    packed: bytes
    type: str
    digest: str


@cache
def statics() -> dict[str, Static]:
    """All files, by path below ``static``."""
    root = resources("bascule.app.web").joinpath("static")
    found = {}
    for folder, prefix in ((root, ""), (root.joinpath("vendor"), "vendor/")):
        for entry in folder.iterdir():
            suffix = "." + entry.name.rpartition(".")[2]
            if entry.is_file() and suffix in _TYPES:
                plain = entry.read_bytes()
                digest = hashlib.sha256(plain).hexdigest()[:12]
                packed = gzip.compress(plain, 6, mtime=0)
                found[prefix + entry.name] = Static(plain, packed, _TYPES[suffix], digest)
    return found


def address(name: str) -> str:
    """The URL of a file."""
    return f"/static/{name}?v={statics()[name].digest}"


async def serve(request: Request) -> Response:
    """Answer a request for a file."""
    found = statics().get(request.path_params["name"])
    if found is None:
        return Response("not there", 404, media_type="text/plain")
    fresh = request.query_params.get("v") == found.digest
    headers = {
        "Cache-Control": f"public, max-age={_YEAR}, immutable" if fresh else "no-cache",
        "ETag": f'"{found.digest}"',
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.packed, headers=headers, media_type=found.type)
    return Response(found.plain, headers=headers, media_type=found.type)
