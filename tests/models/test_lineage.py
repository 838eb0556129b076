"""The registry on MLflow: what it holds, and that qlib's own recorder reads it."""

from pathlib import Path

import pytest

from bascule.core import BundleError
from bascule.models import Champions, Lineage, ModelSettings, Retrainer, RetrainSettings, zoo

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow and SQLAlchemy
    pytest.mark.slow,
]


def test_from_a_signal_back_to_its_data(tmp_path: Path) -> None:
    values, label, panel = zoo.small_market(3, 1)
    store = Champions(tmp_path / "store")
    trainer = Retrainer(
        values, ["a", "b", "c"], label, panel,
        horizon=2,
        model=ModelSettings(params={"num_boost_round": 10}, min_samples=100, threads=1),
        settings=RetrainSettings(train_days=40, judge_days=10, warm_start=True), store=store, seed=1,
    )  # fmt: skip
    data = panel.fingerprint()
    registry = Lineage(tmp_path / "registry")
    assert registry.sync(store, data=data) is None

    first = trainer.train(400)
    store.promote(first, reason="test")
    one = registry.sync(store, data=data)
    assert one == registry.champion() == "1"
    second = trainer.train(460)
    two = registry.record(store.models / second, data=data, metrics={"rank_ic": 0.1})
    assert registry.record(store.models / second, data=data) == two == "2", "once is enough"
    # a crash between the turn and the registry: the next sync says what the link says
    store.promote(second, reason="test")
    assert registry.champion() == "1"
    reopened = Lineage(tmp_path / "registry")
    assert reopened.sync(Champions(tmp_path / "store"), data=data) == "2"
    assert reopened.champion() == "2"

    reopened.signals("bundle-7", [store.models / name for name in (first, second)], data=data)
    origins = reopened.trace("bundle-7")
    assert [origin.version for origin in origins] == ["1", "2"]
    assert {origin.data for origin in origins} == {data}
    assert origins[1].parent == origins[0].fingerprint
    assert origins[0].parent == ""
    assert origins[1].train[0] < origins[1].train[1]
    with pytest.raises(BundleError, match="not recorded"):
        reopened.trace("bundle-8")

    from qlib.workflow.exp import MLflowExperiment

    experiment = MLflowExperiment(reopened.experiment, "bascule", reopened.uri)
    recorders = experiment.list_recorders()
    names = {recorder.name for recorder in recorders.values()}
    assert {f"lgb-{first}", f"lgb-{second}", "signals bundle-7"} <= names
    made = next(r for r in recorders.values() if r.name == f"lgb-{second}")
    assert made.list_metrics()["rank_ic"] == pytest.approx(0.1)
    assert made.list_artifacts(second)
