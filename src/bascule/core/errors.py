"""The one error tree.

::

    BasculeError
    ├── ConfigError        a setting is missing, misspelt or out of range
    │   └── NotATimeError  a text that should be a time is none
    ├── DataError          market data from outside is not what it must be
    │   ├── OutageError    a source of market data does not answer
    │   ├── StoreError     the store on disk is missing, half, or of another version
    │   └── UniverseError  no instrument is left, or an unknown one was named
    ├── ExpressionError    a factor text is not of the language
    ├── BundleError        a signal bundle is missing, damaged or does not fit
    └── BridgeError        qlib, freqtrade or the exchange said no
        └── SetupError     what the bridge was given does not fit: setting, bundle, candles, a bot's folder

Every message names the rule, the place, the value received and the remedy. The command line prints it
without a traceback (``--debug`` shows one), and ends with the error's `BasculeError.exit_code`: 3 where the
user has something to mend, 4 where the world outside has to.
"""

from __future__ import annotations

from typing import ClassVar


class BasculeError(Exception):
    """Base of all errors that a user can mend.

    Args:
        message: the rule that was broken and the value received.
        where: the place (file, key, column, position in a text).
        remedy: what to do about it.

    Attributes:
        exit_code: with which the command line ends.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f"\n  remedy: {self.remedy}" if self.remedy else ""
        return f"{place}{self.message}{remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.where, self.remedy))


def _rebuild(cls: type[BasculeError], message: str, where: str | None, remedy: str | None) -> BasculeError:
    return cls(message, where=where, remedy=remedy)


class ConfigError(BasculeError):
    """A setting is missing, misspelt or out of range."""


class NotATimeError(ConfigError, ValueError):
    """A text that should be a time is none.

    A ValueError too: raised in a validator of settings it becomes an error with the key's place.
    """


class DataError(BasculeError):
    """Market data from outside is not what it must be."""


class OutageError(DataError):
    """A source of market data does not answer, or asks for patience."""

    exit_code = 4


class StoreError(DataError):
    """The store on disk is missing, half, or of another version."""


class UniverseError(DataError):
    """No instrument is left, or an unknown one was named."""


class ExpressionError(BasculeError):
    """A factor text is not of the language."""


class BundleError(BasculeError):
    """A signal bundle is missing, damaged or does not fit."""


class BridgeError(BasculeError):
    """qlib, freqtrade or the exchange said no."""

    exit_code = 4


class SetupError(BridgeError):
    """What the bridge was given does not fit: a setting, a bundle, candles, a bot's folder."""

    exit_code = 3
