"""Training on CUDA tensors that hold no data, with every storage's birth and death counted.

PyTorch's FakeTensorMode gives tensors shapes, strides and a device but no bytes. A dispatch mode below it sees every
operator; a storage not seen before is an allocation, and a weak reference tells when it dies. What a step would
allocate on a GPU is thus known in PyTorch's own order, on a machine that has none. Not seen: the workspaces of
cuDNN and cuBLAS, copies inside kernels, and the allocator's segments.

Two things differ from a run on a GPU because a dispatch mode is there: gradients that meet are always added out of
place, and so is the bias of a linear layer whose input is not contiguous.
"""
import ctypes
import subprocess
import tempfile
import weakref
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

BLOCK_BYTES = 512           # the caching allocator rounds every request up to a multiple of this
DTYPE = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


def pretend_there_is_a_gpu():
    """Loads the idle device guard, and lets autocast and checkpointing believe in a GPU."""
    home = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "guard.so"
        subprocess.run(["g++", "-shared", "-fPIC", "-std=c++17",
                        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
                        str(Path(__file__).parent / "guard.cpp"), "-o", str(library),
                        f"-I{home / 'include'}", f"-L{home / 'lib'}", "-lc10"], check=True)
        ctypes.CDLL(str(library))
    torch._C._select_conv_backend = select_conv_backend
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.cuda.is_bf16_supported = lambda *_, **__: True
    if not torch.backends.cuda.is_built():      # such a build splits this fused operator into several
        library = torch.library.Library("aten", "IMPL")
        library.impl("silu_backward", lambda grad, x: torch.empty_like(x), "CUDA")
        pretend_there_is_a_gpu.keep = library


def as_fp16(value):
    if not isinstance(value, torch.Tensor) or value.dtype != torch.bfloat16:
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=torch.float16, device=value.device)


real_select_conv_backend = torch._C._select_conv_backend


def select_conv_backend(*args, **kwargs):
    """PyTorch's choice where it asks the GPU what it can do. A bf16 convolution goes the way of an fp16 one. A
    depthwise one that is not channels-last is asked about cuDNN's kernels for it; the answer changes no layout."""
    args, kwargs = [*map(as_fp16, args)], {key: as_fp16(value) for key, value in kwargs.items()}
    try:
        return real_select_conv_backend(*args, **kwargs)
    except RuntimeError:
        weight = kwargs["weight"] if "weight" in kwargs else args[1]
        if weight.ndim != 4 or weight.shape[1] != 1:
            raise
        return torch._C._ConvBackend.CudaDepthwise2d


def layout_of(tensor):
    """c: contiguous, l: channels-last, b: both, o: neither; -: not image-like."""
    if tensor.ndim not in (4, 5):
        return "-"
    last = torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d
    return "oclb"[tensor.is_contiguous() + 2 * tensor.is_contiguous(memory_format=last)]


class Ledger(TorchDispatchMode):
    """Counts the storages of CUDA tensors; `events` holds them in order.

    An event is ("A", id, bytes, operator), ("F", id) or ("#", text); bytes are rounded to BLOCK_BYTES.
    """

    def __init__(self):
        super().__init__()
        self.events = []
        self.live_bytes = self.peak_bytes = self.ids = 0
        self.known = WeakIdKeyDictionary()
        self.layouts = {}           # by id: of the tensor that a storage was born with

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "cuda":
                self.meet(tensor, operator)
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        return result

    def meet(self, tensor, operator):
        storage = tensor.untyped_storage()
        if storage in self.known or not storage.nbytes():
            return
        # seeds of its dropout: the host's on a GPU, unless a CUDA graph is captured
        if storage.nbytes() == 8 and operator is torch.ops.aten._scaled_dot_product_flash_attention.default:
            return
        size, name = -(-storage.nbytes() // BLOCK_BYTES) * BLOCK_BYTES, self.ids
        self.ids += 1
        self.known[storage] = name
        self.layouts[name] = layout_of(tensor)
        self.live_bytes += size
        self.events.append(("A", name, size, str(operator).removeprefix("aten.")))
        weakref.finalize(storage, self.forget, name, size)

    def forget(self, name, size):
        self.live_bytes -= size
        self.events.append(("F", name))

    def mark(self, text):
        self.events.append(("#", text))

    def clear_autocast_cache(self):
        """The cache is a hash of pointers; its cast weights die in an order that no two runs share. Sorted here."""
        before = len(self.events)
        real_clear_autocast_cache()
        deaths = sorted(self.events[before:])
        if deaths:
            self.events[before:] = [("#", "cache"), *deaths, ("#", "cache end")]


real_clear_autocast_cache = torch.clear_autocast_cache


def autocast(precision):
    """torch.autocast for a precision of DTYPE."""
    return torch.autocast("cuda", DTYPE[precision] or torch.float16, enabled=DTYPE[precision] is not None)


def account(build, run):
    """Runs build() on the fake device, then run(ledger, *what build returned); returns the ledger."""
    with FakeTensorMode(), Ledger() as ledger:
        torch.clear_autocast_cache = ledger.clear_autocast_cache
        ledger.mark("build")
        with torch.device("cuda:0"):
            objects = build()
        run(ledger, *objects)
        ledger.mark("end")
        events = list(ledger.events)
        torch.clear_autocast_cache = real_clear_autocast_cache
        del objects
    ledger.events = events          # without the deaths since the end
    return ledger
