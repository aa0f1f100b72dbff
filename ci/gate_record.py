"""The record of ci/gate-check.sh: every verdict, from the runs' and comparisons' JSON. Nothing in it is typed by hand.

    python3 ci/gate_record.py FOLDER RECORD NAME...

NAME: a comparison of FOLDER, NAME.json and NAME.code. Writes RECORD (Markdown), prints what it concludes, and exits with 1 if a
repeat raised an alarm, more than a fifth of them are undecided, or a worse build raised none.
"""
import json
import math
import os
import statistics
import sys

ALARM = 30


def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()


def percent(value, sign="+"):
    return "–" if value is None else f"{100 * value:{sign}.1f} %"


def slowest(figures):
    """the samples/s with the smallest ratio, with its interval"""
    rates = [f for f in figures if f["figure"] == "samples/s" and f["ratio"] is not None]
    if not rates:
        return "–", "–"
    worst = min(rates, key=lambda f: f["ratio"])
    text = percent(worst["ratio"] - 1)
    if worst["ratio_lo"] is not None:
        text += f" ({100 * (worst['ratio_lo'] - 1):+.1f} … {100 * (worst['ratio_hi'] - 1):+.1f})"
    return text, percent(worst["night_error"], "") + (" assumed" if worst["night_error_assumed"] else "")


def growth(figures):
    peaks = [f["is"] / f["was"] - 1 for f in figures if f["figure"] == "peak"]
    return percent(max(peaks)) if peaks else "–"


def batches(figures):
    changed = [f"{f['was']:.0f} → {f['is']:.0f}" if f["is"] is not None else f"{f['was']:.0f} → none"
               for f in figures if f["figure"] == "max batch" and f["was"] != f["is"]]
    return ", ".join(changed) or "same"


def series(folder, runs):
    """how samples/s of the same build moved: a list of (workload, batch, values), of what all runs timed in more than one launch"""
    rates = {}
    for run in runs:
        seen = {}
        for row in json.loads(read(folder, f"{run}/result.json"))["rows"]:
            value = (row["measured"] or {}).get("samples_per_s")
            if row["phase"] == "train" and value:
                seen.setdefault((row["workload"], row["batch"]), []).append(value)
        for key, values in seen.items():
            if len(values) > 1:
                rates.setdefault(key, []).append(statistics.median(values))
    return [(*key, values) for key, values in sorted(rates.items()) if len(values) == len(runs) and len(runs) > 2]


def main(folder, record, names):
    settings = dict(line.split(": ", 1) for line in read(folder, "settings.txt").splitlines())
    base = json.loads(read(folder, "base/result.json"))
    device = base["devices"][0]
    repeats = [n for n in names if n.startswith("repeat-")]
    rows, codes = [], {}
    for name in names:
        c = json.loads(read(folder, f"{name}.json"))
        codes[name] = int(read(folder, f"{name}.code"))
        worse = sum(f["change"] == "worse" for f in c["figures"])
        undecided = sum(f["change"] == "undecided" for f in c["figures"])
        slow, nights = slowest(c["figures"])
        rows.append(f"| {name} | {codes[name]} | {c['change']} | {worse} | {undecided} | {slow} | {nights} | "
                    f"{growth(c['figures'])} | {batches(c['figures'])} |")
    alarms = [n for n in repeats if codes[n] == ALARM]
    undecided = [n for n in repeats if codes[n] not in (0, ALARM)]
    missed = [n for n in ("slowed", "fattened") if codes[n] != ALARM]
    passed = [n for n in names if n.endswith("-first-night") and codes[n] == 0]
    noisy = 5 * len(undecided) > len(repeats)
    good = not alarms and not missed and not passed and not noisy
    limits = json.loads(read(folder, f"{names[0]}.json"))
    verdict = [f"- {len(repeats)} repeats of the same build: {len(repeats) - len(alarms) - len(undecided)} not worse, "
               f"{len(undecided)} undecided, {len(alarms)} false alarms.",
               f"- Steps that take {settings['slowdown']} % longer: exit {codes['slowed']}; tensors that take {settings['memory']} % "
               f"more memory: exit {codes['fattened']}. As the first night after the base, with no history: exit "
               f"{codes['slowed-first-night']} and {codes['fattened-first-night']}.",
               f"- {'The gate does what it should.' if good else 'The gate does not do what it should.'}"]
    out = ["# The nightly gate, on the cpu backend", "",
           "Written by `ci/gate-check.sh`, which says what is run and what is wanted of it; no GPU was involved.", "", *verdict, "",
           f"Limits: {100 * limits['max_slowdown']:g} % slower, {100 * limits['max_memory_growth']:g} % more memory. "
           "Each run is compared with the same base; the history has the runs above it.", "", "| | |", "|---|---|",
           f"| device | {device['name']} · {device.get('isa', '–')} · {device['library']} · {device.get('threads', '–')} threads |",
           f"| fillmark | {base['tool']}, commit {settings['commit']} |", f"| base started | {base['started']} |",
           f"| last started | {json.loads(read(folder, 'fattened/result.json'))['started']} |",
           f"| run | `{settings['cells']}` |", f"| launches | {settings['launches']} |", "",
           "| run | exit | verdict | worse | undecided | slowest samples/s (95 %) | night to night | peak | max batch |",
           "|---|---|---|---|---|---|---|---|---|", *rows, ""]
    moved = series(folder, ["base", *repeats])
    if moved:
        out += ["How samples/s of the same build moved from run to run:", "",
                "| workload | batch | median | standard deviation | lowest | highest |", "|---|---|---|---|---|---|"]
        for workload, batch, values in moved:
            median = statistics.median(values)
            deviation = statistics.stdev(math.log(v) for v in values)
            out.append(f"| {workload} | {batch} | {median:.4g} | {percent(deviation, '')} | {percent(min(values) / median - 1)} | "
                       f"{percent(max(values) / median - 1)} |")
        out.append("")
    with open(record, "w", encoding="utf-8") as file:
        file.write("\n".join(out))
    print("\n".join(rows + verdict))
    print(f"- {record}")
    if not good:
        sys.exit("gate-check: " + "; ".join([f"{n} raised a false alarm" for n in alarms] + [f"{n} was not caught" for n in missed] +
                                            [f"{n} passed" for n in passed] +
                                            ["more than a fifth of the repeats undecided: too noisy to show anything"] * noisy))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
