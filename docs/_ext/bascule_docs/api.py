"""Pages of the Python reference: one a package, from its ``__all__``, or from the modules named here.

1. A package that states its public names (``__all__``) is described by them.
2. Packages that are read module by module are listed in `MODULES`; what a module defines without a leading
   underscore is public.
3. Settings are shown as a table of keys with defaults; everything else by autodoc.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

FLOORS = (
    "core", "expr", "kernels", "data", "cluster", "engine", "factors", "evaluate", "models", "risk", "miners",
    "portfolio", "signals", "testing", "bridge.qlib", "bridge.exchange", "bridge.freqtrade", "monitor",
)  # fmt: skip

# packages without names of their own: the modules that users call, or None for all of them
MODULES: dict[str, tuple[str, ...] | None] = {
    "kernels": None,
    "data": (
        "store", "readers", "prepare", "synthetic", "planted", "health", "issues", "repair", "live",
        "universe", "memberships", "pointintime", "resample", "composite", "update", "export", "sources",
    ),
    "bridge.freqtrade": (
        "config", "run", "results", "bias", "prepare", "preflight", "emergency", "secrets", "livecheck",
        "trading.settings",
    ),
    "monitor": ("settings", "samples", "rules", "read", "replay", "jobs", "notify", "metrics"),
}  # fmt: skip


def pages() -> dict[str, str]:
    """Text of each page (reStructuredText) by name."""
    return {floor.replace(".", "-"): _page(floor) for floor in FLOORS}


def names(module: ModuleType) -> list[str]:
    """Public names of a module: its ``__all__``, or what it defines itself."""
    stated = getattr(module, "__all__", None)
    if stated is None:
        stated = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and getattr(value, "__module__", None) == module.__name__
            and (inspect.isclass(value) or inspect.isfunction(value))
        ]
    return [name for name in stated if not isinstance(getattr(module, name), ModuleType)]


def _page(floor: str) -> str:
    module = import_module(f"bascule.{floor}")
    text = [*_title(module.__name__, "="), ".. automodule:: " + module.__name__, "   :no-members:", ""]
    seen: set[int] = set()
    if getattr(module, "__all__", None):
        text += _members(module, seen)
    for name in _modules(floor, module):
        inner = import_module(f"{module.__name__}.{name}")
        text += [
            *_title(name, "-"),
            ".. automodule:: " + inner.__name__,
            "   :no-members:",
            "   :no-index:",
            "",
        ]
        text += _members(inner, seen)
    return "\n".join(text) + "\n"


def _modules(floor: str, module: ModuleType) -> list[str]:
    if floor not in MODULES:
        return []
    chosen = MODULES[floor]
    if chosen is not None:
        return list(chosen)
    return [
        found.name
        for found in iter_modules(module.__path__)
        if not found.name.startswith("_") and not found.ispkg
    ]


def _title(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _members(module: ModuleType, seen: set[int]) -> list[str]:
    """Table and descriptions of a module's public names; an object is described where it comes first."""
    public = [name for name in names(module) if id(getattr(module, name)) not in seen]
    seen.update(id(getattr(module, name)) for name in public)
    if not public:
        return []
    text = [f".. currentmodule:: {module.__name__}", "", ".. autosummary::", "   :nosignatures:", ""]
    text += [f"   {name}" for name in public if callable(getattr(module, name))] + [""]
    for name in public:
        text += _entry(name, getattr(module, name))
    return text


def _entry(name: str, value: Any) -> list[str]:
    from bascule.core import Settings

    if inspect.isclass(value) and issubclass(value, Settings):
        table = _fields(value) if value.model_fields else []
        return [f".. autoclass:: {name}", "   :no-members:", "", *table]
    if inspect.isclass(value):
        members = [] if issubclass(value, BaseException) else ["   :members:"]
        members += ["   :inherited-members:"] if _in_halves(value) else []
        return [f".. autoclass:: {name}", *members, "   :no-undoc-members:", ""]
    if callable(value) and not hasattr(value, "__origin__"):
        return [f".. autofunction:: {name}", ""]
    return [f".. autodata:: {name}", "   :no-value:", ""]


def _in_halves(value: type) -> bool:
    """True for a class whose methods are partly those of a base of ours, and of nobody else's."""
    bases = [base for base in value.__mro__[1:] if base is not object]
    return bool(bases) and all(base.__module__.startswith("bascule.") for base in bases)


def _fields(model: Any) -> list[str]:
    """Keys of a settings class as a table."""
    rows = [
        "   .. list-table::",
        "      :header-rows: 1",
        "      :widths: 22 18 15 45",
        "",
        "      * - key",
        "        - type",
    ]
    rows += ["        - default", "        - what"]
    for name, field in model.model_fields.items():
        default = (
            "required"
            if field.is_required()
            else f"``{_short(field.get_default(call_default_factory=True))}``"
        )
        rows += [f"      * - ``{name}``", f"        - ``{_type(field.annotation)}``", f"        - {default}"]
        rows += [f"        - {_plain(field.description or '')}"]
    return [*rows, ""]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 50 else type(value).__name__ + "(…)"


def _type(annotation: Any) -> str:
    text = (
        annotation.__name__ if inspect.isclass(annotation) and "[" not in str(annotation) else str(annotation)
    )
    text = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)
    return text if len(text) <= 60 else text[:57] + "…"


def _plain(text: str) -> str:
    """A description as reStructuredText: marks are text."""
    for mark in ("\\", "*", "`", "|", "_"):
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())


def signature(
    app: Any, what: str, name: str, value: Any, options: Any, args: str | None, result: str | None
) -> Any:
    """Settings have their table instead of a signature of all keys."""
    from bascule.core import Settings

    if what == "class" and inspect.isclass(value) and issubclass(value, Settings):
        return "", None
    return args, result


_SUBSTITUTION = re.compile(r"(``.*?``)|\|")


def docstring(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Bars around a number are not reStructuredText's; a constant has no docstring but that of its type."""
    if what == "data" and inspect.cleandoc(type(value).__doc__ or "").startswith(
        "\n".join(lines[:1]).strip()
    ):
        lines.clear()
    lines[:] = [_SUBSTITUTION.sub(lambda found: found[1] or "\\|", line) for line in lines]
