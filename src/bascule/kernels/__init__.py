"""Array functions on ``[T, N]``, one family of operators a file, in plain NumPy.

A rolling function takes ``x [L, N]`` and ``rows`` and gives the values of the last ``rows`` rows, in float64;
rows above those are history. The result has the same bits whatever ``L`` and ``rows`` are, as long as the
window's history is there. See `window` for how.
"""
