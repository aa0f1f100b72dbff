#!/usr/bin/env bash
# Benchmarks: a training step against PyTorch's on this CPU, the two searches, planning. Ratios count: absolute times are this
# machine's, in this minute. Figures are kept by hand in docs/performance.md, with this script's output beside them.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TXT'
usage: ci/bench.sh [--seconds N] [--rounds N] [--no-torch]
  --seconds N   timed seconds of each step measurement (default 4)
  --rounds N    interleaved rounds of fillmark and PyTorch (default 3)
  --no-torch    only fillmark's own figures
FILLMARK_BENCH_PYTHON: an interpreter that has torch; else one is made in build/bench-venv (a large download).
TXT
}

seconds=4 rounds=3 torch=yes
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$2; shift 2 ;;
        --rounds) rounds=$2; shift 2 ;;
        --no-torch) torch=no; shift ;;
        --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done

./ci/setup.sh >&2
cmake --preset release >&2
cmake --build build --target programs bench -j "$(nproc)" >&2

python=${FILLMARK_BENCH_PYTHON:-}
if [ "$torch" = yes ] && [ -z "$python" ]; then
    python=build/bench-venv/bin/python
    if ! "$python" -c 'import torch' 2>/dev/null; then
        { python3 -m venv build/bench-venv && "$python" -m pip install -q torch==2.6.0 numpy; } >&2 || torch=no
    fi
fi
if [ "$torch" = yes ] && ! "$python" -c 'import torch' 2>/dev/null; then torch=no; fi
[ "$torch" = yes ] || echo "PyTorch is not here: fillmark's own figures only, no ratio."

threads=$(nproc)
field() { sed -n "s/.*$1 \([0-9.]*\).*/\1/p" <<<"$2"; }
median() { tr ' ' '\n' | grep . | sort -n | awk '{v[NR]=$1} END {print v[int((NR + 1) / 2)]}'; }

# step NETWORK BATCH PRECISION SIZE key=value...
step() {
    local network=$1 batch=$2 precision=$3 size=$4 ours="" peers="" out library="" peer_library=""
    shift 4
    for _ in $(seq "$rounds"); do
        out=$(build/bench/bench_step "$network" "$batch" "$precision" "$threads" "$seconds" "input=$size" "$@")
        ours="$ours $(field step_ms "$out")"
        library=${out##*library }
        if [ "$torch" = yes ]; then
            out=$("$python" tests/reference/torch_cpu_step.py "$network" "$batch" "$precision" "$threads" "$seconds" "$size")
            peers="$peers $(field step_ms "$out")"
            peer_library=${out##*library }
        fi
    done
    local mine=$(median <<<"$ours")
    if [ "$torch" = yes ]; then
        local peer=$(median <<<"$peers")
        printf '%-12s %-5s batch %s %-10s  fillmark %9.1f ms  PyTorch %9.1f ms  PyTorch/fillmark %.2f\n' "$network" "$precision" \
            "$batch" "$size" "$mine" "$peer" "$(awk "BEGIN {print $peer / $mine}")"
    else
        printf '%-12s %-5s batch %s %-10s  fillmark %9.1f ms\n' "$network" "$precision" "$batch" "$size" "$mine"
    fi
    libraries="$library${peer_library:+ | $peer_library}"
}

echo "== a training step, $threads threads, median of $rounds rounds"
for precision in fp32 bf16; do
    step denseunet3d 2 "$precision" 64x64x64
    step segformer 4 "$precision" 288x288 variant=b2
done
echo "libraries: $libraries"

echo "== search: the plan's against PyTorch Lightning's binsearch (from 2, then the boundary certified), same cells"
searches=$(mktemp -d)
trap 'rm -rf "$searches"' EXIT
for method in plan binsearch; do
    build/fillmark run --device cpu --workload denseunet3d,segformer --set denseunet3d.base_channels=4 \
        --set denseunet3d.levels=3 --set denseunet3d.input=32x32x32 --set segformer.input=128x128 --precision fp32,bf16 \
        --checkpoint none,blocks --channels 1,1/2 --memory 256MiB --launches 1 --time-budget none \
        --search "$method" --out "$searches/$method" >/dev/null 2>&1
done
python3 tests/bench/search_table.py "$searches/plan/result.json" "$searches/binsearch/result.json"

echo "== the plan command, second call"
python3 tests/bench/plan_wall.py build/fillmark

for bench in bench_plan bench_allocator; do
    [ -x "build/bench/$bench" ] || continue
    echo "== $bench"
    "build/bench/$bench"
done
