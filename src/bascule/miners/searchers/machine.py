"""Programs over registers, and the machine that compiles them to factor texts (after AlphaEvolve, arXiv
2103.16196).

1. A program is three functions, lists of operations over registers: scalars s, vectors v (the last bars of
   one series), matrices m (the last bars of every field; m0 is the input). *Setup* writes constants, *update*
   what the next bar will find in the registers, *predict* the prediction, register s1. Operations are
   element-wise, reduce vectors to scalars, take rows and lags, correlate, or compare coins (relational).
2. `Machine.run` does not compute a program but *compiles* it: registers hold factor texts, and so does s1 in
   the end. Then identity, cache, engine and live path are those of any other factor.
3. An operation that cannot be done (an empty register, units that do not fit, too long) does nothing. What s1
   does not depend on is pruned.
4. `Machine.draw` writes a random program, `Machine.mutated` changes one line of one.

A program in general is not a factor text. Left out are parameters that update would learn from labels,
recursion (a register carries what update wrote over *one* bar, as ``Ref(x,1)``), matrix products and norms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeGuard

import numpy as np
from pydantic import Field as Key

from bascule.core import ExpressionError, Settings
from bascule.expr import Constant, Field, Node, Operator, pair, shift
from bascule.expr import crosssection as cross
from bascule.expr import elementwise as cell
from bascule.miners.dimensions import RATIO
from bascule.miners.grammar import Grammar, pointless
from bascule.miners.trees import size

FUNCTIONS = ("setup", "update", "predict")
_CONSTANTS = (0.0, 0.5, 1.0, 2.0)
_REMEMBERED = 50_000  # texts that are kept for other programs with the same lines
_BINARY: Mapping[str, type[Operator]] = {
    "add": cell.Add, "sub": cell.Sub, "mul": cell.Mul, "div": cell.Div, "max": cell.Greater, "min": cell.Less,
}  # fmt: skip
_UNARY: Mapping[str, type[Operator]] = {"abs": cell.Abs, "log": cell.Log, "sign": cell.Sign}
_RELATIONAL: Mapping[str, type[Operator]] = {
    "rank": cross.CSRank, "zscore": cross.CSZScore, "demean": cross.CSDemean
}  # fmt: skip


class MachineSettings(Settings):
    """Size of programs."""

    scalars: int = Key(default=6, ge=2, le=32, description="scalar registers; s1 is the prediction")
    vectors: int = Key(default=4, ge=1, le=32, description="vector registers")
    matrices: int = Key(default=2, ge=1, le=16, description="matrix registers; m0 is the input")
    operations: int = Key(default=12, ge=2, le=100, description="most operations of a function")
    length: int | None = Key(default=None, ge=3, le=60, description="most tokens; null: the grammar's")
    relational: bool = Key(default=False, description="operations across coins (slower)")


@dataclass(frozen=True)
class Operation:
    """One line of a function.

    Attributes:
        name: kind of its result (s, v, m), an underline, a word.
        out: number of the register it writes.
        a: of its first operand.
        b: of its second.
        arg: a window, lag, number of a row, or a constant.
    """

    name: str
    out: int
    a: int = 0
    b: int = 0
    arg: float = 0.0


@dataclass(frozen=True)
class Program:
    """Three functions."""

    setup: tuple[Operation, ...] = ()
    update: tuple[Operation, ...] = ()
    predict: tuple[Operation, ...] = ()

    def with_function(self, name: str, lines: Sequence[Operation]) -> Program:
        """With other lines in one function."""
        return Program(**{f: tuple(lines) if f == name else getattr(self, f) for f in FUNCTIONS})


@dataclass(frozen=True)
class Register:
    """What a register holds while a program is compiled.

    Attributes:
        rows: texts; one for a scalar or a vector, one a field for a matrix; None where units did not fit.
        window: bars that a vector or matrix looks back over.
        used: lines it depends on, as (function, number).
    """

    rows: tuple[Node | None, ...]
    window: int = 1
    used: frozenset[tuple[str, int]] = frozenset()


class Machine:
    """Compiles programs to factor texts.

    Args:
        grammar: fields, operators, windows, units.
        settings: sizes.
    """

    def __init__(self, grammar: Grammar, settings: MachineSettings) -> None:
        self.grammar, self.settings = grammar, settings
        self.longest = settings.length or grammar.settings.length
        self._reducers: dict[str, type[Operator]] = {}
        self._texts: dict[object, Node | None] = {}
        self._windows: dict[str, set[int]] = {}
        for action in grammar.actions:
            timed = action.extra and isinstance(action.extra[0], int)
            if timed and action.operator and not issubclass(action.operator, shift.Ref | shift.Delta):
                name = action.operator.__name__
                self._windows.setdefault(name, set()).add(int(action.extra[0]))
                if action.arity == 1:
                    self._reducers[name] = action.operator
        self._counts = {"s": settings.scalars, "v": settings.vectors, "m": settings.matrices}
        self.names = self._vocabulary()

    def _vocabulary(self) -> dict[str, tuple[str, ...]]:
        every = (
            ["v_row"] * 4 + ["m_over", "s_last", "s_lag"] * 2 + ["v_window", "v_mean", "m_input", "s_Corr"]
        )
        every += [f"{kind}_{word}" for kind in "svm" for word in (*_BINARY, *_UNARY)]
        every += [f"s_{word}" for word in self._reducers]
        if self.settings.relational:
            every += [f"s_{word}" for word in _RELATIONAL]
        return {"setup": ("s_const", "m_input"), "update": tuple(every), "predict": tuple(every)}

    # -- compiling ---------------------------------------------------------------------------------

    def run(self, program: Program) -> tuple[Node | None, Program]:
        """The text of register s1 (None where it is no factor), and the program without redundant lines."""
        registers = {("m", 0): self._input(max(self.grammar.settings.windows))}
        self._function("setup", program, registers)
        later = dict(registers)
        self._function("update", program, later)
        for place, register in later.items():
            if register != registers.get(place):
                registers[place] = self._carried(register)
        self._function("predict", program, registers)
        result = registers.get(("s", 1))
        node = result.rows[0] if result else None
        used = result.used if result else frozenset()
        pruned = Program(
            **{
                name: tuple(op for i, op in enumerate(getattr(program, name)) if (name, i) in used)
                for name in FUNCTIONS
            }
        )
        return node if self._is_factor(node) else None, pruned

    def _function(self, name: str, program: Program, registers: dict[tuple[str, int], Register]) -> None:
        for number, op in enumerate(getattr(program, name)):
            made = self._done(op, registers)
            if made is not None:
                used = made.used | {(name, number)}
                registers[op.name[0], op.out] = Register(made.rows, made.window, used)

    def _carried(self, register: Register) -> Register:
        """As the next bar finds it."""
        rows = tuple(
            row if row is None or isinstance(row, Constant) else shift.Ref(row, 1) for row in register.rows
        )
        return Register(rows, register.window, register.used)

    def _input(self, window: int) -> Register:
        return Register(tuple(Field(name) for name in self.grammar.settings.fields), window)

    def _done(self, op: Operation, registers: Mapping[tuple[str, int], Register]) -> Register | None:
        """What an operation makes, or None where it cannot be done."""
        if op.name == "s_const":
            return Register((Constant(op.arg),))
        if op.name == "m_input":
            return self._input(int(op.arg))
        sources = self._sources(op.name)
        found = [registers.get((source, n)) for source, n in zip(sources, (op.a, op.b), strict=False)]
        if found[0] is None or found[-1] is None:
            return None
        a = found[0]
        if op.name == "v_row":
            return self._kept((a.rows[int(op.arg) % len(a.rows)],), a.window, a)
        if op.name == "v_mean":
            return self._kept((self._mean(a.rows),), a.window, a)
        if op.name == "v_window":
            return self._kept(a.rows, int(op.arg), a)
        return self._single(op, a) if len(found) == 1 else self._paired(op, a, found[-1])

    def _sources(self, name: str) -> tuple[str, ...]:
        """Kinds of the operands."""
        if name in ("s_const", "m_input"):
            return ()
        if name in ("v_row", "v_mean"):
            return ("m",)
        if name in ("m_over", "s_Corr"):
            return ("m" if name == "m_over" else "v", "v")
        kind = "v" if self._reduces(name) else name[0]
        return (kind, kind) if name[2:] in _BINARY else (kind,)

    def _reduces(self, name: str) -> bool:
        return name in ("s_last", "s_lag", "s_Corr") or (name[0] == "s" and name[2:] in self._reducers)

    def _paired(self, op: Operation, a: Register, b: Register) -> Register | None:
        window = min(a.window, b.window)
        if op.name == "s_Corr":
            if window not in self._windows["Corr"]:
                return None
            return self._kept((self._made(pair.Corr, a.rows[0], b.rows[0], window),), 1, a, b)
        operator = cell.Div if op.name == "m_over" else _BINARY[op.name[2:]]
        others = b.rows * len(a.rows) if len(b.rows) == 1 else b.rows
        rows = tuple(self._made(operator, x, y) for x, y in zip(a.rows, others, strict=True))
        return self._kept(rows, window, a, b)

    def _single(self, op: Operation, a: Register) -> Register | None:
        word = op.name[2:]
        if word == "last":
            return self._kept(a.rows, 1, a)
        if word == "lag":
            lag = int(op.arg)
            return self._kept((self._made(shift.Ref, a.rows[0], lag),), 1, a) if lag < a.window else None
        if self._reduces(op.name):
            if a.window not in self._windows[word]:
                return None
            return self._kept((self._made(self._reducers[word], a.rows[0], a.window),), 1, a)
        operator = _UNARY.get(word) or _RELATIONAL[word]
        return self._kept(tuple(self._made(operator, row) for row in a.rows), a.window, a)

    def _mean(self, rows: tuple[Node | None, ...]) -> Node | None:
        """Mean over the rows of the first row's unit."""
        known = [row for row in rows if row is not None]
        alike = [row for row in known if self.grammar.dimension(row) == self.grammar.dimension(known[0])]
        total: Node | None = alike[0] if len(alike) > 1 else None
        for row in alike[1:]:
            total = self._made(cell.Add, total, row)
        return total

    def _made(self, operator: type[Operator], *args: Node | int | None) -> Node | None:
        """A text, unless an operand is missing, units do not fit, or it grows too long."""
        key = (operator, args)  # mutants share most of their lines
        if key not in self._texts:
            if len(self._texts) > _REMEMBERED:
                self._texts.clear()
            self._texts[key] = self._built(operator, *args)
        return self._texts[key]

    def _built(self, operator: type[Operator], *args: Node | int | None) -> Node | None:
        nodes = tuple(arg for arg in args if not isinstance(arg, int))
        known = tuple(node for node in nodes if node is not None)
        if len(known) < len(nodes) or all(isinstance(node, Constant) for node in known):
            return None
        if (len(known) == 2 and known[0] == known[1]) or pointless(operator, known):
            return None
        try:
            node = operator(*args)
        except ExpressionError:  # a number where the operator wants a series
            return None
        unit = self.grammar.dimension(node)
        if unit is None or max(abs(unit.price), abs(unit.volume)) > self.grammar.settings.power:
            return None
        return node if size(node) <= self.longest else None

    def _kept(self, rows: tuple[Node | None, ...], window: int, *sources: Register) -> Register | None:
        if all(row is None for row in rows):
            return None
        used: frozenset[tuple[str, int]] = frozenset()
        return Register(rows, window, used.union(*(source.used for source in sources)))

    # -- drawing -----------------------------------------------------------------------------------

    def operation(
        self,
        function: str,
        rng: np.random.Generator,
        filled: Iterable[tuple[str, int]] | None = None,
        name: str | None = None,
    ) -> Operation:
        """A random line; its operands are any registers of their kinds, or any of those that are filled."""
        names = self.names[function]
        name = name or names[int(rng.integers(len(names)))]
        out = int(rng.integers(self._counts[name[0]]))
        operands = []
        for kind in self._sources(name):
            among = [n for k, n in filled if k == kind] if filled is not None else []
            among = among or list(range(self._counts[kind]))
            operands.append(among[int(rng.integers(len(among)))])
        a, b = (*operands, 0, 0)[:2]
        settings = self.grammar.settings
        choices: Sequence[float] = {
            "s_const": _CONSTANTS,
            "v_row": range(len(settings.fields)),
            "s_lag": settings.lags,
        }.get(name, settings.windows)
        return Operation(name, out, a, b, float(choices[int(rng.integers(len(choices)))]))

    def draw(self, rng: np.random.Generator) -> Program:
        """A random program that makes a factor: lines that do something, until it is long enough."""
        while True:
            wanted, lines = int(rng.integers(3, self.longest + 1)), self.settings.operations
            registers = {("m", 0): self._input(max(self.grammar.settings.windows))}
            predict: list[Operation] = []
            longest, at = 0, -1
            for _ in range(30 * lines):
                op = self.operation("predict", rng, list(registers))
                made = self._done(op, registers)
                if made is None:
                    continue
                predict.append(op)
                registers[op.name[0], op.out] = made
                if op.name[0] == "s" and self._is_factor(made.rows[0]):
                    length = size(made.rows[0])
                    longest, at = max((longest, at), (length, len(predict) - 1))
                if longest >= wanted or len(predict) == 3 * lines:
                    break
            if at >= 0:
                predict[at] = Operation(**{**asdict(predict[at]), "out": 1})
                _, pruned = self.run(Program(predict=tuple(predict[: at + 1])))
                if len(pruned.predict) <= lines:
                    return pruned

    def _is_factor(self, node: Node | None) -> TypeGuard[Node]:
        if node is None or isinstance(node, Constant):
            return False
        return size(node) > 1 and self.grammar.dimension(node) == RATIO

    def mutated(self, program: Program, rng: np.random.Generator) -> Program:
        """One line inserted, removed, replaced or altered."""
        function = FUNCTIONS[int(rng.choice(3, p=(0.1, 0.2, 0.7)))]
        lines = list(getattr(program, function))
        way = rng.choice(("insert", "remove", "replace", "alter"), p=(0.4, 0.15, 0.2, 0.25))
        if way == "insert" or not lines:
            if len(lines) < self.settings.operations:
                lines.insert(int(rng.integers(len(lines) + 1)), self.operation(function, rng))
        else:
            at = int(rng.integers(len(lines)))
            if way == "remove":
                del lines[at]
            elif way == "replace":
                lines[at] = Operation(**{**asdict(self.operation(function, rng)), "out": lines[at].out})
            else:
                lines[at] = self._altered(lines[at], function, rng)
        return program.with_function(function, lines)

    def _altered(self, op: Operation, function: str, rng: np.random.Generator) -> Operation:
        """One part of a line as in another line of the same name."""
        other = self.operation(function, rng, name=op.name)
        part = ("out", "a", "b", "arg", "arg")[int(rng.integers(5))]
        return Operation(**{**asdict(op), part: getattr(other, part)})
