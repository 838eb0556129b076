"""Reference pages made from the code: commands, settings, operators.

Each function gives a page of Markdown. A command is what typer has, a setting what its model has, an operator
what the registry has: nothing is written by hand, so nothing can be out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

# title, import path of the model, and which command reads it
SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("A run's file", "bascule.app.config:RunConfig", "`bascule run`, `check`, `model`, `hyperopt run`, …"),
    ("Feeds", "bascule.data.update:UpdateSettings", "`bascule data update`"),
    ("A bot", "bascule.bridge.freqtrade.prepare:PrepareSettings", "`bascule trade prepare --settings`"),
    ("FreqAI", "bascule.bridge.freqtrade.freqai.runs:Order", "`bascule freqai …`"),
    (
        "Hyper-optimisation",
        "bascule.bridge.freqtrade.hyperopt.outcomes:HyperoptSettings",
        "`bascule hyperopt run --settings`",
    ),
    (
        "Robustness",
        "bascule.bridge.freqtrade.robust.settings:RobustSettings",
        "`bascule robust study --settings`",
    ),
    ("Monitor", "bascule.monitor.settings:MonitorSettings", "`bascule monitor …`"),
    ("Dashboard", "bascule.app.web.settings:WebSettings", "`bascule web serve --config`"),
)


def pages() -> dict[str, str]:
    """All generated Markdown pages by file name."""
    return {"commands.md": commands(), "settings.md": settings(), "operators.md": operators()}


def load(path: str) -> Any:
    """What ``module:name`` names."""
    from importlib import import_module

    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def cell(text: object) -> str:
    """Text that may stand in a table's cell."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").strip()


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(cell(c) for c in row) + " |" for row in rows), ""]


# -- commands --------------------------------------------------------------------------------------


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group below ``command`` that is not hidden, with its words."""
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        if not inner.hidden:
            yield (*path, name), inner
            yield from walk(inner, (*path, name))


def root() -> Any:
    """The root command."""
    import typer.main

    from bascule.app.cli import app

    return typer.main.get_command(app)


def commands() -> str:
    """All commands with their arguments and options."""
    top = root()
    text = [
        "# Commands",
        "",
        "Made from the commands themselves; `bascule … --help` says the same. "
        "Settings files are described in [settings](settings.md).",
        "",
        *_parameters(top),
    ]
    for path, command in walk(top):
        group = bool(getattr(command, "commands", None))
        mark = "##" if len(path) == 1 else "###"
        text += [f"{mark} bascule {' '.join(path)}", "", _escaped(inspect.cleandoc(command.help or "")), ""]
        if not group:
            usage = "".join(f" {_usage(p)}" for p in command.params if _argument(p))
            text += ["```text", f"bascule {' '.join(path)}{usage} [OPTIONS]", "```", ""]
        text += _parameters(command)
    return "\n".join(text) + "\n"


def _argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument"


def _usage(parameter: Any) -> str:
    name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _escaped(text: str) -> str:
    """Help as Markdown: click's ``\\b`` marks go, angle brackets and stars are text."""
    return text.replace("\b", "").replace("<", "&lt;").replace("*", "\\*")


def _parameters(command: Any) -> list[str]:
    rows: list[tuple[object, ...]] = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
        if _argument(parameter):
            names = f"`{parameter.name.upper()}`"
        rows.append((names, _kind(parameter), _default(parameter), _escaped(parameter.help or "")))
    return table(("", "type", "default", ""), rows) if rows else []


def _kind(parameter: Any) -> str:
    if getattr(parameter, "is_flag", False):
        return "flag"
    annotation = parameter.type_descriptor.annotation
    text = annotation.__name__ if isinstance(annotation, type) and not _args(annotation) else str(annotation)
    text = re.sub(r"\b[\w.]+\.(\w+)\b", r"\1", text).replace(" | None", "")
    text = re.sub(r"list\[(.*)\]", r"\1, repeatable", text)
    if hasattr(annotation, "__members__"):
        text = " / ".join(str(member.value) for member in annotation)
    low, high = parameter.min, parameter.max
    span = (
        ""
        if low is None and high is None
        else f" {'' if low is None else low}…{'' if high is None else high}"
    )
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "flag", "Path": "path"}
    return re.sub(r"\w+", lambda m: names.get(m[0], m[0]), text) + span


def _args(annotation: Any) -> tuple[Any, ...]:
    from typing import get_args

    return get_args(annotation)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or value == () or value == []:
        return ""
    if callable(value):
        return ""
    return f"`{value.value if hasattr(value, '__members__') else value}`"


# -- settings --------------------------------------------------------------------------------------


def settings() -> str:
    """Every key of every settings file, from the JSON Schemas."""
    text = [
        "# Settings",
        "",
        "Every key of every YAML file that a command reads, from the settings models themselves. Unknown "
        "keys and values out of range are one error that names the place. `bascule schema` prints the JSON "
        "Schema of a run's file, for editors.",
        "",
    ]
    targets: dict[str, str] = {}
    for title, path, reader in SETTINGS:
        model = load(path)
        text += [f"## {title}", "", f"Read by {reader}. {_first(model)}", ""]
        text += _groups(model.model_json_schema(), targets)
    return "\n".join(text) + "\n"


def _first(model: Any) -> str:
    return cell(_escaped(inspect.cleandoc(model.__doc__ or "").split("\n\n")[0]))


def _groups(schema: dict[str, Any], targets: dict[str, str]) -> list[str]:
    """The keys of one file: its own, then group by group. A group that several files share is described once.

    Args:
        schema: of the file.
        targets: groups described so far, by their whole schema; grows.
    """
    definitions = schema.get("$defs", {})
    fresh: dict[str, bool] = {}
    for name, inner in definitions.items():
        key = f"{name} {inner}"
        fresh[name] = key not in targets
        inner["target"] = targets.setdefault(key, f"settings-{name}-{len(targets)}".lower())
    text = _keys(schema, definitions)
    queue = [(key, name) for key, value in schema["properties"].items() for name in refs(value)]
    while queue:
        place, name = queue.pop(0)
        inner = definitions[name]
        if not fresh.pop(name, False) or "properties" not in inner:
            continue
        what = _escaped(inner.get("description", "").split("\n\n")[0])
        text += [
            f"({inner['target']})=",
            "",
            f"### {place}: {name}",
            "",
            what,
            "",
            *_keys(inner, definitions),
        ]
        queue += [(f"{place}.{k}", n) for k, v in inner["properties"].items() for n in refs(v)]
    return text


def refs(schema: Any) -> list[str]:
    """Names of the models that a schema refers to."""
    if isinstance(schema, dict):
        own = [schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else []
        return own + [name for key, value in schema.items() if key != "default" for name in refs(value)]
    if isinstance(schema, list):
        return [name for value in schema for name in refs(value)]
    return []


def _keys(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    rows: list[tuple[object, ...]] = []
    needed = schema.get("required", [])
    for key, value in schema["properties"].items():
        default = "required" if key in needed else _value(value)
        rows.append(
            (f"`{key}`", kind_of(value, definitions), default, _escaped(value.get("description", "")))
        )
    return table(("key", "type and range", "default", "what"), rows)


def _value(schema: dict[str, Any]) -> str:
    import json

    if refs(schema) and isinstance(schema.get("default"), dict):
        return "see the group"
    text = json.dumps(schema.get("default"), ensure_ascii=False)
    return f"`{text}`" if len(text) <= 60 else "see the schema"


def kind_of(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A schema's type and range in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        inner = definitions[name]
        return f"[{name}](#{inner['target']})" if "properties" in inner else kind_of(inner, definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind_of(one, definitions) for one in schema["anyOf"]))
    if "enum" in schema:
        return " / ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "anything")
    if kind == "array":
        items = [kind_of(one, definitions) for one in schema.get("prefixItems", [])]
        items = items or [kind_of(schema["items"], definitions)] if "items" in schema or items else items
        return f"list of {', '.join(items) or 'anything'}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"mapping to {kind_of(inner, definitions)}" if isinstance(inner, dict) else "mapping"
    names = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true / false"}
    text = names.get(kind, "none" if kind == "null" else kind)
    if schema.get("format") in ("date", "path", "date-time"):
        text = {"date": "day", "path": "path", "date-time": "time"}[schema["format"]]
    return text + _span(schema)


def _span(schema: dict[str, Any]) -> str:
    parts = [
        f"{sign} {schema[key]:g}"
        for key, sign in (
            ("exclusiveMinimum", ">"),
            ("minimum", "≥"),
            ("exclusiveMaximum", "<"),
            ("maximum", "≤"),
        )
        if key in schema
    ]
    if "pattern" in schema:
        parts.append(f"like `{schema['pattern']}`")
    return f", {' and '.join(parts)}" if parts else ""


# -- operators -------------------------------------------------------------------------------------

_OURS = re.compile(r"\bOurs, beyond qlib\b")


def operators() -> str:
    """The factor language, from its registry."""
    from bascule.expr import LEFT_TO_QLIB, OPERATORS

    found: dict[ModuleType, list[type]] = {}
    for operator in OPERATORS.values():
        found.setdefault(inspect.getmodule(operator), []).append(operator)  # type: ignore[arg-type]
    text = [
        "# Operators",
        "",
        f"The factor language has {len(OPERATORS)} operators; this page is made from their registry "
        "(`bascule.expr.OPERATORS`). Fields are `$open`, `$high`, `$low`, `$close`, `$volume`, `$vwap` and "
        "whatever else a panel holds; `+ - * / ** > >= < <= == != & |` and numbers are as in qlib. "
        '`bascule factor explain "…"` shows how a text is computed.',
        "",
        "`n` counts candles, the current one included; where `0` is allowed it means all history.",
        "",
    ]
    for module, group in found.items():
        title = module.__name__.rsplit(".", 1)[1]
        text += [f"## {title}", "", inspect.cleandoc(module.__doc__ or ""), ""]
        text += table(
            ("operator", "kind", "windows", "what"),
            [(f"`{_call(one)}`", one.kind.value, _windows(one), _doc(one)) for one in group],
        )
    text += ["## Left to qlib", "", "These of qlib's operators are not in the language:", ""]
    text += table(("operator", "why"), [(f"`{name}`", why) for name, why in LEFT_TO_QLIB.items()])
    return "\n".join(text) + "\n"


def _call(operator: Any) -> str:
    from bascule.expr import signature

    return f"{operator.__name__}({', '.join(p.name for p in signature(operator))})"


def _windows(operator: Any) -> str:
    from bascule.expr import Role, signature

    if not any(p.role in (Role.WINDOW, Role.SPAN) for p in signature(operator)):
        return ""
    rule = operator.windows
    text = f"from {rule.least}" + (", or 0" if rule.zero else "")
    return text + (", negative in labels" if rule.negative else "")


def _doc(operator: Any) -> str:
    # a star in a formula is text
    return re.sub(r"([*_<])", r"\\\1", inspect.cleandoc(operator.__doc__ or ""))
