"""Times PyTorch's training step on the CPU, the peer of tests/bench/bench_step.c.

    torch_cpu_step.py NETWORK BATCH PRECISION THREADS SECONDS [SIZE]

prints "step_ms MEDIAN steps N library TEXT". Same step: batch to the device (here a copy), forward, loss, backward, AdamW
(foreach), zero_grad. bf16 is torch.autocast("cpu"). Run by ci/bench.sh.
"""
import statistics
import sys
import time

import torch
import torch.nn.functional as F

from networks import DenseUNet3D, SegFormer, dice_and_cross_entropy


def onednn_version():
    for line in torch.__config__.show().splitlines():
        if "oneDNN" in line or "MKL-DNN" in line:
            return line.strip(" -")
    return "oneDNN unknown"


def main():
    network, batch, precision, threads, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
    size = [int(n) for n in sys.argv[6].split("x")]
    torch.manual_seed(1)
    if threads:
        torch.set_num_threads(threads)
    if network == "denseunet3d":
        net, classes, channels = DenseUNet3D(base=16, classes=71, levels=4), 71, 1
        loss_of = lambda out, y: F.cross_entropy(out, y, ignore_index=255)
        options = dict(lr=1e-4, weight_decay=0)
    else:
        net, classes, channels = SegFormer("b2", 4), 4, 3
        loss_of = dice_and_cross_entropy
        options = dict(lr=3e-4, weight_decay=1e-4, amsgrad=True)
    optimizer = torch.optim.AdamW(net.parameters(), foreach=True, **options)
    images, labels = torch.randn(batch, channels, *size), torch.randint(0, classes, (batch, *size))
    times = []
    while len(times) < 5 or sum(times[2:]) < seconds:
        start = time.perf_counter()
        x, y = images.clone(), labels.clone()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = loss_of(net(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    print(f"step_ms {statistics.median(times[2:]) * 1e3:.3f} steps {len(times) - 2} library torch {torch.__version__}, {onednn_version()}")


main()
