"""qlib's loaders, handlers, datasets and models on the drop-in; and what it refuses, leaves and notices."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bascule
from bascule.bridge.qlib import LeftToQlib
from bascule.core import ConfigError, ExpressionError, StoreError
from tests.conformance.dropin import COMMON, both, dropin, plain, same, untidy_provider, weekday_provider
from tests.conformance.provider import clean_panel, write_provider

pytestmark = [
    # third parties' own warnings
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
TIMES = {"start_time": "2024-01-02", "end_time": "2024-01-09", "fit_start_time": "2024-01-02"}
TIMES |= {"fit_end_time": "2024-01-06"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("workflow") / "provider"
    untidy_provider(place)
    return place


# -- what is built upon D.features -----------------------------------------------------------------


def test_data_loader(folder: Path) -> None:
    from qlib.data.dataset.loader import QlibDataLoader

    config = {
        "feature": (["$close/Ref($close,1)", "Std($close,10)", "TSUM"], ["return", "std", "sum"]),
        "label": (["Ref($close,-2)/Ref($close,-1)-1"], ["y"]),
    }
    config["feature"][0][2] = "Sum($volume, 12)"
    theirs, ours = both(
        folder, lambda: QlibDataLoader(config, freq="60min").load("some", "2024-01-02", "2024-01-08")
    )
    same(theirs, ours)


@pytest.mark.parametrize("name", ["Alpha158", "Alpha360"])
def test_handlers_with_processors(folder: Path, name: str) -> None:
    from qlib.contrib.data import handler

    def ask() -> list[pd.DataFrame]:
        made = getattr(handler, name)(
            instruments="all",
            freq="60min",
            infer_processors=[{"class": "RobustZScoreNorm", "kwargs": {"fields_group": "feature"}}, "Fillna"],
            learn_processors=["DropnaLabel", {"class": "CSRankNorm", "kwargs": {"fields_group": "label"}}],
            **TIMES,
        )
        return [made.fetch(data_key=key) for key in (made.DK_R, made.DK_I, made.DK_L)]

    for left, right in zip(*both(folder, ask), strict=True):
        assert len(left) > 500
        same(left, right, 1e-3, 1e-4)


def test_instrument_processors(folder: Path) -> None:
    from qlib.data import D

    processors = [{"class": "Daily", "module_path": __name__, "kwargs": {}}]
    fields = ["$volume", "Mean($close, 5)", "Mean($close,0.5)", "$volume"]

    def ask() -> pd.DataFrame:
        return D.features(D.instruments("some"), fields, freq="60min", inst_processors=processors)

    theirs, ours = both(folder, ask)
    assert len(ours) < 60
    same(theirs, ours)


def test_a_model_learns_and_predicts_the_same(tmp_path: Path) -> None:
    from qlib.contrib.data.handler import Alpha158
    from qlib.contrib.model.gbdt import LGBModel
    from qlib.data.dataset import DatasetH

    from bascule.models.recording import recording

    place = tmp_path / "provider"
    write_provider(place, clean_panel(260))

    def ask() -> pd.Series:
        handler = Alpha158(instruments="all", freq="60min", start_time="2024-01-04", end_time="2024-01-11")
        parts = {"train": ("2024-01-04", "2024-01-08"), "valid": ("2024-01-09", "2024-01-09")}
        dataset = DatasetH(handler, segments=parts | {"test": ("2024-01-10", "2024-01-10 12:00")})
        model = LGBModel(num_leaves=7, num_threads=1, seed=1, deterministic=True, force_row_wise=True)
        with recording():
            model.fit(dataset, num_boost_round=20, verbose_eval=0)
        return model.predict(dataset)

    theirs, ours = both(place, ask)
    pd.testing.assert_index_equal(theirs.index, ours.index)
    assert theirs.nunique() > 10
    # a tree may split on the other side of a rounded value
    assert np.corrcoef(theirs, ours)[0, 1] > 0.999


def test_a_backtest_trades_the_same(tmp_path: Path) -> None:
    from qlib.contrib.evaluate import backtest_daily
    from qlib.data import D

    weekday_provider(tmp_path / "provider")

    def ask() -> pd.DataFrame:
        signal = D.features(D.instruments("all"), ["Ref($close,5)/$close"], "2020-02-03", "2020-06-30")
        report, _ = backtest_daily(
            start_time="2020-02-10",
            end_time="2020-06-01",
            strategy={
                "class": "TopkDropoutStrategy",
                "module_path": "qlib.contrib.strategy",
                "kwargs": {"signal": signal.swaplevel().sort_index(), "topk": 2, "n_drop": 1},
            },
            benchmark="SH600000",
            exchange_kwargs={"deal_price": "open", "open_cost": 0.001, "close_cost": 0.001},
        )
        return report

    theirs, ours = both(tmp_path / "provider", ask)
    assert (theirs["turnover"] > 0).sum() > 10
    pd.testing.assert_frame_equal(theirs, ours, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 1 << 14])
def test_instruments_after_others_are_all_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    from qlib.data import D

    from bascule.bridge.qlib import provider

    dropin(folder)
    fields = ["$close", "Mean($close,5)", "EMA($volume,3)", "$funding"]
    whole = [D.features(D.instruments(kind), fields, freq="60min") for kind in ("all", "some")]
    monkeypatch.setattr(provider, "_FEWEST", 2)
    monkeypatch.setattr(provider, "_BYTES", size)
    for kind, expected in zip(("all", "some"), whole, strict=True):
        found = D.features(D.instruments(kind), fields, freq="60min")
        pd.testing.assert_frame_equal(found, expected)


def test_qlibs_cache_of_frames_may_stay(folder: Path, tmp_path: Path) -> None:
    from qlib.data import D

    dropin(folder, dataset_cache="SimpleDatasetCache", local_cache_path=tmp_path)
    asked = [D.features(D.instruments("some"), ["Mean($close,3)"], freq="60min") for _ in range(2)]
    assert len(list(tmp_path.iterdir())) == 1
    plain(folder)
    same(D.features(D.instruments("some"), ["Mean($close,3)"], freq="60min"), asked[1])


def test_operators_beyond_qlib(tmp_path: Path) -> None:
    from qlib.data import D

    panel = clean_panel(60)
    write_provider(tmp_path / "provider", panel)
    dropin(tmp_path / "provider")
    fields = ["CSRank($close)", "-$close", "CSDemean(Mean($close,5))"]
    found = D.features(D.instruments("all"), fields, "2024-01-02", freq="60min")
    ranks = found["CSRank($close)"].unstack(0).to_numpy()
    assert sorted(set(np.round(ranks.ravel(), 3))) == sorted(set(np.round(np.sort(ranks, axis=1)[0], 3)))
    assert len(set(np.round(ranks[0], 3))) == 3
    np.testing.assert_allclose(found["CSDemean(Mean($close,5))"].groupby("datetime").mean(), 0, atol=1e-4)
    np.testing.assert_array_equal(found["-$close"].unstack(0).to_numpy(), -panel["close"][24:])


# -- what is left to qlib --------------------------------------------------------------------------


def test_one_warning_names_each_operator(folder: Path) -> None:
    from qlib.data import D

    dropin(folder)
    fields = ["Mean($close,0.2)", "Mean($close,0.3)", "Std($close,0.3)", "Mean($close,3)"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            D.features(["D4_USDT"], fields, freq="60min")
    said = [str(item.message) for item in caught if issubclass(item.category, LeftToQlib)]
    assert [message.split()[0] for message in said] == ["Mean", "Std"]
    assert "whole number of bars" in said[0]


def test_nothing_is_said_when_all_is_planned(folder: Path) -> None:
    from qlib.data import D

    dropin(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeftToQlib)
        D.features(["D4_USDT"], ["EMA($close,5)", "Ref($close,0)", "Slope($close,5)"], freq="60min")


def test_custom_operators_are_qlibs(folder: Path) -> None:
    from qlib.data import D
    from qlib.data.ops import Rolling

    class Mean(Rolling):  # overrides qlib's own
        def __init__(self, feature: Any, N: int) -> None:
            super().__init__(feature, N, "max")

    class Range(Rolling):
        def __init__(self, feature: Any, N: int, scale: float = 1.0) -> None:
            super().__init__(feature, N, "range")
            self.scale = scale

        def _load_internal(self, instrument: str, start: int, end: int, *args: Any) -> pd.Series:
            series = self.feature.load(instrument, start, end, *args)
            window = series.rolling(self.N, min_periods=1)
            return (window.max() - window.min()) * self.scale

    fields = ["Mean($close,5)", "Range(Sum($close,3),4,scale=2)/Sum($close,3)", "Sum($close,3)"]
    theirs, ours = both(
        folder, lambda: D.features(["D4_USDT", "D5_USDT"], fields, freq="60min"), custom_ops=[Mean, Range]
    )
    same(theirs, ours)
    assert (ours["Mean($close,5)"] * 3 >= ours["Sum($close,3)"] * 0.999).all()


def test_qlibs_errors_are_qlibs(folder: Path) -> None:
    from qlib.data import D

    dropin(folder)
    for text, error in {"$close&$open": TypeError, "Mean($close,2.5)": ValueError}.items():
        with pytest.raises(error):
            D.features(["D4_USDT"], [text], freq="60min")


# -- what is refused -------------------------------------------------------------------------------

MALICIOUS = (
    "(queue.threading._os.mkdir)('{0}')",
    "__import__('os').mkdir('{0}')",
    "Mean($close,__import__('os').mkdir('{0}'))",
    "[x for x in ().__class__.__base__.__subclasses__()]",
    "Mean.__init__.__globals__",
    "np.ones(10)",
    "pd.read_pickle('{0}')",
    "C.update(kernels=1)",
    "register([1])",
    "$close if 1 else $open",
    "(lambda:$close)()",
    "f'{0}'",
    "$close;$open",
    "$close.load",
    "$close[0]",
    "9**9**9**9*$close",
    "Mean($close,9**9**9)",
    "Mean($close,1000000000000)",
    "Std($close,-5)",
    "Slope($close,-5)",
    "'a'*1000000000",
    "1e999*$close",
    "Abs(*[$close])",
    "Ref(**{{'feature':$close,'N':1}})",
    "print($close)",
    "",
    "1+1",
)
NESTED = ("(" * 10_000 + "$close" + ")" * 10_000, "Abs(" * 5000 + "$close" + ")" * 5000, "-" * 15_000 + "1")
NESTED += ("$close" + "+$close" * 2000, "1" * 15_000, "$close" * 10_000, "$close" + "**$close" * 2000)


@pytest.mark.parametrize("text", MALICIOUS + NESTED, ids=lambda text: text[:40])
def test_malicious_texts_are_refused(folder: Path, tmp_path: Path, text: str) -> None:
    from qlib.data import D
    from qlib.data.data import ExpressionD
    from qlib.data.filter import ExpressionDFilter

    dropin(folder)
    marker = tmp_path / "executed"
    text = text.format(marker) if text in MALICIOUS else text
    with pytest.raises(ExpressionError):
        D.features(["D4_USDT"], ["$close", text], freq="60min")
    with pytest.raises(ExpressionError):
        D.features(D.instruments("all", [ExpressionDFilter(text)]), ["$close"], freq="60min")
    with pytest.raises(ExpressionError):
        ExpressionD.expression("D4_USDT", text, "2024-01-02", "2024-01-03", "60min")
    assert not marker.exists()


def test_plain_qlib_runs_what_we_refuse(folder: Path, tmp_path: Path) -> None:
    """So that the test above tests something."""
    from qlib.data import D

    plain(folder)
    marker = tmp_path / "executed"
    with pytest.raises(AttributeError):
        D.features(["D4_USDT"], [MALICIOUS[0].format(marker)], freq="60min")
    assert marker.exists()


def test_settings_that_would_take_the_engine_out(folder: Path) -> None:
    for key in ("dataset_provider", "expression_provider", "expression_cache"):
        with pytest.raises(ConfigError, match=key):
            bascule.qlib(folder, **{key: "LocalDatasetProvider"})
    assert bascule.qlib(folder, kernels=3)["kernels"] == 3
    assert bascule.qlib({"day": folder})["provider_uri"] == {"day": str(folder)}


def test_damaged_files_are_named(folder: Path, tmp_path: Path) -> None:
    from qlib.data import D

    place = tmp_path / "provider"
    write_provider(place, clean_panel(30))
    dropin(place)
    (place / "features" / "c0_usdt" / "close.60min.bin").write_bytes(b"")
    with pytest.raises(StoreError, match=r"close\.60min\.bin"):
        D.features(["C0_USDT"], ["$close"], freq="60min")


# -- time and processes ----------------------------------------------------------------------------


def test_new_candles_are_seen_after_the_cache_is_cleared(tmp_path: Path) -> None:
    from qlib.data import D
    from qlib.data.cache import H

    panel = clean_panel(60)
    place = tmp_path / "provider"
    write_provider(place, panel.rows(0, 58))
    dropin(place)
    fields = ["$close", "Mean($close,5)", "Ref($close,0)"]
    before = D.features(D.instruments("all"), fields, freq="60min")
    for folder in sorted((place / "features").iterdir()):
        column = panel.instruments.index(folder.name.upper())
        for name in panel.fields:
            with (folder / f"{name}.60min.bin").open("ab") as file:
                file.write(panel[name][58:, column].astype("<f4").tobytes())
    times = [str(pd.Timestamp(t)) for t in panel.time]
    (place / "calendars" / "60min.txt").write_text("\n".join(times) + "\n")
    lines = [f"{name}\t{times[0]}\t{times[-1]}\n" for name in panel.instruments]
    (place / "instruments" / "all.txt").write_text("".join(lines))
    pd.testing.assert_frame_equal(D.features(D.instruments("all"), fields, freq="60min"), before)
    H.clear()
    after = D.features(D.instruments("all"), fields, freq="60min")
    assert len(after) == len(before) + 6
    same(both(place, lambda: D.features(D.instruments("all"), fields, freq="60min"))[0], after)


def _ask(name: str) -> pd.DataFrame:
    from qlib.data import D

    return D.features([name], ["Mean($close,5)", "Std($close,0.3)", "EMA($close,2)"], freq="60min")


def test_forked_processes(folder: Path) -> None:
    names = ["D0_USDT", "D4_USDT", "D5_USDT", "D6_USDT"]
    dropin(folder)
    here = [_ask(name) for name in names]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        there = pool.map(_ask, names)
    for left, right in zip(here, there, strict=True):
        pd.testing.assert_frame_equal(left, right)


def test_two_separate_processes(folder: Path) -> None:
    script = (
        "import bascule, qlib, sys, warnings; warnings.simplefilter('ignore')\n"
        f"qlib.init(**bascule.qlib({str(folder)!r}, **{COMMON!r} | {{'kernels': 2}}))\n"
        "from tests.conformance.test_dropin_workflow import _ask\n"
        "if __name__ == '__main__': print(_ask('D1_USDT').to_numpy().tobytes().hex())\n"
    )
    command = [sys.executable, "-c", script]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    plain(folder)
    theirs = _ask("D1_USDT").to_numpy()
    for text in said:
        ours = np.frombuffer(bytes.fromhex(text.strip()), np.float32).reshape(theirs.shape)
        np.testing.assert_allclose(ours, theirs, 1e-4, 1e-6)


def __getattr__(name: str) -> Any:
    """The processor, made on first use: qlib is slow to import."""
    if name != "Daily":
        raise AttributeError(name)
    from qlib.data.dataset.processor import InstProcessor

    class Daily(InstProcessor):
        """The last row of each day."""

        def __init__(self, target_frequency: str = "day") -> None:
            self.target_frequency = target_frequency

        def __call__(self, df: pd.DataFrame, instrument: str, *args: Any, **kwargs: Any) -> pd.DataFrame:
            return df if df.empty else df.resample("1D").last()

    return Daily
