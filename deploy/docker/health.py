"""Exit code 0 if an address answers with a status below 400: for images without curl."""

from __future__ import annotations

import sys
import urllib.request

if __name__ == "__main__":
    with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:  # noqa: S310 (our own addresses)
        sys.exit(0 if answer.status < 400 else 1)
