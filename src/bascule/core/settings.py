"""Base of every settings model: frozen, strict about names, with one clear error.

Each floor defines the settings of its own work as a subclass; `bascule.app.config` only composes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from bascule.core.errors import BasculeError, ConfigError

_SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)
_LONGEST = 200  # characters of a value that an error shows


class Settings(BaseModel):
    """A frozen, validated group of settings. Unknown keys are errors, with the nearest known key named."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def read(cls, values: Mapping[str, Any], *, where: str = "config") -> Self:
        """Validate plain values (as read from YAML).

        Raises:
            ConfigError: the first problem, with its place and remedy.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _explain(cls, error, where) from None


def _explain(cls: type[Settings], error: ValidationError, where: str) -> ConfigError:
    problems = error.errors()
    first = problems[0]
    path = ".".join(str(part) for part in first["loc"])
    place = f"{where}: {path}" if path else where
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(cls, first["loc"][:-1])
        near = get_close_matches(str(first["loc"][-1]), known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return ConfigError(f"unknown key{more}", where=place, remedy=remedy)
    if first["type"] == "missing":
        return ConfigError(f"this key is required{more}", where=place, remedy="add it")
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, BasculeError):  # it knows what is wrong; the place is told here
        return ConfigError(f"{cause.message}{more}", where=place, remedy=cause.remedy)
    message = first["msg"].removeprefix("Value error, ")
    received = _shown(first["input"], str(first["loc"][-1]) if first["loc"] else "")
    return ConfigError(f"{message}; received {received}{more}", where=place, remedy="correct the value")


def _shown(value: Any, key: str) -> str:
    """A value as an error may show it: no secret, and no page of text."""
    if _SECRET.search(key):
        return f"a {type(value).__name__} (not shown)"
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _fields_at(cls: type[Settings], path: tuple[int | str, ...]) -> list[str]:
    """The names that are known where ``path`` leads to."""
    model: type[BaseModel] = cls
    for part in path:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return sorted(model.model_fields)
