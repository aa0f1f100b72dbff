#!/usr/bin/env bash
# What can only be known on a GPU, in one command: values, memory, largest batches, PyTorch beside, where time goes.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: ci/gpu-check.sh [OPTION...] PIECE...

On a machine with an NVIDIA GPU, CUDA's compiler and PyTorch; no network is needed, and no library that ci/gpu-pack.sh
carries. Each piece takes at most 9 minutes, all of them are meant to take 25. What is done is not done again: call it
as often as needed. Nothing of the GPU's settings is changed.

THIS SCRIPT HAS NEVER RUN ON A GPU. Its pieces ran on stand-ins for NVIDIA's libraries (tests/cli/gpu_check.sh).

pieces:
  build        fillmark, its cuda worker and the programs of tests/gpu, for this GPU alone
  ops          every kernel, convolution, product and two trainings against the ref backend
  sanitizer    compute-sanitizer over a whole small training: memcheck, racecheck, synccheck, initcheck
  memory       steps: planned against counted reserved bytes, and what the device says is used
  batches      fillmark run: largest batches certified; fp32 and fp16, with and without checkpointing, both memory formats
  torch        the same cells in PyTorch: largest batch, peaks, samples/s with cudnn.benchmark off and on
  time         a step of each certified cell: its time, with NVML asked meanwhile and without, and which kernels it goes to
  devicejson   cuDNN's description of this GPU beside the one that plans for absent GPUs are made from
  report       README.md from what there is; every piece does this at its end
  all          all of them, in this order; none is begun after 25 minutes

options:
  --out FOLDER     results (default: build-gpu/results): README.md and raw files, to be kept as docs/measured/GPU/
  --build FOLDER   where fillmark is built (default: build-gpu)
  --memory SIZE    what allocators may reserve (default 24GiB)
  --tiny           networks of a few kilobytes, to try the script
  --again          do what is done once more

$FILLMARK_GPU_PYTHON: an interpreter that has torch (default: python3). $FILLMARK_CUDA_ARCHITECTURES: what to build for
instead of this GPU alone, as 90.
exit codes: 0 all done; 1 something failed or a check did not pass; 2 wrong arguments; 3 not finished, call it again;
11 no GPU, or what is needed here is missing
USAGE
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out='' build=$root/build-gpu memory=24GiB tiny=0 again='' wanted=()
python=${FILLMARK_GPU_PYTHON:-python3}
pieces=(build ops sanitizer memory batches torch time devicejson)
while [ $# -gt 0 ]; do
    case $1 in
    --out | --build | --memory)
        [ $# -ge 2 ] || { echo "gpu-check: $1: its value is missing" >&2; exit 2; }
        declare "${1#--}=$2"
        shift
        ;;
    --tiny) tiny=1 ;;
    --again) again=yes ;;
    -h | --help) usage; exit 0 ;;
    build | ops | sanitizer | memory | batches | torch | time | devicejson | report) wanted+=("$1") ;;
    all) wanted+=("${pieces[@]}") ;;
    *) echo "gpu-check: unknown argument '$1'" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
[ ${#wanted[@]} -gt 0 ] || { usage >&2; exit 2; }
mkdir -p "$build"
build=$(cd "$build" && pwd)
out=${out:-$build/results}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$build/gpu-check
mkdir -p "$work"

say() { echo "gpu-check: $*" >&2; }
give_up() { say "$*"; exit 11; }

export LD_LIBRARY_PATH="$root/carried/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# cuDNN and cuBLASLt may have come with PyTorch: the worker looks for wheels below a virtual environment
if [ -z "${VIRTUAL_ENV:-}" ] && prefix=$("$python" -c 'import sys; print(sys.prefix)' 2>/dev/null); then
    export VIRTUAL_ENV=$prefix
fi

# ---- what is needed ----

need_gpu() {
    [ -x "$build/fillmark" ] && [ -x "$build/gpu/step" ] || give_up "no fillmark in $build: run \`ci/gpu-check.sh build\` first"
    "$build/fillmark" devices >"$work/devices.txt" 2>&1 || true
    grep -q '^cuda:0 ' "$work/devices.txt" && return
    give_up "$(grep -m 1 '^no NVIDIA GPU: ' "$work/devices.txt" || echo "no NVIDIA GPU: $(tail -n 1 "$work/devices.txt")")"
}

need_python() {
    command -v "$python" >/dev/null || give_up "no $python: name an interpreter in \$FILLMARK_GPU_PYTHON"
}

write_versions() {
    {
        echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
        echo "fillmark: $("$build/fillmark" --version), commit $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)"
        echo "system: $(. /etc/os-release && echo "$PRETTY_NAME"), $(uname -r), $(getconf GNU_LIBC_VERSION)"
        echo "nvcc: $(nvcc_path >/dev/null && "$(nvcc_path)" --version | grep -m 1 release || echo none)"
        echo "PyTorch: $("$python" -c 'import torch; print(torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())' 2>/dev/null || echo none)"
        echo "allocators may reserve: $memory$([ "$tiny" = 0 ] || echo "; tiny networks")"
        nvidia-smi --query-gpu=name,driver_version,vbios_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit,ecc.mode.current,mig.mode.current \
            --format=csv 2>/dev/null || true
        cat "$work/devices.txt"
    } >"$out/versions.txt"
}

nvcc_path() {
    command -v nvcc || { [ -x /usr/local/cuda/bin/nvcc ] && echo /usr/local/cuda/bin/nvcc; }
}

# compute capability without the dot; nothing where it is not known
architecture() {
    nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ' | grep -E '^[0-9]+$' ||
        "$python" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability(0))' 2>/dev/null || true
}

# ---- pieces: 0 done, 1 failed, 3 not finished ----

piece_build() {
    local sm flags=()
    nvcc_path >/dev/null || give_up "no nvcc: install CUDA's toolkit, or put it on PATH"
    command -v cmake >/dev/null || give_up "no cmake"
    sm=${FILLMARK_CUDA_ARCHITECTURES:-$(architecture)}
    [ -n "$sm" ] && flags+=("-DFILLMARK_CUDA_ARCHITECTURES=$sm")
    [ -d "$root/carried" ] && flags+=("-DCMAKE_PREFIX_PATH=$root/carried")
    cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DFILLMARK_CUDA=ON "${flags[@]}" >"$work/build.txt" 2>&1 &&
        timeout 500 cmake --build "$build" -j "${JOBS:-$(nproc)}" --target programs tests_gpu >>"$work/build.txt" 2>&1 &&
        return 0
    local code=$?
    [ $code -eq 124 ] && return 3
    tail -n 30 "$work/build.txt" >&2
    return 1
}

piece_ops() {
    local program name code bad=0
    for program in "$build"/gpu/gpu_*; do
        name=$(basename "$program")
        [ -f "$work/$name.ok" ] && continue
        code=0
        timeout 150 "$program" >"$work/$name.txt" 2>&1 || code=$?
        if [ $code -eq 0 ]; then
            touch "$work/$name.ok"
        else
            bad=1
            echo "exit code $code" >>"$work/$name.txt"
        fi
    done
    for program in "$build"/gpu/gpu_*; do
        name=$(basename "$program")
        echo "== $name"
        # cmocka counts what passed on stderr, which may cut a line of stdout
        sed 's/\[  PASSED  \]/\n&/' "$work/$name.txt"
    done >"$out/ops.txt"
    return $bad
}

piece_sanitizer() {
    local tool bad=0 code sanitizer
    sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
    [ -n "$sanitizer" ] || give_up "no compute-sanitizer: it comes with CUDA's toolkit"
    for tool in memcheck racecheck synccheck initcheck; do
        [ -f "$work/$tool.ok" ] && continue
        code=0
        timeout 130 "$sanitizer" --tool "$tool" --error-exitcode 86 "$build/gpu/gpu_cuda_step_training" >"$work/$tool.txt" 2>&1 || code=$?
        echo "exit code $code (86: findings, 124: its 130 s were not enough)" >>"$work/$tool.txt"
        if [ $code -eq 0 ]; then touch "$work/$tool.ok"; else bad=1; fi
    done
    for tool in memcheck racecheck synccheck initcheck; do echo "== $tool"; tail -n 200 "$work/$tool.txt"; done >"$out/sanitizer.txt"
    return $bad
}

# steps FILE SECONDS: one line a cell of stdin, "BATCH WORKLOAD WORDS..."; those that FILE has are left out
steps() {
    local file=$1 seconds=$2 line words code bad=0 begin=$SECONDS
    while read -r line; do
        read -r -a words <<<"$line"
        grep -qF "\"cell\":\"${words[*]:1}\",\"batch\":${words[0]}," "$file" 2>/dev/null && continue
        [ $((SECONDS - begin)) -lt 400 ] || return 3
        code=0
        timeout 120 "$build/gpu/step" "$memory" "$seconds" "${words[@]}" >"$work/step.txt" 2>"$work/step_error.txt" </dev/null || code=$?
        if [ $code -eq 0 ]; then
            cat "$work/step.txt" >>"$file"
        else
            say "step ${words[*]}: exit code $code, $(tail -n 1 "$work/step_error.txt")"
            bad=1
        fi
    done
    return $bad
}

piece_memory() {
    local sizes cell word batch
    sizes=("4 denseunet3d input=64x64x64" "8 segformer variant=b2 input=288x288")
    [ "$tiny" = 1 ] && sizes=("2 denseunet3d base_channels=2 levels=2 classes=3 input=8x8x8")
    for cell in "${sizes[@]}"; do
        for word in '' +precision=fp16 +checkpoint=blocks '+precision=fp16 +checkpoint=blocks' +memory_format=channels_last \
            '+precision=fp16 +memory_format=channels_last'; do
            echo "$cell $word"
        done
        # another batch: what grows with it, and what does not
        batch=${cell%% *}
        echo "$((batch * 2)) ${cell#* } +precision=fp16"
    done | steps "$out/memory.jsonl" $((tiny ? 0 : 1))
}

piece_batches() {
    local folder=$work/batches arguments code=0
    # shellcheck disable=SC2054 # lists of values, by commas
    arguments=(--device cuda:0 --memory "$memory" --precision fp32,tf32,fp16 --checkpoint none,blocks
        --memory-format contiguous,channels_last --launches 1 --time-budget 460s)
    if [ "$tiny" = 1 ]; then
        arguments+=(--workload denseunet3d --set base_channels=2 --set levels=2 --set classes=3 --set input=8x8x8 --max-batch 2)
    else
        # shellcheck disable=SC2054
        arguments+=(--workload denseunet3d,segformer --set denseunet3d.input=64x64x64 --set segformer.variant=b2)
    fi
    if [ -f "$folder/journal.jsonl" ] && [ -z "$again" ]; then
        timeout 530 "$build/fillmark" run --resume --out "$folder" >"$work/batches.txt" 2>"$work/batches_log.txt" || code=$?
    else
        rm -rf "$folder"
        timeout 530 "$build/fillmark" run "${arguments[@]}" --out "$folder" >"$work/batches.txt" 2>"$work/batches_log.txt" || code=$?
    fi
    if [ $code -ne 0 ]; then
        tail -n 5 "$work/batches_log.txt" >&2
        [ $code -eq 124 ] && return 3
        return 1
    fi
    cp "$folder/result.json" "$out/batches.json"
    cp "$folder/table.md" "$out/batches_table.md"
    cp "$folder/journal.jsonl" "$out/batches_journal.jsonl"
}

need_batches() { [ -f "$out/batches.json" ] || give_up "no certified batches in $out: run \`ci/gpu-check.sh batches\` first"; }

piece_torch() {
    local code=0 bytes
    need_python
    need_batches
    "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>"$work/torch_error.txt" ||
        give_up "PyTorch of $python does not see a GPU: $(tail -n 1 "$work/torch_error.txt")"
    bytes=$("$python" "$root/tests/gpu/report.py" --bytes "$memory")
    timeout 540 "$python" "$root/tests/reference/torch_cuda_step.py" "$out/batches.json" "$out/torch.jsonl" --memory-bytes "$bytes" \
        --seconds 2 --budget 330 >"$work/torch.txt" 2>&1 || code=$?
    [ $code -eq 124 ] && code=3
    [ $code -eq 0 ] || [ $code -eq 3 ] || tail -n 5 "$work/torch.txt" >&2
    return $code
}

piece_time() {
    need_python
    need_batches
    "$python" "$root/tests/gpu/report.py" --cells "$out/batches.json" | steps "$out/time.jsonl" $((tiny ? 0 : 4))
}

piece_devicejson() {
    local name
    "$build/gpu/device_json" >"$out/devicejson.jsonl" || return 1
    name=$(awk -v gpu="$(sed -n 's/.*"name":"\([^"]*\)","real".*/\1/p' "$out/devicejson.jsonl")" \
        '/^  [a-z0-9-]+:$/ { id = substr($1, 1, length($1) - 1) } /^    name: / { sub(/^    name: /, ""); if ($0 == gpu) print id }' \
        "$root/probes/devices.yaml" | head -n 1)
    if [ -n "$name" ]; then "$build/gpu/device_json" "$name" >>"$out/devicejson.jsonl"; else say "this GPU is not in probes/devices.yaml"; fi
}

# ---- one after another ----

report() {
    need_python
    "$python" "$root/tests/gpu/report.py" "$out"
}

result=0
for piece in "${wanted[@]}"; do
    if [ ${#wanted[@]} -gt 1 ] && [ $SECONDS -gt 1500 ]; then
        say "25 minutes are over; call it again for $piece and what follows"
        exit 3
    fi
    if [ "$piece" = report ]; then
        report
        continue
    fi
    stamp=$work/$piece.done
    if [ -f "$stamp" ] && [ -z "$again" ]; then
        say "$piece: done before"
        continue
    fi
    if [ -n "$again" ]; then
        rm -f "$stamp"
        case $piece in
        ops) rm -f "$work"/gpu_*.ok ;;
        sanitizer) rm -f "$work"/*check.ok ;;
        memory | torch | time) rm -f "$out/$piece.jsonl" ;;
        esac
    fi
    if [ "$piece" != build ]; then
        need_gpu
        write_versions
    fi
    begin=$SECONDS code=0
    # in a subshell: what it lacks ends the piece, not the others
    (
        set +e
        "piece_$piece"
    ) || code=$?
    case $code in
    0) touch "$stamp"; say "$piece: done in $((SECONDS - begin)) s" ;;
    3) say "$piece: not finished after $((SECONDS - begin)) s; call it again"; [ $result -ne 0 ] || result=3 ;;
    11) result=11 ;;
    *) say "$piece: FAILED after $((SECONDS - begin)) s; see $out and $work"; result=1 ;;
    esac
    # the others need it
    if [ "$piece" = build ]; then [ $code -eq 0 ] || exit "$code"; else report || result=1; fi
done
exit $result
