"""What the risk commands read: weights, causal graphs with their data, alphas and views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bascule.core import ConfigError, yaml_mapping

if TYPE_CHECKING:
    from bascule.core import Panel


def shares(path: Path) -> dict[str, float]:
    """Weights of a YAML file."""
    from bascule.core import Instrument

    found: dict[str, float] = {}
    for name, value in yaml_mapping(path).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(
                f"{name}: {value!r} is no weight", where=str(path), remedy="write BTC_USDT: 0.25"
            )
        found[Instrument.parse(str(name)).id] = float(value)
    return found


def weights_of(path: Path, instruments: Sequence[str]) -> Any:
    """Weights of a file, in the order of these instruments, 0 where it has none."""
    import numpy as np

    held = shares(path)
    return np.array([held.get(name, 0.0) for name in instruments])


def graph_and_texts(path: Path) -> tuple[Any, dict[str, str]]:
    """A causal graph and the factor texts of its nodes."""
    from bascule.risk import Dag, DagSettings

    content = yaml_mapping(path)
    texts = content.pop("data", {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ConfigError("data must give a factor text for each node", where=str(path), remedy="node: text")
    return Dag.of(DagSettings.read(content, where=str(path)), where=str(path)), texts


def nodes(
    panel: Panel, dag: Any, texts: dict[str, str], horizon: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays of the nodes, and slices by coin group and period."""
    import numpy as np

    from bascule import engine, evaluate
    from bascule.factors import Factor

    foreign = sorted(set(texts) - {dag.treatment, dag.outcome, *dag.controls})
    if foreign:
        raise ConfigError(
            f"data for the unknown node {foreign[0]!r}", where="data", remedy="correct its name"
        )
    if dag.treatment not in texts:
        raise ConfigError(
            f"no text for {dag.treatment!r}", where="data", remedy=f"{dag.treatment}: a factor text"
        )
    names = list(texts)
    plan = [texts[name] if name == dag.outcome else Factor(name, texts[name]).text for name in names]
    values = engine.evaluate(plan, panel)
    inside = panel.members
    arrays = {name: np.where(inside, one, np.nan) for name, one in zip(names, values, strict=True)}
    if dag.outcome not in arrays:
        arrays[dag.outcome] = np.where(inside, evaluate.forward_return(panel, horizon), np.nan)
    rows, columns = np.indices(panel.shape)
    parts = 4
    slices = {
        "periods": {f"part {p + 1}": rows * parts // panel.shape[0] == p for p in range(parts)},
        "coins": {f"group {p + 1}": columns % parts == p for p in range(parts)},
    }
    return arrays, slices


def expected_returns(panel: Panel, now: Any, text: str, ic: float) -> Any:
    """Expected return a bar: IC · volatility · score of the factor among the instruments (Grinold's rule)."""
    import numpy as np

    from bascule import engine
    from bascule.factors import Factor

    values = engine.evaluate([Factor("alpha", text).text], panel, rows=1)[0, -1].astype(np.float64)
    values = values[[panel.instruments.index(name) for name in now.instruments]]
    good = np.isfinite(values)
    if good.sum() < 3 or values[good].std() == 0.0:
        raise ConfigError(
            "the alpha does not vary in the last row", where="--alpha", remedy="use another text"
        )
    score = np.where(good, (values - values[good].mean()) / values[good].std(), 0.0)
    own = (now.exposures @ now.root()) ** 2
    return ic * np.sqrt(own.sum(axis=1) + now.specific_variance) * score


def believed(now: Any, expected: Any, path: Path, ic: float) -> tuple[Any, Any]:
    """Expected returns and risk after views on factors, and the alpha's own where there is one."""
    import numpy as np

    from bascule import portfolio

    settings = portfolio.load_views(path)
    views = portfolio.views_of(settings, now.names, now.factor_covariance, now.bars_a_year)
    if expected is not None:
        views = views.join(portfolio.views_of_alpha(now, expected, ic=ic))
    prior = np.zeros(len(now.names))
    believed = portfolio.posterior(now.names, now.factor_covariance, prior, views, tau=settings.tau)
    return believed.assets(now)
