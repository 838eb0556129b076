"""Writes dashboards/*.json: dashboards as code, so that each panel is one line and none differs by accident.

python deploy/grafana/build.py          write
python deploy/grafana/build.py --check  exit code 1 if a file is not what this script writes
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
Panel = tuple[str, str, list[tuple[str, str]]]  # title, unit, (expression, legend)


def banded(metric: str, legend: str) -> list[tuple[str, str]]:
    """A measure and the interval that it is expected in."""
    return [(metric, legend), (f"{metric}_low", "expected, low"), (f"{metric}_high", "expected, high")]


ALPHA: list[Panel] = [
    ("Rank IC, live", "none", banded("bascule_ic_rank", "rank IC")),
    ("IC, live", "none", banded("bascule_ic_pearson", "IC")),
    ("Factors that decayed", "percentunit", [("bascule_factor_decayed", "share")]),
    ("Rank IC by factor", "none", [("topk(12, abs(bascule_factor_rank_ic))", "{{subject}}")]),
    ("Crowding (comomentum)", "none", banded("bascule_crowding_comomentum", "comomentum")),
    ("Features that moved", "percentunit", [("bascule_drift_features", "share")]),
    ("Drift by feature (KS)", "none", [("topk(12, bascule_drift_feature)", "{{subject}}")]),
    ("Drift of predictions (KS)", "none", [("bascule_drift_predictions", "predictions")]),
    (
        "Age of model and bundle",
        "d",
        [("bascule_model_age_days", "{{subject}}"), ("bascule_bundle_age_days", "bundle")],
    ),
]
BOOK: list[Panel] = [
    ("Equity", "none", [("bascule_bot_equity", "{{subject}}")]),
    ("Drawdown", "percentunit", [("bascule_bot_drawdown", "{{subject}}")]),
    ("Profit", "percentunit", [("bascule_bot_profit_ratio", "{{subject}}")]),
    ("Open trades", "none", [("bascule_bot_open_trades", "{{subject}}")]),
    (
        "Gross and net",
        "percentunit",
        [("bascule_book_gross", "gross {{subject}}"), ("bascule_book_net", "net {{subject}}")],
    ),
    ("Largest position", "percentunit", [("bascule_book_largest", "{{subject}}")]),
    ("Value at risk over its limit", "percentunit", [("bascule_book_var_use", "{{subject}}")]),
    ("Beta", "none", [("bascule_book_beta", "{{subject}}")]),
    ("Exposures", "none", [("bascule_book_exposure", "{{subject}}")]),
    ("Slippage", "none", [("bascule_fills_slippage_bps", "{{subject}}, bp")]),
    ("Filled", "percentunit", [("bascule_fills_filled", "{{subject}}")]),
    ("Orders cancelled or refused", "percentunit", [("bascule_fills_cancelled", "{{subject}}")]),
]
HEALTH: list[Panel] = [
    ("Bots answer", "none", [("bascule_bot_up", "{{subject}}")]),
    ("Bots trade", "none", [("bascule_bot_running", "{{subject}}")]),
    ("Since the bot's last loop", "s", [("bascule_bot_loop_age_seconds", "{{subject}}")]),
    (
        "Emergency state (0 run, 1 halt, 2 hedge, 3 flatten)",
        "none",
        [("bascule_bot_emergency", "{{subject}}")],
    ),
    ("Age of the newest candle", "s", [("bascule_data_age_seconds", "{{subject}}")]),
    ("Findings in candles", "none", [("bascule_data_issues", "{{subject}}")]),
    ("Missing candles", "percentunit", [("bascule_data_missing", "{{subject}}")]),
    ("Venues: latency", "s", [("bascule_venue_latency_seconds", "{{subject}}")]),
    ("Venues: clock skew", "s", [("bascule_venue_skew_seconds", "{{subject}}")]),
    ("Rules that fire", "none", [("bascule_rule_firing", "{{rule}} {{subject}}")]),
    ("Actions", "none", [("bascule_actions", "{{do}} {{status}}")]),
    ("Messages", "none", [("bascule_messages", "{{status}}")]),
    ("Jobs", "none", [("bascule_jobs", "{{job}} {{status}}")]),
    ("Sources that fail", "none", [("bascule_source_failed == 1", "{{subject}}")]),
    ("Since the monitor's last cycle", "s", [("time() - bascule_monitor_last_cycle_seconds", "monitor")]),
]
BOARDS = {
    "alpha": ("Bascule: alpha", ALPHA),
    "book": ("Bascule: book and execution", BOOK),
    "health": ("Bascule: health", HEALTH),
}


def board(uid: str, title: str, panels: list[Panel]) -> dict[str, Any]:
    """A dashboard, three panels a row."""
    return {
        "uid": f"bascule-{uid}",
        "title": title,
        "tags": ["bascule"],
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "timezone": "utc",
        "panels": [panel(number, *one) for number, one in enumerate(panels)],
    }


def panel(number: int, title: str, unit: str, lines: list[tuple[str, str]]) -> dict[str, Any]:
    """One graph."""
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": SOURCE,
        "gridPos": {"x": 8 * (number % 3), "y": 8 * (number // 3), "w": 8, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "custom": {"spanNulls": 90_000_000}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(65 + n), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for n, (expression, legend) in enumerate(lines)
        ],
    }


def main(arguments: list[str]) -> int:
    """Write, or compare with what is written."""
    same = True
    for name, (title, panels) in BOARDS.items():
        path = HOME / f"{name}.json"
        text = json.dumps(board(name, title, panels), indent=1) + "\n"
        if "--check" in arguments:
            same &= path.is_file() and path.read_text("utf-8") == text
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
