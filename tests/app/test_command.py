"""What all commands promise: help with an example, ``--json``, exit codes, completion."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import typer.main
import typer.testing

from bascule.app.cli import AREAS, app, main
from bascule.app.command import Code, Commands, answer, plain
from bascule.core import BridgeError, ConfigError, OutageError, StoreError
from tests.app.runs import write_run

# what serves until it is stopped, or becomes another program, has no result to print
SERVERS = {"exchange serve", "monitor jobs", "trade start", "web serve"}


def walk(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from walk(found, (*path, name))
        else:
            yield " ".join((*path, name)), found


TREE = dict(walk(typer.main.get_command(app)))


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(one) for one in arguments])
    said = capsys.readouterr()
    return int(caught.value.code or 0), said.out, said.err


def test_every_area_has_commands_and_none_is_listed_twice() -> None:
    assert len(TREE) > 60
    assert len({area.name for area in AREAS}) == len(AREAS)
    for area in AREAS:
        assert any(name.startswith(f"{area.name} ") for name in TREE), area


@pytest.mark.parametrize("name", sorted(TREE))
def test_a_command_has_a_sentence_an_example_and_json(name: str) -> None:
    command = TREE[name]
    first = (command.help or "").strip().split("\n\n")[0]
    assert first.endswith(".") or "." in first, f"{name} says nothing"
    assert len(first) < 160, f"{name} says too much at once"
    shown = [line.removeprefix("[dim]$[/] ") for line in command.epilog.split("\n\n")[1:]]
    assert shown, name
    named = []
    for line in shown:
        words = shlex.split(line.replace("\\[", "[").split(" > ")[0])
        assert words[0] == "bascule", line
        length = next(n for n in (4, 3, 2) if " ".join(words[1:n]) in TREE)
        named.append(" ".join(words[1:length]))
        TREE[named[-1]].make_context(name, words[length:])  # raises where the example is wrong
    assert named[-1] == name
    options = {flag for one in command.params for flag in one.opts}
    assert ("--json" in options) is (name not in SERVERS)
    for one in command.params:
        assert one.help, f"{name}: {one.name} is not explained"


def test_options_of_one_name_mean_one_thing() -> None:
    """The same flag takes the same kind of value everywhere."""
    kinds: dict[str, set[str]] = {}
    for command in TREE.values():
        for one in command.params:
            for flag in one.opts:
                if flag.startswith("--"):
                    kind = str(one.type_descriptor.annotation).replace(" | None", "")
                    # repeatable or not, whole or not, it is the same kind of thing
                    kind = re.sub(r"list\[|]|<class '|'>", "", kind).replace("int", "float")
                    kinds.setdefault(flag, set()).add(kind)
    differing = {flag: sorted(found) for flag, found in kinds.items() if len(found) > 1}
    assert differing == {}
    assert "--until" not in kinds and "--from" in kinds  # time spans are --start and --end


def test_a_result_is_one_document_and_nothing_else_is_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "check", write_run(tmp_path), "--json")
    assert code == Code.FINE
    assert json.loads(out)["factors"] == ["reversal", "shock", "trend"]
    code, out, _ = call(capsys, "--json", "factor", "ls")
    assert code == Code.USAGE  # it belongs to the command, not to the root
    assert json.loads(out)["error"]["kind"] == "UsageError"


@pytest.mark.parametrize(
    "arguments",
    [
        ("factor", "ls"),
        ("factor", "ls", "alpha158"),
        ("factor", "show", "KMID"),
        ("factor", "explain", "Mean($close, 5)"),
        ("factor", "search", "reversal"),
        ("mine", "ls"),
        ("model", "zoo"),
        ("schema",),
    ],
)
def test_what_is_shown_can_be_read_by_programs(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, *arguments, "--json")
    assert code == 0
    assert json.loads(out)
    code, shown, _ = call(capsys, *arguments)
    assert code == 0
    assert (shown.strip() and shown != out) or arguments == ("schema",)


def test_errors_are_documents_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "data", "ls", tmp_path / "none", "--json")
    error = json.loads(out)["error"]
    assert code == Code.INPUT
    assert error["kind"] == "StoreError"
    assert error["where"] and error["message"] and error["remedy"]
    code, out, _ = call(capsys, "data", "lss", "--json")
    assert code == Code.USAGE
    assert "Did you mean 'ls'" in json.loads(out)["error"]["message"]


class Boom(Exception):
    """Nobody expects it."""


ENDS: list[tuple[BaseException, int]] = [
    (ConfigError("x", where="y"), 3),
    (StoreError("x"), 3),
    (OutageError("x"), 4),
    (BridgeError("x"), 4),
    (ConnectionRefusedError("x"), 4),
    (FileNotFoundError(2, "no such file", "x"), 3),
    (ModuleNotFoundError("no module", name="torch"), 3),
    (ModuleNotFoundError("no module", name="bascule.gone"), 70),
    (Boom("x"), 70),
    (typer.Abort(), 1),
    (typer.BadParameter("x"), 2),
    (KeyboardInterrupt(), 130),
]


@pytest.mark.parametrize(("error", "code"), ENDS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("as_json", [False, True])
def test_exit_codes(
    error: BaseException,
    code: int,
    as_json: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Commands()

    @made.command("one", example="bascule one", resume="run it again")
    def one() -> None:
        """Fail."""
        raise error

    @made.command("two", example="bascule two")
    def two() -> None:
        """Do nothing."""

    monkeypatch.setattr("bascule.app.cli.app", made)
    found, out, err = call(capsys, "one", *(["--json"] if as_json else []))
    assert found == code
    if as_json:
        assert set(json.loads(out)["error"]) == {"kind", "where", "message", "remedy"}
    else:
        assert out == ""
        assert err.strip()
    assert ("Traceback" in err) is (code == Code.INTERNAL)
    if code == Code.INTERRUPTED:
        assert "run it again" in (out if as_json else err)


def test_a_check_that_found_something_still_answers() -> None:
    made = Commands()

    @made.command("one", example="bascule one")
    def one() -> None:
        """Find."""
        print("chatter of a third party")
        answer({"found": [1]}, "found 1")
        raise typer.Exit(Code.FOUND)

    done = typer.testing.CliRunner().invoke(made, ["--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"found": [1]}
    assert "chatter" in done.stderr


def test_a_command_without_an_answer_is_a_defect() -> None:
    made = Commands()

    @made.command("one", example="bascule one")
    def one() -> None:
        """Say nothing."""

    done = typer.testing.CliRunner().invoke(made, ["--json"])
    assert isinstance(done.exception, RuntimeError)


def test_plain_makes_json_of_what_the_house_returns() -> None:
    import pandas as pd

    value = {
        "time": np.datetime64("2024-01-02T03:04:05"),
        "times": np.array(["2024-01-02"], "datetime64[ns]"),
        "number": np.float32(0.5),
        "nan": float("nan"),
        "infinite": np.array([np.inf, 1.0]),
        "flag": np.bool_(True),
        "code": Code.FOUND,
        "path": Path("a") / "b",
        "exact": Decimal("1.10"),
        "at": datetime(2024, 1, 2, tzinfo=UTC),
        "table": pd.DataFrame({"a": [1, 2]}),
        "some": {3},
    }
    found = json.loads(json.dumps(plain(value)))
    assert found == {
        "time": "2024-01-02T03:04:05",
        "times": ["2024-01-02T00:00:00"],
        "number": 0.5,
        "nan": None,
        "infinite": [None, 1.0],
        "flag": True,
        "code": 1,
        "path": "a/b",
        "exact": "1.10",
        "at": "2024-01-02T00:00:00+00:00",
        "table": [{"a": 1}, {"a": 2}],
        "some": [3],
    }


def complete(words: str) -> list[str]:
    """What bash would offer after ``words``, by the shell's own protocol."""
    given = {
        **os.environ,
        "_BASCULE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from bascule.app.cli import main; main()"],
        env=given,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bascule fa", {"factor"}),
        ("bascule data ch", {"check"}),
        ("bascule mine run evo", {"evolution"}),
        ("bascule factor show alpha101:WQ00", {"alpha101:WQ001"}),
        ("bascule model compare run.yaml --model LGB", {"LGBModel"}),
    ],
)
def test_completion_offers_names(words: str, offered: set[str]) -> None:
    assert offered <= set(complete(words))


def test_help_and_completion_import_little() -> None:
    code = (
        "import sys, bascule.app.cli as cli, typer.main\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(cli.app, ['--help']).exit_code == 0\n"
        "print(sorted({'numpy', 'pydantic', 'pandas', 'bascule.core'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_names_of_commands_and_libraries_are_completed_without_numpy() -> None:
    code = (
        "import sys, importlib\n"
        "from bascule.app.cli import AREAS\n"
        "from bascule.app.factornames import factors_like\n"
        "for area in AREAS: importlib.import_module('bascule.app.' + area.place.split(':')[0])\n"
        "assert 'alpha158' in factors_like('alp') and 'alpha101:WQ001' in factors_like('alpha101:')\n"
        "print(sorted({'numpy', 'pandas', 'bascule.engine', 'bascule.expr'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
