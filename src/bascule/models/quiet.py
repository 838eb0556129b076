"""Training without side effects: seeds set and put back, threads likewise, prints and progress kept away."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import sys
import warnings
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def quiet(seed: int, threads: int) -> Iterator[None]:
    """Run qlib code that draws from the process-wide generators, prints and logs.

    All generators start from ``seed`` and are given back as they were. qlib seeds some of its models only
    after their parameters are drawn; here they are drawn after.

    Args:
        seed: of Python's, NumPy's and (where it is loaded) torch's generators.
        threads: of torch; 0 = as it is.
    """
    # each of qlib's models makes a logger of its own and sets its level
    level = logging.root.manager.disable
    logging.disable(max(level, logging.INFO))
    before = random.getstate(), np.random.get_state()  # noqa: NPY002 - qlib draws from it
    torch = sys.modules.get("torch")
    state = None if torch is None else (torch.get_rng_state(), torch.get_num_threads())
    try:
        random.seed(seed)
        np.random.seed(seed % (1 << 32))  # noqa: NPY002
        if torch is not None:
            torch.manual_seed(seed)
            if threads:
                torch.set_num_threads(threads)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            # nothing in qlib's training loops is ours to mend: chained assignment, deprecated pandas calls
            warnings.filterwarnings("ignore", module=r"qlib\..*")
            warnings.filterwarnings("ignore", module=r"torch\..*")
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        if torch is not None and state is not None:
            torch.set_rng_state(state[0])
            torch.set_num_threads(state[1])
        logging.disable(level)
