// The factor library: one table over everything, searched and filtered in the browser.
"use strict";

(async () => {
  const found = await ask("/api/factors");
  const link = (cell) => {
    const row = cell.getRow().getData();
    const made = element("a", row.name);
    made.href = `/factors/${encodeURIComponent(row.library)}/${encodeURIComponent(row.name)}`;
    return made;
  };
  const figure = (digits) => (cell) => {
    const v = cell.getValue();
    return element("span", show.number(v, digits), v == null ? "soft" : "");
  };
  for (const row of found.items)
    row.everything = [row.name, row.library, row.family, row.text, row.note, row.source, ...row.tags].join(" ").toLowerCase();
  // what was not measured comes last whichever way is up
  const last = (size) => (a, b, _rows, _other, _column, dir) => {
    if (a == null || b == null) return (a == null ? 1 : 0) - (b == null ? 1 : 0) ? ((a == null) === (dir === "asc") ? 1 : -1) : 0;
    return size(a) - size(b);
  };
  const strongest = { sorter: last(Math.abs), headerSortStartingDir: "desc" };
  const bottom = { sorter: last((v) => v) };
  const table = new Tabulator("#factors", {
    data: found.items,
    layout: "fitColumns",
    responsiveLayout: "hide",
    height: "calc(100vh - 232px)",
    minHeight: 320,
    placeholder: t("no factor meets all of that"),
    rowHeight: 35,
    columns: [
      { title: t("factor"), field: "name", formatter: link, minWidth: 130, widthGrow: 2, responsive: 0 },
      { title: t("library"), field: "library", minWidth: 100, widthGrow: 1, responsive: 3 },
      { title: t("family"), field: "family", minWidth: 120, widthGrow: 1, responsive: 4 },
      { title: t("rank IC"), field: "rank_ic", hozAlign: "right", headerHozAlign: "right", minWidth: 104, width: 104, formatter: figure(4), ...strongest, responsive: 0 },
      { title: "t", field: "t", hozAlign: "right", headerHozAlign: "right", minWidth: 70, width: 70, formatter: figure(1), ...strongest, responsive: 0 },
      { title: t("look-back"), field: "lookback", hozAlign: "right", headerHozAlign: "right", minWidth: 112, width: 112, responsive: 5, ...bottom,
        formatter: (cell) => element("span", cell.getValue() == null ? t("all") : cell.getValue().toLocaleString("en-US")) },
      { title: t("sheet"), field: "sheet", hozAlign: "center", headerHozAlign: "center", width: 92, minWidth: 92, responsive: 6, formatter: (cell) => element("span", cell.getValue() ? "●" : "", "good") },
      { title: t("about"), field: "note", minWidth: 220, widthGrow: 5, responsive: 2, formatter: (cell) => element("span", cell.getValue() || cell.getRow().getData().text) },
    ],
  });
  const words = document.getElementById("words-sought");
  const chosen = Object.fromEntries(["library", "family", "field"].map((name) => [name, document.getElementById(`by-${name}`)]));
  const values = { library: (row) => [row.library], family: (row) => [row.family], field: (row) => row.fields };
  for (const [name, select] of Object.entries(chosen))
    for (const one of [...new Set(found.items.flatMap(values[name]))].sort()) select.append(new Option(name === "field" ? `$${one}` : one, one));
  const count = document.getElementById("count");
  const filter = () => {
    const sought = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    table.setFilter((row) =>
      sought.every((word) => row.everything.includes(word)) &&
      Object.entries(chosen).every(([name, select]) => !select.value || values[name](row).includes(select.value)));
  };
  const tell = (rows) => {
    count.textContent = t("{n} of {all} factors", { n: rows.length, all: found.items.length });
  };
  table.on("tableBuilt", () => {
    tell(found.items);
    document.documentElement.dataset.ready = "1";
  });
  table.on("dataFiltered", (_, rows) => tell(rows));
  words.addEventListener("input", filter);
  for (const select of Object.values(chosen)) select.addEventListener("change", filter);
})().catch((error) => toast(error.message, "error"));
