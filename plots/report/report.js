// The table of runs and the plot of the report. Names come from a database: they reach the page through textContent and attributes alone.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  function element(name, attributes, parent, text) {
    const made = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  // ---- the table -------------------------------------------------------------------------------------------------------------------
  const table = byId("runs"), body = table.tBodies[0];
  const rows = [...body.rows].map((row, place) => ({row, place, text: row.textContent.toLowerCase(), shown: true}));
  const heads = [...table.tHead.rows[0].cells];

  const value = (row, column) => {
    const cell = row.cells[column], raw = cell.dataset.v;
    return raw === undefined ? cell.textContent : raw === "" ? null : Number(raw);
  };

  function compare(a, b) {
    if (a === b) return 0;
    if (a === null || a === "") return 1;  // what was not measured comes last, whichever way
    if (b === null || b === "") return -1;
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", {numeric: true});
  }

  function sortBy(column) {
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = rows.map((entry) => ({entry, key: value(entry.row, column)}));
    keyed.sort((a, b) => {
      const order = compare(a.key, b.key), missing = a.key === null || a.key === "" || b.key === null || b.key === "";
      return (down && !missing ? -order : order) || a.entry.place - b.entry.place;
    });
    body.append(...keyed.map((one) => one.entry.row));
  }
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sortBy(column)));

  const filters = [...document.querySelectorAll("[data-filter]")];
  for (const select of filters) {
    const column = Number(select.dataset.filter);
    const values = [...new Set(rows.map((entry) => entry.row.cells[column].textContent))].filter((text) => text !== "");
    for (const text of values.sort((a, b) => a.localeCompare(b, "en", {numeric: true}))) element("option", {value: text}, select, text);
  }

  function applyFilters() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const entry of rows) {
      const fits = words.every((word) => entry.text.includes(word)) &&
        filters.every((select) => select.value === "" || entry.row.cells[Number(select.dataset.filter)].textContent === select.value);
      if (fits) ++shown;
      if (fits !== entry.shown) entry.row.hidden = !(entry.shown = fits);
    }
    byId("count").textContent = shown === rows.length ? `${rows.length} runs` : `${shown} of ${rows.length} runs`;
  }
  byId("search").addEventListener("input", applyFilters);
  for (const select of filters) select.addEventListener("change", applyFilters);
  byId("clear").addEventListener("click", () => {
    byId("search").value = "";
    for (const select of filters) select.value = "";
    applyFilters();
  });
  applyFilters();

  // ---- the plot --------------------------------------------------------------------------------------------------------------------
  const plot = byId("plot"), tip = byId("tip"), groupSelect = byId("group"), measureSelect = byId("measure");
  if (!plot) return;
  const H = 480, LEFT = 70, RIGHT = 20, TOP = 20, BOTTOM = 50;
  let W = 900;  // as wide as the page, so that text keeps its size
  const MEASURES = {ppl: {name: "Perplexity", error: "ppl_error"}, kld: {name: "Mean KL divergence, nats per token", error: "kld_error"}};

  // gnuplot's point types, so that a method looks the same in every figure.
  function outline(mark, x, y, r) {
    const around = (corners, turn) => Array.from({length: corners}, (_, i) => {
      const angle = turn + 2 * Math.PI * i / corners;
      return `${(x + r * Math.cos(angle)).toFixed(1)},${(y + r * Math.sin(angle)).toFixed(1)}`;
    }).join(" ");
    const up = -Math.PI / 2;
    switch (mark) {
      case 4: case 5: return around(4, Math.PI / 4);
      case 8: case 9: return around(3, up);
      case 10: case 11: return around(3, -up);
      case 12: case 13: return around(4, up);
      case 14: case 15: return around(5, up);
      default: return around(24, 0);
    }
  }

  function drawMark(parent, method, x, y) {
    const style = data.styles[method], color = style.color === "#000000" ? "var(--ink)" : style.color;
    const open = style.mark % 2 === 0 && style.mark > 3;
    const mark = element("svg:polygon", {class: "mark", points: outline(style.mark, x, y, 7)}, parent);
    mark.style.fill = open ? "var(--panel)" : color;
    if (open) mark.style.stroke = color, mark.style.strokeWidth = 2.5;
    return color;
  }

  function steps(low, high, count = 5) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
    const all = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) all.push(Number(at.toPrecision(12)));
    return all;
  }

  function decades(low, high) {
    const all = [], few = Math.log10(high / low) < 3;
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; ++power)
      for (const factor of few ? [1, 2, 5] : [1]) {
        const at = factor * 10 ** power;
        if (at >= low && at <= high) all.push(Number(at.toPrecision(12)));
      }
    return all;
  }

  function frontOf(points, measure) {
    const front = [];
    for (const point of [...points].sort((a, b) => a.kv - b.kv || a[measure] - b[measure]))
      if (front.length === 0 || point[measure] < front[front.length - 1][measure]) front.push(point);
    return front;
  }

  function showTip(point, x, y) {
    tip.replaceChildren();
    element("strong", {}, tip, point.label);
    const lines = [`run ${point.id}, ${point.kv} values per token and layer, ${point.dtype}`, `perplexity ${point.ppl.toPrecision(6)}${point.ppl_error ? " ± " + point.ppl_error.toPrecision(3) : ""}`];
    if (point.original !== null) lines.push(`original ${point.original.toPrecision(6)}`);
    if (point.kld !== null) lines.push(`KL divergence ${point.kld.toPrecision(4)} nats`);
    for (const line of lines) element("div", {}, tip, line);
    tip.hidden = false;
    const scale = plot.clientWidth / W, left = x * scale + 14;
    tip.style.left = `${Math.max(0, Math.min(left, plot.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(0, y * scale - tip.offsetHeight - 10)}px`;
  }

  function addPoint(svg, point, x, y, measure, yAt) {
    const link = element("svg:a", {href: `runs/${point.id}.html`, "aria-label": `${point.label}: ${point.kv} values, ${MEASURES[measure].name} ${point[measure].toPrecision(5)}`}, svg);
    const error = point[MEASURES[measure].error];
    const bar = error && point[measure] - error > 0 ? element("svg:line", {class: "bar", x1: x, x2: x, y1: yAt(point[measure] - error), y2: yAt(point[measure] + error)}, link) : null;
    const color = drawMark(link, point.method, x, y);
    if (bar) bar.style.stroke = color;
    for (const event of ["pointerenter", "focus"]) link.addEventListener(event, () => showTip(point, x, y));
    for (const event of ["pointerleave", "blur"]) link.addEventListener(event, () => { tip.hidden = true; });
  }

  function drawAxes(svg, xs, ys, xAt, yAt, measure, logarithmic) {
    for (const at of ys) {
      element("svg:line", {class: "grid", x1: LEFT, x2: W - RIGHT, y1: yAt(at), y2: yAt(at)}, svg);
      element("svg:text", {x: LEFT - 8, y: yAt(at) + 4, "text-anchor": "end"}, svg, String(at));
    }
    for (const at of xs) {
      element("svg:line", {class: "grid", x1: xAt(at), x2: xAt(at), y1: TOP, y2: H - BOTTOM}, svg);
      element("svg:text", {x: xAt(at), y: H - BOTTOM + 18, "text-anchor": "middle"}, svg, String(at));
    }
    element("svg:text", {x: (LEFT + W - RIGHT) / 2, y: H - 10, "text-anchor": "middle"}, svg, "KV cache, values per token and layer");
    element("svg:text", {x: 16, y: H / 2, "text-anchor": "middle", transform: `rotate(-90 16 ${H / 2})`}, svg, MEASURES[measure].name + (logarithmic ? " (log scale)" : ""));
  }

  function drawLegend(points) {
    const legend = byId("legend");
    legend.replaceChildren();
    for (const method of [...new Set(points.map((point) => point.method))].sort()) {
      const item = element("li", {}, legend);
      const svg = element("svg:svg", {width: 18, height: 18, "aria-hidden": "true"}, item);
      drawMark(svg, method, 9, 9);
      item.append(method);
    }
  }

  function draw() {
    const group = data.groups[Number(groupSelect.value)], measure = measureSelect.value;
    const points = data.points.filter((point) => point.group === Number(groupSelect.value) && point[measure] !== null);
    const old = plot.querySelector("svg");
    if (old) old.remove();
    tip.hidden = true;
    drawLegend(points);
    byId("none").hidden = points.length > 0;
    if (points.length === 0) return;
    W = Math.max(320, Math.min(1300, plot.clientWidth));
    const originals = measure === "ppl" ? [...new Set(points.map((point) => point.original).filter((one) => one !== null))] : [];
    const values = [...points.map((point) => point[measure]), ...originals];
    let low = Math.min(...values), high = Math.max(...values);
    const logarithmic = low > 0 && high > 10 * low;
    const room = (a, b) => { const span = Math.max(b - a, Math.abs(b) * 0.1, 1e-9); return [a - 0.08 * span, b + 0.1 * span]; };
    [low, high] = logarithmic ? room(Math.log10(low), Math.log10(high)).map((one) => 10 ** one) : room(low, high);
    const [left, right] = room(Math.min(...points.map((point) => point.kv)), Math.max(...points.map((point) => point.kv)));
    const share = logarithmic ? (at) => Math.log(at / low) / Math.log(high / low) : (at) => (at - low) / (high - low);
    const xAt = (at) => LEFT + (at - left) / (right - left) * (W - LEFT - RIGHT), yAt = (at) => H - BOTTOM - share(at) * (H - TOP - BOTTOM);
    const svg = element("svg:svg", {viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": `${MEASURES[measure].name} against cache size, ${group.join(", ")}`}, null);
    drawAxes(svg, steps(left, right, W < 600 ? 3 : 6), logarithmic ? decades(low, high) : steps(low, high), xAt, yAt, measure, logarithmic);
    for (const original of originals) element("svg:line", {class: "level", x1: LEFT, x2: W - RIGHT, y1: yAt(original), y2: yAt(original)}, svg);
    const front = frontOf(points, measure);
    element("svg:path", {class: "front", d: front.map((point, i) => (i === 0 ? "M" : `H${xAt(point.kv)}V`) + (i === 0 ? `${xAt(point.kv)},${yAt(point[measure])}` : yAt(point[measure]))).join("")}, svg);
    for (const point of points) addPoint(svg, point, xAt(point.kv), yAt(point[measure]), measure, yAt);
    plot.prepend(svg);
  }

  data.groups.forEach((group, place) => element("option", {value: place}, groupSelect, group.join(", ")));
  groupSelect.addEventListener("change", draw);
  measureSelect.addEventListener("change", draw);
  let drawnWidth = 0;
  new ResizeObserver(() => {
    if (plot.clientWidth === drawnWidth) return;
    drawnWidth = plot.clientWidth;
    draw();
  }).observe(plot);
  draw();
})();
