/* report.html: what result.json says, as charts and a table. D3 draws; the page's address holds what is shown.
 * null is "not known" and stays so: it is shown as a dash, sorts last, and is never drawn as 0. */
"use strict";
(function () {
const result = JSON.parse(document.getElementById("result").textContent);
const COLOURS = 8, GIB = 2 ** 30, UNKNOWN = "\u2013";
const MEMORY = ["parameters", "buffers", "gradients", "optimizer", "activations", "inputs", "workspace"];

/* ---- figures ---- */

/* integers beyond 2^53 are texts */
const number = v => v === null || v === undefined || v === "" || !isFinite(Number(v)) ? null : Number(v);
const known = v => v !== null && v !== undefined;
function four(v) {                     /* four digits, as in the other tables */
    if (!known(v)) return UNKNOWN;
    const magnitude = v === 0 ? 0 : Math.floor(Math.log10(Math.abs(v)));
    return v.toFixed(magnitude >= 3 ? 0 : magnitude <= -6 ? 9 : 3 - magnitude);
}
const gib = v => known(v) ? (v / GIB).toFixed(3) : UNKNOWN;
const size = v => known(v) && v < GIB ? (v / 2 ** 20).toFixed(1) + " MiB" : gib(v) + " GiB";      /* as fm_put_size() */
const gibRange = (lo, hi) => gib(lo) === gib(hi) ? gib(lo) : gib(lo) + "\u2013" + gib(hi);
const count = v => known(v) ? String(v) : UNKNOWN;
function scaled(v, unit) {
    const prefixes = ["", "k", "M", "G", "T", "P"];
    let i = 0;
    if (!known(v)) return UNKNOWN;
    for (; v >= 999.95 && i < 5; i++) v /= 1000;
    return v.toFixed(i === 0 ? 0 : v < 9.995 ? 2 : 1) + " " + prefixes[i] + unit;
}
const seconds = ns => !known(ns) ? UNKNOWN : ns < 99.95e9 ? (ns / 1e9).toFixed(1) + " s"
    : Math.floor(ns / 6e10) + " min " + String(Math.floor(ns / 1e9) % 60).padStart(2, "0") + " s";
function rateText(rate) {
    if (!known(rate.lo)) return four(rate.median) + " \u00b1 " + UNKNOWN;
    const half = Math.max(rate.hi - rate.median, rate.median - rate.lo), shown = four(rate.median);
    return shown + " \u00b1 " + half.toFixed((shown.split(".")[1] || "").length);
}

/* ---- cells ---- */

const valueOf = (cell, key) => (key.strategy ? cell.strategies : cell.set)?.[key.name];
function keysOf(cells) {                /* settings, then strategies, that tell these cells apart */
    const keys = [];
    for (const strategy of [false, true])
        for (const cell of cells)
            for (const name of Object.keys((strategy ? cell.strategies : cell.set) || {}))
                if (!keys.some(k => k.strategy === strategy && k.name === name)) keys.push({ strategy, name });
    return keys.filter(k => cells.some(c => valueOf(c, k) !== valueOf(cells[0], k)));
}
const labelOf = (cell, keys) =>
    keys.map(k => k.name + " " + (valueOf(cell, k) ?? UNKNOWN)).join(" \u00b7 ") || "cell " + cell.id.slice(0, 8);
const sectionOf = cell => cell.device + "\n" + cell.workload;
const sections = [...new Set(result.cells.map(sectionOf))].map(name => result.cells.filter(c => sectionOf(c) === name));
const rowsOf = {};
for (const row of result.rows) (rowsOf[row.cell + "\n" + row.device] ??= []).push(row);
for (const cell of result.cells) {
    cell.rows = (rowsOf[cell.id + "\n" + cell.device] || []).filter(r => !r.superseded);
    cell.knee = cell.points.find(p => p.batch === cell.knee_batch) || null;
    cell.ran = cell.rows.some(r => r.outcome !== "planned");
}
/* the cells that share a training share a number and a colour; the best ranked first */
function seriesOf(cells) {
    const series = new Map();
    const order = c => known(c.rank) ? c.rank : Infinity;
    for (const cell of [...cells].sort((a, b) => order(a) - order(b)))
        if (!series.has(cell.train_id)) series.set(cell.train_id, cell);
    const list = [...series.values()], keys = keysOf(list);
    list.forEach((cell, i) => series.set(cell.train_id, { index: i, colour: "s" + Math.min(i, COLOURS), cell, label: labelOf(cell, keys) }));
    return series;
}
for (const section of sections)
    for (const changed of [false, true]) {
        const cells = section.filter(c => c.changes_model === changed), series = seriesOf(cells);
        const keys = keysOf(cells);
        for (const cell of cells) { cell.series = series.get(cell.train_id); cell.label = labelOf(cell, keys); }
    }

/* ---- what is shown: in the address, so that a view can be sent and gone back to ---- */

const view = { find: "", workload: "", device: "", model: "", front: "", sort: "", order: "ascending" };
function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const key of Object.keys(view)) view[key] = given.get(key) ?? (key === "order" ? "ascending" : "");
}
function writeAddress() {
    const given = new URLSearchParams();
    for (const [key, value] of Object.entries(view)) if (value && (key !== "order" || view.sort)) given.set(key, value);
    history.replaceState(null, "", given.toString() ? "#" + given : location.pathname + location.search);
}
function isShown(cell) {
    const text = [cell.device, cell.workload, cell.id, cell.outcome, ...Object.entries(cell.set || {}).flat(),
                  ...Object.entries(cell.strategies || {}).flat()].join(" ").toLowerCase();
    return view.find.toLowerCase().split(/\s+/).every(word => text.includes(word)) && (!view.workload || cell.workload === view.workload) &&
        (!view.device || cell.device === view.device) && (!view.model || cell.changes_model === (view.model === "changed")) &&
        (!view.front || cell.pareto);
}

/* ---- page parts ---- */

function element(parent, name, text, attributes) {
    const e = document.createElement(name);
    if (known(text)) e.textContent = text;
    for (const [key, value] of Object.entries(attributes || {})) e.setAttribute(key, value);
    parent.append(e);
    return e;
}
const tip = document.getElementById("tip");
function showTip(mark) {
    const box = mark.getBoundingClientRect();
    tip.textContent = mark.getAttribute("aria-label").replaceAll("; ", "\n");
    tip.hidden = false;
    const left = Math.min(box.right + 8, innerWidth - tip.offsetWidth - 8);
    tip.style.left = Math.max(8, left) + "px";
    tip.style.top = (box.top - tip.offsetHeight - 6 > 0 ? box.top - tip.offsetHeight - 6 : box.bottom + 6) + "px";
}
const hideTip = () => { tip.hidden = true; };
addEventListener("scroll", hideTip, { passive: true });
addEventListener("keydown", e => { if (e.key === "Escape") hideTip(); });

/* one stop of the Tab key a chart; arrows go from mark to mark */
function marks(svg) {
    const all = [...svg.querySelectorAll(".mark")];
    all.forEach((mark, i) => {
        mark.setAttribute("role", "img");
        mark.setAttribute("tabindex", i ? "-1" : "0");
        for (const event of ["focus", "mouseenter", "click"]) mark.addEventListener(event, () => showTip(mark));
        for (const event of ["blur", "mouseleave"]) mark.addEventListener(event, hideTip);
        mark.addEventListener("keydown", e => {
            const to = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: all.length - 1 }[e.key];
            if (to === undefined || !all[to]) return;
            e.preventDefault();
            mark.setAttribute("tabindex", "-1");
            all[to].setAttribute("tabindex", "0");
            all[to].focus();
        });
    });
}

let ids = 0;
function identified(e, name) {          /* an id of its own, for aria-labelledby */
    e.id ||= name + "-" + ++ids;
    return e.id;
}
/* into a figure that stands in its place already, so that its width is known; its name is that of section, chart and model */
function panel(figure, title, changed, height) {
    const name = element(figure, "h4", title);
    const above = figure.closest("section").querySelectorAll("h2, h3");
    const names = [above[0], above[above.length - 1], name].map(e => identified(e, "chart")).join(" ");
    const width = Math.max(280, Math.floor(figure.clientWidth)), margin = { left: 52, right: 14, top: 20, bottom: 40 };
    const svg = d3.select(figure).append("svg").attr("viewBox", `0 0 ${width} ${height}`).attr("role", "group")
        .attr("aria-labelledby", names).attr("class", changed ? "changed" : "unchanged");
    svg.append("desc").text("Arrow keys go from mark to mark.");
    return { figure, svg, width, height, margin, changed, inner: [margin.left, width - margin.right], rise: [height - margin.bottom, margin.top] };
}
function axes(p, x, y, titles, ticks) {
    const bottom = p.rise[0];
    p.svg.append("g").attr("class", "axis").attr("transform", `translate(0,${bottom})`).attr("aria-hidden", "true")
        .call(d3.axisBottom(x).tickSizeInner(bottom === p.rise[0] ? -(bottom - p.margin.top) : 6).tickPadding(7).tickSizeOuter(0)
            .tickValues(ticks || null).ticks(Math.max(3, p.width / 80)).tickFormat(ticks ? String : null));
    p.svg.append("text").attr("x", p.inner[1]).attr("y", p.height - 6).attr("text-anchor", "end").text(titles[0]);
    if (!y) return;
    p.svg.append("g").attr("class", "axis").attr("transform", `translate(${p.inner[0]},0)`).attr("aria-hidden", "true")
        .call(d3.axisLeft(y).ticks(5).tickSizeInner(-(p.inner[1] - p.inner[0])).tickPadding(7).tickSizeOuter(0));
    p.svg.append("text").attr("x", p.inner[0]).attr("y", 11).text(titles[1]);
}
function legend(parent, cells) {
    const list = element(parent, "ul", null, { class: "legend" }), seen = new Set();
    for (const cell of [...cells].sort((a, b) => a.series.index - b.series.index)) {
        if (seen.has(cell.series)) continue;
        seen.add(cell.series);
        const item = element(list, "li", null, { class: cell.series.colour });
        element(item, "b", cell.series.index + 1);
        element(item, "span", cell.series.label);
    }
}
const symbol = (changed, size) => d3.symbol().type(changed ? d3.symbolDiamond : d3.symbolCircle).size(size)();

/* ---- memory against throughput ---- */

function pointText(cell, point, planned) {
    const peak = planned ? gib(number(point.planned_peak_bytes)) + " GiB planned"
        : gibRange(number(point.peak_bytes.lo), number(point.peak_bytes.hi)) + " GiB measured";
    return `${cell.label}; batch ${point.batch}: ${peak}; ${rateText(point.samples_per_s)} samples/s, ${point.samples_per_s.launches} ` +
        `launches${point.pareto ? "; on the front" : ""}${cell.mistrusted ? "; mistrusted: " + cell.mistrusted_reason : ""}`;
}
function frontOf(cells) {               /* the best median rate of the front's points at or below that much memory */
    const points = cells.flatMap(c => c.points).filter(p => p.pareto && known(p.peak_bytes.lo))
        .map(p => ({ bytes: number(p.peak_bytes.lo), rate: p.samples_per_s.median })).sort((a, b) => a.bytes - b.bytes || a.rate - b.rate);
    let best = 0;
    return points.filter(p => p.rate > best && (best = p.rate));
}
const plansOf = cell => cell.rows.filter(r => r.outcome === "planned" && known(r.planned?.reserved_bytes) && r.planned.fits !== false);

function paretoChart(figure, cells, scales, changed, title) {
    const plans = cells.some(c => plansOf(c).length), p = panel(figure, title, changed, scales.rate ? 340 : 124);
    if (plans) p.rise[0] -= 48;
    const x = d3.scaleLinear().domain([0, scales.bytes / scales.unit]).range(p.inner);
    const y = d3.scaleLinear().domain([0, scales.rate || 1]).range(p.rise);
    const at = bytes => x(number(bytes) / scales.unit);
    axes(p, x, scales.rate ? y : null, ["peak memory, " + scales.unitName, "samples/s"]);
    const limits = new Set(cells.map(c => number(c.capacity_bytes)));
    const limit = limits.size === 1 ? [...limits][0] : null;
    if (known(limit) && limit <= scales.bytes)
        p.svg.append("line").attr("class", "limit").attr("x1", at(limit)).attr("x2", at(limit)).attr("y1", p.rise[0]).attr("y2", p.rise[1]);
    for (const model of new Set(cells.map(c => c.model_id)))
        p.svg.append("path").attr("class", "front").attr("d", d3.line().x(d => at(d.bytes)).y(d => y(d.rate)).curve(d3.curveStepAfter)(
            frontOf(cells.filter(c => c.model_id === model))));
    for (const cell of cells) {
        const g = p.svg.append("g").attr("class", cell.series.colour);
        const mark = (kind, px, py, size, text, data) => {
            const path = g.append("path").attr("class", kind + " mark").attr("d", symbol(changed, size)).attr("transform", `translate(${px},${py})`)
                .attr("aria-label", text).attr("data-cell", cell.id);
            for (const [key, value] of Object.entries(data)) path.attr("data-" + key, value);
        };
        for (const point of cell.points) {
            const rate = point.samples_per_s, py = y(rate.median);
            if (known(point.peak_bytes.lo)) {
                const lo = at(point.peak_bytes.lo);
                g.append("line").attr("class", "bound").attr("x1", lo).attr("x2", at(point.peak_bytes.hi)).attr("y1", py).attr("y2", py);
                if (known(rate.lo)) g.append("line").attr("class", "interval").attr("x1", lo).attr("x2", lo).attr("y1", y(rate.lo)).attr("y2", y(rate.hi));
                mark("measured", lo, py, point.pareto ? 70 : 28, pointText(cell, point, false), { batch: point.batch, rate: rate.median, peak: point.peak_bytes.lo });
            }
            if (known(point.planned_peak_bytes))
                mark("planned", at(point.planned_peak_bytes), py, 190, pointText(cell, point, true), { batch: point.batch, plan: point.planned_peak_bytes });
        }
        for (const row of plansOf(cell))
            mark("planned", at(row.planned.reserved_bytes), p.rise[0] + 34, 80, `${cell.label}; batch ${row.phase === "val" ? row.val_batch : row.batch}` +
                 ` ${row.phase}: ${gib(number(row.planned.reserved_bytes))} GiB planned, not run`, { batch: row.batch, plan: row.planned.reserved_bytes });
        if (cell === cell.series.cell && known(cell.knee?.peak_bytes.lo) && cell.series.index < COLOURS)
            g.append("text").attr("class", "number").attr("aria-hidden", "true").attr("x", at(cell.knee.peak_bytes.lo) + 7)
                .attr("y", y(cell.knee.samples_per_s.median) - 7).text(cell.series.index + 1);
    }
    if (plans) p.svg.append("text").attr("x", p.inner[0]).attr("y", p.rise[0] + 60).text("planned, not run: no throughput measured");
    legend(p.figure, cells.filter(c => c.points.length || plansOf(c).length));
    marks(p.svg.node());
}

/* ---- throughput against batch ---- */

function rateChart(figure, cells, scales, changed, title) {
    const p = panel(figure, title, changed, 300), batches = [...new Set(cells.flatMap(c => c.points.map(q => number(q.batch))))].sort((a, b) => a - b);
    if (!batches.length) { element(p.figure, "p", "No step was timed.", { class: "note" }); p.svg.remove(); return; }
    const x = d3.scaleLog().base(2).domain([scales.batchMin / 1.12, scales.batchMax * 1.12]).range(p.inner);
    const y = d3.scaleLinear().domain([0, scales.rate || 1]).range(p.rise);
    let last = -Infinity;
    axes(p, x, y, ["batch", "samples/s"], batches.filter(b => x(b) - last > 22 && ((last = x(b)), true)));
    const seen = new Set();
    for (const cell of cells) {
        if (seen.has(cell.series) || !cell.points.length) continue;
        seen.add(cell.series);
        const g = p.svg.append("g").attr("class", cell.series.colour), bx = q => x(number(q.batch));
        g.append("path").attr("class", "band").attr("d", d3.area().defined(q => known(q.samples_per_s.lo)).x(bx)
            .y0(q => y(q.samples_per_s.lo)).y1(q => y(q.samples_per_s.hi))(cell.points));
        g.append("path").attr("class", "path").attr("d", d3.line().x(bx).y(q => y(q.samples_per_s.median))(cell.points));
        for (const point of cell.points) {
            const rate = point.samples_per_s, knee = point === cell.knee;
            if (known(rate.lo)) g.append("line").attr("class", "interval").attr("x1", bx(point)).attr("x2", bx(point)).attr("y1", y(rate.lo)).attr("y2", y(rate.hi));
            if (knee) g.append("circle").attr("class", "knee").attr("cx", bx(point)).attr("cy", y(rate.median)).attr("r", 9);
            g.append("path").attr("class", "measured mark").attr("d", symbol(changed, 50)).attr("transform", `translate(${bx(point)},${y(rate.median)})`)
                .attr("data-cell", cell.id).attr("data-batch", point.batch).attr("data-rate", rate.median)
                .attr("aria-label", `${cell.series.label}; batch ${point.batch}: ${rateText(rate)} samples/s${knee ? "; the knee" : ""}`);
            if (knee && cell.series.index < COLOURS)
                g.append("text").attr("class", "number").attr("aria-hidden", "true").attr("x", bx(point) + 10).attr("y", y(rate.median) - 9).text(cell.series.index + 1);
        }
    }
    legend(p.figure, cells.filter(c => c.points.length));
    marks(p.svg.node());
}

/* ---- what the memory holds ---- */

/* the row with the largest peak that fits: measured, else planned */
function fullestRow(cell) {
    const fits = cell.rows.filter(r => r.outcome === "ok" || (r.outcome === "planned" && r.planned?.fits !== false));
    const memory = r => r.outcome === "ok" ? r.measured : r.planned;
    const best = d3.greatest ? d3.greatest(fits, r => number(memory(r)?.reserved_bytes) ?? -1)
        : [...fits].sort((a, b) => (number(memory(b)?.reserved_bytes) ?? -1) - (number(memory(a)?.reserved_bytes) ?? -1))[0];
    return best && memory(best)?.breakdown ? { row: best, memory: memory(best), planned: best.outcome === "planned" } : null;
}
function partsOf(memory) {
    const parts = Object.entries(memory.breakdown).filter(([, v]) => number(v) > 0).map(([name, v]) => ({ name, bytes: number(v) }));
    const order = name => MEMORY.includes(name) ? MEMORY.indexOf(name) : MEMORY.length;
    parts.sort((a, b) => order(a.name) - order(b.name));
    if (known(memory.reserved_bytes)) {
        const rest = number(memory.reserved_bytes) - d3.sum(parts, q => q.bytes);
        if (rest > 0) parts.push({ name: "reserved, not allocated", bytes: rest, rest: true });
    }
    return parts;
}
function partColour(name, others) {
    if (name === "reserved, not allocated") return "s8";
    return "s" + (MEMORY.includes(name) ? MEMORY.indexOf(name) : MEMORY.length + others.indexOf(name)) % COLOURS;
}
function memoryChart(parent, cells) {
    const bars = cells.map(cell => ({ cell, ...fullestRow(cell) })).filter(b => b.row)
        .sort((a, b) => a.cell.changes_model - b.cell.changes_model || a.cell.series.index - b.cell.series.index);
    if (!bars.length) { element(parent, "p", "No breakdown is known.", { class: "note" }); return; }
    bars.forEach(b => { b.parts = partsOf(b.memory); b.total = d3.sum(b.parts, q => q.bytes); });
    const names = [...new Set(bars.flatMap(b => b.parts.map(q => q.name)))], others = names.filter(n => !MEMORY.includes(n));
    const p = panel(parent, "Largest batch that fits, at its peak", false, 46 + 40 * bars.length);
    const limit = d3.max(bars, b => number(b.cell.capacity_bytes)), most = d3.max(bars, b => b.total);
    const unit = most < GIB ? 2 ** 20 : GIB, x = d3.scaleLinear().domain([0, most * 1.02 / unit]).range([4, p.inner[1]]);
    p.rise = [p.height - 40, 0];
    p.margin.top = 0;
    axes(p, x, null, ["GiB MiB".split(" ")[unit === GIB ? 0 : 1]]);
    bars.forEach((bar, i) => {
        let from = 0;
        const text = `batch ${bar.row.phase === "val" ? bar.row.val_batch : bar.row.batch} ${bar.row.phase} \u00b7 ${bar.planned ? "planned \u00b7 " : ""}` +
            `${bar.cell.changes_model ? "changed model \u00b7 " : ""}${bar.cell.label}`, most_chars = Math.floor(p.width / 6.8);
        p.svg.append("text").attr("class", "bar").attr("x", 4).attr("y", 40 * i + 13)
            .text(text.length > most_chars ? text.slice(0, most_chars - 1) + "\u2026" : text);
        for (const part of bar.parts) {
            p.svg.append("rect").attr("class", `part mark ${partColour(part.name, others)}${bar.planned ? " plan" : ""}`).attr("x", x(from / unit))
                .attr("y", 40 * i + 18).attr("width", Math.max(0, x((from + part.bytes) / unit) - x(from / unit))).attr("height", 16)
                .attr("data-cell", bar.cell.id).attr("data-part", part.name).attr("data-bytes", part.bytes)
                .attr("opacity", part.rest ? .45 : null)
                .attr("aria-label", `${bar.cell.label}; ${part.name}: ${gib(part.bytes)} GiB, ${(100 * part.bytes / bar.total).toFixed(1)} %` +
                      `${bar.planned ? ", planned" : ""}; reserved in all: ${gib(number(bar.memory.reserved_bytes))} GiB`);
            from += part.bytes;
        }
    });
    if (known(limit) && limit <= most * 1.02)
        p.svg.append("line").attr("class", "limit").attr("x1", x(limit / unit)).attr("x2", x(limit / unit)).attr("y1", p.rise[0]).attr("y2", 0);
    const list = element(p.figure, "ul", null, { class: "legend" });
    for (const name of names) {
        const item = element(list, "li", null, { class: partColour(name, others) });
        element(item, "i", null, { class: "swatch" });
        element(item, "span", name);
    }
    marks(p.svg.node());
}

/* ---- a section: a workload on a device ---- */

function scalesOf(cells) {
    const points = cells.flatMap(c => c.points), drawn = points.filter(p => known(p.peak_bytes.lo) || known(p.planned_peak_bytes));
    const bytes = 1.04 * (d3.max([...points.flatMap(p => [p.peak_bytes.hi, p.planned_peak_bytes]),
                                  ...cells.flatMap(plansOf).map(r => r.planned.reserved_bytes)].filter(known), number) || 0);
    return { bytes, unit: bytes < GIB ? 2 ** 20 : GIB, unitName: bytes < GIB ? "MiB" : "GiB",
             rate: drawn.length || points.length ? 1.06 * d3.max(points, p => p.samples_per_s.hi ?? p.samples_per_s.median) : 0,
             batchMin: d3.min(points, p => number(p.batch)), batchMax: d3.max(points, p => number(p.batch)) };
}
function drawSection(parent, cells) {
    const section = element(parent, "section", null, { tabindex: "-1" }), measured = cells.some(c => c.points.length), scales = scalesOf(cells), device = (result.devices || []).find(d => d.id === cells[0].device);
    element(section, "h2", `${cells[0].workload} on ${cells[0].device}${device ? " \u00b7 " + device.name : ""}`);
    section.setAttribute("aria-labelledby", identified(section.querySelector("h2"), "section"));
    const whole = sections.find(s => s.includes(cells[0])), varying = keysOf(whole);
    const common = [false, true].flatMap(strategy => Object.keys((strategy ? cells[0].strategies : cells[0].set) || {}).map(name => ({ strategy, name })))
        .filter(k => !varying.some(other => sameKey(k, other)));
    if (common.length) element(section, "p", "All cells: " + labelOf(cells[0], common), { class: "note" });
    const models = [[false, "The model as it is"], [true, "Strategies that change the model"]].filter(([changed]) => cells.some(c => c.changes_model === changed));
    const draw = (title, note, chart) => {
        element(section, "h3", title);
        element(section, "p", note, { class: "note" });
        const panels = element(section, "div", null, { class: "panels" });
        const figures = models.map(() => element(panels, "figure", null, { class: "panel" }));
        models.forEach(([changed, name], i) => chart(figures[i], cells.filter(c => c.changes_model === changed), scales, changed, name));
    };
    if (scales.bytes > 0 && !measured)
        draw("Planned memory", "Hollow: planned at the largest batch that fits, not run: no throughput was measured. Dotted: the limit.", paretoChart);
    else if (scales.bytes > 0)
        draw("Memory against throughput", "Filled: measured; large on its model\u2019s Pareto front, which the line joins. Hollow: planned. Upright bars: 95 % " +
             "interval over launches. Faint bars: up to the bound on the peak where validation was not run. Numbers stand at the knee. Dotted: the limit.", paretoChart);
    if (scales.batchMin)
        draw("Throughput against batch", "Bands and bars: 95 % interval over launches, where there were several. Ringed: the knee, the smallest batch within " +
             "5 % of the best.", rateChart);
    element(section, "h3", "What the memory holds");
    memoryChart(element(section, "figure", null, { class: "panel" }), cells);
}

/* ---- the table ---- */

function maxText(cell, batch) {
    if (!known(batch)) return UNKNOWN;
    return (cell.limited_by === "max_batch" ? "\u2265" : "") + batch + (cell.outcome === "planned" ? " planned" : cell.certified ? "" : "?");
}
function stateText(cell) {
    const state = cell.outcome === "ok" ? (!cell.certified ? "not certified" : cell.limited_by === "max_batch" ? "up to --max-batch" : "certified") : cell.outcome;
    return [state, cell.mistrusted && "mistrusted", cell.non_monotone && "non-monotone"].filter(Boolean).join(", ");
}
/* those that tell cells of one section apart: the others are said once, above its charts */
const sameKey = (a, b) => a.strategy === b.strategy && a.name === b.name;
const tableKeys = () => sections.flatMap(keysOf).filter((k, i, all) => all.findIndex(other => sameKey(k, other)) === i);
/* of a cell that did not run: reserved at its largest batch, the larger of training and validation */
function plannedPeak(cell) {
    const peaks = plansOf(cell).map(r => number(r.planned.reserved_bytes));
    return peaks.length && !cell.ran ? Math.max(...peaks) : null;
}
/* a value sorts, a text is shown */
function columns() {
    const varies = get => new Set(result.cells.map(get)).size > 1;
    const text = (id, title, get) => ({ id, title, value: get, text: c => get(c) ?? UNKNOWN });
    const figure = (id, title, value, show) => ({ id, title, value, text: c => show(value(c), c), number: true });
    const knee = get => c => c.knee ? get(c.knee) : null;
    const front = c => !c.points.length ? null : c.pareto ? 0 : c.pareto_tentative ? 1 : 2;
    const list = [
        figure("rank", "rank", c => number(c.rank), count),
        { id: "front", title: "front", value: front, text: c => ["yes", "perhaps", "no"][front(c)] ?? UNKNOWN },
        ...(varies(c => c.device) ? [text("device", "device", c => c.device)] : []),
        ...(varies(c => c.workload) ? [text("workload", "workload", c => c.workload)] : []),
        ...tableKeys().map(k => text(k.name, k.name, c => valueOf(c, k))),
        figure("train", "max batch train", c => number(c.max_batch.train), (v, c) => maxText(c, v)),
        figure("val", "max batch val", c => number(c.max_batch.val), (v, c) => maxText(c, v)),
        text("limited", "limited by", c => c.limited_by),
        figure("batch", "knee batch", c => number(c.knee_batch), count),
        figure("rate", "knee samples/s", knee(p => p.samples_per_s.median), (v, c) => c.knee ? rateText(c.knee.samples_per_s) : UNKNOWN),
        figure("speed", "relative speed", c => c.relative_speed, v => known(v) ? v.toFixed(3) : UNKNOWN),
        figure("peak", "measured peak GiB", knee(p => number(p.peak_bytes.lo)), (v, c) =>
            known(v) ? gibRange(v, number(c.knee.peak_bytes.hi)) : UNKNOWN),
        figure("planned", "planned peak GiB", c => c.knee ? number(c.knee.planned_bounds_bytes.lo) : plannedPeak(c), (v, c) =>
            known(v) && c.knee ? gibRange(v, number(c.knee.planned_bounds_bytes.hi)) : gib(v)),
        figure("calibrated", "calibrated samples/s", c => number(d3.max(plansOf(c), r => r.planned.calibrated_samples_per_s)), four),
        figure("bound", "bound samples/s", c => number(d3.max(plansOf(c), r => r.planned.bound_samples_per_s)), four),
        figure("flops", "FLOPs a sample", c => number(c.flops_per_sample), v => scaled(v, "")),
        text("state", "state", stateText),
        { id: "cell", title: "cell", value: c => c.id, again: true },
    ];
    /* what no cell has is not a column; what it is sorted by stays */
    return list.filter(k => k.id === view.sort || k.id === "cell" || result.cells.some(c => known(k.value(c))));
}
function inOrder(cells, list) {
    const column = list.find(c => c.id === view.sort);
    const place = c => sections.findIndex(s => s.includes(c));
    if (!column)
        return [...cells].sort((a, b) => place(a) - place(b) || a.changes_model - b.changes_model || (a.rank ?? Infinity) - (b.rank ?? Infinity) || 0);
    const sign = view.order === "descending" ? -1 : 1;
    return [...cells].sort((a, b) => {
        const x = column.value(a), y = column.value(b);
        if (!known(x) || !known(y)) return known(x) ? -1 : known(y) ? 1 : 0;        /* unknown last, either way */
        return sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
    });
}
function againCell(td, cell) {
    const left = cell.left_out.map(l => l.reason + ": " + l.what);
    if (!cell.reproduce && !cell.reason && !left.length) { element(td, "code", cell.id.slice(0, 8)); return; }
    const details = element(td, "details");
    element(element(details, "summary"), "code", cell.id.slice(0, 8));
    for (const why of [cell.reason, ...left]) if (why) element(details, "p", why);
    if (cell.reproduce) element(details, "code", cell.reproduce);
}
function drawTable(cells) {
    const box = document.querySelector("#cells .scroll"), list = columns(), focused = document.activeElement?.dataset?.sort, left = box.scrollLeft;
    box.replaceChildren();
    const table = element(box, "table");
    element(table, "caption", "Cells");
    document.querySelector("#cells .note").textContent = "Peaks are reserved bytes, the larger of training and validation, at the knee; " +
        "of what was only planned, at the largest batch. " + (list.some(k => k.id === "bound") ? "Bound: at most so fast, by the device\u2019s " +
        "table alone; no prediction. " : "") + (list.some(k => k.id === "calibrated") ? "Calibrated: planned by the efficiencies of " +
        "a run on that device. " : "") + "? not certified, \u2265 limited by --max-batch, " + UNKNOWN + " not known. A click on a heading sorts.";
    const head = element(element(table, "thead"), "tr"), body = element(table, "tbody");
    for (const column of list) {
        const th = element(head, "th", null, { scope: "col", class: column.number ? "number" : "" });
        if (column.id === view.sort) th.setAttribute("aria-sort", view.order);
        const button = element(th, "button", column.title, { type: "button", "data-sort": column.id });
        button.addEventListener("click", () => {
            view.order = view.sort === column.id && view.order === "ascending" ? "descending" : "ascending";
            view.sort = column.id;
            writeAddress();
            drawTable(cells);
        });
    }
    for (const cell of inOrder(cells, list)) {
        const row = element(body, "tr", null, { "data-cell": cell.id });
        for (const column of list) {
            const value = column.value(cell), td = element(row, column.again ? "th" : "td", column.again ? null : column.text(cell),
                column.again ? { scope: "row" } : { class: column.number ? "number" : "" });
            if (known(value)) td.dataset.value = value;
            td.dataset.column = column.id;
            if (["planned", "calibrated"].includes(column.id) || ((column.id === "train" || column.id === "val") && cell.outcome === "planned")) td.classList.add("plan");
            if (column.again) againCell(td, cell);
        }
    }
    box.scrollLeft = left;
    if (focused) box.querySelector(`[data-sort="${CSS.escape(focused)}"]`)?.focus();
}

/* ---- the filter ---- */

function drawFilter() {
    const form = document.getElementById("filter");
    const labelled = title => element(form, "label", title);
    const bind = (control, key, read) => {
        control.name = key;
        control.addEventListener("input", () => { view[key] = read(); writeAddress(); draw(); });
    };
    const choice = (key, title, options) => {
        if (options.length < 2) return;
        const select = element(labelled(title), "select");
        for (const [value, name] of [["", "all"], ...options]) element(select, "option", name, { value });
        select.value = view[key];
        bind(select, key, () => select.value);
    };
    form.replaceChildren();
    const find = element(labelled("Find (all words)"), "input", null, { type: "search", placeholder: "bf16 blocks", autocomplete: "off" });
    find.value = view.find;
    bind(find, "find", () => find.value.trim());
    const distinct = get => [...new Set(result.cells.map(get))].map(v => [v, v]);
    choice("workload", "Workload", distinct(c => c.workload));
    choice("device", "Device", distinct(c => c.device));
    if (new Set(result.cells.map(c => c.changes_model)).size > 1) choice("model", "Model", [["unchanged", "as it is"], ["changed", "changed by a strategy"]]);
    if (result.cells.some(c => c.pareto)) {
        const check = element(form, "label", null, { class: "check" }), front = element(check, "input", null, { type: "checkbox" });
        check.append("Pareto front only");
        front.checked = view.front === "1";
        bind(front, "front", () => front.checked ? "1" : "");
    }
    form.addEventListener("submit", e => e.preventDefault());
    form.hidden = false;
}

/* ---- the rest of the page ---- */

function drawFacts() {
    const parent = document.getElementById("facts"), time = result.time || {};
    const pairs = (to, list) => {
        const dl = element(to, "dl");
        for (const [name, value] of list) if (known(value) && value !== "") { element(dl, "dt", name); element(dl, "dd", value); }
    };
    element(parent, "h2", "Device and run", { id: "facts-title" });
    for (const device of result.devices || []) {
        element(parent, "h3", device.id);
        pairs(parent, [["name", device.name], ["instruction set", device.isa], ["library", device.library], ["driver", device.driver], ["UUID", device.uuid],
                       ["threads", device.threads], ["memory", known(device.total_bytes) ? size(number(device.total_bytes)) : null],
                       ["limit", known(device.capacity_bytes) ? size(number(device.capacity_bytes)) : null],
                       ["assumed beside the allocator", known(device.framework_bytes) ? size(number(device.framework_bytes)) : null],
                       ["note", device.note]]);
    }
    element(parent, "h3", "run");
    pairs(parent, [["fillmark", result.tool], ["started", result.started], ["host", result.host], ["seed", result.seed],
                   ["time", number(time.wall_ns) ? `${seconds(number(time.wall_ns))}, in steps ${seconds(number(time.measured_ns))}` : null],
                   ["ended by itself", result.complete ? "yes" : "no"]]);
    if (!result.config) { parent.hidden = false; return; }
    const details = element(parent, "details");
    element(details, "summary", "Effective options");
    pairs(details, Object.entries(result.config).map(([k, v]) => [k, typeof v === "object" ? JSON.stringify(v) : String(v)]));
    parent.hidden = false;
}
function drawNotices() {
    const parent = document.getElementById("notices"), say = text => element(parent, "p", text, { class: "notice" });
    if (!result.complete) say("This run did not end; --resume goes on with it.");
    if (result.torn) say("The journal\u2019s last line is not whole: the run was killed while it was written.");
    if (!result.cells.length) say("No cell was run.");
    else if (result.cells.some(c => c.outcome === "planned") && !result.cells.some(c => c.ran)) say("Planned: nothing was run, and no figure here is measured.");
    const doubted = new Map();
    for (const c of result.cells) if (c.mistrusted) doubted.set(c.mistrusted_reason, (doubted.get(c.mistrusted_reason) || 0) + 1);
    for (const [why, cells] of doubted) say(`${cells} of the cells: ${why}. See \u201cmistrusted\u201d in the table.`);
}
/* not by an address: that one holds the view */
function goTo(section) {
    section.scrollIntoView();
    section.focus({ preventScroll: true });
}
function draw() {
    const shown = result.cells.filter(isShown), parent = document.getElementById("charts");
    hideTip();
    parent.replaceChildren();
    document.getElementById("places").replaceChildren();
    for (const section of sections) if (section.some(c => shown.includes(c))) drawSection(parent, section.filter(c => shown.includes(c)));
    drawTable(shown);
    for (const section of document.querySelectorAll("main > section, #charts > section")) {
        const place = element(document.getElementById("places"), "button", section.querySelector("h2").textContent, { type: "button" });
        place.addEventListener("click", () => goTo(section));
    }
    document.getElementById("count").textContent = `${shown.length} of ${result.cells.length} cells`;
}
function start() {
    document.getElementById("summary").textContent = [["fillmark " + result.tool], [result.started], [result.host],
        [known(result.seed) ? "seed " + result.seed : null]].flat().filter(known).join(" \u00b7 ");
    for (const id of ["count", "cells"]) document.getElementById(id).hidden = false;
    document.querySelector(".skip").addEventListener("click", e => {
        e.preventDefault();
        goTo(document.getElementById("cells"));
    });
    readAddress();
    drawNotices();
    drawFilter();
    drawFacts();
    draw();
    document.documentElement.dataset.ready = "yes";
    let width = innerWidth, waiting = 0;
    addEventListener("resize", () => {
        if (innerWidth === width) return;           /* a phone's address bar comes and goes */
        width = innerWidth;
        clearTimeout(waiting);
        waiting = setTimeout(draw, 150);
    });
    addEventListener("hashchange", () => {
        readAddress();
        drawFilter();
        draw();
    });
}
start();
})();
