"""Torch for the learning searchers: imported in one place, and kept as plain arrays.

A search is resumed from JSON and arrays alone (`miners.search`), so parameters and the moments of Adam are
taken out of torch's objects by name and put back; nothing is pickled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from bascule.core import ConfigError, StoreError
from bascule.miners.contract import Arrays

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ModuleNotFoundError:
    raise ConfigError(
        "the learning searchers need torch, which is not installed",
        where="mining",
        remedy="pip install 'bascule[mining]'",
    ) from None

__all__ = [
    "functional",
    "nn",
    "one_thread",
    "packed",
    "packed_adam",
    "seeded",
    "torch",
    "unpack",
    "unpack_adam",
]


class one_thread(contextlib.ContextDecorator):
    """Within it torch computes on one thread, as many as before afterwards.

    Networks here are small: threads do not help them, and on a busy machine they spin while they wait for
    each other. Two threads on two busy cores took five times the CPU seconds of one.
    """

    def __enter__(self) -> None:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *problem: Any) -> None:
        torch.set_num_threads(self._threads)


def packed(name: str, module: nn.Module) -> Arrays:
    """Parameters and buffers of a module by name."""
    return {f"{name}.{key}": value.detach().numpy().copy() for key, value in module.state_dict().items()}


def unpack(name: str, module: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put them back.

    Raises:
        StoreError: they are of a network of another size.
    """
    try:
        module.load_state_dict({key: torch.tensor(arrays[f"{name}.{key}"]) for key in module.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise StoreError(
            f"the stored parameters do not fit the network: {str(error).splitlines()[0]}",
            where=f"state of {name}",
            remedy="resume with the searcher's settings of before, or search anew",
        ) from None


def packed_adam(name: str, optimiser: torch.optim.Optimizer) -> Arrays:
    """The moments of every parameter that was ever stepped."""
    return {
        f"{name}.{number}.{key}": value.detach().numpy().copy()
        for number, moments in optimiser.state_dict()["state"].items()
        for key, value in moments.items()
    }


def unpack_adam(name: str, optimiser: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put them back; the rates are the settings', not the state's."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in arrays.items():
        if key.startswith(f"{name}."):
            number, kind = key.removeprefix(f"{name}.").split(".")
            moments.setdefault(int(number), {})[kind] = torch.tensor(value)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})


class seeded:
    """Within it torch draws from a seed; torch's own generator is left as it was."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._fork = torch.random.fork_rng(devices=[])

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *problem: Any) -> None:
        self._fork.__exit__(*problem)
