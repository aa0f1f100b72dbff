#!/usr/bin/env python3
"""Loss and gradients of both networks, tiny, in double, from parameters and inputs that a formula gives.

    python3 net_values.py OUT_DIR

Writes OUT_DIR/net_values.txt; its head says what its lines mean.
"""
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

import networks
from networks import DenseUNet3D, SegFormer, dice_and_cross_entropy

HEAD = """\
# Loss and gradients of whole networks on the CPU, in double; torch {torch}
#
# case NAME
# attr KEY VALUE...
# param K NAME NDIM SIZE...        parameter K, in the order of registration
# out NORM PROBE V0 V1 V2 V3       the network's output: L2 norm, sum of value i * cos(0.3 * i), first four values
#                                  (fewer if it has fewer)
# loss VALUE
# grad K NORM PROBE G0 ..          gradient of parameter K. Some are zero but for rounding (key biases; biases whose sum
#                                  a batch norm takes away): compare those with an absolute bound.
# buffer K NAME NORM PROBE V0 ..   batch norm's running_mean and running_var after one forward pass
# eval_out NORM PROBE V0 ..        the output in evaluation, with the running statistics as they then are
# end                              ends a case
#
# Value i (row-major, from 0) of parameter k (from 0), with s = (31 * i * i + 7919 * i + 104729 * k) mod 65521, in
# 64-bit integers, / 32768 - 1:
#     weights (two dimensions or more)   SCALE * s, SCALE = sqrt(3 / (number of values / size of dimension 0))
#     norm weights (one dimension, name ends in "weight")   1 + 0.1 * s
#     biases                                                0.1 * s
# Value i of input x: sin(0.37 * i) + 0.5 * cos(0.011 * i * i).   Label i: (i * i + i / 7) mod classes, in integers.
# Running means start at 0 and running variances at 1. Batch norm trains; dropout is off.
"""


def fill(net):
    for k, (name, p) in enumerate(net.named_parameters()):
        i = torch.arange(p.numel())
        s = ((31 * i * i + 7919 * i + 104729 * k) % 65521).double().reshape(p.shape) / 32768 - 1
        if p.ndim > 1:
            s = s * (3 / (p.numel() / p.shape[0])) ** 0.5
        else:
            s = 0.1 * s + (1 if name.endswith("weight") else 0)
        with torch.no_grad():
            p.copy_(s)


def inputs(batch, channels, size, classes):
    i = torch.arange(batch * channels * torch.Size(size).numel(), dtype=torch.float64)
    x = torch.sin(0.37 * i) + 0.5 * torch.cos(0.011 * i * i)
    j = torch.arange(batch * torch.Size(size).numel())
    return x.reshape(batch, channels, *size), ((j * j + j // 7) % classes).reshape(batch, *size)


def summary(t):
    values = t.detach().reshape(-1)
    probe = torch.cos(0.3 * torch.arange(len(values), dtype=torch.float64)) @ values
    return " ".join(repr(float(v)) for v in (values.norm(), probe, *values[:4]))


def write(out, name, net, criterion, batch, channels, size, classes, attrs):
    net = net.double().train()
    fill(net)
    x, y = inputs(batch, channels, size, classes)
    output = net(x)
    loss = criterion(output, y)
    loss.backward()
    out.write(f"case {name}\n")
    for key, value in dict(attrs, batch=batch, size=" ".join(map(str, size)), classes=classes).items():
        out.write(f"attr {key} {value}\n")
    for k, (key, p) in enumerate(net.named_parameters()):
        out.write(" ".join(map(str, ("param", k, key, p.ndim, *p.shape))) + "\n")
    out.write(f"out {summary(output)}\nloss {loss.item()!r}\n")
    for k, p in enumerate(net.parameters()):
        out.write(f"grad {k} {summary(p.grad)}\n")
    statistics = [(key, b) for key, b in net.named_buffers() if not key.endswith("num_batches_tracked")]
    for k, (key, b) in enumerate(statistics):
        out.write(f"buffer {k} {key} {summary(b)}\n")
    with torch.no_grad():
        out.write(f"eval_out {summary(net.eval()(x))}\nend\n")


def main():
    networks.F.dropout = lambda x, *_: x
    with open(Path(sys.argv[1]) / "net_values.txt", "w") as out:
        out.write(HEAD.format(torch=torch.__version__))
        for name, base, levels, classes, batch, size in (
                ("denseunet3d_tiny", 2, 3, 3, 2, (8, 8, 8)),
                ("denseunet3d_uneven", 3, 2, 5, 1, (4, 12, 8))):
            write(out, name, DenseUNet3D(base, classes, levels), F.cross_entropy, batch, 1, size, classes,
                  dict(network="denseunet3d", base=base, levels=levels, criterion="cross_entropy"))
        for name, variant, classes, batch, size in (
                ("segformer_b0", "b0", 4, 1, (64, 64)),
                ("segformer_b0_uneven", "b0", 3, 2, (64, 96))):
            write(out, name, SegFormer(variant, classes), dice_and_cross_entropy, batch, 3, size, classes,
                  dict(network="segformer", variant=variant, criterion="dice_and_cross_entropy"))


if __name__ == "__main__":
    main()
