"""Coverage-guided fuzzing of one target: ``python -m tests.fuzz TARGET [--seconds 60] [--corpus FOLDER]``.

It begins with the inputs of ``corpus/TARGET.hex``, which earlier runs found to reach more and more code.
Ends with 0 when nothing broke; a broken promise is printed with its input, which is also written to a file.
Run with ``--once FILE`` it tries that one input again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path


def through_files() -> None:
    """Have modules found by Python's own finder.

    An editable install brings a finder of its own, whose loader hides the code of modules from atheris: what
    it loads runs without instrumentation, and the fuzzer is blind.
    """
    sys.meta_path[:] = [one for one in sys.meta_path if not type(one).__module__.startswith("_editable_")]
    sys.path.insert(0, str(Path(__file__).parents[2] / "src"))


def main() -> None:
    """Run atheris."""
    import atheris

    through_files()
    with atheris.instrument_imports(include=["bascule"]):
        from tests.fuzz.targets import TARGETS, known

        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("target", choices=sorted(TARGETS))
        parser.add_argument("--seconds", type=int, default=60)
        parser.add_argument("--corpus", help="folder of inputs, read and added to")
        parser.add_argument("--empty", action="store_true", help="begin with nothing")
        parser.add_argument("--once", type=Path, help="one input to try")
        arguments = parser.parse_args()
        target = TARGETS[arguments.target]()
        target.one(b"")  # imports what it needs
    if arguments.once:
        target.one(arguments.once.read_bytes())
        return
    corpus = Path(arguments.corpus or tempfile.mkdtemp(prefix="bascule-corpus-"))
    if not arguments.empty:
        corpus.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(known(arguments.target)):
            (corpus / f"known-{number}").write_bytes(data)
    options = [
        sys.argv[0],
        f"-max_total_time={arguments.seconds}",
        "-max_len=96",
        "-timeout=60",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup([*options, str(corpus)], target.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
