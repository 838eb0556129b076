"""From values to the flat program of the native core (``kernels/native/program.h``).

1. Order the kernel calls (`native_schedule`).
2. Go backwards over them to find how many rows before a tile each value is needed for: when a run begins
   (`history`) and in later tiles (`keep`), where only the readers' own windows count.
3. Give each value a slot. A value that is read in its own tile only gives its slot back after its last
   reader; one with history keeps it. What an output asks for and nobody else reads has none: the kernel
   writes the output itself.
4. Write it all down as integers.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bascule.engine.native_schedule import Call, Chain, schedule
from bascule.engine.native_values import At, Value, Values
from bascule.engine.plan import Dialect
from bascule.expr import Node, Type
from bascule.kernels.native import OPCODES

_NO_SINK_OPERAND = (0, 0)


@dataclass(frozen=True)
class Program:
    """What the core runs.

    Attributes:
        code: instructions, int32.
        constants: float64.
        shapes: for each slot whether it is wide, its history and what it keeps; int32 ``[slots, 3]``.
        inputs: what the first slots hold: fields and stored nodes.
        wide: for each output whether it is of doubles.
        history: rows of the inputs before the first row of output that a run reads.
    """

    code: NDArray[np.int32]
    constants: NDArray[np.float64]
    shapes: NDArray[np.int32]
    inputs: tuple[Node, ...]
    wide: tuple[bool, ...]
    history: int


def program(
    nodes: Sequence[Node], dialect: Dialect, *, stored: Set[Node] = frozenset(), columns: bool = False
) -> Program:
    """Lower nodes that the core computes.

    Args:
        nodes: the outputs.
        dialect: as in the plan.
        stored: nodes that are given like fields.
        columns: give outputs of type float64 as such; else all are float32.
    """
    table = Values(dialect, stored)
    wide = tuple(columns and node.type is Type.FLOAT64 for node in nodes)
    outputs = tuple(table.of(node, w) for node, w in zip(nodes, wide, strict=True))
    return _Writer(table, outputs, wide).written()


class _Writer:
    """Slots and instructions of one program."""

    def __init__(self, table: Values, outputs: Sequence[At], wide: Sequence[bool]) -> None:
        self._table = table
        self._values = table.values
        self._outputs = outputs
        self._wide = tuple(wide)
        self._calls = schedule(table, outputs)
        self._code: list[int] = []
        self._slot: dict[int, int] = {}
        self._shapes: list[list[int]] = []
        self._free: dict[bool, list[int]] = {False: [], True: []}

    def written(self) -> Program:
        back, keep, call_back, last = self._needs()
        inputs = [number for number, value in enumerate(self._values) if value.op == "INPUT"]
        # inputs were numbered in the order in which the nodes were met
        for number in inputs:
            self._slot[number] = self._new(number, back, keep)
        direct = self._direct()
        for index, call in enumerate(self._calls):
            for chain in call.chains:
                if chain.final not in direct:
                    self._slot[chain.final] = self._new(chain.final, back, keep)
            self._emit(call, call_back[index], direct)
            self._copies({chain.final for chain in call.chains}, direct)
            self._release(index, last, keep)
        self._copies(set(inputs), direct)
        shapes = np.array(self._shapes, np.int32).reshape(-1, 3)
        return Program(
            code=np.array(self._code, np.int32),
            constants=np.array(self._table.constants, np.float64),
            shapes=shapes,
            inputs=tuple(self._table.inputs),
            wide=self._wide,
            history=int(shapes[: len(inputs), 1].max(initial=0)),
        )

    # -- rows --------------------------------------------------------------------------------------

    def _reads(self, call: Call) -> list[tuple[At, int]]:
        """Operands of a call with the longest window over each."""
        root = self._values[call.chains[0].root]
        window = max(self._values[chain.root].window for chain in call.chains)
        reads = [(operand, window) for operand in root.operands]
        reads += [(chain.other, 1) for chain in call.chains if chain.finish]
        return [(operand, w) for operand, w in reads if operand.value >= 0]

    def _needs(self) -> tuple[list[int], list[int], list[int], dict[int, int]]:
        """History and keep of each value, history of each call, and the last call that reads each value."""
        back, keep = [0] * len(self._values), [0] * len(self._values)
        last: dict[int, int] = {}
        for output in self._outputs:
            back[output.value] = max(back[output.value], output.lag)
            keep[output.value] = max(keep[output.value], output.lag)
        call_back = [0] * len(self._calls)
        for index in range(len(self._calls) - 1, -1, -1):
            call = self._calls[index]
            call_back[index] = max(back[chain.final] for chain in call.chains)
            for chain in call.chains:  # all of a call are computed for the same rows
                back[chain.final] = call_back[index]
            for operand, window in self._reads(call):
                rows = operand.lag + window - 1
                keep[operand.value] = max(keep[operand.value], rows)
                back[operand.value] = max(back[operand.value], call_back[index] + rows)
                last.setdefault(operand.value, index)
        return back, keep, call_back, last

    # -- slots -------------------------------------------------------------------------------------

    def _direct(self) -> dict[int, int]:
        """Values that go straight to one output and nowhere else."""
        read = {operand.value for call in self._calls for operand, _ in self._reads(call)}
        found: dict[int, int] = {}
        for output, at in enumerate(self._outputs):
            value = self._values[at.value]
            fits = at.lag == 0 and value.op != "INPUT" and value.wide == self._wide[output]
            alone = sum(other.value == at.value for other in self._outputs) == 1
            if fits and alone and at.value not in read:
                found[at.value] = output
        return found

    def _new(self, number: int, back: Sequence[int], keep: Sequence[int]) -> int:
        wide = self._values[number].wide
        if not keep[number] and self._free[wide] and self._values[number].op != "INPUT":
            slot = self._free[wide].pop()
            self._shapes[slot][1] = max(self._shapes[slot][1], back[number])
            return slot
        self._shapes.append([int(wide), back[number], keep[number]])
        return len(self._shapes) - 1

    def _release(self, index: int, last: dict[int, int], keep: Sequence[int]) -> None:
        for number, reader in last.items():
            if reader == index and not keep[number] and self._values[number].op != "INPUT":
                self._free[self._values[number].wide].append(self._slot[number])

    # -- instructions ------------------------------------------------------------------------------

    def _write(self, name: str, back: int, arguments: Sequence[int]) -> None:
        self._code += [OPCODES[name], len(arguments) + 3, back, *arguments]

    def _operand(self, at: At) -> tuple[int, int]:
        return (at.value, 0) if at.value < 0 else (self._slot[at.value], at.lag)

    def _sink(self, chain: Chain, direct: dict[int, int]) -> tuple[int, ...]:
        target = ~direct[chain.final] if chain.final in direct else self._slot[chain.final]
        other = self._operand(chain.other) if chain.finish else _NO_SINK_OPERAND
        return (target, chain.addend, chain.finish, *other)

    def _copies(self, finals: set[int], direct: dict[int, int]) -> None:
        """Outputs that are read elsewhere too, or asked for twice, or lag."""
        for output, at in enumerate(self._outputs):
            if at.value in finals and at.value not in direct:
                double = self._wide[output] or self._values[at.value].wide
                self._write("COPY", 0, (int(double), ~output, -1, 0, 0, 0, *self._operand(at)))

    def _emit(self, call: Call, back: int, direct: dict[int, int]) -> None:
        root = self._values[call.chains[0].root]
        operands = [number for at in root.operands for number in self._operand(at)]
        if len(call.chains) == 1 and root.op not in _ENTRIES:
            sink = self._sink(call.chains[0], direct)
            if root.op == "EMA":
                self._write("EMA", back, (*operands, root.window, root.extra[0], *sink))
            else:
                self._write(root.op, back, (root.extra[0], *sink, *operands))
            return
        entries: list[int] = []
        for chain in sorted(call.chains, key=self._place):
            value = self._values[chain.root]
            entries += [*_ENTRIES[root.op](value), *self._sink(chain, direct)]
        shared = root.extra[:1]
        self._write(root.op, back, (*operands, *shared, len(call.chains), *entries))

    def _place(self, chain: Chain) -> tuple[int, bool, int]:
        """Order of entries; a statistic wanted in both precisions comes twice, the wide one later."""
        value = self._values[chain.root]
        return value.window, value.wide, value.statistic


def _window_and_statistic(value: Value) -> tuple[int, int]:
    return value.window, value.statistic


def _statistic_and_level(value: Value) -> tuple[int, int]:
    return value.extra[1], value.extra[2]


_ENTRIES = {
    "MOMENTS": _window_and_statistic,
    "SHAPE": _window_and_statistic,
    "SUM": _window_and_statistic,
    "COUNT": _window_and_statistic,
    "DEVIATION": _window_and_statistic,
    "RANK": _window_and_statistic,
    "SHARE": _window_and_statistic,
    "EXTREMA": _window_and_statistic,
    "PAIRS": _window_and_statistic,
    "ORDER": _statistic_and_level,
}
