"""Two searches of the same cells, from their result.json: boundary probes, executed steps and wall time.

    python3 tests/bench/search_table.py plan/result.json binsearch/result.json

Steps timed for throughput are left out of both: each search times a batch that fits, and the one that tries more of them
would pay more. Prints a line a cell and the sums. Where memory does not only grow with the batch there are several boundaries,
and a search that bisects may end at a smaller one: that is counted. Fails if the plan's is the smaller one, or not certified.
"""
import json
import sys


def read(path):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    cells = {}
    for cell in result["cells"]:
        name = cell["workload"] + " " + " ".join(cell["strategies"][k] for k in ("channels", "precision", "checkpoint"))
        cells[cell["id"]] = {"name": name, "max": cell["max_batch"]["train"], "certified": cell["certified"],
                             "probes": cell["probes"]["boundary"], "steps": 0, "seconds": 0.0}
    for row in result["rows"]:
        if row["role"] != "boundary":
            continue
        measured = row["measured"] or {}
        timed = measured.get("step_ns") or []
        cell = cells[row["cell"]]
        cell["steps"] += (measured.get("steps") or 0) - len(timed)
        if row["phase"] == "train":
            cell["seconds"] += (row["wall_ns"] - sum(timed)) / 1e9
    return cells


def main(paths):
    ours, peers = (read(path) for path in paths)
    total = [[0, 0, 0.0], [0, 0, 0.0]]
    larger = 0
    wrong = []
    print(f"{'cell':44} {'max batch':>9}  {'probes':>11}  {'steps':>11}  {'seconds':>13}   (plan, binsearch)")
    for key, a in ours.items():
        b = peers[key]
        larger += a["max"] > b["max"]
        if a["max"] < b["max"] or not a["certified"] or not b["certified"]:
            wrong.append(a["name"])
        print(f"{a['name']:44} {a['max']:>4} {b['max']:>4}  {a['probes']:>5} {b['probes']:>5}  {a['steps']:>5} {b['steps']:>5}  "
              f"{a['seconds']:>6.2f} {b['seconds']:>6.2f}")
        for sums, cell in zip(total, (a, b)):
            for i, what in enumerate(("probes", "steps", "seconds")):
                sums[i] += cell[what]
    a, b = total
    print(f"{'sum':44} {'':>9}  {a[0]:>5} {b[0]:>5}  {a[1]:>5} {b[1]:>5}  {a[2]:>6.2f} {b[2]:>6.2f}")
    print(f"binsearch/plan: probes {b[0] / a[0]:.2f}, steps {b[1] / a[1]:.2f}, seconds {b[2] / a[2]:.2f}; "
          f"probes a cell: plan {a[0] / len(ours):.2f}, binsearch {b[0] / len(ours):.2f}")
    if larger:
        print(f"{larger} of {len(ours)} cells: the plan's certified batch is larger: memory does not only grow with the batch there")
    if wrong:
        sys.exit("smaller, or not certified: " + ", ".join(wrong))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1:])
