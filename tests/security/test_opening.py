"""Whatever opens a file in a way that could run code in it is listed here, with the reason it may.

The walk looks at every call of the package: unpicklers and libraries that unpickle, `eval` and its like,
imports by a computed name, shared libraries, processes. A new one fails until it stands below, and in the
table of docs/security.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "bascule"

_ANYWHERE = {"eval", "exec", "compile", "__import__"}
_MODULES = {
    "pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle", "runpy", "skops.io",
    "subprocess",
}  # fmt: skip
_NAMES = {
    "import_module", "exec_module", "load_module", "Unpickler", "read_pickle", "read_hdf", "load_object",
    "CDLL", "execv", "execve", "execvp", "spawnv", "popen", "unsafe_load", "full_load", "run_path",
    "run_module", "entry_points", "from_pretrained",
}  # fmt: skip
_HARMLESS = {
    "subprocess.run", "subprocess.Popen", "subprocess.check_output",  # a shell is looked for below
    "pickle.dumps", "pickle.dump", "pickle.UnpicklingError", "joblib.dump",
}  # fmt: skip

# file → call → why it may
LISTED: dict[tuple[str, str], str] = {
    ("__init__.py", "importlib.import_module"): "one module of ours, by a constant name",
    ("app/cli.py", "importlib.import_module"): "modules of ours, from a table in the file",
    (
        "app/tradecli.py",
        "os.execve",
    ): "the bot takes this process's place: this Python, words",
    ("cluster/plain.py", "pickle.Unpickler"): "reads data only; what names anything else is refused",
    ("cluster/shared.py", "pickle.loads"): "in a worker, of what its own parent handed over",
    ("core/__init__.py", "importlib.import_module"): "modules of ours, from a table in the file",
    (
        "core/extensionfile.py",
        "importlib.import_module",
    ): "extensions, installed or named by the user",
    ("core/extensionfile.py", "importlib.metadata.entry_points"): "extensions that are installed",
    ("core/extensionfile.py", "spec.loader.exec_module"): "extensions in files that the user names",
    ("core/extensions.py", "importlib.import_module"): "registries of ours, from a table in the file",
    ("core/tether.py", "runpy.run_module"): "what our own code starts, by a constant name",
    ("kernels/native/library.py", "ctypes.CDLL"): "the compiled kernels, from where the package is installed",
    ("miners/registry.py", "importlib.import_module"): "searchers of ours, from a table in the file",
    ("models/nets.py", "importlib.import_module"): "qlib's networks, from a table in the package",
    ("models/zoo.py", "importlib.import_module"): "qlib's models, from a table in the package",
    ("risk/extra.py", "importlib.import_module"): "an optional library, by a constant name",
    (
        "testing/laws.py",
        "pickle.loads",
    ): "of what it has just pickled: checks for authors",
}


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Calls with their full names as far as imports tell them."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                first = one.name.partition(".")[0]
                names[one.asname or first] = one.name if one.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                names[one.asname or one.name] = f"{node.module}.{one.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            first, *rest = ast.unparse(node.func).split(".")
            yield ".".join([names.get(first, first), *rest]), node


def suspicious(source: str) -> set[str]:
    """Names of calls that could run what they open."""
    found = set()
    for name, call in calls(source):
        options = {one.arg: ast.unparse(one.value) for one in call.keywords}
        module, _, last = name.rpartition(".")
        if name in _ANYWHERE or last in _NAMES or (module in _MODULES and name not in _HARMLESS):
            found.add(name)
        if options.get("allow_pickle", "False") != "False" or options.get("shell", "False") != "False":
            found.add(f"{name} with {', '.join(sorted(set(options) & {'allow_pickle', 'shell'}))}")
        if name in ("torch.load", "yaml.load", "yaml.load_all", "os.system"):
            found.add(name)
    # a subclass reads as its parent does
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            found |= {"pickle.Unpickler" for one in node.bases if ast.unparse(one).endswith("Unpickler")}
    return found


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import pickle\npickle.load(f)", "pickle.load"),
        ("from pickle import loads as read\nread(b)", "pickle.loads"),
        ("import joblib as j\nj.load(f)", "joblib.load"),
        ("import torch\ntorch.load(f)", "torch.load"),
        ("import numpy as np\nnp.load(f, allow_pickle=True)", "numpy.load with allow_pickle"),
        ("import yaml\nyaml.load(f, Loader=x)", "yaml.load"),
        ("import pandas as pd\npd.read_pickle(f)", "pandas.read_pickle"),
        ("eval(text)", "eval"),
        ("import subprocess\nsubprocess.run(text, shell=True)", "subprocess.run with shell"),
        ("import importlib\nimportlib.import_module(name)", "importlib.import_module"),
        ("import pickle\nclass Reader(pickle.Unpickler): pass", "pickle.Unpickler"),
        ("import os\nos.system(text)", "os.system"),
        ("from mlflow import x\nx.recorder.load_object(name)", "mlflow.x.recorder.load_object"),
    ],
)
def test_the_walk_sees(source: str, name: str) -> None:
    assert name in suspicious(source)


def test_the_walk_lets_through() -> None:
    harmless = "import numpy as np, yaml, re, json\nnp.load(f, allow_pickle=False)\nnp.load(f)\n"
    assert suspicious(harmless + "yaml.safe_load(t)\nre.compile(x)\njson.loads(t)\nplan.load(x)\n") == set()


def test_what_could_run_code_is_listed() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), name)
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in suspicious(path.read_text("utf-8"))
    }
    assert found - set(LISTED) == set(), "new: can it read data instead? else list it here and in the docs"
    assert set(LISTED) - found == set(), "gone: take it off the list"


def test_the_page_names_them() -> None:
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    for file, _ in LISTED:
        assert f"`{file}`" in page, f"{file} is not in the table of docs/security.md"
