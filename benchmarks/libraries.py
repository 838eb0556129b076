"""All factor libraries on real candles: the tables of docs/factors.md.

    python benchmarks/libraries.py [--out FILE]

Needs the market panels (BASCULE_DATA, or ``../shared/data`` beside the checkout). Candles of 2020-01-01 to
2024-06-01; in sample ends with 2022, the rest is out of sample. Every factor counts as a trial; nothing is
chosen on the out-of-sample rows.

1. Hourly spot candles: each library in and out of sample, its pool, and the five factors that were best in
   sample.
2. Daily candles of three exchanges: Alpha158 by venue, out of sample, on the cells that all have.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bascule import engine, evaluate
from bascule.core import Instrument, Panel, Timeframe
from bascule.data.prepare import prepare
from bascule.factors import Factor, available, library

START, SPLIT, END = "2020-01-01", "2023-01-01", "2024-06-01"
HORIZON = 24
CHUNK = 40
ROOT = (
    Path(os.environ.get("BASCULE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "market"
)


def read() -> Panel:
    """Prepared hourly candles, and slower data that covers several coins, from its available time on."""
    frame = pd.read_parquet(ROOT / "panel_1h.parquet").rename(columns={"date": "time"})
    symbols = frame.pop("symbol").astype(str)
    frame["instrument"] = symbols.map({s: Instrument.parse(s).id for s in symbols.unique()})
    panel = prepare(Panel.from_long(frame, Timeframe.parse("1h")).between(START, END))
    funding = pd.read_parquet(ROOT / "funding.parquet", filters=[("exchange", "==", "binance")])
    interest = pd.read_parquet(
        ROOT / "open_interest.parquet", filters=[("exchange", "==", "bybit"), ("freq", "==", "1h")]
    )
    caps = pd.read_parquet(ROOT / "marketcap_daily.parquet")
    caps["symbol"] = caps["symbol"].astype(str) + "USDT"
    caps = caps.sort_values("source").drop_duplicates(["date", "symbol"])
    world = pd.read_parquet(ROOT / "dominance.parquet")
    fields = {
        # settled at the stamp, thus known in the candle that opens there
        "funding_rate": wide(funding, "funding_rate", panel, lag=0, carry=0),
        "open_interest": wide(interest, "oi_base", panel, lag=1, carry=3),
        # a day's figure is used from the second day on
        "market_cap": wide(caps, "market_cap_usd", panel, lag=48, carry=48),
        "btc_dominance": everywhere(world, "btc_dominance", panel),
        "fear_greed": everywhere(world, "fear_greed", panel),
    }
    return panel.with_fields(**fields)


def wide(frame: pd.DataFrame, column: str, panel: Panel, *, lag: int, carry: int) -> np.ndarray:
    """A long table as ``[T, N]``, ``lag`` bars after its stamps, carried forward at most ``carry`` bars."""
    ids = {s: Instrument.parse(s).id for s in frame["symbol"].astype(str).unique()}
    table = frame.assign(name=frame["symbol"].astype(str).map(ids)).pivot_table(
        index="date", columns="name", values=column, observed=True
    )
    index = pd.DatetimeIndex(panel.time, tz="UTC")
    table.index = table.index.tz_convert("UTC").floor("h") + pd.Timedelta(hours=lag)
    full = table.reindex(index)
    if carry:
        full = table.reindex(table.index.union(index)).ffill(limit=carry).reindex(index)
    return full.reindex(columns=list(panel.instruments)).to_numpy(np.float32, copy=True)


def everywhere(frame: pd.DataFrame, column: str, panel: Panel) -> np.ndarray:
    """A daily figure of the whole market in every column, from the second day on."""
    series = frame.set_index("date")[column].dropna()
    series.index = series.index.tz_convert("UTC") + pd.Timedelta(hours=48)
    index = pd.DatetimeIndex(panel.time, tz="UTC")
    values = series.reindex(series.index.union(index)).ffill(limit=48).reindex(index).to_numpy(np.float32)
    return np.ascontiguousarray(np.repeat(values[:, None], panel.shape[1], axis=1))


def measure(factors: list[Factor], panel: Panel) -> tuple[pd.DataFrame, evaluate.Sample, evaluate.Sample]:
    """Statistics in and out of sample, and samples for the pool, some factors at a time."""
    split = int(np.searchsorted(panel.time, np.datetime64(SPLIT)))
    parts = {"in": (0, split - HORIZON - 1), "out": (split, None)}
    tables, samples = [], {"in": [], "out": []}
    for start in range(0, len(factors), CHUNK):
        chosen = factors[start : start + CHUNK]
        values = engine.evaluate([f.text for f in chosen], panel)
        names = [f.name for f in chosen]
        found = {}
        for part, (first, last) in parts.items():
            rows = panel.rows(first, last)
            cut = values[:, first:last]
            found[part] = evaluate.table(cut, names, rows, [HORIZON]).droplevel("horizon")
            samples[part].append(evaluate.Sample.of(cut, rows, HORIZON))
        tables.append(found["in"].join(found["out"], lsuffix="_in", rsuffix="_out"))
        print(f"  {start + len(chosen)} of {len(factors)}", file=sys.stderr, flush=True)
    return pd.concat(tables), *(evaluate.Sample.joined(samples[part]) for part in parts)


def summary(
    name: str, table: pd.DataFrame, fit: evaluate.Sample, test: evaluate.Sample, trials: int
) -> dict[str, str]:
    """One line of the table."""
    enough = table["n_out"] > 1_000
    table = table[enough]
    t = table["rank_t_out"].to_numpy()
    kept = evaluate.benjamini_hochberg(evaluate.p_values(t)).kept
    held = np.sign(table["rank_ic_in"]) == np.sign(table["rank_ic_out"])
    best = table["rank_t_in"].abs().idxmax()
    pool = evaluate.pool(fit, test)
    luck = evaluate.deflated_threshold(trials)
    return {
        "library": name,
        "factors": str(len(table)),
        "median abs rank IC in": f"{table['rank_ic_in'].abs().median():.4f}",
        "median abs rank IC out": f"{table['rank_ic_out'].abs().median():.4f}",
        "same sign": f"{held.mean():.0%}",
        "abs t > 2 out": str(int((np.abs(t) > 2).sum())),
        "after control": str(int(kept.sum())),
        f"abs t > {luck:.1f} out": str(int((np.abs(t) > luck).sum())),
        "abs IC > 0.05 out": str(int((table["ic_out"].abs() > 0.05).sum())),
        "abs rank IC > 0.04 out": str(int((table["rank_ic_out"].abs() > 0.04).sum())),
        "best in sample": f"{best} {table.loc[best, 'rank_ic_in']:+.3f}",
        "the same out": f"{table.loc[best, 'rank_ic_out']:+.3f} (t {table.loc[best, 'rank_t_out']:+.1f})",
        "pool IC in": f"{pool.inside.ic.mean:.3f}",
        "pool IC out": told(pool.outside.ic),
        "pool rank IC in": f"{pool.inside.rank_ic.mean:.3f}",
        "pool rank IC out": told(pool.outside.rank_ic),
    }


def told(ic: evaluate.ICSummary) -> str:
    return f"{ic.mean:.3f} (t {ic.t:.1f})"


def by_venue() -> pd.DataFrame:
    """Alpha158 on the daily candles of three exchanges, out of sample."""
    frame = pd.read_parquet(ROOT / "cross_exchange_1d.parquet").rename(columns={"date": "time"})
    frame = frame.drop(columns=["market", "quote_volume"])
    symbols = frame.pop("symbol").astype(str)
    frame["instrument"] = symbols.map({s: Instrument.parse(s).id for s in symbols.unique()})
    day = Timeframe.parse("1d")
    panels = {
        str(name): prepare(Panel.from_long(part.drop(columns="exchange"), day).between(START, END))
        for name, part in frame.groupby("exchange", observed=True)
    }
    texts = [f.text for f in library("alpha158")]
    values = {name: engine.evaluate(texts, panel) for name, panel in panels.items()}
    start = np.datetime64(SPLIT, "ns")
    found = [
        evaluate.by_venue({name: values[name][index] for name in panels}, panels, 1, start=start)
        for index in range(len(texts))
    ]
    ics = pd.DataFrame([one["ic"] for one in found])
    t = pd.DataFrame([one["t"] for one in found])
    first = ics.columns[0]
    return pd.DataFrame(
        {
            "venue": list(ics.columns),
            "median abs rank IC": [f"{ics[name].abs().median():.4f}" for name in ics],
            "abs t > 2": [str(int((t[name].abs() > 2).sum())) for name in ics],
            f"sign as at {first}": [
                f"{(np.sign(ics[name]) == np.sign(ics[first])).mean():.0%}" for name in ics
            ],
            f"correlation of the ICs with those of {first}": [
                f"{ics[name].corr(ics[first]):.3f}" for name in ics
            ],
            "days": [str(int(found[0]["n"].iloc[0]))] * ics.shape[1],
        }
    )


def markdown(frame: pd.DataFrame) -> str:
    head = "| " + " | ".join(frame.columns) + " |"
    rule = "|" + "---|" * len(frame.columns)
    return "\n".join([head, rule, *("| " + " | ".join(map(str, row)) + " |" for row in frame.to_numpy())])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=None, help="write the tables here as markdown")
    given = arguments.parse_args()
    panel = read()
    chosen = {
        n: list(available(library(n), panel.fields))
        for n in ("alpha158", "alpha360", "alpha101", "macd", "crypto")
    }
    trials = sum(len(factors) for factors in chosen.values())
    lines, best, parts = [], [], []
    for name, factors in chosen.items():
        began = time.perf_counter()
        table, fit, test = measure(factors, panel)
        lines.append(summary(name, table, fit, test, trials))
        parts.append((table.add_prefix(f"{name}:", axis=0), fit, test))
        table = table[table["n_out"] > 1_000]
        order = table["rank_t_in"].abs().sort_values(ascending=False).index[:5]
        for factor in order:
            row = table.loc[factor]
            best.append(
                {
                    "library": name,
                    "factor": factor,
                    "rank IC in": f"{row['rank_ic_in']:+.4f}",
                    "t in": f"{row['rank_t_in']:+.1f}",
                    "IC out": f"{row['ic_out']:+.4f}",
                    "rank IC out": f"{row['rank_ic_out']:+.4f}",
                    "t out": f"{row['rank_t_out']:+.1f}",
                    "coverage out": f"{row['coverage_out']:.0%}",
                }
            )
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    held, fits, tests = zip(*parts, strict=True)
    fit, test = evaluate.Sample.joined(fits), evaluate.Sample.joined(tests)
    lines.append(summary("all of them", pd.concat(held), fit, test, trials))
    # a column a library: there are more measures than fit beside each other on a page
    libraries = pd.DataFrame(lines).set_index("library").T.rename_axis(columns=None).reset_index(names="")
    tables = (libraries, pd.DataFrame(best), by_venue())
    text = "\n\n".join(markdown(table) for table in tables) + "\n"
    if given.out is None:
        print(text)
    else:
        given.out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
