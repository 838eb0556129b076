"""Licences of components against `.ci/licences.yaml`: all must go with GPL-3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import yaml
from license_expression import ExpressionError, LicenseSymbol, get_spdx_licensing

from tests.security.sbom import ROOT

RULES = ROOT / ".ci" / "licences.yaml"


def rules() -> dict[str, Any]:
    """The written rules."""
    found: dict[str, Any] = yaml.safe_load(RULES.read_text("utf-8"))
    return found


def judge(
    components: Iterable[Mapping[str, Any]], rules: Mapping[str, Any]
) -> tuple[dict[str, str], list[str]]:
    """Licences by component, and what is wrong with any.

    An expression with AND needs all its licences to be compatible, one with OR any. Where a package makes
    several statements, all that can be read must be compatible, and one must be readable.
    """
    taken: dict[str, str] = {}
    wrong: list[str] = []
    for component in components:
        name = str(component["name"])
        key = name.lower().replace("_", "-")
        said = [_text(one) for one in component.get("licenses", ())]
        told = rules["read"].get(key)
        texts = [told["licence"]] if told else [rules["called"].get(text, text) for text in said]
        readable = [text for text in texts if _parsed(text) is not None]
        if not readable:
            wrong.append(f"{name}: no licence that can be read ({said}); read its files and write it down")
            continue
        taken[key] = readable[0]
        for text in readable:
            if not _compatible(_parsed(text), frozenset(rules["compatible"])):
                wrong.append(f"{name}: {text} is not known to go with GPL-3")
    return taken, wrong


def _text(one: Mapping[str, Any]) -> str:
    inner = one.get("license", {})
    return str(one.get("expression") or inner.get("id") or inner.get("name"))


@cache
def _spdx() -> Any:
    return get_spdx_licensing()


@cache
def _parsed(text: str) -> Any:
    if text.startswith("License ::"):
        return None
    try:
        return _spdx().parse(text, validate=True)
    except ExpressionError:
        return None


def _compatible(tree: Any, allowed: frozenset[str]) -> bool:
    if isinstance(tree, LicenseSymbol) or type(tree).__name__ == "LicenseWithExceptionSymbol":
        return str(tree) in allowed
    parts = [_compatible(one, allowed) for one in tree.args]
    return any(parts) if type(tree).__name__ == "OR" else all(parts)
