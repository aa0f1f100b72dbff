#!/usr/bin/env python3
"""The keys and types that fillmark's exports use, held against the frameworks that read them.

    export_keys.py                      prints the list
    export_keys.py --check FOLDER ...   reads the sources of the packages found there (an unpacked wheel or sdist each)
    export_keys.py --installed [--fillmark COMMAND]
                                        the same with what is installed in this Python, and calls the readers themselves; with
                                        --fillmark they are given what that command really exports, from plans

The list was taken from the releases named in it. A package that is not there is said, and is exit code 77; a key that is
gone or has another type is exit code 1. Sources are read, not imported, so that no torch is needed for --check.
"""
import argparse
import ast
import importlib.util
import json
import os
import subprocess
import sys
import tempfile

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


def has(*names):
    return all(importlib.util.find_spec(name) is not None for name in names)


class Exports:
    """What fillmark says, in files, for the readers."""

    def __init__(self, command, folder):
        self.command, self.folder = command, folder

    def file(self, form, name, *options):
        text = subprocess.run([self.command, "export", "--workload", "denseunet3d", "--device", "none", "--memory", "40GiB", "--format", form,
                               *options], check=True, capture_output=True, text=True).stdout
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path, text


def read_hf(exports, precision, checkpoint):
    import torch
    from transformers import HfArgumentParser, TrainingArguments
    path, text = exports.file("hf", "hf.json", "--precision", precision, "--checkpoint", checkpoint)
    wants = json.loads(text)
    wrong = [f"hf: no {k}" for k in wants if k not in TrainingArguments.__dataclass_fields__]
    if wants.get("tf32") and not torch.cuda.is_available():     # refused without such a GPU
        del wants["tf32"]
    with open(path, "w", encoding="utf-8") as out:          # no GPU here: only that is added, as a user's file would have it
        json.dump({**wants, "output_dir": exports.folder, "use_cpu": True}, out)
    arguments, = HfArgumentParser(TrainingArguments).parse_json_file(path)
    return wrong + [f"hf: {k}: {getattr(arguments, k)}, not {v}" for k, v in wants.items() if getattr(arguments, k) != v]


def read_accelerate(exports, precision, checkpoint):
    from accelerate.commands.config.config_args import load_config_from_file
    path, _ = exports.file("accelerate", "accelerate.yaml", "--precision", precision, "--checkpoint", checkpoint, "--devices", "2")
    config = load_config_from_file(path)
    wants = {"mixed_precision": {"fp32": "no", "tf32": "no"}.get(precision, precision), "num_processes": 2, "num_machines": 1}
    return [f"accelerate: {k}: {getattr(config, k)}, not {v}" for k, v in wants.items() if getattr(config, k) != v]


def read_deepspeed(exports, precision, checkpoint):
    from deepspeed.runtime.config import DeepSpeedConfig
    path, text = exports.file("deepspeed", "ds.json", "--precision", precision, "--checkpoint", checkpoint)
    wants, config = json.loads(text), DeepSpeedConfig(path)
    wrong = [f"deepspeed: {k}: {getattr(config, k)}, not {wants[k]}"
             for k in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps") if getattr(config, k) != wants[k]]
    for name in ("float16_config", "bfloat16_config"):
        if getattr(config, name).enabled:
            wrong.append(f"deepspeed: {name} is on")
    autocast = config.torch_autocast_enabled
    if autocast != (precision in ("fp16", "bf16")):
        wrong.append(f"deepspeed: torch_autocast: {autocast} for {precision}")
    if autocast and str(config.torch_autocast_dtype) != {"fp16": "torch.float16", "bf16": "torch.bfloat16"}[precision]:
        wrong.append(f"deepspeed: torch_autocast dtype: {config.torch_autocast_dtype} for {precision}")
    return wrong


def read_lightning(exports, precision, checkpoint):
    from lightning.pytorch import LightningDataModule, Trainer
    from lightning.pytorch.cli import LightningCLI
    from lightning.pytorch.demos.boring_classes import BoringModel

    class Data(LightningDataModule):
        def __init__(self, batch_size: int = 1):
            super().__init__()
            self.batch_size = batch_size

    quiet = {"accelerator": "cpu", "logger": False}
    scope = {}
    _, text = exports.file("lightning-python", "lightning.py", "--precision", precision, "--checkpoint", checkpoint)
    exec(text, scope)                                       # the export is Python to be imported
    path, _ = exports.file("lightning", "lightning.yaml", "--precision", precision, "--checkpoint", checkpoint)
    cli = LightningCLI(BoringModel, Data, run=False, save_config_callback=None, trainer_defaults=quiet, args=["--config", path])
    # on a CPU Lightning itself takes bf16-mixed instead of 16-mixed, and says so
    trainer, wants = Trainer(**scope["trainer_arguments"], **quiet), {"fp32": ["32-true"], "tf32": ["32-true"], "fp16": ["16-mixed", "bf16-mixed"], "bf16": ["bf16-mixed"]}[precision]
    wrong = [f"lightning: precision: {t.precision}, not {wants}" for t in (trainer, cli.trainer) if t.precision not in wants]
    if cli.datamodule.batch_size != scope["batch_size"]:
        wrong.append(f"lightning: data.batch_size: {cli.datamodule.batch_size}, not {scope['batch_size']}")
    return wrong


def read_nnunet(exports, precision, checkpoint):
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
    _, text = exports.file("nnunet", "plans.json", "--precision", precision, "--checkpoint", checkpoint)
    ours = json.loads(text)["configurations"]
    name, = ours
    network = {"network_class_name": "n", "arch_kwargs": {}, "_kw_requires_import": []}
    plans = {"configurations": {"3d_fullres": {"batch_size": 2, "patch_size": [128, 128, 128], "spacing": [1, 1, 1], "architecture": network}, **ours}}
    configuration = PlansManager(plans).get_configuration(name)
    wants = ours[name]
    return [f"nnunet: {k}: {getattr(configuration, k)}, not {wants[k]}" for k in ("batch_size", "patch_size") if getattr(configuration, k) != wants[k]] + \
        ([] if list(configuration.spacing) == [1, 1, 1] else ["nnunet: nothing is inherited"])


READERS = [(("transformers", "torch"), read_hf), (("accelerate", "torch"), read_accelerate), (("deepspeed", "torch"), read_deepspeed),
           (("lightning", "jsonargparse"), read_lightning), (("nnunetv2",), read_nnunet)]


def check_readers(command, wrong, missing):
    """What fillmark exports, given to what is installed."""
    with tempfile.TemporaryDirectory() as folder:
        exports = Exports(command, folder)
        for needs, read in READERS:
            if not has(*needs):
                missing.add("the reader of " + needs[0])
                continue
            for precision in ("fp32", "tf32", "fp16", "bf16"):
                for checkpoint in ("none", "blocks"):
                    try:
                        wrong += read(exports, precision, checkpoint)
                    except (Exception, SystemExit) as e:    # whatever a reader objects to is a finding; LightningCLI exits
                        wrong.append(f"{read.__name__}: {precision}, {checkpoint}: {type(e).__name__}: {e}")


def print_list():
    for package, release, file, path, keys in KEYS:
        print(f"{package} {release}  {path}  " + ", ".join(f"{k}: {v}" for k, v in keys.items()) + f"  ({file})")
    for package, release, file, words in WORDS:
        print(f"{package} {release}  " + ", ".join(words) + f"  ({file})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", nargs="+", metavar="FOLDER")
    parser.add_argument("--installed", action="store_true")
    parser.add_argument("--fillmark", metavar="COMMAND", help="with --installed: its exports are read")
    arguments = parser.parse_args()
    if not arguments.check and not arguments.installed:
        print_list()
        return 0
    sources = Sources(arguments.check or [p for p in sys.path if os.path.isdir(p)])
    sources.check()
    if arguments.installed and arguments.fillmark:
        check_readers(arguments.fillmark, sources.wrong, sources.missing)
    for line in sources.wrong:
        print(line)
    if sources.missing:
        print("not checked, for want of: " + ", ".join(sorted(sources.missing)))
    return 1 if sources.wrong else 77 if sources.missing else 0


if __name__ == "__main__":
    sys.exit(main())
