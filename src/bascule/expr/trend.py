"""The straight line through the last N values, by least squares over the bar number 1 … N (newest = N).

NaN and infinite values are skipped; with fewer than two values there is no line.
"""

from __future__ import annotations

from bascule.expr.rolling import Rolling


class Slope(Rolling):
    """Slope of the line, per bar; has a value even where the current value is NaN."""


class Rsquare(Rolling):
    """Share of the variance that the line explains; NaN for a constant window."""


class Resi(Rolling):
    """Current value minus the line at the current bar; NaN if the current value is NaN."""
