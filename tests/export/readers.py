#!/usr/bin/env python3
"""Exports against what reads them: PyYAML, json, ast, argparse, a shell, hydra-core, mmengine's Config.

    readers.py FILLMARK

Exit code 77 if a reader is not installed; the others are checked all the same.
"""
import argparse
import ast
import copy
import dataclasses
import itertools
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile

import journals

FILLMARK = os.path.abspath(sys.argv[1])
missing = set()


def need(name):
    try:
        return __import__(name)
    except ImportError as error:
        missing.add(f"{name} ({error})")
        return None


yaml = need("yaml")
hydra = need("hydra")
mmengine = need("mmengine")


def run(*words, code=0):
    done = subprocess.run([FILLMARK, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if code == 0 else done.stderr


def is_exactly(value, kind):
    return type(value) is kind     # a bool is no int here


# ---- each format; j: what --format json says ----

LOW = ("fp16", "bf16")
LIGHTNING = {"fp32": "32-true", "tf32": "32-true", "fp16": "16-mixed", "bf16": "bf16-mixed"}


def check_lightning(text, j):
    config = yaml.safe_load(text)
    assert config["trainer"]["precision"] == LIGHTNING[j["precision"]]
    assert config["trainer"]["accumulate_grad_batches"] == j["accumulation"]
    assert config["trainer"].get("devices", 1) == j["devices"]
    assert config["data"] == {"batch_size": j["batch"]}


def names_of(text):
    """What a Python file without imports of its own defines."""
    ast.parse(text)
    names = {}
    exec(compile(text, "export", "exec"), names)      # pylint: disable=exec-used
    return names


def check_lightning_python(text, j):
    names = names_of(text)
    assert names["batch_size"] == j["batch"] and names["val_batch_size"] == j["val_batch"]
    arguments = names["trainer_arguments"]
    assert arguments["precision"] == LIGHTNING[j["precision"]]
    assert arguments["accumulate_grad_batches"] == j["accumulation"]
    assert names.get("learning_rate") == j["learning_rate"]


def check_monai(text, j):
    config = yaml.safe_load(text)
    training = config["autoencoder"]["training"]
    assert config["device"]["mixed_precision"] is (j["precision"] in LOW)
    assert training["batch_size"] == j["batch"] and training["gradient_accumulation_steps"] == j["accumulation"]
    assert training["use_gradient_checkpointing"] is (j["checkpoint"] != "none")


def check_argparse(text, j):
    parser = argparse.ArgumentParser()
    for flag in ("--batch_size", "--val_batch_size", "--base_channels", "--n_infers"):
        parser.add_argument(flag, type=int)
    parser.add_argument("--precision", choices=["16", "32", "bf16"])
    parser.add_argument("--target_size", type=int, nargs=3)
    parser.add_argument("--use_light_model", action="store_true")
    arguments = parser.parse_args(shlex.split(text))
    assert arguments.batch_size == j["batch"] and arguments.val_batch_size == j["val_batch"]
    assert arguments.precision == {"fp32": "32", "tf32": "32", "fp16": "16", "bf16": "bf16"}[j["precision"]]
    assert arguments.target_size == (j["input"] if len(j["input"]) == 3 else None)
    if "n_infers" in j["set"]:
        assert arguments.n_infers == int(j["set"]["n_infers"])


def check_dataclass(text, j):
    names = names_of(text)
    training = names["TrainingConfig"]()
    assert training.BATCH_SIZE == j["batch"]
    assert getattr(training, "INIT_LR", None) == j["learning_rate"]
    assert names["TRAINER_ARGUMENTS"] == {"precision": LIGHTNING[j["precision"]], "accumulate_grad_batches": j["accumulation"]}
    if len(j["input"]) == 2:
        dataset = names["DatasetConfig"]()
        assert dataset.IMAGE_SIZE == tuple(j["input"])
        try:
            dataset.IMAGE_SIZE = None
            raise AssertionError("DatasetConfig is not frozen")
        except dataclasses.FrozenInstanceError:
            pass


def config_over(base, text):
    """mmengine's Config of the text behind a base; mmcv 1 reads the same form."""
    from mmengine.config import Config
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("base.py", base), ("config.py", "_base_ = ['base.py']\n" + text)):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(content)
        return Config.fromfile(os.path.join(folder, "config.py"))


def check_mmcv(text, j):
    names_of(text)
    if not mmengine:
        return
    config = config_over("data = dict(samples_per_gpu=1, workers_per_gpu=4)\noptimizer_config = dict(grad_clip=None)\n"
                         "fp16 = dict(loss_scale=512.)\noptimizer = dict(type='AdamW', lr=1.0)\n", text)
    assert config.data.samples_per_gpu == j["batch"] and config.data.workers_per_gpu == 4
    assert config.data.val_dataloader.samples_per_gpu == j["val_batch"]
    low, accumulates = j["precision"] == "fp16", j["accumulation"] > 1
    assert (config.fp16 is not None) == (low and not accumulates)
    want = {(False, False): None, (False, True): "GradientCumulativeOptimizerHook", (True, False): None,
            (True, True): "GradientCumulativeFp16OptimizerHook"}[low, accumulates]
    assert config.optimizer_config.get("type") == want
    assert config.optimizer_config.get("cumulative_iters", 1) == j["accumulation"]
    assert config.optimizer.lr == (j["learning_rate"] or 1.0)


def check_mmengine(text, j):
    names_of(text)
    if not mmengine:
        return
    config = config_over("train_dataloader = dict(batch_size=1, num_workers=4)\nval_dataloader = dict(batch_size=1)\n"
                         "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0))\n", text)
    wrapper = config.optim_wrapper
    assert config.train_dataloader.batch_size == j["batch"] and config.train_dataloader.num_workers == 4
    assert config.val_dataloader.batch_size == j["val_batch"]
    assert wrapper.type == ("AmpOptimWrapper" if j["precision"] in LOW else "OptimWrapper")
    assert wrapper.get("dtype") == {"fp16": "float16", "bf16": "bfloat16"}.get(j["precision"])
    assert wrapper.accumulative_counts == j["accumulation"]
    assert wrapper.optimizer.type == "AdamW" and wrapper.optimizer.lr == (j["learning_rate"] or 1.0)


def check_hydra(text, j):
    words = shlex.split(text)
    if not hydra:
        return
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "config.yaml"), "w", encoding="utf-8") as file:
            file.write("data: {batch_size: 1}\ntrainer: {precision: 32}\ntrain: {}\n")
        with hydra.initialize_config_dir(folder, version_base=None):
            config = hydra.compose("config", overrides=words)
    assert config.data.batch_size == j["batch"] and is_exactly(config.data.batch_size, int)
    assert config.trainer.precision == LIGHTNING[j["precision"]]
    assert config.train.accumulate_grad_batches == j["accumulation"]
    assert list(config.data.get("img_size", [])) == (j["input"] if len(j["input"]) == 2 else [])


def check_hf(text, j):
    config = json.loads(text)
    assert config["per_device_train_batch_size"] == j["batch"] and config["per_device_eval_batch_size"] == j["val_batch"]
    assert config["gradient_accumulation_steps"] == j["accumulation"]
    assert config["fp16"] is (j["precision"] == "fp16") and config["bf16"] is (j["precision"] == "bf16")
    assert config.get("tf32", False) is (j["precision"] == "tf32")
    assert config["gradient_checkpointing"] is (j["checkpoint"] != "none")
    assert config.get("learning_rate") == j["learning_rate"]
    assert config.get("optim") == {"adamw": "adamw_torch", "adamw-amsgrad": None, "sgd": "sgd"}[j["optimizer"]]


def check_accelerate(text, j):
    config = yaml.safe_load(text)
    assert config["mixed_precision"] == {"fp32": "no", "tf32": "no"}.get(j["precision"], j["precision"]) and is_exactly(config["mixed_precision"], str)
    assert config["distributed_type"] == ("NO" if j["devices"] == 1 else "MULTI_GPU")
    assert config["num_processes"] == j["devices"] and config["use_cpu"] is False


def check_deepspeed(text, j):
    config = json.loads(text)
    assert config["train_micro_batch_size_per_gpu"] == j["batch"]
    assert config["gradient_accumulation_steps"] == j["accumulation"]
    assert config["train_batch_size"] == j["batch"] * j["accumulation"] * j["devices"] == j["global_batch"]
    assert config["torch_autocast"]["enabled"] is (j["precision"] in LOW)
    assert config["torch_autocast"].get("dtype") == {"fp16": "float16", "bf16": "bfloat16"}.get(j["precision"])
    assert config["bf16"] == config["fp16"] == {"enabled": False}


def check_nnunet(text, j):
    name = "3d_fullres" if len(j["input"]) == 3 else "2d"
    assert json.loads(text) == {"configurations": {name + "_fillmark": {
        "inherits_from": name, "batch_size": j["batch"] * j["devices"], "patch_size": j["input"]}}}


def check_env(text, j):
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(text)
        file.flush()
        shell = subprocess.run(["sh", "-c", 'set -a; . "$1"; env', "sh", file.name], capture_output=True, text=True, check=True).stdout
    seen = dict(line.split("=", 1) for line in shell.splitlines() if line.startswith("FILLMARK_"))
    for name, value in j.items():
        key = "FILLMARK_" + name.upper()
        if name in ("schema", "set", "strategy"):
            continue
        if value is None:
            assert key not in seen, key
        elif isinstance(value, list):
            assert seen[key] == "x".join(map(str, value))
        else:
            assert seen[key] == (json.dumps(value) if not isinstance(value, str) else value), (key, seen[key], value)
    for group in ("set", "strategy"):
        for name, value in j[group].items():
            assert seen[f"FILLMARK_{group}_{name}".upper().replace("-", "_")] == value


FORMATS = {
    "lightning": check_lightning, "lightning-python": check_lightning_python, "monai": check_monai, "argparse": check_argparse,
    "dataclass": check_dataclass, "mmcv": check_mmcv, "mmengine": check_mmengine, "hydra": check_hydra, "hf": check_hf,
    "accelerate": check_accelerate, "deepspeed": check_deepspeed, "nnunet": check_nnunet, "env": check_env,
}


def check_formats(folder):
    number = 0
    for precision, accumulate, volume, rate in itertools.product(("fp32", "tf32", "fp16", "bf16"), ("1", "4"), (True, False), (True, False)):
        checkpoint = ("none", "blocks")[number % 3 == 0]
        settings = {"base_channels": "16", "n_infers": "3", "input": "160x160x256"} if volume else {"variant": "b1", "input": "288x320"}
        strategies = {"precision": precision, "accumulate": accumulate, "checkpoint": checkpoint, "channels": "1",
                      "optimizer": "adamw" if volume else "adamw-amsgrad", "val_batch": "half"}
        number += 1
        workload = "denseunet3d" if volume else "segformer"
        run_folder = journals.one_cell(os.path.join(folder, str(number)), workload, settings, strategies, 7 + number, (7 + number) // 2)
        words = ["export", run_folder, "--workload", workload]
        if rate:
            words += ["--base-lr", "1e-4", "--base-batch", "8", "--lr-rule", "linear", "--devices", "2"]
        j = json.loads(run(*words, "--format", "json"))
        assert j["batch"] == 7 + number and j["val_batch"] == (7 + number) // 2 and j["precision"] == precision
        assert j["devices"] == (2 if rate else 1) and (j["learning_rate"] is not None) == rate
        for name, check in FORMATS.items():
            refused = (name == "mmcv" and precision == "bf16") or (name == "nnunet" and accumulate == "4")
            if not yaml and check in (check_lightning, check_monai, check_accelerate):
                continue
            text = run(*words, "--format", name, code=11 if refused else 0)
            if refused:
                continue
            try:
                check(text, j)
            except Exception:
                print(f"{name}: {words}\n{text}\n{json.dumps(j)}", file=sys.stderr)
                raise
    return run_folder


# ---- edits of files that other programs wrote ----

def random_tree(rng, depth=0):
    keys = ["trainer", "data", "train", "model", "precision", "batch_size", "callbacks", "x y", "12", "über", "#k", "a: b"]
    tree = {}
    for key in rng.sample(keys, rng.randint(1, 6)):
        kind = rng.randrange(8 if depth < 3 else 6)
        tree[key] = ([rng.randrange(100), "text", "it's # \"not\"", 1.5, None, True][kind] if kind < 6
                     else random_tree(rng, depth + 1) if kind == 6 else [random_tree(rng, depth + 2), "no", 3])
    return tree


def suit(tree, j):
    """The tree, made such that the keys of `hydra` can be set; and how it is to be then."""
    want = {"data": {"batch_size": j["batch"]}, "trainer": {"precision": LIGHTNING[j["precision"]]},
            "train": {"accumulate_grad_batches": j["accumulation"]}}
    if len(j["input"]) == 2:
        want["data"]["img_size"] = j["input"]
    for parent, keys in want.items():
        if parent in tree and not isinstance(tree[parent], dict):
            tree[parent] = None
        for key, value in keys.items():
            if isinstance(tree.get(parent), dict) and key in tree[parent]:
                tree[parent][key] = {int: 5, str: "32-true", list: [1, 2]}[type(value)]
    after = copy.deepcopy(tree)
    for parent, keys in want.items():
        after[parent] = {**(after.get(parent) or {}), **keys}
    return after


def with_comments(text, rng):
    lines = []
    for line in text.splitlines():
        if rng.random() < 0.2 and "'" not in line and '"' not in line:
            lines.append(" " * rng.randrange(4) + "# a comment: {x")
        lines.append(line)
    return "\n".join(lines) + rng.choice(["", "\n", "\n\n"])


def check_edits(run_folder, folder):
    j = json.loads(run("export", run_folder, "--format", "json"))
    for seed in range(100):
        rng = random.Random(seed)
        tree = random_tree(rng)
        after = suit(tree, j)
        if seed % 2:
            path, read = os.path.join(folder, "file.json"), json.loads
            text = json.dumps(tree, indent=rng.choice([None, 2, 4, "\t"]), ensure_ascii=rng.random() < 0.5)
        elif yaml:
            path, read = os.path.join(folder, "file.yaml"), yaml.safe_load
            flow = rng.choice([None, False, True])
            text = yaml.safe_dump(tree, default_flow_style=flow, indent=rng.choice([2, 4]), allow_unicode=rng.random() < 0.5,
                                  sort_keys=False, width=rng.choice([20, 80, 1000]))
            if flow is False:
                text = with_comments(text, rng)
        else:
            continue
        assert read(text) == tree
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        words = ["export", run_folder, "--format", "hydra", "--into", path]
        diff = run(*words, "--dry-run")
        with open(path, encoding="utf-8", newline="") as file:
            assert file.read() == text, "--dry-run changed the file"
        run(*words)
        with open(path, encoding="utf-8", newline="") as file:
            edited = file.read()
        assert read(edited) == after, f"seed {seed}\n{text}\n-->\n{edited}\n{read(edited)}\n{after}"
        assert patched(text, diff) == edited, f"seed {seed}\n{diff}"


def patched(text, diff):
    """The text with a unified diff applied, every line of the diff held against it."""
    if not diff:
        return text
    old, new, at = text.splitlines(keepends=True) if "\r" not in text else None, [], 0
    lines = diff.splitlines(keepends=True)
    assert lines[0].startswith("--- ") and lines[1].startswith("+++ ")
    lines = lines[2:]
    for i, line in enumerate(lines):
        bare = i + 1 < len(lines) and lines[i + 1].startswith("\\")
        content = line[1:-1] if bare else line[1:]
        if line.startswith("@@"):
            start, _, count = line.split()[1][1:].partition(",")
            first = int(start) if count == "0" else int(start) - 1
            new += old[at:first]
            at = first
        elif line.startswith(("-", " ")):
            assert old[at] == content, (old[at], content)
            new += [content] if line[0] == " " else []
            at += 1
        elif line.startswith("+"):
            new.append(content)
    return "".join(new + old[at:])


def main():
    with tempfile.TemporaryDirectory() as folder:
        run_folder = check_formats(folder)
        check_edits(run_folder, folder)
    if missing:
        print("not checked, for want of: " + ", ".join(sorted(missing)))
        return 77
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
