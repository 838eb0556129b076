"""An operator and a model of one's own from research to a bundle, to qlib, to other processes, to live."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bascule import engine
from bascule.cluster import connect
from bascule.core import BundleError, extensions
from bascule.models import ModelSettings, WalkForwardSettings, folds, train_walk_forward, zoo
from bascule.signals import FactorText
from tests.bridge.research import FACTORS, Research, build
from tests.docs.pages import DOCS, ROOT
from tests.extending.pages import modules, write_files

pytestmark = pytest.mark.xdist_group("bundles")  # the research is done once for all of them
TEXTS = (*FACTORS, ("efficiency", "CSRank(Efficiency($close, 24))"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The operator and the model of the how-to pages, loaded for this module."""
    folder, before = tmp_path_factory.mktemp("own"), os.environ.get(extensions.VARIABLE)
    for page in ("own-operator", "own-model"):
        for name, text in modules(DOCS / "howto" / f"{page}.md").items():
            (folder / name).write_text(text + "\n", "utf-8")
            extensions.load(folder / name)
    yield sorted(folder.glob("*.py"))
    for name in ("efficiency", "correlator"):
        extensions.unload(name)
    os.environ.pop(extensions.VARIABLE, None)
    if before is not None:
        os.environ[extensions.VARIABLE] = before


@pytest.fixture(scope="module")
def research(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Research:
    factors = tuple(FactorText(name=name, text=text) for name, text in TEXTS)
    model = ModelSettings(kind="Correlator", min_samples=200)
    return build(tmp_path_factory.mktemp("research"), "spot", days=80, model=model, factors=factors)


def elsewhere(code: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """Another process, which is told of these extensions."""
    told = {
        extensions.VARIABLE: os.pathsep.join(map(str, files)),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, timeout=120
    )


def test_live_is_what_was_stored(research: Research) -> None:
    end, bundle = len(research.raw.time), research.bundle
    live = bundle.live(research.raw.rows(end - bundle.lookback - 40, end))
    stored = research.signals.rows(end - len(live.time), None)
    assert len(live.time) == 40 and np.isfinite(live.alpha).any()
    np.testing.assert_array_equal(live.alpha, stored.alpha)
    np.testing.assert_array_equal(live.target_weight, stored.target_weight)


def test_the_bundle_remembers_what_it_was_made_with(research: Research) -> None:
    kept = json.loads((research.bundle.path / "manifest.json").read_text())["extensions"]
    assert [(one["name"], one["version"]) for one in kept] == [("correlator", "1.0"), ("efficiency", "1.0")]
    assert {one["sha256"] for one in kept} == {one.record.sha256 for one in extensions.loaded()}


def test_it_is_refused_where_they_are_missing_or_differ(
    research: Research, sources: list[Path], tmp_path: Path
) -> None:
    code = (
        "from bascule.signals import Bundle\n"
        "from bascule.core import BundleError\n"
        "try:\n"
        f"    bundle = Bundle.open({str(research.bundle.path)!r})\n"
        "    print('opened', bundle._model(0).kind.name)\n"
        "except BundleError as error:\n"
        "    print(error.message, '|', error.remedy)\n"
    )
    assert elsewhere(code, *sources).stdout == "opened Correlator\n"
    assert "needs the extension correlator 1.0, which is not loaded" in elsewhere(code).stdout
    changed = tmp_path / "efficiency.py"
    changed.write_text(next(p for p in sources if p.stem == "efficiency").read_text() + "# another thought\n")
    refused = elsewhere(code, next(p for p in sources if p.stem == "correlator"), changed).stdout
    assert "another source of the extension efficiency 1.0" in refused and extensions.VARIABLE in refused


def test_a_broken_model_extension_refuses_the_model_alone(research: Research) -> None:
    from bascule.models import load

    folder = research.models[0]
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["extension"]["name"] == "correlator"
    other = folder.parent / "other"
    other.mkdir()
    meta["extension"]["sha256"] = "0" * 64
    (other / "meta.json").write_text(json.dumps(meta))
    (other / "weights.json").write_bytes((folder / "weights.json").read_bytes())
    with pytest.raises(BundleError, match="another source"):
        load(other)


@pytest.mark.slow
def test_workers_learn_it_too(sources: list[Path], tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(2, 1, rows=400)
    walk = WalkForwardSettings(
        first_test=np.datetime64("2021-02-01").item(), train_days=30, min_train_days=10
    )
    cut = folds(panel.time, walk, 2)
    settings = ModelSettings(kind="Correlator", min_samples=200)
    own = engine.evaluate(["Efficiency($close,5)"], panel)
    values = np.concatenate([values, own])
    here = train_walk_forward(values, ["a", "b", "e"], label, panel, cut, settings, tmp_path / "here", seed=1)
    with connect(workers=2) as workers:
        there = train_walk_forward(
            values, ["a", "b", "e"], label, panel, cut, settings, tmp_path / "there", seed=1, executor=workers
        )
    np.testing.assert_array_equal(here.values, there.values)
    assert there.fresh == len(cut)


@pytest.mark.slow
def test_qlib_asks_for_it(research: Research, sources: list[Path]) -> None:
    """Through the drop-in a field text of qlib's may name the operator; the numbers are the engine's."""
    from bascule.data.store import Store

    provider = Store.open(research.datadir.parent / "store").provider("1h")
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import qlib, bascule\n"
        "from qlib.data import D\n"
        f"qlib.init(**bascule.qlib({str(provider)!r}, region='us', kernels=1, logging_level=50))\n"
        "found = D.features(D.instruments('all'), ['Efficiency($close,24)'], freq='60min')\n"
        "print(found.iloc[:, 0].count(), float(found.iloc[:, 0].sum()))\n"
    )
    done = elsewhere(code, *sources)
    assert done.returncode == 0, done.stderr[-2000:]
    count, total = map(float, done.stdout.split()[-2:])
    ours = engine.evaluate(["Efficiency($close,24)"], research.panel)[0]
    ours = ours[np.isfinite(research.panel["close"]) | np.isfinite(ours)]
    assert count == np.isfinite(ours).sum() > 1_000
    assert total == pytest.approx(float(np.nansum(ours.astype(np.float64))), rel=1e-5)


@pytest.mark.slow
def test_a_changed_operator_is_computed_again(tmp_path: Path) -> None:
    """Stages that depend on an extension have its digest in their fingerprints; the others do not."""
    write_files(DOCS / "howto" / "own-operator.md", tmp_path)
    code = (
        "import json\n"
        "from pathlib import Path\n"
        "from rich.console import Console\n"
        "from bascule.app.config import load\n"
        "from bascule.app.run import Run\n"
        "from bascule.app.spine import Runner, stages\n"
        f"config = load(Path({str(tmp_path / 'run.yaml')!r}))\n"
        "run = Run(config, config.recipe(), Console())\n"
        "print(json.dumps(Runner(config.home, stages(config)).fingerprints(run)))\n"
    )
    first = json.loads(elsewhere(code).stdout)
    with (tmp_path / "efficiency.py").open("a") as stream:
        stream.write("# another thought\n")
    second = json.loads(elsewhere(code).stdout)
    assert [name for name in first if first[name] == second[name]] == ["data"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_freqtrade_computes_it(research: Research, tmp_path: Path) -> None:
    """freqtrade's own process, started from here, computes signals with the operator and the model."""
    from bascule.bridge.freqtrade import run
    from bascule.bridge.freqtrade.config import TradeSettings

    days = {"start": "2023-02-20", "end": "2023-02-27"}
    settings = TradeSettings(mode="computed")
    job = run.Job(research.bundle, tmp_path / "user", research.datadir, settings, timeout=300, **days)
    computed = run.backtest(job).trades
    assert len(computed) > 5
