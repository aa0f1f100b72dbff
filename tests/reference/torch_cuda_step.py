#!/usr/bin/env python3
"""The largest batch and the speed of PyTorch on a GPU, for cells that fillmark certified there.

    torch_cuda_step.py RESULT.json OUT.jsonl [--memory-bytes N] [--seconds 2] [--budget 420] [--dry-run]

RESULT.json is that of `fillmark run`. For each of its cells the batch that fillmark certified is tried, then one more;
where PyTorch disagrees the boundary is sought from there. Each try is a process of its own with an untouched allocator
that may hold at most N bytes (torch.cuda.set_per_process_memory_fraction): model, training, validation, training again,
as fillmark's probes do. At the largest batch the step is timed with cudnn.benchmark off and on.

OUT.jsonl gets one line a cell; cells it has already are not run again, and none begins after the budget (seconds).
A step's time is the median between CUDA events around whole steps that are not waited for one by one; batches are made
on the device, so no copy from the host is in it. TF32 is on in convolutions and products of tf32 cells, else off in both.
--dry-run trains on the CPU, tiny, to see that the loops run; it writes no figure of memory.
"""
import argparse
import json
import multiprocessing
import statistics
import time
from pathlib import Path

import torch                    # must not touch CUDA before the children fork
import torch.nn.functional as F

from networks import DenseUNet3D, SegFormer, dice_and_cross_entropy

DTYPE = {"fp32": None, "tf32": None, "fp16": torch.float16, "bf16": torch.bfloat16}
MOST_TRIES = 14


def supported(cell):
    """What networks.py and the loop below have; the reason why not, or None."""
    s, settings = cell["strategies"], cell["set"]
    if s["optimizer"] not in ("adamw", "adamw-amsgrad") or s["optimizer_form"] != "foreach":
        return "optimizer"
    if s["channels"] != "1" or s["accumulate"] != "1" or s["zero_grad"] != "none" or s["loop"] != "loader":
        return "a strategy that this script has not"
    if s["checkpoint"] not in ("none", "blocks"):
        return "checkpoint"
    if settings.get("dropout") == "on" or float(settings.get("drop_path", 0)) > 0:
        return "dropout"
    return None


def sizes(cell):
    return [int(n) for n in cell["set"]["input"].split("x")]


def make_network(cell):
    settings, checkpointed = cell["set"], cell["strategies"]["checkpoint"] == "blocks"
    if cell["workload"] == "denseunet3d":
        return DenseUNet3D(int(settings["base_channels"]), int(settings["classes"]), int(settings["levels"]), checkpointed)
    return SegFormer(settings["variant"], int(settings["classes"]), checkpointed, cell["strategies"].get("attention") == "flash")


def make_optimizer(cell, parameters):
    if cell["strategies"]["optimizer"] == "adamw-amsgrad":
        return torch.optim.AdamW(parameters, lr=3e-4, weight_decay=1e-4, amsgrad=True, foreach=True)
    return torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0, foreach=True)


class Run:
    """One process: model, optimizer, and the steps of training and validation. Names live as the loader's loop has it."""

    def __init__(self, cell, batch, device):
        self.cell, self.batch, self.device = cell, batch, device
        unet = cell["workload"] == "denseunet3d"
        last = cell["strategies"]["memory_format"] == "channels_last"
        self.format = (torch.channels_last_3d if unet else torch.channels_last) if last else torch.contiguous_format
        self.channels, self.classes = 1 if unet else 3, int(cell["set"]["classes"])
        self.loss_of = (lambda out, y: F.cross_entropy(out, y, ignore_index=255)) if unet else dice_and_cross_entropy
        self.dtype = DTYPE[cell["strategies"]["precision"]]
        self.net = make_network(cell).to(device)
        if last:
            self.net = self.net.to(memory_format=self.format)
        self.optimizer = make_optimizer(cell, self.net.parameters())
        self.scaler = torch.amp.GradScaler(device) if self.dtype == torch.float16 and device == "cuda" else None
        self.x = self.y = self.out = self.loss = None

    def fetch(self):
        x = torch.empty(self.batch, self.channels, *sizes(self.cell), device=self.device, memory_format=self.format).uniform_()
        return x, torch.randint(0, self.classes, (self.batch, *sizes(self.cell)), device=self.device)

    def autocast(self):
        return torch.autocast(self.device, dtype=self.dtype or torch.bfloat16, enabled=self.dtype is not None)

    def train_step(self):
        self.x, self.y = self.fetch()
        with self.autocast():
            self.out = self.net(self.x)
            self.loss = self.loss_of(self.out, self.y)
        (self.scaler.scale(self.loss) if self.scaler else self.loss).backward()
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad()

    def validate(self):
        self.net.eval()
        with torch.no_grad(), self.autocast():
            x, y = self.fetch()
            out = self.net(x)
            if self.cell["workload"] == "denseunet3d":
                pred = out.argmax(1)
                for c in range(self.classes):
                    p, t = pred == c, y == c
                    (p & t).sum()
                    (p | t).sum()
            else:
                self.loss_of(out, y)
        self.net.train()

    def timed(self, seconds):
        """Medians need at least three steps; the first one after a pause is not among them."""
        if self.device == "cpu":
            begin = time.perf_counter()
            self.train_step()
            return [(time.perf_counter() - begin) * 1e3]
        self.train_step()
        torch.cuda.synchronize()
        events, begin = [torch.cuda.Event(enable_timing=True)], time.perf_counter()
        events[0].record()
        while len(events) < 4 or (time.perf_counter() - begin < seconds and len(events) < 300):
            self.train_step()
            events.append(torch.cuda.Event(enable_timing=True))
            events[-1].record()
            if len(events) % 8 == 0:
                events[-1].synchronize()        # else the host's clock runs ahead of the device's
        torch.cuda.synchronize()
        return [a.elapsed_time(b) for a, b in zip(events, events[1:])]


def attempt(cell, batch, options):
    torch.backends.cudnn.benchmark = options["benchmark"] or cell["strategies"].get("cudnn_benchmark") == "on"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = cell["strategies"]["precision"] == "tf32"
    device = options["device"]
    if device == "cuda" and options["memory_bytes"]:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (options["memory_bytes"] + 0.5) / total))
    result = dict(batch=batch, benchmark=options["benchmark"])
    try:
        torch.manual_seed(1)
        run = Run(cell, batch, device)
        for _ in range(3):
            run.train_step()
        for _ in range(2):
            run.validate()
        for _ in range(2):
            run.train_step()
        if device == "cuda":
            torch.cuda.synchronize()
        result["outcome"] = "ok"
        if options["seconds"] > 0:
            times = run.timed(options["seconds"])
            result.update(step_ms=round(statistics.median(times), 4), steps=len(times),
                          samples_per_s=round(batch * 1e3 / statistics.median(times), 4))
    except torch.cuda.OutOfMemoryError as error:
        result.update(outcome="oom", reason=str(error).splitlines()[0][:300])
    if device == "cuda":
        stats = torch.cuda.memory_stats()
        free, total = torch.cuda.mem_get_info()
        result.update(max_memory_allocated=torch.cuda.max_memory_allocated(), max_memory_reserved=torch.cuda.max_memory_reserved(),
                      retries=stats["num_alloc_retries"], device_used_bytes=total - free)
    return result


def child(pipe, cell, batch, options):
    try:
        pipe.send(attempt(cell, batch, options))
    except Exception as error:      # told, not called out of memory
        pipe.send(dict(batch=batch, outcome="failed", reason=f"{type(error).__name__}: {error}"[:400]))


def in_a_process(cell, batch, options, deadline_s=180):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(False)
    process = context.Process(target=child, args=(theirs, cell, batch, options))
    process.start()
    theirs.close()
    try:
        result = ours.recv() if ours.poll(deadline_s) else dict(batch=batch, outcome="failed", reason="deadline passed")
    except EOFError:
        result = dict(batch=batch, outcome="failed", reason="the process died")
    if process.is_alive():
        process.join(10)
    if process.is_alive():
        process.kill()
    process.join()
    return result


def boundary(cell, start, options):
    """The largest batch that fits and whether the next one was seen to fail; every try is kept."""
    tries, fits, fails, batch, step = [], 0, None, max(start, 1), 1
    while len(tries) < MOST_TRIES:
        tries.append(in_a_process(cell, batch, options))
        if tries[-1]["outcome"] == "ok":
            fits = max(fits, batch)
        elif tries[-1]["outcome"] == "oom":
            fails = batch if fails is None else min(fails, batch)
        else:
            break
        if (fails is not None and fails <= fits + 1) or options["device"] == "cpu":
            break
        if fails is not None and fits:
            batch = (fits + fails) // 2
            continue
        batch = fits + step if fails is None else max(1, fails - step)      # away from where fillmark's boundary is
        step *= 2
    return fits, fails is not None and fails == fits + 1, tries


def cell_result(cell, arguments, device):
    ours = cell["max_batch"]["train"] if device == "cuda" else 2
    options = dict(benchmark=False, seconds=0, memory_bytes=arguments.memory_bytes, device=device)
    line = dict(cell=cell["id"], workload=cell["workload"], set=cell["set"], strategies=cell["strategies"], fillmark_batch=ours,
                torch=torch.__version__, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(), dry_run=device == "cpu")
    fits, certified, line["tries"] = boundary(cell, ours, options)
    line.update(max_batch=fits, certified=certified, timed=[])
    for benchmark in (False, True):
        if fits:
            line["timed"].append(in_a_process(cell, fits, dict(options, benchmark=benchmark, seconds=arguments.seconds)))
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--memory-bytes", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--budget", type=float, default=420)
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args()
    device = "cpu" if arguments.dry_run else "cuda"
    begin = time.monotonic()
    cells = json.loads(arguments.result.read_text())["cells"]
    done = set()
    if arguments.out.exists():
        done = {json.loads(line)["cell"] for line in arguments.out.read_text().splitlines()}
    left = 0
    with open(arguments.out, "a") as out:
        for cell in cells:
            why = supported(cell) if cell.get("max_batch", {}).get("train") else "fillmark has no batch for it"
            if cell["id"] in done or why:
                if why:
                    print(f"{cell['id'][:8]} left out: {why}", flush=True)
                continue
            if time.monotonic() - begin > arguments.budget:
                left += 1
                continue
            line = cell_result(cell, arguments, device)
            out.write(json.dumps(line) + "\n")
            out.flush()
            print(f"{cell['id'][:8]} {cell['workload']} fillmark {line['fillmark_batch']} PyTorch {line['max_batch']}", flush=True)
    raise SystemExit(3 if left else 0)      # 3: call it again


if __name__ == "__main__":
    main()
