// The trades of a backtest, fetched in parts.
"use strict";

(async () => {
  const holder = document.getElementById("trades");
  const path = holder.dataset.path;
  const rows = [];
  for (let total = 1; rows.length < Math.min(total, 10000); ) {
    const part = await ask(`${path}?offset=${rows.length}&count=1000`);
    total = part.total;
    if (!part.items.length) break;
    rows.push(...part.items);
  }
  const right = { hozAlign: "right", headerHozAlign: "right" };
  const gain = (cell) => element("span", show.percent(cell.getValue(), 2), cell.getValue() > 0 ? "good" : cell.getValue() < 0 ? "bad" : "");
  new Tabulator(holder, {
    data: rows,
    layout: "fitColumns",
    responsiveLayout: "hide",
    height: "460px",
    placeholder: t("no trades"),
    columns: [
      { title: t("pair"), field: "pair", minWidth: 110, responsive: 0 },
      { title: t("side"), field: "is_short", width: 74, minWidth: 74, responsive: 3, formatter: (cell) => element("span", t(cell.getValue() ? "short" : "long")) },
      { title: t("opened (UTC)"), field: "open_date", minWidth: 140, responsive: 1, formatter: (cell) => element("span", cell.getValue().slice(0, 16)) },
      { title: t("closed (UTC)"), field: "close_date", minWidth: 140, responsive: 4, formatter: (cell) => element("span", cell.getValue().slice(0, 16)) },
      { title: t("profit"), field: "profit_ratio", minWidth: 86, ...right, formatter: gain, sorter: "number", responsive: 0 },
      { title: t("amount"), field: "profit_abs", minWidth: 96, ...right, formatter: (cell) => element("span", show.money(cell.getValue())), sorter: "number", responsive: 2 },
      { title: t("why closed"), field: "exit_reason", minWidth: 120, responsive: 5 },
    ],
  });
})().catch((error) => toast(error.message, "error"));
