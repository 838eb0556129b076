"""Coverage-guided fuzzing of one target: ``python -m tests.fuzz TARGET [--seconds 60] [--corpus FOLDER]``.

Ends with 0 when nothing broke; a broken promise is printed with its input, which is also written to a file.
"""

from __future__ import annotations

import argparse
import sys


def main() -> None:
    """Run atheris."""
    import atheris

    with atheris.instrument_imports(include=["bascule"]):
        from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", help="folder of inputs, read and added to")
    arguments = parser.parse_args()
    with atheris.instrument_imports(include=["bascule"]):
        target = TARGETS[arguments.target]()
        target.one(b"")  # imports what it needs
    options = [
        sys.argv[0],
        f"-max_total_time={arguments.seconds}",
        "-max_len=96",
        "-timeout=60",
        "-rss_limit_mb=4096",
    ]
    atheris.Setup(options + ([arguments.corpus] if arguments.corpus else []), target.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
