# ci/gpu-check.sh as far as it goes without a GPU: its refusals, its pieces on stand-ins for NVIDIA's libraries, its report,
# and the libraries that ci/gpu-pack.sh carries.
. "$(dirname "$0")/common.sh"
check=$FM_SOURCE_DIR/ci/gpu-check.sh
[ -x "$FM_BINARY_DIR/gpu_fake/step" ] || { echo "skipped: the stand-ins are not built (the compiler knows no C++)"; exit 77; }
[ -x "$FM_BINARY_DIR/fillmark-worker-cpu" ] || { echo "skipped: fillmark devices needs fillmark-worker-cpu"; exit 77; }

wants 0 "$check" --help
says out.txt "HAS NEVER RUN ON A GPU"
wants 2 "$check" --build build
wants 2 "$check" --build build nonsense
says err.txt "unknown argument 'nonsense'"
wants 2 "$check" ops --memory
wants 11 "$check" --build empty ops
says err.txt "run \`ci/gpu-check.sh build\` first"

# where programs on stand-ins are in the place of those for a GPU
mkdir build workers
ln -s "$FILLMARK" build/
ln -s "$FM_BINARY_DIR/gpu_fake" build/gpu
ln -s "$FM_BINARY_DIR/fillmark-worker-cpu" "$FM_BINARY_DIR/fake_cuda/fillmark-worker-cuda" workers/
export FILLMARK_WORKER_DIR="$dir/workers" FILLMARK_CUDA_LIBS="$FM_BINARY_DIR/fake_cuda"
run() { "$check" --build build --tiny --memory 16MiB "$@"; }

# no GPU: one sentence, whatever is asked for
for piece in ops sanitizer memory batches torch time devicejson; do
    FAKE_CUDA=devices=0 wants 11 run "$piece"
    [ "$(wc -l <err.txt)" -eq 1 ] || { cat err.txt >&2; fail "$piece refuses in more than a sentence"; }
    says err.txt "gpu-check: no NVIDIA GPU: NVIDIA's driver is here, but no GPU that it can use"
done

export FAKE_CUDA=sm=80,memory=2048,idle=1
wants 11 run time
says err.txt "run \`ci/gpu-check.sh batches\` first"
wants 0 run memory batches time
says err.txt "memory: done"
wants 0 run memory time
says err.txt "time: done before"
[ "$(wc -l <build/results/memory.jsonl)" -eq 7 ] || fail "memory has not seven cells"
readme=build/results/README.md
says $readme "Not run: \`ci/gpu-check.sh torch\`."
sed -n '/^## Memory/,/^## Largest/p' $readme >part.txt
[ "$(grep -c '| yes |' part.txt)" -eq 19 ] || fail "planned is not counted in every cell"
! grep -qF '**no**' part.txt || fail "planned is not counted"
sed -n '/^## Largest/,/^## PyTorch/p' $readme >part.txt
[ "$(grep -c 'denseunet3d .* 2 | limit | ok' part.txt)" -eq 12 ] || { cat part.txt >&2; fail "not twelve cells certified up to the limit that was given"; }
says part.txt "Complete: yes."
says $readme "| BATCH_NORM_BWD |"

# a test program that fails, and one that is not computing what ref does, is told
mkdir -p bad/gpu
ln -s "$FILLMARK" bad/fillmark
ln -s "$FM_BINARY_DIR/gpu_fake/step" "$FM_BINARY_DIR/gpu_fake/gpu_cuda_resample" bad/gpu/
wants 0 "$check" --build bad ops
says bad/results/README.md "| INTERPOLATE_BWD | fp32 |"
says bad/results/README.md "In no case of its own, only within whole trainings: FILL,"
printf '#!/bin/sh\necho "worst FILL fp32 cases 2 difference 0.5 limit 0.0001"\nexit 1\n' >bad/gpu/gpu_bad
chmod +x bad/gpu/gpu_bad
wants 1 "$check" --build bad --again ops
says bad/results/README.md "| FILL | fp32 | 2 | 0.5 | 0.0001 | **no** |"
says bad/results/README.md "ended with an error: 1"
says err.txt "ops: FAILED"

# the stand-in of cuDNN knows no description of its GPU; the table's is there without one
wants 1 run devicejson
says err.txt "cuDNN does not describe this GPU"
wants 0 "$FM_BINARY_DIR/gpu_fake/device_json" rtx4090
says out.txt '"multiProcessorCount":128'
wants 2 "$FM_BINARY_DIR/gpu_fake/device_json" rtx40900

# PyTorch: not there; and its lines beside ours
FILLMARK_GPU_PYTHON=nowhere wants 11 run torch
says err.txt "no nowhere"
python3 - <<'PY'
import json
cells = json.load(open("build/results/batches.json"))["cells"]
times = {json.loads(l)["cell"]: json.loads(l) for l in open("build/results/time.jsonl")}
assert len(times) == 12 and all(t["batch"] == 2 for t in times.values())
with open("build/results/torch.jsonl", "w") as out:
    for c, t in zip(cells, times.values()):
        speed = 2e9 / sorted(t["step_ns"])[len(t["step_ns"]) // 2]
        timed = [dict(samples_per_s=speed / 2, max_memory_reserved=2**30, max_memory_allocated=2**29), dict(samples_per_s=speed / 4)]
        out.write(json.dumps(dict(cell=c["id"], workload=c["workload"], set=c["set"], strategies=c["strategies"], fillmark_batch=2,
                                  max_batch=2, certified=True, torch="0", cuda="0", cudnn=0, timed=timed)) + "\n")
PY
wants 0 run report
sed -n '/^## PyTorch/,/^## Where/p' $readme >part.txt
[ "$(grep -c '| 2 | 2 | yes | .* | 1.000 | 0.500 | .* | 2.000 |$' part.txt)" -eq 12 ] || { cat part.txt >&2; fail "PyTorch's column is wrong"; }

# NVML beside timed steps
sed -n '/^## Looking/,/^## The device/p' $readme >part.txt
[ "$(grep -c '| [0-9]* | nothing | 0 of [0-9]* |$' part.txt)" -eq 12 ] || { cat part.txt >&2; fail "what was looked at is wrong"; }

# what is carried is enough to find all libraries, and nothing else is overwritten
onednn=libdnnl-dev
[ ! -d "$FM_SOURCE_DIR/.deps/onednn" ] || onednn=
# shellcheck disable=SC2086 # empty is no package
if command -v dpkg-query >/dev/null && dpkg-query -s $onednn libcmocka-dev >/dev/null 2>&1; then
    wants 0 "$FM_SOURCE_DIR/ci/gpu-pack.sh" carried
    for file in include/cjson/cJSON.h include/yaml.h include/oneapi/dnnl/dnnl.h lib/libsqlite3.a lib/libdnnl.so versions.txt; do
        [ -e "carried/$file" ] || fail "no $file is carried"
    done
    wants 0 "$FM_SOURCE_DIR/ci/gpu-pack.sh" carried
    wants 1 "$FM_SOURCE_DIR/ci/gpu-pack.sh" workers
    [ -e workers/fillmark-worker-cpu ] || fail "a folder that was there is gone"
fi
