"""A risk report of a run's newest target weights, as figures for the dashboard and as the usual page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bascule.app.web.held import RISK, RISK_PAGE
from bascule.app.web.runs import Run, number, numbers, times
from bascule.core import DataError, Progress, files, silent

if TYPE_CHECKING:
    from bascule.app.riskreport import RiskReport

_INSTRUMENTS = 40  # of the exposure map


def write(run: Run, progress: Progress = silent) -> Path:
    """Measure the risk of a run's newest weights and write ``risk/risk.json`` and ``risk/risk.html``.

    Raises:
        DataError: no instrument of the newest row has a weight.
        BasculeError: the run is not finished, or its data cannot be measured.
    """
    from bascule import signals
    from bascule.app.riskreport import measure, risk_page
    from bascule.data.store import Store

    progress(0, 3, "read")
    bundle = signals.Bundle.open(run.bundle)
    frame = bundle.signals
    row = int(np.flatnonzero(frame.covered)[-1])
    weights = {
        name: float(w) for name, w in zip(frame.instruments, frame.target_weight[row], strict=True)
        if np.isfinite(w) and w != 0
    }  # fmt: skip
    if not weights:
        raise DataError(
            "the newest row of the signals holds no position", where=run.name, remedy="run it on newer data"
        )
    spec = bundle.manifest.spec
    store = Store.open(run.work("data", "store"))
    panel = signals.with_members(store.panel(spec.bar), spec)
    source = f"synthetic market of {run.name}" if run.synthetic else run.name
    progress(1, 3, "measure")
    found = measure(panel, source, weights)
    progress(2, 3, "write")
    risk_page(found).write(run.folder.joinpath(*RISK_PAGE))
    target = run.folder.joinpath(*RISK)
    files.write_json(target, facts(found))
    return target


def facts(found: RiskReport) -> dict[str, Any]:
    """A report as JSON."""
    import pandas as pd

    now = found.now
    held = now.factor_exposures(found.weights)
    order = np.argsort(-np.abs(found.weights), kind="stable")[:_INSTRUMENTS]
    styles = [k for k, name in enumerate(now.names) if name != "market"]
    told = found.coverage
    daily = pd.DatetimeIndex(found.days.index)
    return {
        "source": found.source,
        "time": str(now.time.astype("datetime64[m]")).replace("T", " "),
        "volatility": number(now.volatility(found.weights)),
        "level": found.settings.level,
        "var": number(found.tail.var[-1]),
        "es": number(found.tail.es[-1]),
        "bias": number(found.bias.bias),
        "left_out": [{"name": one.name, "reason": one.reason} for one in found.model.exposures.left_out],
        "parts": [
            {"factor": name, "exposure": number(held.get(name, float("nan"))), "share": number(share)}
            for name, share in now.contributions(found.weights).items()
        ],
        "losses": [
            {
                "name": one.name,
                "equity": number(-one.loss),
                "worst": [{"instrument": name, "equity": number(-loss)} for name, loss in one.worst[:3]],
                "proxied": number(one.proxied),
                "note": one.note,
            }
            for one in found.losses
        ],
        "exposures": {
            "factors": [now.names[k] for k in styles],
            "instruments": [now.instruments[n] for n in order],
            "values": [numbers(row) for row in now.exposures[order][:, styles]],
        },
        "days": {
            "time": [t[:10] for t in times(daily)],
            "returns": numbers(found.days),
            # today's limit was known yesterday
            "var": [None, *(None if v is None else -v for v in numbers(found.tail.var)[:-1])],
        },
        "coverage": None if told is None else {
            "hits": told.hits, "count": told.count, "expected": number(told.expected),
            "good": bool(told.good),
            "low": int(told.band[0]), "high": int(told.band[1]),
        },
    }  # fmt: skip
