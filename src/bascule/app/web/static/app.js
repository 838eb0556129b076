// What all pages share: words, preferences, actions, charts, live updates. Text from outside is only ever set
// as textContent; nothing here writes HTML.
"use strict";

const data = (id) => JSON.parse(document.getElementById(id)?.textContent || "null");
const words = data("words") || {};
const page = data("page") || {};
const t = (text, values = {}) =>
  Object.entries(values).reduce((out, [key, value]) => out.replaceAll(`{${key}}`, value), words[text] ?? text);

const show = {
  number: (v, digits = 4) => (v == null ? "–" : v.toFixed(digits).replace("-", "−")),
  percent: (v, digits = 1) => (v == null ? "–" : `${v > 0 ? "+" : ""}${(100 * v).toFixed(digits)}%`.replace("-", "−")),
  money: (v) => (v == null ? "–" : v.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 }).replace("-", "−")),
};

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text != null) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function toast(text, kind = "info") {
  const made = element("div", text, `toast ${kind}`);
  made.setAttribute("role", kind === "info" ? "status" : "alert");
  document.getElementById("toasts").append(made);
  setTimeout(() => made.remove(), 9000);
}

// -- asking the server ----------------------------------------------------------------------------------

async function ask(path, { method = "GET", body, quiet = false } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = page.csrf || "";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (quiet) headers["X-Background"] = "1";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.status === 401 || (answer.redirected && answer.url.includes("/login"))) {
    location.href = "/login";
    throw new Error(t("The session has ended."));
  }
  const told = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw new Error([told.error, told.remedy].filter(Boolean).join(" — "));
  return told;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-post]");
  if (!button || button.disabled) return;
  if (button.dataset.sure && !window.confirm(button.dataset.sure)) return;
  button.disabled = true;
  try {
    const told = await ask(button.dataset.post, { method: "POST" });
    if (button.dataset.then) location.href = button.dataset.then;
    else toast(told.message || button.dataset.done || t("Done"));
  } catch (error) {
    toast(error.message, "error");
  }
  if (!button.dataset.once) button.disabled = false;
});

// -- preferences ----------------------------------------------------------------------------------------

function remember(name, value) {
  document.cookie = `${name}=${value}; Path=/; Max-Age=31536000; SameSite=Lax${location.protocol === "https:" ? "; Secure" : ""}`;
}

for (const button of document.querySelectorAll("[data-language]"))
  button.addEventListener("click", () => {
    remember("bascule_language", button.dataset.language);
    location.reload();
  });

for (const button of document.querySelectorAll("[data-themes]"))
  button.addEventListener("click", () => {
    const order = ["auto", "light", "dark"];
    const next = order[(order.indexOf(document.documentElement.dataset.theme) + 1) % 3];
    remember("bascule_theme", next);
    document.documentElement.dataset.theme = next;
    button.textContent = t(`theme: ${next}`);
    redraw();
  });

document.getElementById("menu")?.addEventListener("click", (event) => {
  const open = document.querySelector(".side").classList.toggle("open");
  event.currentTarget.setAttribute("aria-expanded", open);
});

for (const choice of document.querySelectorAll("select[data-go]"))
  choice.addEventListener("change", () => {
    location.search = new URLSearchParams({ [choice.dataset.go]: choice.value });
  });

// -- charts ---------------------------------------------------------------------------------------------

const charts = new Map();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const forms = {
  number: (v) => (v == null ? "–" : Math.abs(v) >= 1000 ? v.toLocaleString("en-US") : String(+v.toPrecision(4))),
  percent: (v) => show.percent(v),
  ic: (v) => show.number(v),
};
const axes = {
  number: (v) => (Math.abs(v) >= 1000 ? v.toLocaleString("en-US") : String(+v.toPrecision(4))),
  percent: (v) => `${+(100 * v).toPrecision(4)}%`,
  ic: (v) => String(+v.toPrecision(3)),
};

function option(spec) {
  const [ink, soft, line, card] = ["ink", "soft", "line", "card"].map(colour);
  const palette = [colour("alpha"), colour("risk"), colour("blue"), soft, colour("good"), colour("bad")];
  const text = { color: soft, fontSize: 11.5 };
  const shape = forms[spec.format] || forms.number;
  const names = spec.series?.map((one) => t(one.name)) || [];
  // times are told to the minute in the tooltip, to the day on the axis
  const day = (v) => (/^\d{4}-\d\d-\d\d \d\d:\d\d$/.test(v) ? v.slice(0, 10) : v);
  const category = (values) => ({
    type: "category", data: values.map((v) => t(String(v))), axisLabel: { ...text, hideOverlap: true, formatter: day },
    axisLine: { lineStyle: { color: line } }, axisTick: { show: false },
  });
  const value = (log) => ({
    type: log ? "log" : "value", scale: spec.kind === "line", axisLabel: { ...text, formatter: axes[spec.format] || axes.number },
    splitLine: { lineStyle: { color: line } }, minorSplitLine: { show: false },
  });
  const base = {
    animation: false, color: palette, textStyle: { fontFamily: "inherit" },
    grid: { left: 8, right: 18, top: names.filter(Boolean).length > 1 ? 34 : 14, bottom: spec.xName ? 26 : 8, containLabel: true },
    // drawn on the canvas: names of factors and series never become HTML
    tooltip: {
      trigger: "axis", renderMode: "richText", confine: true, backgroundColor: card, borderColor: line,
      textStyle: { color: ink, fontSize: 12 }, valueFormatter: shape,
    },
    legend: { show: names.filter(Boolean).length > 1, top: 0, left: 0, type: "scroll", textStyle: { color: soft }, itemHeight: 8, itemWidth: 16, icon: "roundRect" },
  };
  if (spec.kind === "heat") {
    const most = Math.max(...spec.cells.map((cell) => Math.abs(cell[2] ?? 0)), 1);
    return {
      ...base, legend: { show: false }, grid: { ...base.grid, top: 8, bottom: 34 },
      tooltip: { ...base.tooltip, trigger: "item", formatter: (p) => `${spec.y[p.value[1]]} · ${t(spec.x[p.value[0]])}: ${forms.number(p.value[2])}` },
      xAxis: { ...category(spec.x), axisLabel: { ...text, interval: 0, rotate: 30 } }, yAxis: { ...category(spec.y), data: spec.y },
      visualMap: { min: -most, max: most, calculable: false, orient: "horizontal", left: "center", bottom: 0, itemHeight: 90, itemWidth: 9, textStyle: text,
        text: [most.toFixed(1), (-most).toFixed(1)], inRange: { color: [colour("risk"), card, colour("alpha")] } },
      series: [{ type: "heatmap", data: spec.cells.map((cell) => [cell[0], cell[1], cell[2] ?? "-"]) }],
    };
  }
  if (spec.kind === "line") {
    const all = spec.series.flatMap((one) => one.values).filter((v) => v > 0);
    const log = spec.log && Math.max(...all) > 8 * Math.min(...all); // within a decade a log axis has no ticks
    const points = (values) => (spec.xKind === "value" ? spec.x.map((x, k) => [x, values[k]]) : values);
    const x = spec.xKind === "value"
      ? { ...value(false), scale: true, axisLabel: { ...text, formatter: axes.number, hideOverlap: true }, splitLine: { show: false }, name: t(spec.xName), nameLocation: "middle", nameGap: 24, nameTextStyle: text }
      : { ...category(spec.x), boundaryGap: false, axisLabel: { ...text, hideOverlap: true, formatter: day, alignMinLabel: "left", alignMaxLabel: "right" } };
    return {
      ...base, xAxis: x, yAxis: value(log), dataZoom: spec.zoom ? [{ type: "inside" }] : [],
      series: spec.series.map((one, k) => ({
        name: names[k], type: "line", data: points(one.values), showSymbol: spec.x.length < 16, symbolSize: 5, connectNulls: true,
        lineStyle: { width: 1.8 }, areaStyle: spec.area ? { opacity: 0.15 } : undefined,
      })),
    };
  }
  const flat = spec.kind === "barh";
  const bars = {
    type: "bar", barMaxWidth: 26,
    data: spec.series[0].values.map((v) => ({ value: v, itemStyle: { color: v >= 0 ? colour("alpha") : colour("risk"), borderRadius: 2 } })),
  };
  const labels = { ...category(spec.x), axisLabel: { ...text, formatter: day, width: flat ? 150 : undefined, overflow: "truncate", interval: flat ? 0 : "auto", hideOverlap: !flat } };
  return { ...base, tooltip: { ...base.tooltip, axisPointer: { type: "shadow" } }, xAxis: flat ? value(false) : labels, yAxis: flat ? labels : value(false), series: [bars] };
}

function draw(holder, spec) {
  let chart = charts.get(holder)?.chart;
  if (!chart) {
    chart = echarts.init(holder, null, { renderer: "canvas" });
    new ResizeObserver(() => chart.resize()).observe(holder);
  }
  charts.set(holder, { chart, spec });
  chart.setOption(option(spec), true);
  holder.dataset.drawn = "1";
}

function redraw() {
  for (const [holder, { spec }] of charts) draw(holder, spec);
}

if (window.echarts) {
  for (const holder of document.querySelectorAll("[data-chart]")) draw(holder, data(holder.dataset.chart));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

// -- what changes while a page is open ------------------------------------------------------------------

const live = {
  searches(found) {
    for (const one of found) {
      for (const row of document.querySelectorAll(`[data-search="${CSS.escape(one.id)}"]`)) {
        const put = (name, text) => {
          const place = row.querySelector(`[data-put="${name}"]`);
          if (place && place.textContent !== text) place.textContent = text;
        };
        put("proposals", one.proposals.toLocaleString("en-US"));
        put("trials", one.trials.toLocaleString("en-US"));
        put("members", String(one.members));
        put("cpu", show.number(one.cpu_seconds, 0));
        put("best", show.number(one.best_valid));
        const tag = row.querySelector('[data-put="status"]');
        if (tag) {
          const before = tag.dataset.status;
          tag.textContent = t(one.status);
          tag.className = `tag ${one.status}`;
          tag.dataset.status = one.status;
          if (row.dataset.reload && before !== one.status && one.status === "done") location.reload();
        }
        const bar = row.querySelector("progress");
        if (bar && one.budget) bar.value = Math.min(1, one.status === "done" ? 1 : one.proposals / one.budget);
        const holder = row.querySelector("[data-curve]");
        if (holder && window.echarts && one.looks.length)
          draw(holder, {
            kind: "line", xKind: "value", xName: "proposals", format: "ic", x: one.looks.map((look) => look.proposals),
            series: ["valid", "train"].map((name) => ({ name, values: one.looks.map((look) => look[name]) })),
          });
      }
    }
  },
  alerts(found) {
    const open = found.filter((one) => one.open).length;
    const badge = document.getElementById("open-alerts");
    if (badge) {
      badge.textContent = open;
      badge.hidden = !open;
    }
    const newest = Math.max(0, ...found.map((one) => one.id));
    if (live.newest !== undefined)
      for (const one of found.filter((alert) => alert.id > live.newest).slice(0, 3)) toast(`${one.rule}: ${one.text}`, one.level);
    live.newest = Math.max(live.newest ?? 0, newest);
    const body = document.getElementById("alert-rows");
    if (!body) return;
    body.closest(".scroll").hidden = !found.length;
    const none = document.getElementById("no-alerts");
    if (none) none.hidden = !!found.length;
    for (const one of [...found].reverse()) {
      if (body.querySelector(`[data-alert="${one.id}"]`)) continue;
      const row = element("tr");
      row.dataset.alert = one.id;
      const level = element("td");
      level.append(element("span", t(one.level), `tag ${one.level}`));
      row.append(element("td", new Date(1000 * one.at).toISOString().slice(0, 16).replace("T", " ")), level, element("td", one.text, "wrap"), element("td", one.rule));
      body.prepend(row);
    }
  },
  bots(found) {
    for (const one of found)
      for (const row of document.querySelectorAll(`[data-bot="${CSS.escape(one.name)}"]`)) {
        const put = (name, text, kind) => {
          const place = row.querySelector(`[data-put="${name}"]`);
          if (!place) return;
          place.textContent = text;
          if (kind !== undefined) place.className = kind;
        };
        put("state", t(one.state), `tag ${one.state}`);
        put("problem", one.problem);
        put("open", String(one.open_trades));
        put("profit", show.percent(one.profit_ratio));
        put("total", `${show.money(one.total)} ${one.currency}`);
      }
  },
  jobs(found) {
    for (const place of document.querySelectorAll("[data-job]")) {
      const job = found.find((one) => `${one.kind}:${one.target}` === place.dataset.job);
      if (!job) continue;
      const before = place.dataset.state;
      place.dataset.state = job.state;
      place.textContent = job.state === "failed" ? `${t("failed")}: ${job.message}` : t(`job ${job.state}`);
      if (job.state === "done" && (before === "waiting" || before === "running")) location.reload();
    }
  },
  brake(found) {
    const order = ["run", "halt", "hedge", "flatten"];
    const worst = [...found].sort((a, b) => order.indexOf(b.mode) - order.indexOf(a.mode))[0];
    const banner = document.getElementById("brake");
    banner.hidden = !worst || worst.mode === "run";
    if (!banner.hidden)
      banner.textContent = t("Emergency: {bot} is in state {mode}: {reason}", { bot: worst.bot, mode: t(worst.mode), reason: worst.reason });
    for (const one of found)
      for (const row of document.querySelectorAll(`[data-brake="${CSS.escape(one.bot)}"]`)) {
        const tag = row.querySelector('[data-put="mode"]');
        tag.textContent = t(one.mode);
        tag.className = `tag ${one.mode}`;
        row.querySelector('[data-put="obeyed"]').textContent = one.obeyed;
        row.querySelector('[data-put="why"]').textContent = one.reason;
      }
  },
};

if (page.live) {
  const stream = new EventSource("/api/events");
  for (const topic of ["searches", "alerts", "bots", "jobs", "brake"])
    stream.addEventListener(topic, (event) => {
      live[topic](JSON.parse(event.data));
      document.documentElement.dataset.live = "1";
    });
  stream.addEventListener("over", () => {
    stream.close();
    location.href = "/login";
  });
  // an open stream would keep the page from leaving the browser's cache cleanly
  addEventListener("pagehide", () => stream.close());
}
