"""Every rolling kernel against a plain definition applied to each window, and the four laws."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest

from bascule.kernels import extremes, linear, moments, order, pairs, shape, sums

Window = np.ndarray
WINDOWS = (1, 2, 3, 5, 8, 13, 30)


def ages(x: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(x))[:, None], x.shape[1], axis=1)


def fit(w: Window) -> tuple[float, float, float]:
    """Slope, value at the newest bar and R² of the line through the finite values."""
    there = np.isfinite(w)
    if there.sum() < 2:
        return np.nan, np.nan, np.nan
    bar = np.arange(1 - len(w), 1.0)[there]
    y = w[there]
    centred = bar - bar.mean()
    level = y.mean() if y.min() < y.max() else y[0]
    slope = (centred * (y - level)).sum() / (centred**2).sum()
    spread = ((y - level) ** 2).sum()
    r2 = np.nan if spread == 0 else (centred * (y - level)).sum() ** 2 / (centred**2).sum() / spread
    return slope, level - slope * bar.mean(), r2


def finite(w: Window) -> Window:
    return w[np.isfinite(w)]


def central(w: Window, power: int) -> float:
    y = finite(w)
    return float(((y - y.mean()) ** power).mean())


def skewness(w: Window) -> float:
    n = len(finite(w))
    if n < 3:
        return np.nan
    if np.ptp(finite(w)) == 0:
        return 0.0
    return np.sqrt(n * (n - 1)) / (n - 2) * central(w, 3) / central(w, 2) ** 1.5


def kurtosis(w: Window) -> float:
    n = len(finite(w))
    if n < 4:
        return np.nan
    if np.ptp(finite(w)) == 0:
        return -3.0
    return ((n * n - 1) * central(w, 4) / central(w, 2) ** 2 - 3 * (n - 1) ** 2) / ((n - 2) * (n - 3))


def deviation(w: Window) -> float:
    y = finite(w)
    if len(y) < 2:
        return np.nan
    return 0.0 if np.ptp(y) == 0 else float(np.std(y, ddof=1))


def trimmed(w: Window, q: float) -> float:
    y = np.sort(finite(w))
    cut = int(np.floor(q * len(y)))
    return float(y[cut : len(y) - cut].mean()) if len(y) else np.nan


def rank(w: Window) -> float:
    y = finite(w)
    if not np.isfinite(w[-1]):
        return np.nan
    return ((y < w[-1]).sum() + ((y == w[-1]).sum() + 1) / 2) / len(y)


def some(f: Callable[[Window], float]) -> Callable[[Window], float]:
    """NaN for a window without values."""
    return lambda w: f(finite(w)) if len(finite(w)) else np.nan


def weighted(w: Window, weights: Window) -> float:
    there = np.isfinite(w)
    return float((w * weights)[there].sum() / weights[there].sum()) if there.any() else np.nan


def first_extreme(w: Window) -> float:
    if not np.isfinite(w).any():
        return np.nan
    return float(np.argmax(np.where(np.isfinite(w), w, np.inf)) + 1)


def qlib_wma(w: Window) -> float:
    weights = np.arange(1, len(w) + 1) / (len(w) * (len(w) + 1) / 2)
    return (
        float(np.nanmean(np.where(np.isfinite(w), w, np.nan) * weights)) if np.isfinite(w).any() else np.nan
    )


# kernel, plain definition of one window. The one table that feeds the tests below.
TWINS: dict[str, tuple[Callable[[np.ndarray, int], np.ndarray], Callable[[Window], float]]] = {
    "sum": (lambda x, n: sums.total(*sums.sums(x, [n], len(x))[n]), some(np.sum)),
    "mean": (lambda x, n: sums.mean(*sums.sums(x, [n], len(x))[n]), some(np.mean)),
    "count": (lambda x, n: sums.counts(x, [n], len(x))[n], lambda w: float((~np.isnan(w)).sum())),
    "std": (lambda x, n: moments.deviation(moments.moments(x, [n], len(x))[n]), deviation),
    "slope": (lambda x, n: moments.slope(moments.lines(x, [n], len(x))[n]), lambda w: fit(w)[0]),
    "residual": (
        lambda x, n: moments.residual(moments.lines(x, [n], len(x))[n], x),
        lambda w: w[-1] - fit(w)[1] if np.isfinite(w[-1]) else np.nan,
    ),
    "rsquare": (lambda x, n: moments.rsquare(moments.lines(x, [n], len(x))[n]), lambda w: fit(w)[2]),
    "max": (lambda x, n: extremes.maxima(x, [n], len(x))[n], some(np.max)),
    "min": (lambda x, n: extremes.minima(x, [n], len(x))[n], some(np.min)),
    "idxmax": (lambda x, n: extremes.argmaxima(x, [n], len(x), ages(x))[n], first_extreme),
    "idxmin": (lambda x, n: extremes.argminima(x, [n], len(x), ages(x))[n], lambda w: first_extreme(-w)),
    "quantile": (
        lambda x, n: order.quantiles(x, n, [0.2], len(x))[0.2],
        some(lambda y: float(np.quantile(y, 0.2))),
    ),
    "median": (lambda x, n: order.quantiles(x, n, [0.5], len(x))[0.5], some(np.median)),
    "trimmed": (lambda x, n: order.trimmed_mean(x, n, 0.2, len(x)), lambda w: trimmed(w, 0.2)),
    "winsorized": (
        lambda x, n: order.winsorized(x, n, 0.1, len(x)),
        lambda w: (
            float(np.clip(w[-1], *np.quantile(finite(w), (0.1, 0.9)))) if np.isfinite(w[-1]) else np.nan
        ),
    ),
    "rank": (lambda x, n: order.ranks(x, [n], len(x))[n], rank),
    "mad": (
        lambda x, n: shape.mads(x, [n], len(x))[n],
        some(lambda y: 0.0 if np.ptp(y) == 0 else float(np.abs(y - y.mean()).mean())),
    ),
    "skew": (lambda x, n: shape.skews(x, [n], len(x))[n], skewness),
    "kurt": (lambda x, n: shape.kurts(x, [n], len(x))[n], kurtosis),
    "decay": (lambda x, n: linear.decay(x, n, len(x)), lambda w: weighted(w, np.arange(1.0, len(w) + 1))),
    "wma": (lambda x, n: linear.wma(x, n, len(x), ages(x)), qlib_wma),
    "ewm": (
        lambda x, n: sums.ewm(x, 0.8, n, len(x)),
        lambda w: weighted(w, 0.8 ** np.arange(len(w))[::-1]),
    ),
}
# decay weighs by bars of the full window, so its plain twin needs whole windows
WHOLE_WINDOWS = {"decay"}


def plain(x: np.ndarray, n: int, definition: Callable[[Window], float]) -> np.ndarray:
    found = np.full(x.shape, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for column in range(x.shape[1]):
            for row in range(len(x)):
                window = x[max(0, row - n + 1) : row + 1, column].astype(np.float64)
                found[row, column] = definition(window)
    return found


def sample(rows: int = 60, columns: int = 6) -> np.ndarray:
    rng = np.random.default_rng(3)
    x = np.exp(np.cumsum(rng.normal(0, 0.02, (rows, columns)), axis=0)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[20:40, 1] = np.nan
    x[:, 2] = np.round(x[:, 2], 1)  # ties
    x[:, 3] = 0.1  # constant
    x[[5, 30], 4] = [np.inf, -np.inf]
    x[:, 5] = np.nan
    return x


@pytest.mark.parametrize("name", TWINS)
def test_equals_its_plain_twin(name: str) -> None:
    kernel, definition = TWINS[name]
    x = sample()
    for n in WINDOWS:
        got = kernel(x, n)
        skip = n - 1 if name in WHOLE_WINDOWS else 0
        np.testing.assert_allclose(
            got[skip:], plain(x, n, definition)[skip:], rtol=1e-9, atol=1e-12, err_msg=f"{n}"
        )


@pytest.mark.parametrize("name", TWINS)
def test_a_spike_leaves_no_trace(name: str) -> None:
    kernel, _ = TWINS[name]
    x = sample()
    spiked = x.copy()
    spiked[10, :3] = 1e9
    for n in (5, 13):
        np.testing.assert_array_equal(kernel(spiked, n)[10 + n :], kernel(x, n)[10 + n :])


@pytest.mark.parametrize("name", TWINS)
def test_a_large_level_loses_nothing(name: str) -> None:
    kernel, definition = TWINS[name]
    rng = np.random.default_rng(4)
    x = 60_000 + rng.normal(0, 0.01, (50, 2))
    for n in (5, 30):
        got, expected = kernel(x, n)[n:], plain(x, n, definition)[n:]
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-9)


# the other three take ages; the engine's tests move their rows
@pytest.mark.parametrize("name", [name for name in TWINS if name not in ("idxmax", "idxmin", "wma")])
def test_bits_do_not_depend_on_where_the_rows_lie(name: str) -> None:
    kernel, _ = TWINS[name]
    x = sample()
    n = 8
    whole = kernel(x, n)
    for start, stop in ((11, 60), (3, 37), (29, 38)):
        part = kernel(np.ascontiguousarray(x[start:stop]), n)
        np.testing.assert_array_equal(part[n - 1 :], whole[start + n - 1 : stop])
    for column in range(x.shape[1]):
        np.testing.assert_array_equal(kernel(x[:, [column]], n)[:, 0], whole[:, column])


@pytest.mark.parametrize("windows", [[3], [3, 5, 8, 30], [30, 3]])
def test_a_window_does_not_depend_on_its_company(windows: list[int]) -> None:
    x = sample()
    alone = moments.lines(x, [3], len(x))[3]
    for got, expected in zip(moments.lines(x, windows, len(x))[3], alone, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_constant_windows_have_no_deviation_and_no_line() -> None:
    x = np.full((40, 1), 0.1, np.float64)
    m = moments.lines(x, [7], 40)[7]
    assert (moments.deviation(m)[1:] == 0).all()
    assert (moments.slope(m)[1:] == 0).all()
    assert np.isnan(moments.rsquare(m)).all()


def test_pairs_use_bars_where_both_are_there() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    x[7:20, 0], y[15:30, 0], y[:, 2] = np.nan, np.nan, 4.0
    n = 9
    pair = pairs.pairs(x, y, [n], 50)[n]
    for column in range(3):
        for row in range(50):
            w = slice(max(0, row - n + 1), row + 1)
            both = np.isfinite(x[w, column]) & np.isfinite(y[w, column])
            a, b = x[w, column][both], y[w, column][both]
            cov = np.cov(a, b)[0, 1] if len(a) > 1 else np.nan
            corr = np.corrcoef(a, b)[0, 1] if len(a) > 1 and np.ptp(b) > 0 else np.nan
            np.testing.assert_allclose(pairs.covariance(pair)[row, column], cov, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(pairs.correlation(pair)[row, column], corr, rtol=1e-9, atol=1e-12)


def test_pairs_survive_a_spike_and_a_level() -> None:
    rng = np.random.default_rng(6)
    x, y = 60_000 + rng.normal(0, 0.01, (60, 1)), rng.normal(size=(60, 1))
    n = 9
    clean = pairs.pairs(x, y, [n], 60)[n]
    expected = [np.corrcoef(x[r - n + 1 : r + 1, 0], y[r - n + 1 : r + 1, 0])[0, 1] for r in range(n, 60)]
    np.testing.assert_allclose(pairs.correlation(clean)[n:, 0], expected, rtol=1e-5)
    x[10] = 1e9
    spiked = pairs.pairs(x, y, [n], 60)[n]
    np.testing.assert_array_equal(pairs.correlation(spiked)[10 + n :], pairs.correlation(clean)[10 + n :])
