"""Laws of expressions: each is a function that says what is wrong, or None.

1. A law takes an expression and a panel, evaluates the expression in two ways that must agree, and compares
   bits.
2. `expression` tries all laws on one expression, `operator` on several expressions of an operator.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bascule import engine
from bascule.core import BasculeError, ExpressionError, Panel
from bascule.core.panel import FloatArray
from bascule.expr import Field, Kind, Node, Operator, Role, field_names, parse, signature, walk
from bascule.testing.markets import untidy

Law = Callable[[Node, Panel], str | None]
_COLUMNWISE = frozenset({Kind.LEAF, Kind.ELEMENT, Kind.SHIFT, Kind.ROLLING, Kind.PAIR})
_SPEAKS = "it says something"
_SERIES = ("$close", "$volume", "$close/Ref($close,1)-1")


@dataclass(frozen=True)
class Finding:
    """A law that does not hold.

    Attributes:
        subject: what was tried, e.g. an expression's text.
        law: which law.
        problem: what was seen.
    """

    subject: str
    law: str
    problem: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.law}: {self.problem}"


def values(node: Node | str, panel: Panel, executor: engine.Executor = "auto") -> FloatArray:
    """Values of one expression ``[T, N]``."""
    found: FloatArray = engine.evaluate([node], panel, executor=executor)[0]
    return found


def _differs(one: FloatArray, two: FloatArray, first: int = 0) -> str | None:
    """Where two arrays of the same rows differ in a bit."""
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    if same.all():
        return None
    row, column = np.argwhere(~same)[0]
    count = int((~same).sum())
    return (
        f"row {first + row}, column {column}: {one[row, column]!r}, then {two[row, column]!r} ({count} cells)"
    )


def no_future(node: Node, panel: Panel) -> str | None:
    """The value of a row needs no later row."""
    ahead = engine.compile([node]).lookahead
    return f"it reads {ahead} bars of the future" if ahead else None


def finite_history(node: Node, panel: Panel) -> str | None:
    """Its look-back is finite: else it cannot be computed live."""
    return "it needs all history" if engine.compile([node]).lookback is None else None


def appending_changes_nothing(node: Node, panel: Panel, cuts: tuple[int, ...] | None = None) -> str | None:
    """Rows that come later change no earlier value; ``cuts``: how many rows there are at first."""
    rows, whole = panel.shape[0], values(node, panel)
    cuts = cuts or (1, 2, rows // 3, rows // 2, rows - 1)
    return next(filter(None, (_differs(values(node, panel.rows(0, cut)), whole[:cut]) for cut in cuts)), None)


def windows_give_the_same_bits(
    node: Node, panel: Panel, windows: tuple[tuple[int, int], ...] | None = None
) -> str | None:
    """A stretch of rows that covers the look-back gives the values of all history: live = research."""
    back, whole, rows = engine.compile([node]).lookback, values(node, panel), panel.shape[0]
    if back is None:
        return None
    windows = windows or ((1, rows), (rows // 3, rows), (10, min(rows, back + 41)), (rows - back - 1, rows))
    for start, stop in windows:
        part = values(node, panel.rows(start, stop))[back:]
        problem = _differs(part, whole[start + back : stop], start + back)
        if problem:
            return problem
    return None


def others_do_not_matter(node: Node, panel: Panel) -> str | None:
    """What looks at one instrument gives the same beside others as alone."""
    if any(item.kind not in _COLUMNWISE for item in walk(node)):
        return None
    whole = values(node, panel)
    for column, name in enumerate(panel.instruments):
        problem = _differs(values(node, panel.select([name])), whole[:, [column]])
        if problem:
            return f"alone {name} has other values: {problem}"
    return None


def members_alone_count(node: Node, panel: Panel) -> str | None:
    """What looks across instruments has no value outside of the universe, and takes none from there."""
    if node.kind is not Kind.CROSS:
        return None
    whole = values(node, panel)
    if np.isfinite(whole[~panel.members]).any():
        return "there are values outside of the universe"
    if any(item is not node and item.back != 0 for item in walk(node)):
        return None  # what the operands read further back may have been a member then
    noise = {
        name: np.where(panel.members, cells, cells * 3).astype(np.float32)
        for name, cells in panel.fields.items()
    }
    other = Panel(panel.timeframe, panel.time, panel.instruments, noise, panel.listed, panel.members)
    return _differs(values(node, other), whole)


def nothing_before_the_listing(node: Node, panel: Panel) -> str | None:
    """There is no value before an instrument's first candle."""
    early = int(np.isfinite(values(node, panel)[~panel.started]).sum())
    return f"{early} values before the first candle" if early else None


def a_spike_passes(node: Node, panel: Panel) -> str | None:
    """A wild candle changes nothing once it has left the window."""
    back = engine.compile([node]).lookback
    row = 10
    if back is None or row + back + 1 >= panel.shape[0]:
        return None
    wild = {name: cells.copy() for name, cells in panel.fields.items()}
    for cells in wild.values():
        cells[row] *= np.float32(1e9)
    spoilt = Panel(panel.timeframe, panel.time, panel.instruments, wild, panel.listed, panel.members)
    after = row + back + 1
    return _differs(values(node, spoilt)[after:], values(node, panel)[after:], after)


def text_and_node_are_one(node: Node, panel: Panel) -> str | None:
    """Its text is read back as the same expression, also in another process."""
    if parse(str(node)) != node:
        return f"{node} is read as {parse(str(node))}"
    return None if pickle.loads(pickle.dumps(node)) == node else "it does not survive pickling"  # noqa: S301


def executors_agree(node: Node, panel: Panel) -> str | None:
    """The compiled core and NumPy give the same, up to the rounding of float32."""
    plain, auto = values(node, panel, "reference"), values(node, panel)
    close = np.isclose(plain, auto, rtol=2e-5, atol=1e-7, equal_nan=True)
    if close.all():
        return None
    row, column = np.argwhere(~close)[0]
    return f"row {row}: {plain[row, column]!r} with NumPy, {auto[row, column]!r} with the core"


def it_says_something(node: Node, panel: Panel) -> str | None:
    """There is a finite value somewhere."""
    return None if np.isfinite(values(node, panel)).any() else "it has no finite value at all"


LAWS: Mapping[str, Law] = {
    "no look-ahead": no_future,
    "finite history": finite_history,
    "later rows change nothing": appending_changes_nothing,
    "every window gives the same bits": windows_give_the_same_bits,
    "other instruments do not matter": others_do_not_matter,
    "members alone count": members_alone_count,
    "nothing before the listing": nothing_before_the_listing,
    "a spike passes": a_spike_passes,
    "text and node are one": text_and_node_are_one,
    "both executors agree": executors_agree,
    _SPEAKS: it_says_something,
}


def expression(what: Node | str, panel: Panel | None = None, *, subject: str | None = None) -> list[Finding]:
    """All laws on one expression.

    Args:
        what: an expression or its text.
        panel: to try it on; default an untidy market with the fields that it reads.
        subject: what findings call it; default its text.
    """
    try:
        node = parse(what) if isinstance(what, str) else what
        back = engine.compile([node]).lookback or 0
        market = untidy(max(90, 2 * back + 40), field_names(node)) if panel is None else panel
        found = []
        for law, tried in LAWS.items():
            problem = tried(node, market)
            if problem is not None:
                found.append(Finding(subject or str(node), law, problem))
    except BasculeError as error:
        return [Finding(subject or str(what), "it can be computed", str(error))]
    return found


def examples(operator: type[Operator]) -> Iterator[Node]:
    """Expressions of an operator: each number and window at its least and at ordinary values."""
    choices: list[list[object]] = []
    for place, parameter in enumerate(signature(operator)):
        least = max(1, operator.windows.least)
        low, high = max(0.0, operator.numbers[0]), min(1.0, operator.numbers[1])
        match parameter.role:
            case Role.SERIES | Role.VALUE:
                turned = _SERIES[place % 3 :] + _SERIES[: place % 3]
                choices.append([parse(text) for text in turned])
            case Role.FLAG:
                choices.append([parse("$close>$open")])
            case Role.WINDOW:
                choices.append([least + 6, least, least + 19])
            case Role.SPAN:
                choices.append([5, 0.3])
            case Role.NUMBER:
                choices.append([(low + high) / 2, low, high])
            case Role.NAME:
                choices.append(["B_USDT"])
    # every choice once with the first of the others, not all combinations
    usual = tuple(options[0] for options in choices)
    rows = {usual}
    for place, options in enumerate(choices):
        rows |= {(*usual[:place], one, *usual[place + 1 :]) for one in options}
    for row in sorted(rows, key=str):
        try:
            yield operator(*row)
        except ExpressionError:  # these arguments do not go together
            continue


def operator(which: type[Operator]) -> list[Finding]:
    """All laws on several expressions of an operator, and inside and around other operators."""
    tried = list(itertools.islice(examples(which), 12))
    if not tried:
        problem = "no arguments of the roles it declares are taken"
        return [Finding(which.__name__, "it can be called", problem)]
    first = tried[0]
    inner = next((child for child in first.children if isinstance(child, Field)), None)
    if inner is not None:
        later = parse("Ref($close,2)")
        tried.append(first.rebuilt(tuple(later if child == inner else child for child in first.children)))
    tried.append(parse(f"Mean({first},3)"))
    found = [finding for node in tried for finding in expression(node)]
    silent = [finding for finding in found if finding.law == _SPEAKS]
    # an example may have nothing to say, such as the deviation of one value; not all of them
    return found if len(silent) == len(tried) else [one for one in found if one not in silent]
