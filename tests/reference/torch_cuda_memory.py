#!/usr/bin/env python3
"""What real PyTorch does with GPU memory, written down once.

    python3 torch_cuda_memory.py OUT_DIR [--seconds 330] [--dry-run]

Writes OUT_DIR/torch_cuda_figures.json (device, versions, context size, and per
case peaks, allocator counters and step times) and OUT_DIR/torch_cuda_trace_*.txt
(every allocator event of small training runs, from before the model is built).
Each case runs in a child process with a deadline, so that it starts from an
untouched allocator and its failure costs nothing else. --dry-run runs the
small cases' loops on the CPU and writes no memory figures.

Trace format, one event a line, sizes and offsets in bytes:
    case NAME                          begins a case; `# key value` lines follow
    S SIZE SEGMENT ADDRESS             cudaMalloc; ADDRESS is relative to the lowest one
    F SEGMENT                          cudaFree
    a ID SIZE SEGMENT OFFSET LABEL     allocation; SIZE as requested, before rounding
    f ID                               free, complete at once; `r ID` .. `c ID` if not at once
    m NAME ALLOCATED REQUESTED RESERVED PEAK_ALLOCATED PEAK_RESERVED
                                       torch's own counters here; peaks since the last m
    b SEGMENT OFFSET SIZE STATE        a block of the final state
    end
IDs and segments count from 0 in order of appearance. LABEL is
python-line/backward-node/operator, as far as known.
"""
import os
os.environ.setdefault("TORCH_SYMBOLIZE_MODE", "dladdr")   # the default may be slow

import argparse
import json
import multiprocessing
import re
import subprocess
import tempfile
import time
import traceback
from pathlib import Path

import torch                     # must not touch CUDA before the children fork
import torch.nn.functional as F

from networks import DenseUNet3D, SegFormer, dice_and_cross_entropy

DEVICE = "cuda"
STEPS_TRACED = 3
TRACE_FILE_LIMIT = 1_400_000
PRECISION = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


def case(name, net, precision, loop, batch, size, **more):
    row = dict(name=name, net=net, precision=precision, loop=loop, batch=batch, size=list(size),
               base=16, levels=4, variant="b0", checkpoint=False, scaler=False,
               validate=False, tf32="off", trace=False)
    row.update(more)
    return row


def trace_cases():
    rows = []
    for net, size, more in (("unet", (32,) * 3, dict(base=8, levels=3)), ("segformer", (64,) * 2, {})):
        for tail, precision, loop, extra in (
                ("fp32_plain", "fp32", "plain", {}),
                ("fp32_loader", "fp32", "loader", {}),
                ("fp16_plain", "fp16", "plain", {}),
                ("fp16_scaler_loader", "fp16", "loader", dict(scaler=True)),
                ("fp32_checkpoint_plain", "fp32", "plain", dict(checkpoint=True)),
                ("fp16_checkpoint_loader", "fp16", "loader", dict(checkpoint=True)),
                ("fp16_validate_plain", "fp16", "plain", dict(validate=True)),
                ("bf16_loader", "bf16", "loader", {})):
            rows.append(case(f"{net}_small_{tail}", net, precision, loop, 2, size,
                             trace=True, **more, **extra))
    return rows


def figure_cases():
    big, small = (160, 160, 256), (64,) * 3
    u8 = dict(base=8, levels=3)
    rows = [case("unet16_b1_fp32_plain", "unet", "fp32", "plain", 1, big),
            case("unet16_b1_fp16_plain", "unet", "fp16", "plain", 1, big),
            case("unet16_b1_fp32_checkpoint_plain", "unet", "fp32", "plain", 1, big, checkpoint=True),
            case("unet8_b4_fp32_plain", "unet", "fp32", "plain", 4, small, **u8),
            case("unet8_b4_fp16_plain", "unet", "fp16", "plain", 4, small, **u8),
            case("segformer_b0_b2_fp32_plain", "segformer", "fp32", "plain", 2, (224,) * 2),
            case("segformer_b0_b2_fp16_plain", "segformer", "fp16", "plain", 2, (224,) * 2),
            case("segformer_b2_b4_fp32_plain", "segformer", "fp32", "plain", 4, (256,) * 2, variant="b2"),
            case("segformer_b2_b4_fp16_plain", "segformer", "fp16", "plain", 4, (256,) * 2, variant="b2"),
            case("unet16_b1_fp32_loader", "unet", "fp32", "loader", 1, big),
            case("unet16_b1_fp16_scaler_loader", "unet", "fp16", "loader", 1, big, scaler=True),
            case("unet16_b1_fp16_checkpoint_loader", "unet", "fp16", "loader", 1, big, checkpoint=True),
            case("unet8_b4_fp32_loader", "unet", "fp32", "loader", 4, small, **u8),
            case("unet8_b4_fp32_plain_tf32_default", "unet", "fp32", "plain", 4, small, tf32="default", **u8),
            case("unet8_b4_bf16_plain", "unet", "bf16", "plain", 4, small, **u8),
            case("unet8_b4_fp16_validate_plain", "unet", "fp16", "plain", 4, small, validate=True, **u8),
            case("segformer_b2_b4_fp32_loader", "segformer", "fp32", "loader", 4, (256,) * 2, variant="b2"),
            case("segformer_b2_b4_bf16_plain", "segformer", "bf16", "plain", 4, (256,) * 2, variant="b2"),
            case("segformer_b2_b4_fp32_checkpoint_plain", "segformer", "fp32", "plain", 4, (256,) * 2,
                 variant="b2", checkpoint=True),
            case("segformer_b2_b4_fp16_validate_plain", "segformer", "fp16", "plain", 4, (256,) * 2,
                 variant="b2", validate=True),
            case("unet16_b1_bf16_plain", "unet", "bf16", "plain", 1, big)]
    return rows


# ---- the training loops under test; every local name here is part of the case ----

def make_model(c):
    if c["net"] == "unet":
        model = DenseUNet3D(c["base"], 71, c["levels"], c["checkpoint"])
        return model, (1, 71), lambda out, y: F.cross_entropy(out, y)
    model = SegFormer(c["variant"], 4, c["checkpoint"])
    return model, (3, 4), dice_and_cross_entropy


def make_optimizer(c, model):
    if c["net"] == "unet":
        return torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.)
    return torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=1e-4, amsgrad=True)


def make_batches(c, channels, classes, count):
    generator = torch.Generator().manual_seed(7)
    size = (c["batch"], *c["size"])
    x = torch.randn(c["batch"], channels, *c["size"], generator=generator)
    y = torch.randint(0, classes, size, generator=generator)
    return [(x, y)] * count


def amp(c):
    dtype = PRECISION[c["precision"]]
    return torch.autocast(DEVICE, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def update(opt, scaler):
    if scaler:
        scaler.step(opt)
        scaler.update()
    else:
        opt.step()
    opt.zero_grad()


def validate(c, model, loss_fn, x, y):
    model.eval()
    with torch.no_grad():
        with amp(c):
            out = model(x)
            loss = loss_fn(out, y)
    model.train()


def train_plain(c, model, opt, loss_fn, scaler, batches, watch):
    x, y = batches[0]
    x, y = x.to(DEVICE), y.to(DEVICE)
    watch.mark("inputs")
    for step, _ in enumerate(watch.limited(batches)):
        watch.begin()
        with amp(c):
            loss = loss_fn(model(x), y)
        (scaler.scale(loss) if scaler else loss).backward()
        del loss
        update(opt, scaler)
        watch.end(step)
        if c["validate"] and step == 1:
            validate(c, model, loss_fn, x, y)
            watch.mark("validation")


def train_loader(c, model, opt, loss_fn, scaler, batches, watch):
    step = 0
    watch.begin()
    for images, labels in watch.limited(batches):
        x = images.to(DEVICE)       # the previous x lives until this name is bound again
        y = labels.to(DEVICE)
        with amp(c):
            out = model(x)
            loss = loss_fn(out, y)
        (scaler.scale(loss) if scaler else loss).backward()
        update(opt, scaler)
        watch.end(step)
        step += 1
        watch.begin()


# ---- counters and marks ----

class Watch:
    """Marks positions in the run by torch's cumulative event counts: exact, no clock."""

    def __init__(self, budget_s):
        self.marks, self.step_ms, self.start, self.deadline = [], [], None, time.time() + budget_s

    def mark(self, name):
        if DEVICE == "cpu":
            return
        s = torch.cuda.memory_stats()
        self.marks.append(dict(
            name=name, allocs=s["allocation.all.allocated"], frees=s["allocation.all.freed"],
            allocated=s["allocated_bytes.all.current"], requested=s["requested_bytes.all.current"],
            reserved=s["reserved_bytes.all.current"], peak_allocated=s["allocated_bytes.all.peak"],
            peak_reserved=s["reserved_bytes.all.peak"]))
        torch.cuda.reset_peak_memory_stats()

    def limited(self, batches):
        """The batches, ended early (but not before eight) when the time is up."""
        for index, batch in enumerate(batches):
            if index >= 8 and time.time() > self.deadline:
                return
            yield batch

    def begin(self):
        synchronize()
        self.start = time.perf_counter()

    def end(self, step):
        synchronize()
        self.step_ms.append((time.perf_counter() - self.start) * 1e3)
        self.mark(f"step{step + 1}")


def synchronize():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def flags():
    cudnn, found = torch.backends.cudnn, {}
    for name, read in (
            ("cudnn.enabled", lambda: cudnn.enabled), ("cudnn.benchmark", lambda: cudnn.benchmark),
            ("cudnn.deterministic", lambda: cudnn.deterministic),
            ("cudnn.allow_tf32", lambda: cudnn.allow_tf32),
            ("matmul.allow_tf32", lambda: torch.backends.cuda.matmul.allow_tf32),
            ("matmul.fp16_reduced_precision",
             lambda: torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction),
            ("preferred_blas", lambda: str(torch.backends.cuda.preferred_blas_library()))):
        try:
            found[name] = read()
        except Exception as error:              # some getters refuse mixed old and new settings
            found[name] = f"unknown: {error}"
    return found


def run_case(c, stacks):
    torch.backends.cudnn.benchmark = False
    if c["tf32"] == "off":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(3)
    if DEVICE == "cuda":
        torch.cuda.init()
        if c["trace"]:
            torch.cuda.memory._record_memory_history("all", context="alloc", stacks=stacks, max_entries=400_000)
    watch = Watch(6.)
    model, (channels, classes), loss_fn = make_model(c)
    parameters = sum(p.numel() for p in model.parameters())
    count = STEPS_TRACED if c["trace"] or DEVICE == "cpu" else 24
    batches = make_batches(c, channels, classes, count)
    model = model.to(DEVICE)
    watch.mark("model")
    opt = make_optimizer(c, model)
    scaler = torch.amp.GradScaler(DEVICE, init_scale=1024.) if c["scaler"] else None
    if c["loop"] == "loader":
        train_loader(c, model, opt, loss_fn, scaler, batches, watch)
    else:
        train_plain(c, model, opt, loss_fn, scaler, batches, watch)
    result = dict(status="ok", stacks=stacks, parameters=parameters, flags=flags(), marks=watch.marks,
                  foreach=opt.defaults.get("foreach"), step_ms=[round(t, 3) for t in watch.step_ms])
    events = None
    if DEVICE == "cuda":
        if c["trace"]:
            snapshot = torch.cuda.memory._snapshot()
            events = compact(snapshot, watch.marks, result)
            torch.cuda.memory._record_memory_history(None)
        result.update(counters(watch, c))
    if scaler:
        result["scale_after"] = scaler.get_scale()      # below 1024: steps were skipped
    result["finite"] = all(bool(torch.isfinite(p).all()) for p in model.parameters())
    return result, events


def counters(watch, c):
    s = torch.cuda.memory_stats()
    free, total = torch.cuda.mem_get_info()
    wanted = ("num_alloc_retries", "num_ooms", "num_device_alloc", "num_device_free",
              "segment.all.current", "segment.all.peak", "segment.large_pool.current",
              "segment.small_pool.current", "active_bytes.all.peak", "inactive_split_bytes.all.current",
              "inactive_split_bytes.all.peak", "requested_bytes.all.peak")
    steady = sorted(watch.step_ms[3:])
    return dict(max_memory_allocated=max(m["peak_allocated"] for m in watch.marks),
                max_memory_reserved=max(m["peak_reserved"] for m in watch.marks),
                memory_stats={k: s.get(k) for k in wanted},
                outside_allocator_bytes=total - free - s["reserved_bytes.all.current"],
                samples_per_s=round(1e3 * c["batch"] / steady[len(steady) // 2], 3) if steady else None)


# ---- traces ----

HERE = re.compile(r"(torch_cuda_memory|networks)\.py$")
NODE = re.compile(r"(\w+)::apply\(")
OPERATOR = re.compile(r"at::_ops::(\w+)::")
PLAIN_MEMORY = re.compile(r"^_?(new_)?empty|^resize_|^_to_copy$|^to_|^contiguous$|^clone$")


def label(frames):
    """python-line/backward-node/operator; `raw` where no tensor was being made (workspaces)."""
    python = node = operator = None
    plain = tensor = False
    for frame in frames:
        name, file = frame.get("name", ""), frame.get("filename", "")
        if python is None and HERE.search(file):
            python = f"{'net' if 'networks' in file else 'run'}:{frame.get('line')}"
        match = NODE.search(name)
        if node is None and match and "torch::autograd" in name:
            node = match.group(1)
        match = OPERATOR.search(name)
        if match and operator is None and python is None and node is None:
            operator = match.group(1)
        elif match and operator and PLAIN_MEMORY.match(operator) and python is None and node is None:
            plain = plain or operator
            operator = match.group(1)
        if "empty" in name and operator is None:
            tensor = True
    if plain and operator:
        operator = f"{operator}.{plain}"
    parts = [part for part in (python, node, operator) if part]
    text = "/".join(parts) or "-"
    if len(frames) > 12 and operator and not tensor and "empty" not in operator:
        text += ".raw"
    return text.replace(" ", "")[:72]


class Compactor:
    """Turns torch's trace entries into lines, and checks torch's marks on the way."""

    def __init__(self, entries, marks):
        self.lines, self.marks, self.bad, self.pending = [], list(marks), [], None
        self.segments, self.blocks = {}, {}             # address -> (ordinal, size); address -> (id, size)
        self.counts = dict(segments=0, ids=0, allocs=0, frees=0, reserved=0, requested=0)
        starts = [e["addr"] for e in entries if e["action"] == "segment_alloc"]
        self.lowest = min(starts) if starts else 0

    def place(self, address):
        for start, (ordinal, size) in self.segments.items():
            if start <= address < start + size:
                return ordinal, address - start
        return -1, address

    def flush_marks(self):
        n = self.counts
        while self.marks and (n["allocs"], n["frees"]) == (self.marks[0]["allocs"], self.marks[0]["frees"]):
            m = self.marks.pop(0)
            if (m["reserved"], m["requested"]) != (n["reserved"], n["requested"]):
                self.bad.append(m["name"])
            self.lines.append("m {name} {allocated} {requested} {reserved} {peak_allocated} "
                              "{peak_reserved}".format(**m))

    def add(self, e, following):
        n, action, address, size = self.counts, e["action"], e.get("addr", 0), e.get("size", 0)
        if action == "segment_alloc":
            self.segments[address] = (n["segments"], size)
            self.lines.append(f"S {size} {n['segments']} {address - self.lowest}")
            n["segments"] += 1
            n["reserved"] += size
        elif action == "segment_free":
            self.lines.append(f"F {self.segments.pop(address)[0]}")
            n["reserved"] -= size
        elif action == "alloc":
            segment, offset = self.place(address)
            self.blocks[address] = (n["ids"], size)
            stream = f" stream={e['stream']}" if e.get("stream") else ""
            self.lines.append(f"a {n['ids']} {size} {segment} {offset} {label(e.get('frames', []))}{stream}")
            n["ids"] += 1
            n["allocs"] += 1
            n["requested"] += size
        elif action == "free_requested":
            ident, size = self.blocks[address]
            atonce = following and following["action"] == "free_completed" and following["addr"] == address
            self.lines.append(f"{'f' if atonce else 'r'} {ident}")
            self.pending = None if atonce else self.blocks.pop(address)
            n["frees"] += 1
            n["requested"] -= size
        elif action == "free_completed":
            if address in self.blocks:
                self.blocks.pop(address)
            else:
                self.lines.append(f"c {self.pending[0] if self.pending else -1}")
        elif action != "snapshot":
            self.lines.append(f"# {action} {size}")
        if not (action == "free_requested" and following and following["action"] == "free_completed"):
            self.flush_marks()


def compact(snapshot, marks, result):
    entries = [e for trace in snapshot["device_traces"] for e in trace]
    work = Compactor(entries, marks)
    work.flush_marks()
    for index, entry in enumerate(entries):
        work.add(entry, entries[index + 1] if index + 1 < len(entries) else None)
    for segment in sorted(snapshot["segments"], key=lambda s: work.segments.get(s["address"], (-1,))[0]):
        offset, ordinal = 0, work.segments.get(segment["address"], (-1, 0))[0]
        for block in segment["blocks"]:
            offset = block.get("address", segment["address"] + offset) - segment["address"]
            work.lines.append(f"b {ordinal} {offset} {block['size']} {block['state']}")
            offset += block["size"]
    result["trace_check"] = dict(events=len(entries), marks=len(marks), marks_not_met=len(work.marks),
                                 marks_wrong=work.bad)
    return work.lines


# ---- what the GPU takes outside the allocator ----

def smi():
    fields = "memory.total,memory.used,memory.free,memory.reserved,driver_version"
    try:
        out = subprocess.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
                             capture_output=True, text=True, timeout=20)
        return dict(zip(fields.split(","), [v.strip() for v in out.stdout.strip().split(",")]))
    except Exception as error:
        return dict(unknown=str(error))


def gpu_facts(c, stacks):
    rows, result = [], dict(status="ok", smi_before_context=smi())
    torch.backends.cudnn.benchmark = False

    def note(name):
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        reserved = torch.cuda.memory_reserved()
        rows.append(dict(after=name, free=free, total=total, allocated=torch.cuda.memory_allocated(),
                         reserved=reserved, outside_allocator_bytes=total - free - reserved))

    torch.cuda.init()
    torch.cuda.synchronize()
    note("context")
    a = torch.zeros(1024, 1024, device="cuda")
    note("first 4 MiB tensor")
    trials = [
        ("matmul fp32", lambda: a @ a), ("matmul fp16", lambda: a.half() @ a.half()),
        ("matmul bf16", lambda: a.bfloat16() @ a.bfloat16()),
        ("linear with bias fp32", lambda: F.linear(a, a, a[0])),
        ("batched matmul fp16", lambda: torch.bmm(a.half().view(16, 64, 1024), a.half().view(16, 1024, 64))),
        ("conv2d fp32", lambda: F.conv2d(a.view(1, 16, 256, 256), a.view(-1)[:2304].view(16, 16, 3, 3))),
        ("conv3d fp32", lambda: F.conv3d(a.view(1, 16, 16, 64, 64), a.view(-1)[:6912].view(16, 16, 3, 3, 3))),
        ("conv3d fp16", lambda: F.conv3d(a.half().view(1, 16, 16, 64, 64),
                                         a.half().view(-1)[:6912].view(16, 16, 3, 3, 3)))]
    for name, call in trials:
        try:
            call()
            note(name)
        except Exception as error:
            rows.append(dict(after=name, error=str(error)[:300]))
    w = torch.zeros(1024, 1024, device="cuda", requires_grad=True)
    F.linear(a, w).sum().backward()
    note("matmul in the backward thread")
    del w
    torch.cuda.empty_cache()
    note("empty_cache")
    if hasattr(torch._C, "_cuda_clearCublasWorkspaces"):
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
        note("cuBLAS workspaces cleared")
    properties = torch.cuda.get_device_properties(0)
    result["properties"] = {k: getattr(properties, k) for k in dir(properties)
                            if not k.startswith(("_", "pci")) and isinstance(getattr(properties, k), (int, float, str))}
    result.update(memory=rows, smi_with_context=smi(), capability=list(torch.cuda.get_device_capability(0)),
                  cudnn=torch.backends.cudnn.version(), flags=flags(),
                  allocator=torch.cuda.get_allocator_backend())
    return result, None


# ---- children, deadlines, files ----

def child(work, c, stacks, path):
    began = time.time()
    try:
        result, events = work(c, stacks)
        result["child_s"] = round(time.time() - began, 2)
        if events is not None:
            Path(path + ".trace").write_text("\n".join(events) + "\n")
    except Exception as error:
        result = dict(status="failed", error=f"{type(error).__name__}: {error}"[:500],
                      where=[f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)][-6:])
    Path(path + ".part").write_text(json.dumps(result))
    os.rename(path + ".part", path)


class Harness:
    def __init__(self, out, seconds):
        self.out, self.end = Path(out), time.time() + seconds
        self.scratch = Path(tempfile.mkdtemp())
        self.fork = multiprocessing.get_context("fork")
        self.figures = dict(
            torch=torch.__version__, cuda=torch.version.cuda, dry_run=DEVICE == "cpu",
            environment={k: v for k, v in os.environ.items()
                         if k.startswith(("PYTORCH_", "CUDNN_", "CUBLAS")) or
                         k in ("NVIDIA_TF32_OVERRIDE", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING")},
            facts=None, cases=[])

    def save(self):
        part = self.out / "torch_cuda_figures.json.part"
        part.write_text(json.dumps(self.figures, indent=1) + "\n")
        os.rename(part, self.out / "torch_cuda_figures.json")

    def run(self, work, cases, width, limit_s, stacks="all"):
        """Runs the cases, `width` at a time; a result for each, in their order."""
        waiting, running, done = list(enumerate(cases)), [], {}
        while waiting or running:
            while waiting and len(running) < width and time.time() < self.end - 8:
                index, c = waiting.pop(0)
                path = str(self.scratch / f"{c['name']}.{stacks}")
                process = self.fork.Process(target=child, args=(work, c, stacks, path))
                process.start()
                running.append((index, c, path, process, time.time()))
            if waiting and not running:
                for index, c in waiting:
                    done[index] = dict(status="no time left")
                break
            time.sleep(.05)
            for row in list(running):
                index, c, path, process, began = row
                if process.is_alive() and time.time() < min(began + limit_s, self.end):
                    continue
                running.remove(row)
                if process.is_alive():
                    process.kill()
                process.join()
                done[index] = json.loads(Path(path).read_text()) if os.path.exists(path) \
                    else dict(status="died", exit=process.exitcode, after_s=round(time.time() - began, 1))
                done[index]["trace_path"] = path + ".trace"
                print(f"{c['name']}: {done[index].get('status')} {done[index].get('error', '')} "
                      f"{time.time() - began:.1f} s", flush=True)
        return [done[i] for i in range(len(cases))]

    def record(self, cases, results):
        for c, result in zip(cases, results):
            row = dict(c)
            row.update({k: v for k, v in result.items() if k != "trace_path"})
            self.figures["cases"].append(row)
        self.save()

    def write_traces(self, cases, results):
        sizes = {}
        for c, result in zip(cases, results):
            source = Path(result.get("trace_path", ""))
            if result.get("status") != "ok" or not source.is_file():
                continue
            name = f"torch_cuda_trace_{c['net']}_{c['precision']}.txt"
            about = {k: v for k, v in c.items() if k not in ("name", "trace")}
            about.update(torch=torch.__version__, parameters=result["parameters"],
                         check=result["trace_check"], stacks=result["stacks"])
            text = f"case {c['name']}\n" + "".join(f"# {k} {json.dumps(v)}\n" for k, v in about.items())
            body = source.read_text()
            if sizes.get(name, 0) + len(text) + len(body) > TRACE_FILE_LIMIT:     # labels are the bulk
                body = re.sub(r"(?m)^(a \d+ \d+ \S+ \S+) \S+", r"\1 -", body)
            text += body + "end\n"
            with open(self.out / name, "a" if name in sizes else "w") as file:
                file.write(text)
            sizes[name] = sizes.get(name, 0) + len(text)


def main():
    global DEVICE
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--seconds", type=float, default=330.)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    DEVICE = "cpu" if options.dry_run else "cuda"
    os.makedirs(options.out, exist_ok=True)
    harness = Harness(options.out, options.seconds)
    harness.save()
    if not options.dry_run:
        harness.figures["facts"] = harness.run(gpu_facts, [dict(name="facts")], 1, 60)[0]
        harness.figures["facts"].pop("trace_path", None)
        harness.save()

    small = trace_cases()
    results = harness.run(run_case, small[:1], 1, 60)
    stacks = "all" if results[0]["status"] == "ok" and results[0]["child_s"] < 30 else "python"
    results += harness.run(run_case, small[1:], 1 if options.dry_run else 6, 45, stacks)
    again = [i for i, r in enumerate(results) if r["status"] != "ok" and not options.dry_run]
    if again and stacks == "all":                 # C++ stacks may be what failed: Python's alone then
        for i, result in zip(again, harness.run(run_case, [small[i] for i in again], 6, 25, "python")):
            if result["status"] == "ok":
                results[i] = result
    harness.write_traces(small, results)
    harness.record(small, results)
    if not options.dry_run:
        for c in figure_cases():                  # one at a time: these are timed
            harness.record([c], harness.run(run_case, [c], 1, 45))
    bad = [c["name"] for c in harness.figures["cases"] if c.get("status") != "ok"]
    print(f"{len(harness.figures['cases'])} cases, not ok: {bad}", flush=True)


if __name__ == "__main__":
    main()
