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

/* ---- a run ---- */

function checkRun() {
    /* figures of the table are those of the JSON */
    for (const row of rows()) {
        const cell = cellOf(row), k = knee(cell);
        const wants = { rank: cell.rank, train: cell.max_batch.train, val: cell.max_batch.val, batch: cell.knee_batch, speed: cell.relative_speed,
                        rate: k && k.samples_per_s.median, peak: k && k.peak_bytes.lo, planned: k && k.planned_bounds_bytes.lo, flops: cell.flops_per_sample };
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
}

/* ---- plans alone: nothing looks measured ---- */

function checkPlans() {
    const fitting = result.rows.filter(r => !r.superseded && r.planned && r.planned.fits !== false);
    check(fitting.length > 1, "plans that fit");
    check(document.querySelectorAll("svg .planned").length === fitting.length, "a hollow mark a plan");
    check(document.querySelectorAll("svg .measured").length === 0, "no filled mark");
    check(document.getElementById("notices").textContent.includes("nothing was run"), "it is said");
    check(!document.querySelector('[data-column="rate"], [data-column="peak"], [data-column="front"], [data-column="rank"]'), "no column of what is not known");
    check(!document.querySelector('#filter [name="front"]'), "no filter by a front that there is not");
    check(document.querySelectorAll("svg .part").length === document.querySelectorAll("svg .part.plan").length, "bars are told as planned");
    for (const row of rows()) {
        const cell = cellOf(row), own = fitting.filter(r => r.cell === cell.id && r.device === row.querySelector('[data-column="device"]').dataset.value);
        const peak = own.length ? Math.max(...own.map(r => r.planned.reserved_bytes)) : undefined, bound = own.map(r => r.planned.bound_samples_per_s ?? 0);
        check(String(value(row, "planned")) === String(peak), `${cell.id} planned peak: ${value(row, "planned")}, not ${peak}`);
        check(!own.length || Number(value(row, "bound")) === Math.max(...bound), "the bound");
        check(!row.querySelector('[data-column="calibrated"]') === !fitting.some(r => r.planned.calibrated_samples_per_s), "planned samples/s");
        check(row.querySelector('[data-column="train"]').textContent.includes("planned"), "a planned batch is told as such");
    }
    /* what is beside the marks of plans does not overlap, also on a phone, which is narrower than this browser's window can be */
    document.body.style.maxWidth = "366px";
    set("find", "");
    for (const svg of document.querySelectorAll("svg")) {
        const boxes = [...svg.querySelectorAll(":scope > text:not(.bar)")].map(t => t.getBoundingClientRect());
        boxes.forEach((a, i) => boxes.slice(i + 1).forEach(b => check(a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 2 || b.bottom <= a.top + 2,
                                                                      "texts of a chart overlap")));
    }
    document.body.style.maxWidth = "";
    set("find", "");
}

/* ---- by keyboard and by screen reader ---- */

function checkAccess() {
    const names = [...document.querySelectorAll("svg")].map(s => s.getAttribute("aria-labelledby").split(" ").map(id => document.getElementById(id).textContent).join(" "));
    check(names.every(n => n.length > 10) && new Set(names).size === names.length, "each chart has a name of its own: " + names);
    check([...document.querySelectorAll("svg")].every(s => s.querySelector("desc")), "how to go from mark to mark is said");
    check(document.querySelector("table > caption") && rows().every(r => r.querySelectorAll('th[scope="row"]').length === 1), "the table has a name and row headings");
    for (const th of document.querySelectorAll("thead th")) {
        check(th.scope === "col", "headings of columns");
        /* Chromium, told to, says what a screen reader is given: no arrow of the sorting */
        if (th.computedName !== undefined) check(th.computedName.trim() === th.textContent, `a heading reads '${th.computedName}'`);
        check(rows().some(r => r.children[th.cellIndex].textContent !== "\u2013"), `column ${th.textContent} has a figure`);
    }
    for (const section of document.querySelectorAll("main section"))
        check(section.getAttribute("aria-labelledby") && document.getElementById(section.getAttribute("aria-labelledby")), "a section without a name");
    /* where the focus is can be seen: on each kind of mark, and its text beside it, within the window */
    const kinds = new Map([...document.querySelectorAll("svg .mark")].map(m => [m.getAttribute("class").replace(/s\d/, ""), m]));
    for (const [kind, mark] of kinds) {
        const width = getComputedStyle(mark).strokeWidth;
        mark.focus();
        const now = getComputedStyle(mark), tip = document.getElementById("tip").getBoundingClientRect();
        check(document.activeElement === mark && now.strokeWidth === "3px" && now.strokeWidth !== width, `focus of ${kind} is thick`);
        check(now.stroke === getComputedStyle(document.body).color, `focus of ${kind} has the ink's colour: ${now.stroke}`);
        check(!document.getElementById("tip").hidden && tip.left >= 0 && tip.right <= innerWidth && tip.top >= 0, `the text of ${kind} is in the window`);
    }
    document.activeElement.blur();
    check([...document.querySelectorAll("input, select")].every(e => e.labels.length === 1), "each control has its label");
    check(document.documentElement.scrollWidth <= innerWidth, `nothing is wider than the page: ${document.documentElement.scrollWidth} > ${innerWidth}`);
}

try {
    check(document.documentElement.dataset.ready === "yes", "the page's script came to its end");
    check(result.cells.length > 1 && result.rows.length > 1, "there is something to show");
    check(rows().length === result.cells.length, "a row a cell");
    if (result.cells.some(c => c.points.length)) checkRun(); else checkPlans();
    checkAccess();
} catch (e) {
    said.push("FAIL " + e.stack);
}
const pre = document.createElement("pre");
pre.id = "checks";
pre.textContent = said.length ? said.join("\n") : "all checks hold";
document.body.append(pre);
})();
