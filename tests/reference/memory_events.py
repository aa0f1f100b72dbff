#!/usr/bin/env python3
"""Every allocation and free of small training steps, in PyTorch eager's own order.

    python3 memory_events.py OUT_DIR

Writes OUT_DIR/torch_events_CASE.txt; the head of each file says what its lines mean. And OUT_DIR/torch_layouts.txt: a line
for each channels-last case, its name and, in the order of births, the layout each storage was born with
(fake_device.layout_of).
"""
import sys
from pathlib import Path

import torch

from fake_device import pretend_there_is_a_gpu
from training import STEPS, Case, account_case

UNET = dict(network="denseunet3d", base=8, levels=3, classes=5, size=(16, 16, 16), batch=2)
SEGFORMER = dict(network="segformer", variant="b0", size=(64, 64), batch=2)
LAST = dict(memory_format="channels_last")

CASES = [
    Case("unet_fp32", **UNET),
    Case("unet_fp16", **UNET, precision="fp16"),
    Case("unet_bf16", **UNET, precision="bf16"),
    Case("unet_fp32_checkpoint", **UNET, checkpoint="blocks"),
    Case("unet_fp16_checkpoint", **UNET, precision="fp16", checkpoint="blocks"),
    Case("unet_fp32_accumulate", **UNET, accumulate=2),
    Case("unet_fp32_fused", **UNET, implementation="fused"),
    Case("unet_fp32_batch1", **dict(UNET, batch=1)),
    Case("unet_fp32_loader", **UNET, loop="loader"),
    Case("unet_fp32_val", **UNET, phase="val"),
    Case("unet_fp16_val", **UNET, phase="val", precision="fp16"),
    Case("segformer_fp32", **SEGFORMER),
    Case("segformer_fp16", **SEGFORMER, precision="fp16"),
    Case("segformer_bf16", **SEGFORMER, precision="bf16"),
    Case("segformer_fp32_checkpoint", **SEGFORMER, checkpoint="blocks"),
    Case("segformer_fp16_checkpoint", **SEGFORMER, precision="fp16", checkpoint="blocks"),
    Case("segformer_fp32_accumulate", **SEGFORMER, accumulate=2),
    Case("segformer_fp32_fused", **SEGFORMER, implementation="fused"),
    Case("segformer_fp32_batch1", **dict(SEGFORMER, batch=1)),
    Case("segformer_fp32_loader", **SEGFORMER, loop="loader"),
    Case("segformer_fp32_val", **SEGFORMER, phase="val"),
    Case("segformer_fp16_flash", **SEGFORMER, precision="fp16", attention="flash"),
    Case("segformer_bf16_flash_checkpoint", **SEGFORMER, precision="bf16", attention="flash", checkpoint="blocks"),
    Case("segformer_bf16_flash_loader", **SEGFORMER, precision="bf16", attention="flash", loop="loader"),
    Case("segformer_fp16_flash_batch1", **dict(SEGFORMER, batch=1), precision="fp16", attention="flash"),
    Case("segformer_fp16_flash_accumulate", **SEGFORMER, precision="fp16", attention="flash", accumulate=2),
    Case("segformer_fp16_flash_val", **SEGFORMER, phase="val", precision="fp16", attention="flash"),
    Case("segformer_fp16_val", **SEGFORMER, phase="val", precision="fp16"),
    Case("unet_bf16_channels_last", **UNET, **LAST, precision="bf16"),
    Case("unet_fp16_checkpoint_channels_last", **UNET, **LAST, precision="fp16", checkpoint="blocks"),
    Case("segformer_fp32_channels_last", **SEGFORMER, **LAST),
    Case("segformer_bf16_channels_last", **SEGFORMER, **LAST, precision="bf16"),
    Case("segformer_fp32_batch1_channels_last", **dict(SEGFORMER, batch=1), **LAST),
    Case("segformer_fp16_checkpoint_channels_last", **SEGFORMER, **LAST, precision="fp16", checkpoint="blocks"),
    Case("segformer_fp32_val_channels_last", **SEGFORMER, **LAST, phase="val"),
]

HEAD = """\
## {name}: what PyTorch allocates and frees in {steps} steps; torch {torch}, no GPU (fake CUDA tensors)
## {options}
##
## A ID BYTES OPERATOR   a storage is born in this ATen operator; bytes rounded up to 512; ids count from 0
## F ID                  it dies
## # TEXT                what follows belongs to: build | step N | forward N | backward N | delete loss N |
##                       optimizer | zero_grad | metrics | delete out | end
## # cache .. # cache end   cast weights that die when autocast ends, in a forward or a recomputation. Their order is
##                       that of a hash of pointers; here they are sorted by id. All other order is PyTorch's.
## Left out: what dies while a parameter is initialised. Because a dispatch mode watches, gradients that meet are added
## out of place.
"""


def tidy(events):
    """Drops what dies while building and numbers storages anew."""
    first = events.index(("#", "step 1"))
    short = {event[1] for event in events[:first] if event[0] == "F"}
    names = {}
    for event in events:
        if event[0] == "A" and event[1] not in short:
            names[event[1]] = len(names)
    return [e if e[0] == "#" else (e[0], names[e[1]], *e[2:]) for e in events if e[0] == "#" or e[1] in names], names


def main():
    out_dir = Path(sys.argv[1])
    pretend_there_is_a_gpu()
    layouts = []
    for case in CASES:
        ledger = account_case(case)
        options = " ".join(f"{key}={'x'.join(map(str, value)) if key == 'size' else value}"
                           for key, value in vars(case).items()
                           if key != "name" and (key, value) not in (("memory_format", "contiguous"),
                                                                ("attention", "math")))
        text = HEAD.format(name=case.name, steps=STEPS, torch=torch.__version__, options=options)
        events, names = tidy(ledger.events)
        lines = [" ".join(map(str, event)) for event in events]
        if case.memory_format != "contiguous":
            layouts.append(f"{case.name} {''.join(ledger.layouts[name] for name in names)}\n")
        (out_dir / f"torch_events_{case.name}.txt").write_text(text + "\n".join(lines) + "\n")
        print(f"{case.name}: {len(lines)} lines, peak {ledger.peak_bytes / 2 ** 20:.3f} MiB")
    (out_dir / "torch_layouts.txt").write_text("".join(layouts))


if __name__ == "__main__":
    main()
