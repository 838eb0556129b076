"""What all commands share: examples in their help, ``--json``, exit codes, and an end that can be resumed.

1. `Commands` is a Typer whose commands are registered with an example that is shown below their help, and,
   where it is not "run it again", with how to go on after Ctrl-C.
2. A command says what it found once, by `answer(data, *shown)`: data first, what a person reads second.
3. Every such command has ``--json``: ``data`` is then the only thing on standard output, as one document;
   whatever else is printed, by third parties too, goes to standard error, and there is no progress.
4. Errors end in `fail`: one message with place and remedy on standard error, or under ``--json`` the document
   ``{"error": {"kind", "where", "message", "remedy"}}``.
5. Exit codes are `Code`. An error's own is `bascule.core.BasculeError.exit_code`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import RenderableType
from rich.markup import escape

from bascule.app.console import console, errors, quiet
from bascule.app.interrupt import insistent

F = TypeVar("F", bound=Callable[..., Any])
AGAIN = "run the same command again to go on from here"
_given: ContextVar[list[Any] | None] = ContextVar("given", default=None)  # None: nobody asked for JSON


class Code(IntEnum):
    """Exit codes of ``bascule``."""

    FINE = 0
    FOUND = 1  # a check found what it looks for
    USAGE = 2  # wrong options or arguments
    INPUT = 3  # a file, setting or state that the user can mend
    OUTSIDE = 4  # a venue, the network, freqtrade or qlib said no
    INTERNAL = 70  # a defect of bascule
    INTERRUPTED = 130  # Ctrl-C; what was finished is kept


class Commands(typer.Typer):
    """A group of commands. Its help stands in `bascule.app.cli.AREAS`."""

    def __init__(self, **given: Any) -> None:
        super().__init__(no_args_is_help=True, **given)

    def command(  # type: ignore[override]
        self, name: str, *, example: str, resume: str = AGAIN, answers: bool = True, **given: Any
    ) -> Callable[[F], F]:
        """Register a command.

        Args:
            name: what it is called.
            example: one or several lines, shown below its help; each can be run.
            resume: what to do after Ctrl-C.
            answers: False = it serves until it is stopped, and so has no ``--json``.
            given: as of `typer.Typer.command`.
        """

        def register(function: F) -> F:
            lines = [f"[dim]$[/] {escape(line.strip())}" for line in example.strip().splitlines()]
            register_ = super(Commands, self).command(name, epilog="\n\n".join(["Example", *lines]), **given)
            register_(_outer(function, resume, answers))
            return function

        return register


def answer(data: Any, *shown: RenderableType) -> None:
    """Say what a command found: ``data`` under ``--json``, else what is ``shown``.

    Args:
        data: what `plain` can make JSON of; its keys are part of the interface.
        shown: tables and lines for people; a text is printed as it is.
    """
    found = _given.get()
    if found is not None:
        found.append(data)
        return
    for one in shown:
        if isinstance(one, str):
            console.print(one, highlight=False, markup=False, soft_wrap=True)
        else:
            console.print(one, highlight=False)


def note(text: str, style: str | None = None) -> None:
    """Say something beside the result, on standard error."""
    errors.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def _outer(function: Callable[..., Any], resume: str, answers: bool) -> Callable[..., None]:
    """The function as typer calls it: with ``--json``, and told how to end."""
    signature = inspect.signature(function, eval_str=True)
    asked = inspect.Parameter(
        "as_json",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool, typer.Option("--json", help="print one JSON document instead", rich_help_panel="Output")
        ],
    )
    if answers:
        signature = signature.replace(parameters=[*signature.parameters.values(), asked])

    @functools.wraps(function)
    def outer(*, as_json: bool = False, **values: Any) -> None:
        with _interruptible(resume if answers else None, as_json):
            if as_json:
                _say_json(function, values)
            else:
                function(**values)

    outer.__signature__ = signature  # type: ignore[attr-defined]
    outer.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    return outer


def _say_json(function: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Run a command with standard output kept free for its answer."""
    found: list[Any] = []
    asked, hushed = _given.set(found), quiet.set(True)
    ended: typer.Exit | None = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                function(**values)
            except typer.Exit as end:  # a check that found something still has its answer
                ended = end
    finally:
        _given.reset(asked)
        quiet.reset(hushed)
    if len(found) != 1:
        raise RuntimeError(f"{function.__name__} gave {len(found)} answers instead of one")
    _write(plain(found[0]))
    if ended is not None:
        raise ended


@contextlib.contextmanager
def _interruptible(resume: str | None, as_json: bool) -> Iterator[None]:
    """What Ctrl-C ends in: a line on how to go on; a server (None) was just told to stop."""
    try:
        with insistent():
            yield
    except KeyboardInterrupt:
        if resume is None:
            note("stopped")
            raise typer.Exit(Code.FINE) from None
        if as_json:
            _write({"error": _document("Interrupted", None, "interrupted", resume)})
        else:
            note(f"\ninterrupted; {resume}")
        raise typer.Exit(Code.INTERRUPTED) from None


# -- errors ----------------------------------------------------------------------------------------------


def fail(error: Exception, *, as_json: bool, debug: bool) -> NoReturn:
    """Tell an error, and exit with its code."""
    code, kind, where, message, remedy = _explained(error)
    if as_json:
        _write({"error": _document(kind, where, message, remedy)})
    else:
        label = {Code.INTERNAL: "internal error", Code.OUTSIDE: "outside"}.get(code, "error")
        label = "configuration" if kind == "ConfigError" else label
        errors.print(f"[bold red]{label}[/]:", end=" ")
        place = f"{where}: " if where else ""
        told = f"{place}{message}" + (f"\n  remedy: {remedy}" if remedy else "")
        errors.print(told, highlight=False, markup=False, soft_wrap=True)
    if code is Code.INTERNAL or debug:
        import traceback

        sys.stderr.write("".join(traceback.format_exception(error)))
    sys.exit(code)


def _explained(error: Exception) -> tuple[Code, str, str | None, str, str | None]:
    """Code, kind, place, message, remedy."""
    from bascule.core import BasculeError

    kind = type(error).__name__
    if isinstance(error, BasculeError):
        return Code(error.exit_code), kind, error.where, error.message, error.remedy
    if isinstance(error, typer.TyperException):
        remedy = "see bascule --help, or the command's --help"
        return Code(error.exit_code), "UsageError", None, error.format_message(), remedy
    if isinstance(error, typer.Abort):
        return Code.FOUND, "Aborted", None, "not confirmed: nothing was done", "answer y, or give --yes"
    if isinstance(error, ConnectionError | TimeoutError):
        return Code.OUTSIDE, kind, None, str(error) or "no connection", "check the connection, then try again"
    if isinstance(error, OSError) and error.filename is not None:
        remedy = "check the path, the rights, and the free space"
        return Code.INPUT, kind, str(error.filename), error.strerror or str(error), remedy
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("bascule"):
        remedy = "install the extra of bascule that brings it"
        return Code.INPUT, kind, None, f"the package {error.name} is not installed", remedy
    return (
        Code.INTERNAL,
        kind,
        None,
        f"{kind}: {error}",
        "this is a defect: please report it with these lines",
    )


def _document(kind: str, where: str | None, message: str, remedy: str | None) -> dict[str, Any]:
    return {"kind": kind, "where": where, "message": message, "remedy": remedy}


def _write(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


# -- data ------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """JSON of settings, dataclasses, arrays, times, paths and tables; what is not finite becomes null."""
    if value is None or (isinstance(value, bool | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, int | float):
        return value if isinstance(value, int) or math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Path | Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    return _foreign(value)


def _foreign(value: Any) -> Any:
    """Of pydantic, pandas, numpy; by what they offer, so that nothing heavy is imported here."""
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict("records"))
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if hasattr(value, "dtype"):  # an array, or a number of numpy's
        if value.dtype.kind in "mM":
            return plain(
                value.astype("datetime64[s]" if value.dtype.kind == "M" else "int64").astype(str).tolist()
            )
        return plain(value.tolist())
    return str(value)
