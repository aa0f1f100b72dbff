"""Writes tests/search/lightning_reference.h: what PyTorch Lightning's batch-size finder answers.

Usage: lightning_batch_size.py PATH/pytorch_lightning/tuner/batch_size_scaling.py > lightning_reference.h

Runs Lightning's own functions on a pretended trainer whose run() is out of memory above a given batch.
Needs neither torch nor Lightning installed, only that source file (committed output: 2.6.6).
"""
import sys
import typing


class OutOfMemory(RuntimeError):
    pass


class Loader:
    def _dataset_length(self):
        raise NotImplementedError


class Loop:
    _combined_loader = Loader()

    def setup_data(self):
        pass


class Model:
    batch_size = 1


class Trainer:
    def __init__(self):
        self._active_loop = Loop()
        self.lightning_module = Model()


def answer(code, mode, true_max, max_val):
    trainer, tried = Trainer(), []

    def try_run(trainer, params):
        size = trainer.lightning_module.batch_size
        if size < 1:
            raise ValueError("batch_size should be a positive integer value")
        tried.append(size)
        if size > true_max:
            raise OutOfMemory

    names = {
        "Any": object, "Optional": typing.Optional, "_try_loop_run": try_run,
        "garbage_collection_cuda": lambda: None, "_reset_progress": lambda trainer: None,
        "_reset_dataloaders": lambda trainer: None, "rank_zero_info": lambda *text: None,
        "is_oom_error": lambda error: isinstance(error, OutOfMemory),
        "lightning_getattr": getattr, "lightning_setattr": setattr,
    }
    exec(code, names)
    size, _ = names["_adjust_batch_size"](trainer, "batch_size", value=2)
    try:
        if mode == "power":
            size = names["_run_power_scaling"](trainer, size, "batch_size", 25, {}, max_val)
        else:
            size = names["_run_binsearch_scaling"](trainer, size, "batch_size", 25, {}, 0.05, max_val)
    except ValueError:
        size = -1
    return size, tried


def main():
    source = open(sys.argv[1]).read()
    source = source[source.index("def _run_power_scaling"):source.index("def _reset_dataloaders")]
    code = compile("from __future__ import annotations\n" + source, sys.argv[1], "exec")
    print("/* Written by tests/reference/lightning_batch_size.py from PyTorch Lightning 2.6.6.")
    print(" * true max, max_val: binsearch's answer, its trials; power's answer (-1: ends in an error), its trials */")
    print("#ifndef FM_TESTS_SEARCH_LIGHTNING_REFERENCE_H")
    print("#define FM_TESTS_SEARCH_LIGHTNING_REFERENCE_H\n\n#include <stdint.h>\n")
    print("static const int64_t lightning_answers[][6] = {")
    for true_max in (0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 33, 63, 64, 100, 127, 1000, 4097, 8192, 20000,
                     1 << 31):
        limits = (1, 2, 3, 12, 100, 8192, 20000, 1 << 30) if true_max in (0, 1, 8, 100, 20000, 1 << 31) else (8192,)
        for max_val in limits:
            size, tried = answer(code, "binsearch", true_max, max_val)
            power, power_tried = answer(code, "power", true_max, max_val)
            print("    { %d, %d, %d, %d, %d, %d }," % (true_max, max_val, size, len(tried), power, len(power_tried)))
    print("};")
    # every trial of all true maxes 0 ... 200 and limits 1 ... 40, folded into one number (FNV-1a by words)
    fold = 0xcbf29ce484222325
    for true_max in range(0, 201):
        for max_val in range(1, 41):
            for mode in ("binsearch", "power"):
                size, tried = answer(code, mode, true_max, max_val)
                for word in (size, len(tried), *tried):
                    fold = ((fold ^ (word & 0xffffffff)) * 0x100000001b3) & 0xffffffffffffffff
    print("static const uint64_t lightning_fold = UINT64_C(0x%016x);\n\n#endif" % fold)


main()
