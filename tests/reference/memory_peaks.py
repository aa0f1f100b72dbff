#!/usr/bin/env python3
"""Peak allocated bytes of many training steps, as PyTorch eager would reach them with empty workspaces.

    python3 memory_peaks.py OUT_DIR

Writes OUT_DIR/torch_peaks.tsv (whole steps of the two networks: a column for every field of training.Case but the
memory format and the form of attention), OUT_DIR/torch_peaks_channels_last.tsv (the same, channels-last),
OUT_DIR/torch_peaks_flash.tsv (SegFormer's with flash attention) and OUT_DIR/torch_peaks_blocks.tsv (small stacks of
layers, losses and optimizers). Peaks are sums of storages rounded up to 512 bytes; because a dispatch mode watches, gradients that meet are added out of place.
"""
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from fake_device import account, autocast, pretend_there_is_a_gpu
from networks import Attention, dice_and_cross_entropy
from training import STEPS, Case, account_case

MIB = 2 ** 20


def unet(name, size, batch, **more):
    return Case("unet_" + name, "denseunet3d", size, batch, **more)


def segformer(name, size, batch, **more):
    return Case("segformer_" + name, "segformer", size, batch, **more)


def whole_cases():
    big, cube, square = (160, 160, 256), (64,) * 3, (224,) * 2
    light = dict(base=8, levels=3)
    sgd = dict(optimizer="sgd", momentum=0.9)
    return [
        unet("c16_fp32", big, 1),
        unet("c16_fp16", big, 1, precision="fp16"),
        unet("c16_bf16", big, 1, precision="bf16"),
        unet("c16_fp32_checkpoint", big, 1, checkpoint="blocks"),
        unet("c16_fp16_checkpoint", big, 1, precision="fp16", checkpoint="blocks"),
        unet("c8l3_fp32", cube, 4, **light),
        unet("c8l3_fp16", cube, 4, **light, precision="fp16"),
        unet("c8l3_bf16", cube, 4, **light, precision="bf16"),
        unet("c8l3_fp32_checkpoint", cube, 4, **light, checkpoint="blocks"),
        unet("c8l3_bf16_checkpoint", cube, 4, **light, precision="bf16", checkpoint="blocks"),
        unet("c8l3_fp32_b1", cube, 1, **light),
        unet("c8l3_fp32_b2", cube, 2, **light),
        unet("c8l3_fp32_b3", cube, 3, **light),
        unet("c32_fp32", (64, 64, 96), 2, base=32),
        unet("c24_odd_fp32", (48, 80, 112), 3, base=24, classes=13),
        unet("c12l3_odd_bf16", (40, 56, 72), 3, base=12, levels=3, classes=9, precision="bf16"),
        unet("c16l2_fp32", (36, 44, 52), 2, levels=2, classes=2),
        unet("c64_small_fp32", (32,) * 3, 1, base=64, classes=5),
        unet("c64_small_fp32_forloop", (32,) * 3, 1, base=64, classes=5, implementation="forloop"),
        unet("c64_small_adam", (32,) * 3, 1, base=64, classes=5, optimizer="adam"),
        unet("c64_small_adam_decay", (32,) * 3, 1, base=64, classes=5, optimizer="adam", weight_decay=0.01),
        unet("c64_small_adam_forloop", (32,) * 3, 1, base=64, classes=5, optimizer="adam", implementation="forloop"),
        unet("c64_small_adam_decay_forloop", (32,) * 3, 1, base=64, classes=5, optimizer="adam", weight_decay=0.01,
             implementation="forloop"),
        unet("c64_small_adamw_amsgrad", (32,) * 3, 1, base=64, classes=5, amsgrad=1),
        unet("c64_small_adamw_amsgrad_forloop", (32,) * 3, 1, base=64, classes=5, amsgrad=1,
             implementation="forloop"),
        unet("c64_small_sgd", (32,) * 3, 1, base=64, classes=5, optimizer="sgd"),
        unet("c64_small_sgd_momentum", (32,) * 3, 1, base=64, classes=5, **sgd),
        unet("c64_small_sgd_nesterov_decay", (32,) * 3, 1, base=64, classes=5, **sgd, nesterov=1, weight_decay=1e-4),
        unet("c64_small_sgd_nesterov_decay_forloop", (32,) * 3, 1, base=64, classes=5, **sgd, nesterov=1,
             weight_decay=1e-4, implementation="forloop"),
        unet("c64_small_keep", (32,) * 3, 1, base=64, classes=5, zero_grad="keep"),
        unet("c64_small_accumulate2", (32,) * 3, 1, base=64, classes=5, accumulate=2),
        unet("c64_small_accumulate2_checkpoint", (32,) * 3, 1, base=64, classes=5, accumulate=2, checkpoint="blocks"),
        unet("c8l3_accumulate2", cube, 4, **light, accumulate=2),
        unet("c8l3_accumulate4_keep", cube, 2, **light, accumulate=4, zero_grad="keep"),
        unet("c8l3_accumulate4_fp16", cube, 2, **light, accumulate=4, precision="fp16"),
        unet("c8l3_loader", cube, 2, **light, loop="loader"),
        unet("c8l3_loader_fp16", cube, 2, **light, loop="loader", precision="fp16"),
        unet("c8l3_val", cube, 2, **light, phase="val"),
        unet("c8l3_val_fp16", cube, 2, **light, phase="val", precision="fp16"),
        segformer("b0_fp32", square, 2),
        segformer("b0_fp16", square, 2, precision="fp16"),
        segformer("b0_bf16", square, 2, precision="bf16"),
        segformer("b2_fp32", (256,) * 2, 4, variant="b2"),
        segformer("b2_fp16", (256,) * 2, 4, variant="b2", precision="fp16"),
        segformer("b2_bf16", (256,) * 2, 4, variant="b2", precision="bf16"),
        segformer("b2_fp32_checkpoint", (256,) * 2, 4, variant="b2", checkpoint="blocks"),
        segformer("b2_fp16_checkpoint", (256,) * 2, 4, variant="b2", precision="fp16", checkpoint="blocks"),
        segformer("b0_odd_fp32", (160, 288), 3, classes=7),
        segformer("b0_odd_bf16", (352, 96), 3, classes=7, precision="bf16"),
        segformer("b0_512_fp32", (512,) * 2, 4),
        segformer("b0_512_bf16", (512,) * 2, 4, precision="bf16"),
        segformer("b0_512_fp32_checkpoint", (512,) * 2, 4, checkpoint="blocks"),
        segformer("b1_fp32", (288,) * 2, 2, variant="b1"),
        segformer("b3_fp32", (288,) * 2, 2, variant="b3"),
        segformer("b4_fp16", (288,) * 2, 3, variant="b4", precision="fp16"),
        segformer("b5_fp32", (288,) * 2, 4, variant="b5"),
        segformer("b5_bf16_checkpoint", (512,) * 2, 2, variant="b5", precision="bf16", checkpoint="blocks"),
        segformer("b0_accumulate2", square, 2, accumulate=2),
        segformer("b1_accumulate4_keep", square, 4, variant="b1", accumulate=4, zero_grad="keep"),
        segformer("b1_accumulate4_fp16", (512,) * 2, 4, variant="b1", accumulate=4, precision="fp16"),
        segformer("b2_small_fp32", (64,) * 2, 1, variant="b2"),
        segformer("b2_small_forloop", (64,) * 2, 1, variant="b2", implementation="forloop"),
        segformer("b2_small_no_amsgrad", (64,) * 2, 1, variant="b2", amsgrad=0),
        segformer("b2_small_adam", (64,) * 2, 1, variant="b2", optimizer="adam"),
        segformer("b2_small_sgd_nesterov_decay", (64,) * 2, 1, variant="b2", **sgd, nesterov=1, weight_decay=1e-4),
        segformer("b0_loader", square, 2, loop="loader"),
        segformer("b0_loader_fp16", square, 2, loop="loader", precision="fp16"),
        segformer("b0_val", square, 2, phase="val"),
        segformer("b0_val_fp16", square, 2, phase="val", precision="fp16"),
    ]


def channels_last_cases():
    """Odd and even sizes, one sample (whose strides are ambiguous) and several, of each precision."""
    last, light = dict(memory_format="channels_last"), dict(base=8, levels=3)
    for precision in ("fp32", "fp16", "bf16"):
        kind = dict(precision=precision, **last)
        yield unet(f"c16_{precision}", (160, 160, 256), 1, **kind)
        for batch in (1, 2, 3):
            yield unet(f"c8l3_{precision}_b{batch}", (64,) * 3, batch, **light, **kind)
            yield segformer(f"b0_{precision}_b{batch}", (224,) * 2, batch, **kind)
        yield unet(f"c12l3_odd_{precision}", (40, 56, 72), 3, base=12, levels=3, classes=9, **kind)
        yield segformer(f"b0_odd_{precision}", (160, 288), 3, classes=7, **kind)
        yield segformer(f"b2_{precision}", (256,) * 2, 4, variant="b2", **kind)
        for network, size, more in ((unet, (64,) * 3, light), (segformer, (256,) * 2, {})):
            yield network(f"{precision}_checkpoint", size, 2, **more, **kind, checkpoint="blocks")
            yield network(f"{precision}_loader", size, 2, **more, **kind, loop="loader")
            yield network(f"{precision}_val", size, 2, **more, **kind, phase="val")
    for network, size, more in ((unet, (64,) * 3, light), (segformer, (256,) * 2, {})):
        yield network("keep", size, 2, **more, **last, zero_grad="keep")
        yield network("forloop", size, 2, **more, **last, implementation="forloop")
        yield network("sgd", size, 2, **more, **last, optimizer="sgd", momentum=0.9)


def flash_cases():
    flash = dict(attention="flash")
    for precision in ("fp16", "bf16"):
        kind = dict(precision=precision, **flash)
        yield segformer(f"b0_{precision}", (224,) * 2, 2, **kind)
        yield segformer(f"b0_{precision}_b1", (224,) * 2, 1, **kind)
        yield segformer(f"b0_512_{precision}", (512,) * 2, 4, **kind)
        yield segformer(f"b0_odd_{precision}", (352, 96), 3, classes=7, **kind)
        yield segformer(f"b2_{precision}", (256,) * 2, 4, variant="b2", **kind)
        yield segformer(f"b5_{precision}_checkpoint", (512,) * 2, 2, variant="b5", checkpoint="blocks", **kind)
        yield segformer(f"b0_{precision}_loader", (512,) * 2, 2, loop="loader", **kind)
        yield segformer(f"b1_{precision}_accumulate", (256,) * 2, 2, variant="b1", accumulate=2, **kind)
    yield segformer("b0_fp16_val", (512,) * 2, 2, phase="val", precision="fp16", **flash)


# ---- small stacks ----

def norm_of(kind, channels):
    return {"batch": lambda: nn.BatchNorm3d(channels), "group": lambda: nn.GroupNorm(8, channels),
            "instance": lambda: nn.InstanceNorm3d(channels, affine=True)}[kind]()


def conv_norm_leaky(norm, inplace):
    return nn.Sequential(*[layer for _ in range(2) for layer in (
        nn.Conv3d(32, 32, 3, padding=1), norm_of(norm, 32), nn.LeakyReLU(inplace=inplace))])


def double_conv():
    return nn.Sequential(*[layer for _ in range(2) for layer in (
        nn.Conv3d(32, 32, 3, padding=1), nn.BatchNorm3d(32), nn.ReLU(inplace=True))])


class Checkpointed(nn.Sequential):
    def forward(self, x):
        for block in self:
            x = checkpoint(block, x, use_reentrant=False)
        return x


class GroupSiluResidual(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(*[layer for _ in range(2) for layer in (
            nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv3d(32, 32, 3, padding=1))])

    def forward(self, x):
        return x + self.body(x)


def mean_step(make, precision):
    """loss = net(x).mean() of one volume, 1 x 32 x 64 x 64 x 64, backward; gradients are dropped."""
    def build():
        return make(), torch.empty(1, 32, 64, 64, 64)

    def run(ledger, net, x):
        for _ in range(STEPS):
            with autocast(precision):
                loss = net(x).mean()
            loss.backward()
            del loss
            net.zero_grad()
    return account(build, run)


def loss_step(criterion, precision):
    """criterion(Conv3d(1, 4, 1)(x), y) of one volume, 128 x 128 x 128, backward; gradients are dropped."""
    def build():
        return nn.Conv3d(1, 4, 1), torch.empty(1, 1, 128, 128, 128), torch.zeros(1, 128, 128, 128, dtype=torch.long)

    def run(ledger, net, x, y):
        for _ in range(STEPS):
            with autocast(precision):
                loss = criterion(net(x), y)
            loss.backward()
            del loss
            net.zero_grad()
    return account(build, run)


def flash_step(depth, precision):
    """loss = attention(x).mean() of 2 x 1024 tokens in 2 heads, twice in a row, backward; gradients are dropped."""
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([Attention(2 * depth, 2, 1, True) for _ in range(2)])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x, 32, 32)
            return x

    def build():
        return Twice(), torch.empty(2, 1024, 2 * depth)

    def run(ledger, net, x):
        for _ in range(STEPS):
            with autocast(precision):
                loss = net(x).mean()
            loss.backward()
            del loss
            net.zero_grad()
    return account(build, run)


def dice_and_cross_entropy_3d(logits, target, dtype=torch.int64):
    p = logits.softmax(1)
    y = F.one_hot(target, logits.shape[1]).permute(0, 4, 1, 2, 3).to(dtype)
    overlap = (p * y).sum((2, 3, 4))
    total = p.sum((2, 3, 4)) + y.sum((2, 3, 4))
    return F.cross_entropy(logits, target) + 1 - ((2 * overlap + 1e-8) / (total + 1e-8)).mean()


def optimizer_step(make):
    """32 parameters of 1024 x 1024 with their gradients: 128 MiB each in all."""
    def build():
        parameters = [nn.Parameter(torch.empty(1024, 1024)) for _ in range(32)]
        for p in parameters:
            p.grad = torch.empty_like(p)
        return parameters, make(parameters)

    def run(ledger, parameters, optimizer):
        for _ in range(STEPS):
            optimizer.step()
    return account(build, run)


def block_rows():
    """(name, what it is, precision, the ledger)"""
    for norm in ("batch", "group", "instance"):
        for inplace in (True, False):
            for precision in ("fp32", "bf16"):
                tail = "inplace" if inplace else "outofplace"
                yield (f"conv_{norm}norm_leaky_{tail}_{precision}",
                       f"2 x (Conv3d(32, 32, 3, padding=1), {norm} norm, LeakyReLU {tail}), mean", precision,
                       mean_step(lambda: conv_norm_leaky(norm, inplace), precision))
    for precision in ("fp32", "bf16"):
        for kind, make in (("plain", nn.Sequential), ("checkpoint", Checkpointed)):
            yield (f"blocks4_{kind}_{precision}", "4 blocks of 2 x (Conv3d(32, 32, 3, padding=1), batch norm, ReLU "
                   f"inplace), mean, {kind}", precision,
                   mean_step(lambda: make(*[double_conv() for _ in range(4)]), precision))
        yield (f"group_silu_residual_{precision}",
               "2 x (x + 2 x (GroupNorm(8, 32), SiLU, Conv3d(32, 32, 3, padding=1))), mean", precision,
               mean_step(lambda: nn.Sequential(GroupSiluResidual(), GroupSiluResidual()), precision))
    for precision in ("fp32", "fp16", "bf16"):
        yield (f"cross_entropy_{precision}", "Conv3d(1, 4, 1) of 1 x 1 x 128^3, cross entropy", precision,
               loss_step(F.cross_entropy, precision))
        for dtype in (torch.int64, torch.float32):
            kind = str(dtype).removeprefix("torch.")
            yield (f"dice_cross_entropy_{kind}_{precision}", "Conv3d(1, 4, 1) of 1 x 1 x 128^3, cross entropy + soft "
                   f"dice with a one-hot of {kind}", precision,
                   loss_step(partial(dice_and_cross_entropy_3d, dtype=dtype), precision))
    for depth in (20, 24):
        for precision in ("fp16", "bf16"):
            yield (f"flash_d{depth}_{precision}", f"2 x flash attention of 2 x 1024 tokens, 2 heads of {depth}, mean", precision,
                   flash_step(depth, precision))
    for name, make in OPTIMIZERS:
        yield (f"optimizer_{name}", "32 parameters of 1024 x 1024 and their gradients, optimizer steps alone", "fp32",
               optimizer_step(make))


OPTIMIZERS = [
    ("sgd_momentum_foreach", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True)),
    ("sgd_momentum_forloop", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=False)),
    ("sgd_nesterov_decay_foreach", lambda p: torch.optim.SGD(
        p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, foreach=True)),
    ("sgd_nesterov_decay_forloop", lambda p: torch.optim.SGD(
        p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, foreach=False)),
    ("adam_foreach", lambda p: torch.optim.Adam(p, foreach=True)),
    ("adam_forloop", lambda p: torch.optim.Adam(p, foreach=False)),
    ("adam_decay_foreach", lambda p: torch.optim.Adam(p, weight_decay=1e-2, foreach=True)),
    ("adam_decay_forloop", lambda p: torch.optim.Adam(p, weight_decay=1e-2, foreach=False)),
    ("adam_amsgrad_foreach", lambda p: torch.optim.Adam(p, amsgrad=True, foreach=True)),
    ("adamw_foreach", lambda p: torch.optim.AdamW(p, foreach=True)),
    ("adamw_forloop", lambda p: torch.optim.AdamW(p, foreach=False)),
    ("adamw_amsgrad_foreach", lambda p: torch.optim.AdamW(p, amsgrad=True, foreach=True)),
    ("adamw_amsgrad_forloop", lambda p: torch.optim.AdamW(p, amsgrad=True, foreach=False)),
]


def write(path, what, header, rows):
    """A table, a row printed as soon as it is known."""
    with open(path, "w") as out:
        out.write(f"# {what}; {STEPS} steps; torch {torch.__version__}, no GPU (fake CUDA tensors)\n")
        out.write("\t".join(header) + "\n")
        for row in rows:
            text = "\t".join(map(str, row))
            out.write(text + "\n")
            print(text, flush=True)


def whole_rows(names, cases):
    for case in cases:
        ledger = account_case(case)
        values = ["x".join(map(str, v)) if isinstance(v, tuple) else v
                  for v in (getattr(case, name) for name in names)]
        yield [*values, ledger.peak_bytes, f"{ledger.peak_bytes / MIB:.3f}"]


def main():
    out_dir = Path(sys.argv[1])
    pretend_there_is_a_gpu()
    write(out_dir / "torch_peaks_blocks.tsv", "peak allocated bytes of small stacks",
          ["name", "precision", "peak_bytes", "peak_mib", "definition"],
          ((name, precision, ledger.peak_bytes, f"{ledger.peak_bytes / MIB:.3f}", definition)
           for name, definition, precision, ledger in block_rows()))
    names = [field.name for field in fields(Case) if field.name != "attention"]
    write(out_dir / "torch_peaks_channels_last.tsv", "peak allocated bytes of whole steps, channels-last",
          [*names, "peak_bytes", "peak_mib"], whole_rows(names, channels_last_cases()))
    names.remove("memory_format")
    write(out_dir / "torch_peaks_flash.tsv", "peak allocated bytes of whole steps with flash attention",
          [*names, "attention", "peak_bytes", "peak_mib"], whole_rows([*names, "attention"], flash_cases()))
    write(out_dir / "torch_peaks.tsv", "peak allocated bytes of whole steps",
          [*names, "peak_bytes", "peak_mib"], whole_rows(names, whole_cases()))


if __name__ == "__main__":
    main()
