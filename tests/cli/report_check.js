/* Put at the end of report.html by tests/cli/report_html.sh: uses the page as a reader would, and compares what it shows with the
 * JSON it holds. Its verdict is the text of <pre id="checks">. */
"use strict";
(function () {
const result = JSON.parse(document.getElementById("result").textContent), said = [];
const check = (good, what) => { if (!good) said.push("FAIL " + what); };
const rows = () => [...document.querySelectorAll("#cells tbody tr")];
const cellOf = row => result.cells.find(c => c.id === row.dataset.cell);
const value = (row, column) => row.querySelector(`[data-column="${column}"]`).dataset.value;
const click = column => document.querySelector(`[data-sort="${column}"]`).click();
const set = (name, v) => {
    const control = document.querySelector(`#filter [name="${name}"]`);
    if (control.type === "checkbox") control.checked = v; else control.value = v;
    control.dispatchEvent(new Event("input", { bubbles: true }));
};
const knee = c => c.points.find(p => p.batch === c.knee_batch) || null;
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
try {
    check(document.documentElement.dataset.ready === "yes", "the page's script came to its end");
    check(result.cells.length > 1 && result.rows.length > 1, "there is something to show");
    check(rows().length === result.cells.length, "a row a cell");

    /* figures of the table are those of the JSON */
    for (const row of rows()) {
        const cell = cellOf(row), k = knee(cell);
        const wants = { rank: cell.rank, train: cell.max_batch.train, val: cell.max_batch.val, batch: cell.knee_batch, speed: cell.relative_speed,
                        rate: k && k.samples_per_s.median, peak: k && k.peak_bytes.lo, planned: k && k.planned_peak_bytes, flops: cell.flops_per_sample };
        for (const [column, want] of Object.entries(wants)) {
            const shown = value(row, column);
            check(want === null ? shown === undefined : Number(shown) === Number(want), `${cell.id} ${column}: ${shown}, not ${want}`);
            if (want === null) check(row.querySelector(`[data-column="${column}"]`).textContent === "\u2013", column + ": a dash for what is not known");
        }
    }

    /* marks of the charts are the points of the JSON, planned ones hollow */
    const points = result.cells.flatMap(c => c.points.map(p => [c, p]));
    const withPeak = points.filter(([, p]) => p.peak_bytes.lo !== null), withPlan = points.filter(([, p]) => p.planned_peak_bytes !== null);
    const pareto = [...document.querySelectorAll("svg .measured[data-peak]")];
    check(pareto.length === withPeak.length, `filled marks: ${pareto.length}, not ${withPeak.length}`);
    for (const mark of pareto)
        check(withPeak.some(([c, p]) => c.id === mark.dataset.cell && p.batch === Number(mark.dataset.batch) &&
                            p.samples_per_s.median === Number(mark.dataset.rate) && p.peak_bytes.lo === Number(mark.dataset.peak)), "a mark that is no point");
    const plans = document.querySelectorAll("svg .planned").length;
    check(plans === withPlan.length + result.rows.filter(r => r.outcome === "planned" && !r.superseded && r.planned && r.planned.fits !== false).length,
          `hollow marks: ${plans}`);
    for (const mark of document.querySelectorAll("svg .planned")) check(getComputedStyle(mark).fill === "rgba(0, 0, 0, 0)", "planned is hollow");
    /* higher is faster, further right is larger */
    for (const svg of document.querySelectorAll("svg")) {
        const at = [...svg.querySelectorAll(".measured[data-peak]")].map(m => ({ box: m.transform.baseVal[0].matrix, ...m.dataset }));
        for (const a of at) for (const b of at) {
            check(!(Number(a.rate) > Number(b.rate)) || a.box.f <= b.box.f, "up is faster");
            check(!(Number(a.peak) > Number(b.peak)) || a.box.e >= b.box.e, "right is larger");
        }
    }
    /* parts of a bar add up to a peak that the JSON has */
    const bars = {};
    for (const part of document.querySelectorAll("svg .part")) (bars[part.dataset.cell] ??= []).push(Number(part.dataset.bytes));
    check(Object.keys(bars).length > 0, "there are bars");
    for (const [id, parts] of Object.entries(bars)) {
        const sum = parts.reduce((a, b) => a + b, 0);
        check(result.rows.some(r => r.cell === id && r.outcome === "ok" && r.measured.reserved_bytes === sum), `the bar of ${id} is ${sum} bytes`);
    }

    /* sorting: either way, unknown last, the order told to screen readers, focus kept */
    for (const column of ["rate", "peak", "train", "checkpoint"]) {
        const get = row => column === "checkpoint" ? cellOf(row).strategies.checkpoint : Number(value(row, column) ?? NaN);
        for (const order of ["ascending", "descending"]) {
            click(column);
            check(document.querySelector(`th:has([data-sort="${column}"])`).getAttribute("aria-sort") === order, "aria-sort " + order);
            const seen = rows().map(get).filter(v => typeof v === "string" || !isNaN(v));
            const want = [...seen].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0) * (order === "ascending" ? 1 : -1));
            check(same(seen, want), `${column} ${order}: ${seen}`);
            check(rows().length === result.cells.length, "sorting loses no row");
        }
    }
    check(document.querySelectorAll("[aria-sort]").length === 1, "one column is sorted");
    check(location.hash.includes("sort=checkpoint"), "the address holds the order");

    /* filters */
    const blocks = result.cells.filter(c => c.strategies.checkpoint === "blocks");
    check(blocks.length > 0 && blocks.length < result.cells.length, "there is something to filter");
    set("find", "blocks");
    check(same(rows().map(r => r.dataset.cell).sort(), blocks.map(c => c.id).sort()), "find");
    check(document.getElementById("count").textContent.startsWith(rows().length + " of " + result.cells.length), "the count is told");
    check(document.querySelectorAll("svg .measured[data-peak]").length < withPeak.length, "charts follow the filter");
    set("find", "no such thing");
    check(rows().length === 0, "nothing found");
    set("find", "");
    set("front", true);
    check(rows().length === result.cells.filter(c => c.pareto).length, "front only");
    set("front", false);
    if (document.querySelector('#filter [name="model"]')) {
        set("model", "changed");
        check(rows().length === result.cells.filter(c => c.changes_model).length, "changed models");
        check(!document.querySelector("svg.unchanged .measured"), "only their charts");
        set("model", "");
    }
    check(rows().length === result.cells.length, "all again");

    /* by keyboard: one stop a chart, arrows from mark to mark, the figures are told */
    const chart = [...document.querySelectorAll("svg")].find(s => s.querySelectorAll(".mark").length > 1), all = [...chart.querySelectorAll(".mark")];
    check(chart.querySelectorAll('[tabindex="0"]').length === 1, "one stop of Tab a chart");
    all[0].focus();
    all[0].dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    check(document.activeElement === all[1], "the arrow goes to the next mark");
    check(all.every(m => m.getAttribute("aria-label").length > 10), "each mark has its text");
    check([...document.querySelectorAll("input, select")].every(e => e.labels.length === 1), "each control has its label");
    check(document.documentElement.scrollWidth <= innerWidth, `nothing is wider than the page: ${document.documentElement.scrollWidth} > ${innerWidth}`);
} catch (e) {
    said.push("FAIL " + e.stack);
}
const pre = document.createElement("pre");
pre.id = "checks";
pre.textContent = said.length ? said.join("\n") : "all checks hold";
document.body.append(pre);
})();
