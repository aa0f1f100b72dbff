#!/usr/bin/env python3
"""Inputs, outputs and gradients of every operator of the two networks, of their losses and optimizers, in double.

    python3 op_values.py OUT_DIR

Writes OUT_DIR/op_values.txt; its head says what its lines mean. Inputs are small multiples of 1/16, so they are exact
in bf16, fp16 and fp32 too.
"""
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from networks import dice_and_cross_entropy

HEAD = """\
# Operators of PyTorch on the CPU, in double; torch {torch}
#
# case NAME OPERATOR
# attr KEY VALUE...
# tensor ROLE DTYPE NDIM SIZE...   then its values in row-major order, up to 8 a line; DTYPE f64, i64 or bool (0, 1)
# end                              ends a case
#
# ROLE: in.NAME    an input
#       out.NAME   an output; in.NAME and out.NAME of the same NAME: what the operator made of it in place
#       up.NAME    the gradient that arrives at out.NAME
#       grad.NAME  the gradient of in.NAME
# Optimizers: in.p0 is a parameter, in.p0.grad1 its gradient of step 1, out.p0.step1 what step 1 made of it, and
# out.p0.KEY the optimizer's state after the last step.
"""
KIND = {torch.float64: "f64", torch.int64: "i64", torch.bool: "bool"}
random = torch.Generator().manual_seed(20240613)


def grid(*shape, low=-32, high=32):
    """Multiples of 1/16 from low/16 to high/16."""
    return torch.randint(low, high + 1, shape, generator=random).double() / 16


def positive(*shape):
    return grid(*shape, low=4)


def labels(classes, *shape, ignored=None):
    y = torch.randint(0, classes, shape, generator=random)
    if ignored is not None:
        y[torch.rand(shape, generator=random) < 0.3] = ignored
    return y


class Writer:
    def __init__(self, path):
        self.out = open(path, "w")
        self.out.write(HEAD.format(torch=torch.__version__))

    def tensor(self, role, t):
        t = t.detach()
        self.out.write(" ".join(map(str, ("tensor", role, KIND[t.dtype], t.ndim, *t.shape))) + "\n")
        values = [repr(int(v)) if t.dtype != torch.float64 else repr(v) for v in t.reshape(-1).tolist()]
        for at in range(0, len(values), 8):
            self.out.write(" ".join(values[at:at + 8]) + "\n")

    def begin(self, name, operator, attrs):
        self.out.write(f"case {name} {operator}\n")
        for key, value in attrs.items():
            value = value if isinstance(value, (tuple, list)) else (value,)
            self.out.write(" ".join(map(str, ("attr", key, *map(number, value)))) + "\n")

    def end(self):
        self.out.write("end\n")

    def case(self, name, operator, attrs, function, inputs, fixed=()):
        """function(*inputs) gives one output, y, or a dict of them, the first with a gradient unless all inputs are
        fixed."""
        self.begin(name, operator, attrs)
        leaves = {key: t.clone().requires_grad_(t.is_floating_point() and key not in fixed)
                  for key, t in inputs.items()}
        for key, t in inputs.items():
            self.tensor("in." + key, t)
        result = function(*leaves.values())
        outputs = result if isinstance(result, dict) else {"y": result}
        for key, t in outputs.items():
            self.tensor("out." + key, t)
        first, y = next(iter(outputs.items()))
        wanted = [key for key, t in leaves.items() if t.requires_grad]
        if wanted and y.requires_grad:
            up = grid(*y.shape)
            self.tensor("up." + first, up)
            for key, gradient in zip(wanted, torch.autograd.grad(y, [leaves[key] for key in wanted], up)):
                self.tensor("grad." + key, gradient)
        self.end()


def number(value):
    return int(value) if isinstance(value, bool) else value


# ---- convolution and matrix products ----

def convolutions(w):
    for name, x, weight, bias, attrs in (
            ("conv2d", (2, 3, 6, 5), (4, 3, 3, 3), True, dict(stride=(1, 1), padding=(1, 1))),
            ("conv2d_patch", (1, 3, 13, 10), (4, 3, 7, 7), True, dict(stride=(4, 4), padding=(3, 3))),
            ("conv2d_stride2_odd", (2, 2, 7, 5), (3, 2, 3, 3), True, dict(stride=(2, 2), padding=(1, 1))),
            ("conv2d_reduce", (2, 3, 8, 4), (3, 3, 4, 4), True, dict(stride=(4, 4), padding=(0, 0))),
            ("conv2d_reduce_rest", (1, 2, 9, 7), (3, 2, 4, 4), True, dict(stride=(4, 4), padding=(0, 0))),
            ("conv2d_pointwise", (2, 5, 3, 4), (3, 5, 1, 1), False, dict(stride=(1, 1), padding=(0, 0))),
            ("conv2d_depthwise", (2, 4, 5, 6), (4, 1, 3, 3), True, dict(stride=(1, 1), padding=(1, 1), groups=4)),
            ("conv2d_grouped", (2, 4, 4, 5), (6, 2, 3, 3), True, dict(stride=(1, 1), padding=(1, 1), groups=2)),
            ("conv2d_dilated", (1, 2, 7, 8), (3, 2, 3, 3), True,
             dict(stride=(1, 1), padding=(2, 1), dilation=(2, 3))),
            ("conv2d_uneven", (1, 2, 6, 9), (2, 2, 2, 3), False, dict(stride=(1, 2), padding=(0, 2))),
            ("conv3d", (2, 2, 4, 5, 3), (3, 2, 3, 3, 3), False, dict(stride=(1,) * 3, padding=(1,) * 3)),
            ("conv3d_down", (2, 2, 4, 6, 4), (4, 2, 2, 2, 2), False, dict(stride=(2,) * 3, padding=(0,) * 3)),
            ("conv3d_down_odd", (1, 2, 5, 3, 7), (3, 2, 2, 2, 2), True, dict(stride=(2,) * 3, padding=(0,) * 3)),
            ("conv3d_head", (2, 4, 3, 2, 3), (5, 4, 1, 1, 1), True, dict(stride=(1,) * 3, padding=(0,) * 3)),
            ("conv3d_uneven", (1, 2, 5, 4, 6), (2, 2, 3, 1, 2), True, dict(stride=(2, 1, 3), padding=(1, 0, 1))),
            ("conv3d_grouped", (1, 4, 3, 4, 3), (4, 2, 3, 3, 3), True,
             dict(stride=(1,) * 3, padding=(1,) * 3, groups=2))):
        dims = len(x) - 2
        attrs = dict(dict(dilation=(1,) * dims, groups=1), **attrs)
        function = F.conv2d if dims == 2 else F.conv3d
        inputs = dict(x=grid(*x), weight=grid(*weight), **({"bias": grid(weight[0])} if bias else {}))
        w.case(name, "conv", dict(attrs, transposed=0), lambda x, weight, bias=None: function(
            x, weight, bias, **attrs), inputs)
    for name, x, weight, bias, attrs in (
            ("conv_transpose3d", (2, 3, 2, 3, 2), (3, 2, 2, 2, 2), False, dict(stride=(2,) * 3, padding=(0,) * 3)),
            ("conv_transpose3d_bias", (1, 2, 3, 1, 2), (2, 3, 2, 2, 2), True, dict(stride=(2,) * 3, padding=(0,) * 3)),
            ("conv_transpose3d_overlap", (1, 2, 2, 3, 2), (2, 2, 3, 3, 3), True,
             dict(stride=(2,) * 3, padding=(1,) * 3)),
            ("conv_transpose2d", (2, 2, 3, 4), (2, 3, 2, 2), True, dict(stride=(2, 2), padding=(0, 0)))):
        dims = len(x) - 2
        function = F.conv_transpose2d if dims == 2 else F.conv_transpose3d
        inputs = dict(x=grid(*x), weight=grid(*weight), **({"bias": grid(weight[1])} if bias else {}))
        w.case(name, "conv", dict(attrs, dilation=(1,) * dims, groups=1, transposed=1),
               lambda x, weight, bias=None: function(x, weight, bias, **attrs), inputs)


def products(w):
    w.case("linear", "linear", {}, F.linear, dict(input=grid(2, 5, 4), weight=grid(3, 4), bias=grid(3)))
    w.case("linear_no_bias", "linear", {}, F.linear, dict(input=grid(3, 2), weight=grid(5, 2)))
    w.case("matmul_2d", "matmul", {}, lambda a, b: a @ b, dict(a=grid(3, 4), b=grid(4, 2)))
    w.case("matmul_3d", "matmul", {}, lambda a, b: a @ b, dict(a=grid(2, 3, 4), b=grid(2, 4, 5)))
    w.case("matmul_4d", "matmul", {}, lambda a, b: a @ b, dict(a=grid(2, 3, 4, 2), b=grid(2, 3, 2, 5)))
    w.case("attention", "attention", dict(scale=0.5),
           lambda q, k, v: ((q @ k.transpose(-1, -2)) * 0.5).softmax(-1) @ v,
           dict(q=grid(2, 2, 5, 4), k=grid(2, 2, 3, 4), v=grid(2, 2, 3, 4)))


# ---- norms ----

def norms(w):
    for name, shape in (("2d", (3, 4, 3, 2)), ("3d", (2, 3, 2, 3, 4)), ("one_channel", (2, 1, 5, 1))):
        c = shape[1]
        stats = dict(running_mean=grid(c), running_var=positive(c))

        def train(x, weight, bias, running_mean, running_var):
            y, mean, invstd = torch.native_batch_norm(x, weight, bias, running_mean, running_var, True, 0.1, 1e-5)
            return dict(y=y, mean=mean, invstd=invstd, running_mean=running_mean, running_var=running_var)
        w.case(f"batch_norm_{name}", "batch_norm", dict(eps=1e-5, momentum=0.1), train,
               dict(x=grid(*shape), weight=grid(c), bias=grid(c), **stats), fixed=stats)
        w.case(f"batch_norm_eval_{name}", "batch_norm_eval", dict(eps=1e-5),
               lambda x, weight, bias, running_mean, running_var: F.batch_norm(
                   x, running_mean, running_var, weight, bias, False, 0.1, 1e-5),
               dict(x=grid(*shape), weight=grid(c), bias=grid(c), **stats),
               fixed=("x", "weight", "bias", *stats))
    for name, shape, groups in (("3d", (2, 6, 2, 3, 2), 3), ("2d", (3, 4, 3, 3), 2), ("one_group", (2, 3, 4, 1), 1)):
        n, c, inner = shape[0], shape[1], torch.Size(shape[2:]).numel()

        def group(x, weight, bias):
            y, mean, rstd = torch.native_group_norm(x, weight, bias, n, c, inner, groups, 1e-5)
            return dict(y=y, mean=mean, rstd=rstd)
        w.case(f"group_norm_{name}", "group_norm", dict(eps=1e-5, groups=groups), group,
               dict(x=grid(*shape), weight=grid(c), bias=grid(c)))
    for name, shape in (("3d", (2, 5, 8)), ("odd", (1, 3, 7)), ("wide", (2, 33))):
        def layer(x, weight, bias):
            y, mean, rstd = torch.native_layer_norm(x, shape[-1:], weight, bias, 1e-6)
            return dict(y=y, mean=mean, rstd=rstd)
        w.case(f"layer_norm_{name}", "layer_norm", dict(eps=1e-6), layer,
               dict(x=grid(*shape), weight=grid(shape[-1]), bias=grid(shape[-1])))


# ---- element by element, shapes, sums ----

def elementwise(w):
    x = torch.cat([grid(3, 10), grid(1, 10, low=-160, high=160)])       # 0, where slopes jump, is among the first
    x[0, 0] = 0
    for name, attrs, function in (
            ("relu", {}, F.relu), ("gelu", {}, F.gelu), ("silu", {}, F.silu),
            ("leaky_relu", dict(slope=0.01), F.leaky_relu),
            ("leaky_relu_steep", dict(slope=0.25), lambda x: F.leaky_relu(x, 0.25)),
            ("affine", dict(alpha=-1.5, beta=0.25), lambda x: x * -1.5 + 0.25),
            ("exp", {}, torch.exp)):
        w.case(name, name.removesuffix("_steep"), attrs, function, dict(x=x))
    w.case("log", "log", {}, torch.log, dict(x=positive(4, 5)))
    w.case("sqrt", "sqrt", {}, torch.sqrt, dict(x=positive(4, 5)))
    pair = dict(a=grid(2, 3, 4), b=grid(2, 3, 4))
    w.case("add", "add", dict(alpha=1), lambda a, b: a + b, pair)
    w.case("add_alpha", "add", dict(alpha=-0.5), lambda a, b: torch.add(a, b, alpha=-0.5), pair)
    w.case("sub", "sub", dict(alpha=1), lambda a, b: a - b, pair)
    w.case("mul", "mul", {}, lambda a, b: a * b, pair)
    w.case("div", "div", {}, lambda a, b: a / b, dict(a=grid(2, 3, 4), b=positive(2, 3, 4)))
    w.case("mul_broadcast", "mul", {}, lambda a, b: a * b, dict(a=grid(2, 3, 4), b=grid(1, 3, 1)))
    w.case("mul_labels", "mul", {}, lambda a, b: a * b, dict(a=grid(2, 3, 4), b=labels(2, 2, 3, 4)))
    w.case("maximum", "max", {}, torch.maximum, pair, fixed=pair)
    w.case("cat_channels", "cat", dict(dim=1), lambda x0, x1, x2: torch.cat([x0, x1, x2], 1),
           dict(x0=grid(2, 3, 2, 2), x1=grid(2, 1, 2, 2), x2=grid(2, 2, 2, 2)))
    w.case("stack", "stack", dict(dim=0), lambda x0, x1: torch.stack([x0, x1]), dict(x0=grid(2, 3), x1=grid(2, 3)))
    w.case("mean", "mean", dict(dims=(0, 1, 2)), lambda x: x.mean(), dict(x=grid(2, 3, 4)))
    w.case("mean_dims", "mean", dict(dims=(1, 2)), lambda x: x.mean((1, 2)), dict(x=grid(2, 3, 2, 2)))
    w.case("sum", "sum", dict(dims=(0, 1)), lambda x: x.sum(), dict(x=grid(3, 4)))
    w.case("sum_space", "sum", dict(dims=(2, 3)), lambda x: x.sum((2, 3)), dict(x=grid(2, 3, 4, 2)))
    w.case("sum_batch", "sum", dict(dims=(0, 2)), lambda x: x.sum((0, 2)), dict(x=grid(3, 4, 2)))
    w.case("sum_labels", "sum", dict(dims=(1,)), lambda x: x.sum(1), dict(x=labels(9, 3, 4)))
    w.case("argmax", "argmax", dict(dim=1), lambda x: x.argmax(1), dict(x=grid(2, 4, 3, 3, low=-3, high=3)), "x")
    w.case("one_hot", "one_hot", dict(classes=5), lambda x: F.one_hot(x, 5), dict(x=labels(5, 2, 3, 2)))
    w.case("equal_scalar", "equal_scalar", dict(alpha=2), lambda x: x == 2, dict(x=labels(4, 3, 5)))


def interpolations(w):
    for name, size, to in (("up2", (3, 4), (6, 8)), ("up4", (2, 3), (8, 12)), ("up_odd", (3, 5), (7, 11)),
                           ("down", (7, 9), (4, 5)), ("mixed", (4, 6), (9, 3)), ("same", (3, 4), (3, 4)),
                           ("from_one", (1, 1), (3, 2)), ("to_one", (5, 4), (1, 1)), ("down_far", (11, 13), (2, 3))):
        w.case(f"interpolate_{name}", "interpolate", dict(size=to),
               lambda x: F.interpolate(x, size=to, mode="bilinear", align_corners=False), dict(x=grid(2, 2, *size)))


# ---- losses ----

def losses(w):
    for name, shape, dim in (("channels", (2, 5, 2, 3), 1), ("last", (2, 3, 7), 2), ("volume", (1, 4, 2, 2, 3), 1)):
        w.case(f"softmax_{name}", "softmax", dict(dim=dim), lambda x: x.softmax(dim), dict(x=grid(*shape)))
        w.case(f"log_softmax_{name}", "log_softmax", dict(dim=dim), lambda x: x.log_softmax(dim), dict(x=grid(*shape)))
    w.case("log_softmax_large", "log_softmax", dict(dim=1), lambda x: x.log_softmax(1), dict(x=grid(3, 4) * 400))
    for name, shape, ignored, weighted in (("image", (2, 3, 3, 4), None, False), ("volume", (2, 4, 2, 3, 2), 255, False),
                                           ("weighted", (2, 4, 3, 3), 255, True), ("rows", (6, 3), -100, True)):
        classes, ignore = shape[1], -100 if ignored is None else ignored
        target = labels(classes, shape[0], *shape[2:], ignored=ignored)
        weight = dict(weight=positive(classes)) if weighted else {}

        def total(target, weight):
            kept = target[target != ignore]
            return (torch.tensor(float(kept.numel()), dtype=torch.double) if weight is None
                    else weight.detach()[kept].sum())
        attrs = dict(ignore_index=ignore)
        w.case(f"nll_{name}", "nll_loss", attrs,
               lambda logp, target, weight=None: dict(
                   loss=F.nll_loss(logp, target, weight, ignore_index=ignore), total_weight=total(target, weight)),
               dict(logp=-positive(*shape), target=target, **weight), fixed=("weight",))
        w.case(f"cross_entropy_{name}", "cross_entropy", attrs,
               lambda logits, target, weight=None: dict(
                   loss=F.cross_entropy(logits, target, weight, ignore_index=ignore),
                   total_weight=total(target, weight)),
               dict(logits=grid(*shape), target=target, **weight), fixed=("weight",))
    w.case("nll_all_ignored", "nll_loss", dict(ignore_index=255), lambda logp, target: dict(
        loss=F.nll_loss(logp, target, ignore_index=255), total_weight=torch.zeros((), dtype=torch.double)),
        dict(logp=-positive(2, 3), target=torch.tensor([255, 255])), fixed=("logp",))
    w.case("dice_and_cross_entropy", "dice_and_cross_entropy", dict(smooth=1e-8), dice_and_cross_entropy,
           dict(logits=grid(2, 4, 3, 5), target=labels(4, 2, 3, 5)))
    w.case("dice_and_cross_entropy_absent_class", "dice_and_cross_entropy", dict(smooth=1e-8), dice_and_cross_entropy,
           dict(logits=grid(1, 3, 4, 4), target=labels(2, 1, 4, 4)))


# ---- optimizers ----

def optimizers(w, steps=3):
    adam = dict(lr=0.125, betas=(0.9, 0.999), eps=1e-8)
    for name, make, attrs in (
            ("adamw", torch.optim.AdamW, dict(adam, weight_decay=0.01, amsgrad=False)),
            ("adamw_amsgrad", torch.optim.AdamW, dict(adam, weight_decay=0.25, amsgrad=True)),
            ("adam", torch.optim.Adam, dict(adam, weight_decay=0, amsgrad=False)),
            ("adam_decay", torch.optim.Adam, dict(adam, weight_decay=0.25, amsgrad=False)),
            ("adam_decay_amsgrad", torch.optim.Adam, dict(adam, weight_decay=0.25, amsgrad=True)),
            ("sgd", torch.optim.SGD, dict(lr=0.125, momentum=0, nesterov=False, weight_decay=0)),
            ("sgd_decay", torch.optim.SGD, dict(lr=0.125, momentum=0, nesterov=False, weight_decay=0.25)),
            ("sgd_momentum", torch.optim.SGD, dict(lr=0.125, momentum=0.9, nesterov=False, weight_decay=0)),
            ("sgd_momentum_decay", torch.optim.SGD, dict(lr=0.125, momentum=0.9, nesterov=False, weight_decay=0.25)),
            ("sgd_nesterov_decay", torch.optim.SGD, dict(lr=0.125, momentum=0.9, nesterov=True, weight_decay=0.25))):
        parameters = {"p0": torch.nn.Parameter(grid(2, 3)), "p1": torch.nn.Parameter(grid(7))}
        optimizer = make(parameters.values(), **attrs)
        w.begin(f"optimizer_{name}", name.split("_")[0], dict(attrs, steps=steps))
        for key, p in parameters.items():
            w.tensor(f"in.{key}", p)
        for step in range(1, steps + 1):
            for key, p in parameters.items():
                # smaller from step to step, so that amsgrad's maximum is not the last value
                p.grad = grid(*p.shape) / 4 ** (step - 1)
                w.tensor(f"in.{key}.grad{step}", p.grad.clone())
            optimizer.step()
            for key, p in parameters.items():
                w.tensor(f"out.{key}.step{step}", p)
        for key, p in parameters.items():
            for state, t in optimizer.state[p].items():
                if isinstance(t, torch.Tensor) and state != "step":
                    w.tensor(f"out.{key}.{state}", t)
        w.end()


# ---- attention in one kernel ----

def flash(w):
    """The flash kernel of the CPU, which also gives the log of each query's sum of exponentials."""
    for name, (b, h, queries, keys, depth), scale in (("square", (2, 3, 5, 5, 8), 8 ** -0.5),
                                                      ("reduced", (1, 2, 9, 2, 16), 0.25),
                                                      ("odd", (2, 1, 3, 37, 5), 5 ** -0.5),
                                                      ("steep", (1, 2, 4, 6, 3), 4.0)):
        def attend(q, k, v):
            y, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, scale=scale)
            plain = F.scaled_dot_product_attention(q, k, v, scale=scale)
            assert torch.allclose(y, plain, rtol=1e-12, atol=1e-12)
            return dict(y=y, lse=lse)
        w.case(f"sdpa_{name}", "sdpa", dict(scale=scale), attend,
               dict(q=grid(b, h, queries, depth), k=grid(b, h, keys, depth), v=grid(b, h, keys, depth)))


def main():
    w = Writer(Path(sys.argv[1]) / "op_values.txt")
    for group in (convolutions, products, norms, elementwise, interpolations, losses, optimizers, flash):
        group(w)
    w.out.close()


if __name__ == "__main__":
    main()
