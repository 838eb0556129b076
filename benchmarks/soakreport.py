"""What a soak (`soak.py`) found: slopes with intervals, tables, a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def slope(x: Any, y: Any, lags: int | None = None) -> tuple[float, float]:
    """A line's slope and half the width of its 95 % interval.

    Ordinary least squares with the variance of Newey and West (1987, Econometrica 55), lags 4 (n / 100)^(2/9)
    unless told: samples that follow each other are alike.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    count = len(x)
    deviation = x - x.mean()
    spread = float(deviation @ deviation)
    found = float(deviation @ y) / spread
    scores = deviation * (y - y.mean() - found * deviation)
    lags = int(4 * (count / 100) ** (2 / 9)) if lags is None else lags
    total = float(scores @ scores)
    for lag in range(1, min(lags, count - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(scores[lag:] @ scores[:-lag])
    return found, 1.96 * float(np.sqrt(max(total, 0.0) * count / max(count - 2, 1))) / spread


MEASURES = (
    ("bot_uss_mib", "memory of the bot (USS)", "MiB"),
    ("bot_rss_mib", "memory of the bot (RSS)", "MiB"),
    ("bot_fds", "file descriptors of the bot", ""),
    ("bot_threads", "threads of the bot", ""),
    ("exchange_uss_mib", "memory of the exchange (USS)", "MiB"),
    ("exchange_fds", "file descriptors of the exchange", ""),
    ("exchange_threads", "threads of the exchange", ""),
    ("database_mib", "the bot's database", "MiB"),
    ("logs_mib", "the bot's logs (rotating, at most 110)", "MiB"),
    ("state_mib", "the exchange's books on disk", "MiB"),
    ("intents", "files of intents", ""),
    ("temporary", "temporary files left", ""),
    ("rest_seconds", "an answer of the bot's REST server", "s"),
)


def report(out: Path) -> None:
    """``report.md`` and ``soak.png`` from what was measured."""
    import pandas as pd

    rows = pd.read_csv(out / "samples.csv")
    facts = json.loads((out / "facts.json").read_text("utf-8"))
    half = rows[rows["candles"] >= rows["candles"].max() / 2]
    lines = [*(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += [
        "| | at first | at half | at the end | growth per 1,000 candles (95 %) |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, what, unit in MEASURES:
        grows, width = slope(half["candles"], half[name])
        first, middle, last = (float(rows[name].iloc[k]) for k in (0, len(rows) - len(half), -1))
        label = f"{what}, {unit}" if unit else what
        growth = f"{1_000 * grows:+.3f} ± {1_000 * width:.3f}"
        lines.append(f"| {label} | {first:.4g} | {middle:.4g} | {last:.4g} | {growth} |")
    latency = latencies(out)
    if latency is not None:
        lines += [
            "",
            "| candles | median, ms | 95 %, ms | 99 %, ms | most, ms | median, CPU ms | 95 %, CPU ms |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for places in np.array_split(np.arange(len(latency)), 4):
            part = latency.iloc[places]
            at = f"{part['candle'].iloc[0]:.0f} – {part['candle'].iloc[-1]:.0f}"
            cells = [part["seconds"].quantile(q) for q in (0.5, 0.95, 0.99, 1.0)]
            cells += [part["cpu"].quantile(q) for q in (0.5, 0.95)]
            lines.append(f"| {at} | " + " | ".join(f"{1_000 * cell:.0f}" for cell in cells) + " |")
    (out / "report.md").write_text("\n".join(lines) + "\n", "utf-8")
    picture(rows, latency, out / "soak.png")
    print("\n".join(lines))


def latencies(out: Path) -> Any:
    import pandas as pd

    path = out / "latency.csv"
    if not path.exists() or not path.stat().st_size:
        return None
    found = pd.read_csv(path, names=["hour", "seconds", "waited", "cpu"])
    found["candle"] = found["hour"] - found["hour"].iloc[0]
    return found


def picture(rows: Any, latency: Any, path: Path) -> None:
    """Memory, descriptors and threads, disk, latency over the candles."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 6.5), sharex=True, constrained_layout=True)
    x = rows["candles"]
    for name, label, colour in (("bot", "bot", "#2563a8"), ("exchange", "exchange", "#c2571a")):
        axes[0, 0].plot(x, rows[f"{name}_uss_mib"], color=colour, label=label)
        axes[0, 1].plot(x, rows[f"{name}_fds"], color=colour, label=f"{label}: file descriptors")
        axes[0, 1].plot(x, rows[f"{name}_threads"], color=colour, ls=":", label=f"{label}: threads")
    axes[0, 0].set_title("Memory of the processes' own (USS), MiB")
    axes[0, 1].set_title("File descriptors and threads")
    for name, label, colour in (
        ("database_mib", "bot's database", "#2563a8"),
        ("logs_mib", "bot's logs", "#4d9078"),
        ("state_mib", "exchange's books", "#c2571a"),
    ):
        axes[1, 0].plot(x, rows[name], color=colour, label=label)
    axes[1, 0].set_title("On disk, MiB")
    axes[1, 1].set_title("From a candle's close to its signals, ms")
    if latency is not None:
        window = max(len(latency) // 40, 10)
        rolling = latency["seconds"].rolling(window)
        for q, colour in ((0.5, "#2563a8"), (0.95, "#c2571a"), (0.99, "#8b1a1a")):
            line = 1_000 * rolling.quantile(q)
            axes[1, 1].plot(latency["candle"], line, color=colour, label=f"{q:.0%} of {window} candles")
        axes[1, 1].set_yscale("log")
        axes[1, 1].set_ylim(top=2 * axes[1, 1].get_ylim()[1])  # room for the legend
    for one in axes.flat:
        one.grid(alpha=0.3)
        if one.get_legend_handles_labels()[0]:
            one.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
        if one is not axes[1, 1]:
            one.set_ylim(0, 1.25 * one.get_ylim()[1])  # room for the legend
    for one in axes[1]:
        one.set_xlabel("candles of one hour")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
