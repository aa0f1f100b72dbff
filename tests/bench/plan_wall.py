"""How long `fillmark plan` takes, seen from outside, once the cache knows the workspaces: the command as a user calls it,
process start and end included. Several builds take turns, so that their ratio is right where times are not.

    python3 tests/bench/plan_wall.py build/fillmark [OTHER/fillmark ...]
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 20
FOUR = ["--precision", "fp32,bf16", "--checkpoint", "none,blocks"]
CELLS = {4: FOUR, 16: [*FOUR, "--channels", "1,1/2", "--val-batch", "same,half"]}       # 16: the default run's
SUBJECTS = [(device, workload, cells) for workload in ("denseunet3d", "segformer") for device in ("rtx4090", "none") for cells in CELLS]


def one(program, arguments, environment):
    start = time.perf_counter()
    subprocess.run([program, "plan", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1e3


def main():
    programs = sys.argv[1:]
    with tempfile.TemporaryDirectory() as cache:
        environment = dict(os.environ, FILLMARK_CACHE_DIR=cache)
        for device, workload, cells in SUBJECTS:
            arguments = ["--device", device, "--workload", workload, *CELLS[cells]]
            if device == "none":
                arguments += ["--memory", "23GiB"]
            first = [one(p, arguments, environment) for p in programs]
            taken = [[] for _ in programs]
            for _ in range(ROUNDS):
                for times, program in zip(taken, programs):
                    times.append(one(program, arguments, environment))
            for name, times, cold in zip(programs, taken, first):
                ratio = statistics.median(a / b for a, b in zip(taken[0], times))
                versus = "" if name == programs[0] else f"  first/this {ratio:.2f}"
                print(f"{workload:12s} {device:8s} {cells:2d} cells  median {statistics.median(times):6.1f} ms  least {min(times):6.1f} ms"
                      f"  first call {cold:7.1f} ms  {name}{versus}")


if __name__ == "__main__":
    main()
