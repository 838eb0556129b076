"""Plain qlib reads the provider folder and sees the same values as our panel."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bascule.core import Panel, Timeframe
from bascule.data.planted import PLANTED, Bars
from bascule.data.store import Store
from bascule.data.synthetic import SyntheticSettings, generate

pytestmark = [
    # qlib 0.9.7 on this pandas and numpy
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*Gym has been unmaintained.*"),
    pytest.mark.filterwarnings("ignore:.*pkg_resources.*:UserWarning"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    market = generate(SyntheticSettings(instruments=6, days=40, missing=0.004, delisted=0.2, late=0.3))
    store = Store.create(tmp_path_factory.mktemp("provider") / "store")
    store.write(market.frame, market.timeframe)
    store.build_provider(market.timeframe)
    daily = generate(SyntheticSettings(instruments=3, days=60, timeframe="1d"))
    store.write(daily.frame, daily.timeframe)
    store.build_provider(daily.timeframe)
    return store


def features(store: Store, timeframe: str, texts: list[str]) -> pd.DataFrame:
    import qlib
    from qlib.data import D

    frequency = Timeframe.parse(timeframe).qlib
    qlib.init(
        provider_uri={frequency: str(store.provider(timeframe))},
        region="us",
        skip_if_reg=False,
        kernels=1,
        expression_cache=None,
        dataset_cache=None,
        exp_manager={
            "class": "MLflowExpManager",
            "module_path": "qlib.workflow.expm",
            "kwargs": {"uri": "sqlite://", "default_exp_name": "test"},
        },
    )
    loaded: pd.DataFrame = D.features(D.instruments("all"), texts, freq=frequency)
    return loaded


def wide(loaded: pd.DataFrame, text: str, panel: Panel) -> np.ndarray:
    table = loaded[text].unstack("instrument")
    return table.reindex(index=pd.DatetimeIndex(panel.time), columns=list(panel.instruments)).to_numpy()


@pytest.mark.parametrize("timeframe", ["1h", "1d"])
def test_qlib_sees_the_panel(store: Store, timeframe: str) -> None:
    panel = store.panel(timeframe)
    loaded = features(store, timeframe, [f"${name}" for name in panel.fields])
    for name in panel.fields:
        np.testing.assert_array_equal(wide(loaded, f"${name}", panel).astype(np.float32), panel[name])


@pytest.mark.parametrize("alpha", PLANTED, ids=lambda a: a.name)
def test_planted_texts_mean_what_the_simulation_computes(store: Store, alpha: object) -> None:
    """qlib evaluates the text on the stored market; the simulation's function gives the same numbers."""
    assert hasattr(alpha, "text")
    panel = store.panel("1h")
    found = wide(features(store, "1h", [alpha.text]), alpha.text, panel)
    bars = Bars(*(panel[name].astype(float) for name in ("open", "high", "low", "close", "volume")))
    compared = 0
    for t in range(alpha.window - 1, len(panel.time)):
        # windows without a hole: in a hole qlib skips, the simulation has a candle without trade
        whole = np.isfinite(bars.close[t - alpha.window + 1 : t + 1]).all(axis=0)
        expected = alpha.value(bars, t)
        np.testing.assert_allclose(found[t][whole], expected[whole], rtol=2e-3, atol=1e-4)
        compared += int(whole.sum())
    assert compared > 1_000
