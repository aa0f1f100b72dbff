#!/usr/bin/env python3
"""The keys and types that fillmark's exports use, held against the frameworks that read them.

    export_keys.py                      prints the list
    export_keys.py --check FOLDER ...   reads the sources of the packages found there (an unpacked wheel or sdist each)
    export_keys.py --installed          the same with what is installed in this Python, and calls the readers themselves

The list was taken from the releases named in it. A package that is not there is said, and is exit code 77; a key that is
gone or has another type is exit code 1. Sources are read, not imported, so that no torch is needed for --check.
"""
import argparse
import ast
import importlib.util
import os
import sys

# package, release, file in it, class or function, {name: type as the source has it}
KEYS = [
    ("lightning", "2.6.6", "lightning/pytorch/trainer/trainer.py", "Trainer.__init__",
     {"precision": "Optional[_PRECISION_INPUT]", "accumulate_grad_batches": "int", "devices": "Union[list[int], str, int]"}),
    ("transformers", "5.23.0", "transformers/training_args.py", "TrainingArguments",
     {"per_device_train_batch_size": "int", "per_device_eval_batch_size": "int", "gradient_accumulation_steps": "int", "fp16": "bool",
      "bf16": "bool", "gradient_checkpointing": "bool", "learning_rate": "float", "optim": "OptimizerNames | str"}),
    ("accelerate", "1.15.0", "accelerate/commands/config/config_args.py", "BaseConfig",
     {"compute_environment": "ComputeEnvironment", "distributed_type": "Union[DistributedType, SageMakerDistributedType]",
      "mixed_precision": "str", "use_cpu": "bool"}),
    ("accelerate", "1.15.0", "accelerate/commands/config/config_args.py", "ClusterConfig", {"num_processes": "int", "num_machines": "int"}),
    ("deepspeed", "0.19.8", "deepspeed/runtime/precision_config.py", "DeepSpeedBF16Config", {"enabled": "bool"}),
    ("deepspeed", "0.19.8", "deepspeed/runtime/precision_config.py", "DeepSpeedFP16Config", {"enabled": "bool"}),
]
# package, release, file, words that the file must have as string constants
WORDS = [
    ("lightning", "2.6.6", "lightning/fabric/plugins/precision/precision.py", ["32-true", "16-mixed", "bf16-mixed"]),
    ("transformers", "5.23.0", "transformers/training_args.py", ["adamw_torch", "sgd"]),
    ("accelerate", "1.15.0", "accelerate/utils/dataclasses.py", ["no", "fp16", "bf16", "NO", "MULTI_GPU", "MULTI_CPU", "LOCAL_MACHINE"]),
    ("deepspeed", "0.19.8", "deepspeed/runtime/constants.py",
     ["train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "torch_autocast", "enabled", "dtype"]),
    ("deepspeed", "0.19.8", "deepspeed/runtime/config.py", ["float16", "bfloat16"]),
    ("nnunetv2", "2.8.1", "nnunetv2/utilities/plans_handling/plans_handler.py", ["configurations", "inherits_from", "batch_size", "patch_size"]),
    ("mmengine", "0.10.7", "mmengine/runner/runner.py", ["activation_checkpointing", "batch_size"]),
]
# what must not be there: accelerate refuses a file with a key that it does not know
ABSENT = [("accelerate", "1.15.0", "accelerate/commands/config/config_args.py", "ClusterConfig", "gradient_accumulation_steps")]


def fields(tree, path):
    """Annotated fields of a class, or parameters of a method: name to type."""
    owner, _, method = path.partition(".")
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or node.name != owner:
            continue
        if not method:
            return {n.target.id: ast.unparse(n.annotation) for n in node.body if isinstance(n, ast.AnnAssign)}
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and inner.name == method:
                arguments = inner.args.args + inner.args.kwonlyargs
                return {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in arguments}
    return None


def alike(have, want):
    """The type may have become optional, or have more alternatives."""
    return have is not None and (have == want or all(word in have for word in want.replace("Optional[", "").replace("]", "").split(" | ")))


class Sources:
    def __init__(self, folders):
        self.folders, self.missing, self.wrong = folders, set(), []

    def tree(self, package, file):
        for folder in self.folders:
            path = os.path.join(folder, file)
            if os.path.exists(path):
                with open(path, encoding="utf-8") as source:
                    return ast.parse(source.read())
        if not any(os.path.isdir(os.path.join(folder, package)) for folder in self.folders):
            self.missing.add(package)
        else:
            self.wrong.append(f"{file} is not there")
        return None

    def check(self):
        for package, _, file, path, keys in KEYS:
            tree = self.tree(package, file)
            have = fields(tree, path) if tree else None
            if tree and have is None:
                self.wrong.append(f"{file}: no {path}")
            for key, kind in keys.items() if have is not None else ():
                if not alike(have.get(key), kind):
                    self.wrong.append(f"{file}: {path}: {key}: {have.get(key)}, not {kind}")
        for package, _, file, words in WORDS:
            tree = self.tree(package, file)
            texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)} if tree else set(words)
            self.wrong += [f"{file}: no '{word}'" for word in words if word not in texts]
        for package, _, file, path, key in ABSENT:
            tree = self.tree(package, file)
            if tree and key in (fields(tree, path) or {}):
                self.wrong.append(f"{file}: {path} has {key} now: export it")


def check_readers(wrong):
    """Calls what is installed."""
    def has(name):
        return importlib.util.find_spec(name) is not None
    if has("transformers") and has("torch"):
        from transformers import HfArgumentParser, TrainingArguments
        arguments, = HfArgumentParser(TrainingArguments).parse_dict(
            {"output_dir": "out", "per_device_train_batch_size": 8, "per_device_eval_batch_size": 4, "gradient_accumulation_steps": 4,
             "fp16": False, "bf16": False, "gradient_checkpointing": True, "optim": "adamw_torch", "learning_rate": 3e-4})
        if arguments.per_device_train_batch_size != 8:
            wrong.append("transformers: TrainingArguments did not take the batch")
    if has("accelerate") and has("torch"):
        from accelerate.commands.config.config_args import ClusterConfig
        ClusterConfig(compute_environment="LOCAL_MACHINE", distributed_type="NO", mixed_precision="bf16", use_cpu=False, debug=False,
                      num_processes=1, num_machines=1)
    if has("lightning"):
        from lightning.pytorch import Trainer
        Trainer(precision="32-true", accumulate_grad_batches=4, devices=1, accelerator="cpu", logger=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", nargs="+", metavar="FOLDER")
    parser.add_argument("--installed", action="store_true")
    arguments = parser.parse_args()
    if not arguments.check and not arguments.installed:
        for package, release, file, path, keys in KEYS:
            print(f"{package} {release}  {path}  " + ", ".join(f"{k}: {v}" for k, v in keys.items()) + f"  ({file})")
        for package, release, file, words in WORDS:
            print(f"{package} {release}  " + ", ".join(words) + f"  ({file})")
        return 0
    sources = Sources(arguments.check or [p for p in sys.path if os.path.isdir(p)])
    sources.check()
    if arguments.installed:
        check_readers(sources.wrong)
    for line in sources.wrong:
        print(line)
    if sources.missing:
        print("not checked, for want of: " + ", ".join(sorted(sources.missing)))
    return 1 if sources.wrong else 77 if sources.missing else 0


if __name__ == "__main__":
    sys.exit(main())
