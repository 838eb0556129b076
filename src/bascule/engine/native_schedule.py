"""From values to kernel calls: what is computed together, in which order, finished on the way out.

1. A product, quotient or difference that takes a value nobody else reads becomes the *finish* of that value:
   the kernel applies it as it writes (`Chain`). So does the addition of a small number.
2. Chains whose first values come from one series, window after window, are one kernel call (`Call`).
3. Calls are ordered so that operands come first. Should finishes wait for each other in a ring, one of them
   is computed on its own after all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bascule.engine.native_values import At, Value, Values

# a finish of this value: whether it is the right operand decides the second number
FINISHES: dict[str, tuple[int, int]] = {"MUL": (1, 1), "DIV": (2, 3), "SUB": (4, 5)}
_GROUPED = ("MOMENTS", "SHAPE", "SUM", "COUNT", "DEVIATION", "RANK", "SHARE", "EXTREMA", "ORDER", "PAIRS")
# these compute in single or in double precision, not in both at once
_OF_ONE_WIDTH = ("ORDER", "RANK")


@dataclass
class Chain:
    """A value and what is done to it before it is written.

    Attributes:
        root: the value that a kernel computes.
        final: the value that is written.
        addend: number of a constant to add first, or -1.
        finish: code of the finishing operation, 0 = none.
        other: its operand.
        steps: the values between, root first.
    """

    root: int
    final: int
    addend: int = -1
    finish: int = 0
    other: At = field(default=At(0))
    steps: tuple[int, ...] = ()


@dataclass
class Call:
    """One kernel call: chains whose roots share operands."""

    chains: list[Chain]


def users(values: Sequence[Value]) -> list[list[int]]:
    """Which values read each value."""
    found: list[list[int]] = [[] for _ in values]
    for number, value in enumerate(values):
        for operand in set(value.operands):
            if operand.value >= 0:
                found[operand.value].append(number)
    return found


def _chains(table: Values, outputs: Sequence[At]) -> list[Chain]:
    values, read = table.values, users(table.values)
    wanted = {output.value for output in outputs}
    taken: set[int] = set()
    chains = []
    for number, value in enumerate(values):
        if value.op == "INPUT" or number in taken:
            continue
        chain = Chain(number, number, steps=(number,))
        if value.op == "EXTREMA" and not value.wide:
            chains += _forked(table, chain, read, wanted, taken)
            continue
        while not value.wide:
            following = _follower(table, chain, read, wanted)
            if following is None or following.final in taken:
                break
            chain = following
            taken.add(chain.final)
        chains.append(chain)
    return chains


def _forked(
    table: Values, chain: Chain, read: list[list[int]], wanted: set[int], taken: set[int]
) -> list[Chain]:
    """A chain for each quotient and product of the value, and one for itself if anything else reads it."""
    found = []
    for number in read[chain.root]:
        following = _step(table, chain, number) if table.values[number].op in ("MUL", "DIV") else None
        if following is not None and number not in taken:
            found.append(following)
            taken.add(number)
    if len(found) < len(read[chain.root]) or chain.root in wanted:
        found.append(chain)
    return found


def _follower(table: Values, chain: Chain, read: list[list[int]], wanted: set[int]) -> Chain | None:
    """The chain with one more step, if its value goes into that step only."""
    final = chain.final
    if final in wanted or len(read[final]) != 1 or chain.finish:
        return None
    return _step(table, chain, read[final][0])


def _step(table: Values, chain: Chain, number: int) -> Chain | None:
    """The chain with the step that value ``number`` is, if the kernel can do it on the way out."""
    final, value = chain.final, table.values[number]
    if value.wide or value.op not in ("ADD", *FINISHES) or value.extra != (0,):
        return None
    places = [i for i, operand in enumerate(value.operands) if operand == At(final)]
    other = value.operands[1 - places[0]] if len(places) == 1 else At(final)
    if other.value == final:
        return None
    steps = (*chain.steps, number)
    if value.op == "ADD":
        if other.value >= 0 or chain.addend >= 0:
            return None
        return replace(chain, final=number, addend=~other.value, steps=steps)
    if other.value >= 0 and table.values[other.value].wide:
        return None
    return replace(chain, final=number, finish=FINISHES[value.op][places[0]], other=other, steps=steps)


def _history(values: Sequence[Value], chains: Sequence[Chain], outputs: Iterable[At]) -> dict[int, int]:
    """Rows before a tile's first that each written value is needed for when a run begins.

    Of what is written: a value that its readers finish on the way out is read by none of them.
    """
    back = {chain.final: 0 for chain in chains}

    def need(at: At, rows: int) -> None:
        if at.value in back:
            back[at.value] = max(back[at.value], rows)

    for output in outputs:
        need(output, output.lag)
    for chain in sorted(chains, key=lambda one: -one.final):  # readers come after what they read
        rows, root = back[chain.final], values[chain.root]
        for operand in root.operands:
            need(operand, rows + operand.lag + root.window - 1)
        if chain.finish:
            need(chain.other, rows + chain.other.lag)
    return back


def _calls(table: Values, chains: Sequence[Chain], back: Mapping[int, int]) -> list[Call]:
    groups: dict[tuple[object, ...], Call] = {}
    for chain in chains:
        root = table.values[chain.root]
        if root.op in _GROUPED:
            shared = root.extra[:1] if root.op == "ORDER" else root.extra
            # what goes straight to an output has no rows before the tile; so all of a call must agree on it
            early = back[chain.final] > 0
            alike = root.wide if root.op in _OF_ONE_WIDTH else None
            key: tuple[object, ...] = (root.op, root.operands, shared, early, alike)
        else:
            key = (chain.root,)
        groups.setdefault(key, Call([])).chains.append(chain)
    return list(groups.values())


def schedule(table: Values, outputs: Sequence[At]) -> list[Call]:
    """All kernel calls in order."""
    values = table.values
    chains = _chains(table, outputs)
    pending = _calls(table, chains, _history(values, chains, outputs))
    ready = {number for number, value in enumerate(values) if value.op == "INPUT"}
    order: list[Call] = []

    def there(operand: At) -> bool:
        return operand.value < 0 or operand.value in ready

    def runs(call: Call) -> bool:
        return all(there(o) for o in values[call.chains[0].root].operands)

    def finishes(call: Call) -> bool:
        return all(not chain.finish or there(chain.other) for chain in call.chains)

    while pending:
        at = next((i for i, call in enumerate(pending) if runs(call) and finishes(call)), None)
        if at is None:
            at = next(i for i, call in enumerate(pending) if runs(call))
            pending.extend(_unfinished(pending[at], there))
        call = pending.pop(at)
        order.append(call)
        ready.update(chain.final for chain in call.chains)
    return order


def _unfinished(call: Call, there: Callable[[At], bool]) -> list[Call]:
    """Take the finishes that cannot be had yet out of a call; each becomes a call of its own."""
    own = []
    for index, chain in enumerate(call.chains):
        if not chain.finish or there(chain.other):
            continue
        final = chain.steps[-1]
        call.chains[index] = replace(
            chain, final=chain.steps[-2], finish=0, other=At(0), steps=chain.steps[:-1]
        )
        own.append(Call([Chain(final, final, steps=(final,))]))
    return own
