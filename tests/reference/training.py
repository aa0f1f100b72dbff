"""The training and validation loops of the references: a Case says what is trained and how, account_case() counts it.

Which Python names live how long is part of the definition, since memory lives as long as they do.
"""
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from fake_device import account, autocast
from networks import DenseUNet3D, SegFormer, dice_and_cross_entropy

STEPS = 2                       # the second one has gradients, optimizer state and every buffer there


@dataclass
class Case:
    name: str
    network: str                # denseunet3d, segformer
    size: tuple                 # input sizes, DxHxW or HxW
    batch: int
    phase: str = "train"        # train, val: evaluation without gradients
    base: int = 16              # denseunet3d: channels of the first level
    levels: int = 4             # denseunet3d
    variant: str = "b0"         # segformer
    classes: int = 0            # 0: 71 for denseunet3d, 4 for segformer
    precision: str = "fp32"     # fp32; fp16 and bf16 by autocast, without a gradient scaler
    checkpoint: str = "none"    # none, blocks
    accumulate: int = 1         # forward and backward passes a step, all of the same x and y, the loss not divided
    optimizer: str = "adamw"    # adamw, adam, sgd
    implementation: str = "foreach"     # foreach, forloop, fused
    amsgrad: int = -1           # -1: 1 for segformer's adamw, else 0
    momentum: float = 0.0       # sgd
    nesterov: int = 0           # sgd
    weight_decay: float = -1.0  # -1: adamw 0.01 for denseunet3d and 0.0001 for segformer, else 0
    zero_grad: str = "none"     # none: gradients are dropped; keep: they are zeroed in place
    loop: str = "plain"         # plain, loader: see train()
    memory_format: str = "contiguous"   # contiguous; channels_last: network and images .to(memory_format=channels_last[_3d])
    attention: str = "math"     # segformer: math, flash

    def __post_init__(self):
        unet = self.network == "denseunet3d"
        self.classes = self.classes or (71 if unet else 4)
        if self.amsgrad < 0:
            self.amsgrad = int(not unet and self.optimizer == "adamw")
        if self.weight_decay < 0:
            self.weight_decay = (0.01 if unet else 0.0001) if self.optimizer == "adamw" else 0.0


def new_network(case):
    checkpointed = case.checkpoint == "blocks"
    if case.network == "denseunet3d":
        return DenseUNet3D(case.base, case.classes, case.levels, checkpointed)
    return SegFormer(case.variant, case.classes, checkpointed, case.attention == "flash")


@contextmanager
def convolutions_in(memory_format):
    """Convolutions are built with weights as net.to(memory_format=...) leaves them, which converts tensors of four and
    five dimensions alone. One by one, so that all parameters come in the order of construction."""
    def parameter(data, *args, **kwargs):
        if memory_format != torch.contiguous_format and data.ndim > 3:
            data = data.to(memory_format=memory_format)
        return torch.nn.Parameter(data, *args, **kwargs)
    torch.nn.modules.conv.Parameter = parameter
    try:
        yield
    finally:
        torch.nn.modules.conv.Parameter = torch.nn.Parameter


def new_optimizer(case, parameters):
    form = dict(fused=True) if case.implementation == "fused" else dict(foreach=case.implementation == "foreach")
    if case.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=1e-3, momentum=case.momentum, nesterov=bool(case.nesterov),
                               weight_decay=case.weight_decay, **form)
    make = torch.optim.AdamW if case.optimizer == "adamw" else torch.optim.Adam
    return make(parameters, lr=1e-4, weight_decay=case.weight_decay, amsgrad=bool(case.amsgrad), **form)


def format_of(case):
    if case.memory_format == "contiguous":
        return torch.contiguous_format
    return torch.channels_last_3d if case.network == "denseunet3d" else torch.channels_last


def new_batch(case):
    """Fresh input and labels, as a copy to the GPU makes them."""
    channels = 1 if case.network == "denseunet3d" else 3
    return (torch.empty(case.batch, channels, *case.size, device="cuda:0", memory_format=format_of(case)),
            torch.empty(case.batch, *case.size, dtype=torch.long, device="cuda:0"))


def criterion_of(case):
    return F.cross_entropy if case.network == "denseunet3d" else dice_and_cross_entropy


def train(ledger, case, net, optimizer, x, y):
    """plain: one batch, made before; the loss is deleted before the optimizer steps, and no name keeps the output.
    loader: a new batch a step, both its tensors there before the old ones go; x, y, out and loss live until they are
    bound anew, so the previous output and loss are there during the forward pass."""
    criterion = criterion_of(case)
    for step in range(1, STEPS + 1):
        ledger.mark(f"step {step}")
        if case.loop == "loader":
            x, y = new_batch(case)
        for micro in range(1, case.accumulate + 1):
            ledger.mark(f"forward {micro}")
            with autocast(case.precision):
                if case.loop == "loader":
                    out = net(x)
                    loss = criterion(out, y)
                else:
                    loss = criterion(net(x), y)
            ledger.mark(f"backward {micro}")
            loss.backward()
            if case.loop == "plain":
                ledger.mark(f"delete loss {micro}")
                del loss
        ledger.mark("optimizer")
        optimizer.step()
        ledger.mark("zero_grad")
        optimizer.zero_grad(set_to_none=case.zero_grad == "none")


def class_overlaps(pred, y, classes):
    for c in range(classes):
        p, t = pred == c, y == c
        (p & t).sum()
        (p | t).sum()


def validate(ledger, case, net, x, y):
    """Evaluation without gradients: the forward pass, then the metrics; out and what follows live until the end."""
    net.eval()
    for step in range(1, STEPS + 1):
        ledger.mark(f"step {step}")
        with torch.no_grad(), autocast(case.precision):
            ledger.mark("forward 1")
            out = net(x)
            ledger.mark("metrics")
            if case.network == "denseunet3d":
                pred = out.argmax(1)
                class_overlaps(pred, y, case.classes)
                del pred
            else:
                loss = dice_and_cross_entropy(out, y)
                del loss
        ledger.mark("delete out")
        del out


def account_case(case):
    """The Ledger of a case. Loader cases have no batch before the first step."""
    def build():
        with convolutions_in(format_of(case)):
            net = new_network(case)
        batch = new_batch(case) if case.loop == "plain" else (None, None)
        if case.phase == "val":
            return case, net, *batch
        return case, net, new_optimizer(case, net.parameters()), *batch
    return account(build, validate if case.phase == "val" else train)
