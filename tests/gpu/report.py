#!/usr/bin/env python3
"""Tables of what ci/gpu-check.sh found: report.py FOLDER writes FOLDER/README.md from the raw files there.

    report.py FOLDER
    report.py --cells batches.json      the certified cells, a line each: BATCH WORKLOAD key=value ... +strategy=value ...
    report.py --bytes SIZE              24GiB as bytes

What is not there is said to be not run; no figure is made up. Standard library only.
"""
import json
import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(text):
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text)
    if not found or found.group(2).upper() not in UNITS:
        sys.exit(f"report: '{text}' is no size, as 24GiB is")
    return int(float(found.group(1)) * UNITS[found.group(2).upper()])


def read_lines(path):
    """Objects of a file of JSON lines, whole ones only."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(v) for v in row) + " |" for row in rows] + [""]


def gib(value):
    return "–" if value is None else f"{value / 2**30:.3f}"


def share(value, of):
    return "–" if not of or value is None else f"{100 * (value - of) / of:+.2f} %"


# what fillmark takes where nothing is said, and what is validation's or the workload's own: left out of a cell's words
UNSAID = {"dropout": "off", "channels": "1", "precision": "fp32", "memory_format": "contiguous", "checkpoint": "none", "accumulate": "1",
          "optimizer_form": "foreach", "zero_grad": "none"}
NOT_TRAINING = ("n_infers", "ensemble", "val_batch", "accounting", "loop", "optimizer")


def words(cell):
    """A cell in the words of tests/gpu/measure_step.c."""
    settings, strategies = ({k: v for k, v in cell[part].items() if k not in NOT_TRAINING and UNSAID.get(k) != v}
                            for part in ("set", "strategies"))
    return " ".join([cell["workload"]] + [f"{k}={v}" for k, v in settings.items()] + [f"+{k}={v}" for k, v in strategies.items()])


def short(cell):
    s = cell["strategies"]
    return [cell["workload"], s["precision"], s["checkpoint"], s["memory_format"]]


def cells_of(batches):
    return [c for c in batches["cells"] if c.get("max_batch") and c["max_batch"].get("train")]


# ---- sections: lines of markdown from raw files, None where nothing was run ----

def kernels_of_the_contract():
    text = (ROOT / "workloads/program/kernels.h").read_text()
    return re.findall(r"\bX\((\w+), [01]\)", text)


def ops(folder):
    if not (folder / "ops.txt").exists():
        return None
    text, worst = (folder / "ops.txt").read_text(), {}
    for kernel, kind, cases, difference, limit in re.findall(r"^worst (\S+) (\S+) cases (\d+) difference (\S+) limit (\S+)", text, re.M):
        old = worst.get((kernel, kind), (0, 0.0, limit))
        worst[kernel, kind] = (old[0] + int(cases), max(old[1], float(difference)), limit)
    passed, failed = len(re.findall(r"^\[       OK \]", text, re.M)), len(re.findall(r"^\[  FAILED  \] \w+$", text, re.M))
    cut = re.findall(r"^exit code (\d+)", text, re.M)
    rows = [[kernel, kind, n, f"{difference:.3g}", limit, "yes" if difference <= float(limit) else "**no**"]
            for (kernel, kind), (n, difference, limit) in sorted(worst.items())]
    missing = [k for k in kernels_of_the_contract() if k not in {key[0] for key in worst}]
    lines = [f"{passed} tests passed, {failed} failed" + (f"; programs that ended with an error: {', '.join(cut)}" if cut else "") + ". "
             "Relative L2 of each output against the ref backend, the worst of all cases:", ""]
    lines += table(["kernel", "class", "cases", "worst", "limit", "within"], rows)
    if missing:
        lines += ["In no case of its own, only within whole trainings: " + ", ".join(missing) + ".", ""]
    return lines


def sanitizer(folder):
    if not (folder / "sanitizer.txt").exists():
        return None
    rows = []
    for part in (folder / "sanitizer.txt").read_text().split("== ")[1:]:
        summary = re.findall(r"={9} (.*SUMMARY.*|RACECHECK.*)", part)
        code = re.findall(r"^exit code (\d+)", part, re.M)
        rows.append([part.split("\n")[0], summary[-1] if summary else "no summary", code[-1] if code else "–"])
    return table(["tool", "summary", "exit code"], rows)


def memory(folder):
    rows = []
    for r in read_lines(folder / "memory.jsonl") + read_lines(folder / "time.jsonl"):
        planned, counted = r.get("planned_reserved_bytes"), r.get("counted_reserved_bytes")
        used, before = r.get("device_used_bytes"), r.get("device_used_before_bytes")
        own = used - before if used is not None and before is not None else None
        expected = planned + r["framework_bytes"] if planned is not None and "framework_bytes" in r else None
        rows.append([r["cell"], r["batch"], gib(planned), gib(counted), "yes" if planned == counted else "**no**", gib(own),
                     gib(own - counted) if own is not None and counted is not None else "–", share(own, expected)])
    if not rows:
        return None
    return ["Reserved bytes, planned and counted, must be equal. Used is what the whole device says during the run less what it said "
            "before; what is beyond reserved is the context and libraries, planned as 0.5 GiB.", ""] + table(
        ["cell", "batch", "planned GiB", "counted GiB", "equal", "used GiB", "beyond GiB", "used against planned"], rows)


def batches(folder):
    if not (folder / "batches.json").exists():
        return None
    result = json.loads((folder / "batches.json").read_text())
    rows = [short(c) + [c["planned_batch"], (c.get("max_batch") or {}).get("train", "–"), "**no**" if not c["certified"] else "limit" if c.get("limited_by") == "max_batch" else "yes", c["outcome"],
                        c.get("probes", {}).get("boundary", "–")] for c in result["cells"]]
    spent = result["time"]
    rest = f"{100 * spent['overhead_ns'] / spent['wall_ns']:.1f} %" if spent.get("wall_ns") and spent.get("overhead_ns") is not None else "unknown"
    return table(["network", "precision", "checkpoint", "memory format", "planned", "max batch", "certified", "outcome", "probes"], rows) + [
        f"Complete: {'yes' if result['complete'] else 'no'}. Time outside measured and warm-up steps: {rest}.", ""]


def torch(folder):
    lines = read_lines(folder / "torch.jsonl")
    if not lines:
        return None
    ours, timed = {}, {}
    if (folder / "batches.json").exists():
        cells = {c["id"]: c for c in json.loads((folder / "batches.json").read_text())["cells"]}
        ours = {r["cell"]: r for r in read_lines(folder / "time.jsonl")}
        timed = {i: ours.get(words(c)) for i, c in cells.items()}
    rows = []
    for r in lines:
        step = timed.get(r["cell"])
        speed = None
        # one batch on both sides, else the speeds are of different things
        if step and step.get("step_ns") and step["batch"] == r["max_batch"]:
            speed = step["batch"] * 1e9 / statistics.median(step["step_ns"])
        theirs = [t.get("samples_per_s") for t in r["timed"]]
        first = r["timed"][0] if r["timed"] else {}
        rows.append(short(r) + [r["fillmark_batch"], r["max_batch"], "yes" if r["certified"] else "**no**",
                                gib(step.get("counted_reserved_bytes") if step else None), gib(first.get("max_memory_reserved")),
                                gib(first.get("max_memory_allocated")), f"{speed:.2f}" if speed else "–"]
                    + [f"{t:.2f}" if t else "–" for t in (theirs + [None, None])[:2]]
                    + [f"{speed / max(t for t in theirs if t):.3f}" if speed and any(theirs) else "–"])
    versions = sorted({f"torch {r['torch']}, CUDA {r['cuda']}, cuDNN {r['cudnn']}" for r in lines})
    dry = ["**A dry run on the CPU: no figure here is of a GPU.**", ""] if any(r.get("dry_run") for r in lines) else []
    return dry + ["; ".join(versions) + ". Speeds are at PyTorch's largest batch, where it is fillmark's too; the ratio is against the "
                  "faster of benchmark off and on.", ""] + table(
        ["network", "precision", "checkpoint", "memory format", "max batch fillmark", "max batch PyTorch", "certified there",
         "reserved GiB fillmark", "reserved GiB PyTorch", "allocated GiB PyTorch", "samples/s fillmark", "PyTorch, benchmark off",
         "PyTorch, benchmark on", "fillmark/PyTorch"], rows)


def time_goes(folder):
    lines = []
    for r in read_lines(folder / "time.jsonl"):
        if not r.get("step_ns") or not r.get("kernels"):
            continue
        median, total = statistics.median(r["step_ns"]), sum(k["ns"] for k in r["kernels"])
        lines += [f"`{r['cell']}`, batch {r['batch']}: {median / 1e6:.3f} ms a step (median of {len(r['step_ns'])}, "
                  f"{min(r['step_ns']) / 1e6:.3f} to {max(r['step_ns']) / 1e6:.3f}), calls one by one {total / 1e6:.3f} ms", ""]
        rows = [[k["kernel"], k["calls"], f"{k['ns'] / 1e6:.3f}", f"{100 * k['ns'] / total:.1f} %", f"{k['bytes'] / k['ns']:.1f}",
                 f"{k['flops'] / k['ns'] / 1e3:.3f}"] for k in sorted(r["kernels"], key=lambda k: -k["ns"])[:12] if k["ns"] > 0]
        lines += table(["kernel", "calls", "ms", "share", "GB/s", "TFLOP/s"], rows)
    return lines or None


def looking(folder):
    rows = []
    for r in read_lines(folder / "time.jsonl"):
        if not r.get("step_ns") or not r.get("watched_step_ns"):
            continue
        alone, meanwhile = statistics.median(r["step_ns"]), statistics.median(r["watched_step_ns"])
        rows.append([r["cell"], r["batch"], f"{alone / 1e6:.3f}", f"{meanwhile / 1e6:.3f}", share(meanwhile, alone),
                     f"{statistics.median(r['look_ns']) / 1e6:.3f}", r["looks"], ", ".join(r["slow"]) or "nothing" if "slow" in r else "unknown",
                     f"{r['throttled_steps']} of {len(r['watched_step_ns'])}"])
    if not rows:
        return None
    return ["Steps with and without a thread that asks NVML meanwhile, in turns, and how long NVML takes to answer (processes included). "
            "What held the clocks down, and how many steps are marked as throttled by it.", ""] + table(
        ["cell", "batch", "step ms", "looked at, ms", "difference", "a look ms", "looks", "held down by", "throttled"], rows)


def device_json(folder):
    rows = read_lines(folder / "devicejson.jsonl")
    real = next((r["real"] for r in rows if "real" in r), None)
    planned = next((r["table"] for r in rows if "table" in r), {})
    if not real:
        return None
    names = list(real) + [k for k in planned if k not in real]
    missing = object()
    shown = [[k, json.dumps(real[k]) if k in real else "–", json.dumps(planned[k]) if k in planned else "–",
              "" if real.get(k, missing) == planned.get(k, missing) else "differs"] for k in names]
    return ["" if planned else "This GPU is not in `probes/devices.yaml`.", ""] + table(["field", "this GPU", "table", ""], shown)


SECTIONS = (("Operators against ref", "ops", ops), ("compute-sanitizer", "sanitizer", sanitizer),
            ("Memory: planned, counted, used", "memory", memory), ("Largest batches", "batches", batches),
            ("PyTorch beside", "torch", torch), ("Where the time goes", "time", time_goes),
            ("Looking at the device while it is timed", "time", looking), ("The device's description", "devicejson", device_json))


def write_report(folder):
    lines = ["# Measured on a GPU", "", "By `ci/gpu-check.sh`; the raw files are beside this one.", ""]
    if (folder / "versions.txt").exists():
        lines += ["```", (folder / "versions.txt").read_text().rstrip(), "```", ""]
    for title, piece, section in SECTIONS:
        lines += [f"## {title}", ""] + (section(folder) or [f"Not run: `ci/gpu-check.sh {piece}`.", ""])
    (folder / "README.md").write_text("\n".join(lines))


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--bytes":
        print(parse_bytes(sys.argv[2]))
    elif len(sys.argv) == 3 and sys.argv[1] == "--cells":
        for cell in cells_of(json.loads(Path(sys.argv[2]).read_text())):
            print(cell["max_batch"]["train"], words(cell))
    elif len(sys.argv) == 2 and Path(sys.argv[1]).is_dir():
        write_report(Path(sys.argv[1]))
    else:
        sys.exit("usage: report.py FOLDER | --cells batches.json | --bytes SIZE")


if __name__ == "__main__":
    main()
