"""Journals of one cell, written by hand: results/journal.h says how."""
import json
import os


def _fnv(value, data):
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def write(folder, records):
    """A journal of these records in a new folder."""
    os.makedirs(folder)
    value = 0xCBF29CE484222325
    with open(os.path.join(folder, "journal.jsonl"), "wb") as file:
        for record in records:
            text = json.dumps(record, separators=(",", ":")).encode()
            value = _fnv(value, text)
            file.write(b"%016x " % value + text + b"\n")
    return folder


def one_cell(folder, workload, settings, strategies, batch, val_batch):
    """A run in which one cell was measured at its largest batch; samples/s are batch * accumulate."""
    cell = "%016x" % _fnv(0xCBF29CE484222325, json.dumps([workload, settings, strategies, batch]).encode())
    base = {"v": 1, "cell": cell, "batch": batch, "val_batch": val_batch, "role": "boundary", "launch": 1, "device": "cuda:0",
            "outcome": "ok"}
    memory = {"allocated_bytes": 900 << 20, "reserved_bytes": 1 << 30, "workspace_bytes": 0}
    device = {"id": "cuda:0", "name": "A GPU", "threads": 1, "total_bytes": 8 << 30, "capacity_bytes": 4 << 30}
    return write(folder, [
        {"kind": "run", "v": 1, "tool": "0.0.0", "started": "2026-01-01T00:00:00Z", "host": "h", "seed": "1", "devices": [device],
         "config": {}},
        {"kind": "cell", "v": 1, "id": cell, "train_id": cell, "device": "cuda:0", "workload": workload, "set": settings,
         "strategies": strategies, "model_id": "00000000000000aa", "changes_model": [], "parameters": 1000,
         "flops_per_sample": 1e9, "reproduce": "fillmark run", "capacity_bytes": 4 << 30},
        dict(base, kind="row", phase="train", planned=memory,
             measured=dict(memory, steps=1, step_ns=[1000000000] * 5, samples_per_s=float(batch))),
        dict(base, kind="row", phase="val", planned=memory, measured=dict(memory, steps=1)),
        {"kind": "verdict", "v": 1, "cell": cell, "device": "cuda:0", "outcome": "ok", "max_batch": {"train": batch, "val": val_batch},
         "certified": True, "limited_by": "train", "non_monotone": False},
        {"kind": "end", "v": 1, "wall_ns": 1, "measured_ns": 1, "overhead_ns": 0, "interrupted": False},
    ])
