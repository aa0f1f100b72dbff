#!/usr/bin/env bash
# fillmark on a GPU that is a stand-in: runs, and GPUs that fail, each as its outcome in the table.
. "${FM_SOURCE_DIR:?}/tests/cli/common.sh"
export FILLMARK_CUDA_LIBS="$FM_BINARY_DIR/fake_cuda" FILLMARK_WORKER_DIR="$dir/workers"
mkdir workers
ln -s "$FM_BINARY_DIR/fillmark-worker-cpu" "$FM_BINARY_DIR/fake_cuda/fillmark-worker-cuda" workers/
cell=(--workload denseunet3d --set base_channels=4 --set levels=2 --set input=32x32x32 --time-budget 60s --launches 1)
run() { FAKE_CUDA=$1; export FAKE_CUDA; shift; wants 0 "$FILLMARK" run "${cell[@]}" --out "$dir/out" "$@"; }

# two probes certify the planned batch, and what was counted is what was planned
run idle=1 --device cuda:0 --memory 200MiB
says out.txt "cuda:0 · Fake GPU · sm_90"
says "$dir/out/journal.jsonl" '"oom_device"'
grep -q "certified" "$dir/out/journal.jsonl" "$dir/out/result.json" || fail "nothing was certified"
rm -rf out

# the journal says which GPU it was; another one of that name does not go on with it, nor does one with other memory
run idle=1 --device cuda:0 --memory 100MiB --precision fp32 --checkpoint none
uuid=GPU-00102030-4050-6070-8090-a0b0c0d0e0f0
says "$dir/out/journal.jsonl" "\"uuid\":\"$uuid\""
says "$dir/out/result.json" "\"$uuid\""
FAKE_CUDA=idle=1 wants 0 "$FILLMARK" run --resume --out "$dir/out"
cp "$dir/out/journal.jsonl" "$dir/before.jsonl"
FAKE_CUDA=idle=1,uuid=5 wants 22 "$FILLMARK" run --resume --out "$dir/out"
says err.txt "device cuda:0: uuid: recorded with '$uuid', now 'GPU-00152030-4050-6070-8090-a0b0c0d0e0f0'"
FAKE_CUDA=idle=1,memory=2048 wants 22 "$FILLMARK" run --resume --out "$dir/out"
says err.txt "device cuda:0: total_bytes: recorded with 4294967296, now 2147483648"
cmp "$dir/before.jsonl" "$dir/out/journal.jsonl" || fail "what was refused changed the journal"
rm -rf out

# engines that are timed: which is fastest the plan did not know, and that its peak is another is no bug
run idle=1,fast=12 --device cuda:0 --memory 200MiB --cudnn-benchmark on --precision tf32
grep -q "certified" "$dir/out/result.json" || fail "nothing was certified with timed engines"
if grep -F "this is a bug" out.txt; then fail "a plan that takes the largest workspace is none"; fi
rm -rf out

# without a limit: what is free, less what PyTorch's context and libraries take
run idle=1,memory=900,held=100 --device cuda:1
says out.txt "limit 288.0 MiB"
rm -rf out

# every GPU is taken
run idle=1 --memory 100MiB
says out.txt "on  cuda:0"
says out.txt "on  cuda:1"
rm -rf out

# a limit that the GPU does not have is an error, not a reason to take the CPU
FAKE_CUDA=idle=1,memory=2048 wants 2 "$FILLMARK" run "${cell[@]}" --memory 3GiB --out "$dir/none"
says err.txt "--memory: 3221225472 bytes are more than the 2147483648 of Fake GPU"

# what the GPU did while steps were timed
run idle=1 --device cuda:0 --memory 100MiB --precision fp32 --checkpoint none
says "$dir/out/result.json" '"throttle_reasons":	[]'
says "$dir/out/result.json" '"throttled_share":	0'
says "$dir/out/journal.jsonl" '"power_w":{"median":250.5,"max":250.5}'
says "$dir/out/journal.jsonl" '"shared":false'
rm -rf out
run idle=1,slow=64 --device cuda:0 --memory 100MiB --precision fp32 --checkpoint none
says out.txt "without a time: every timed step was throttled: heat or power"
says "$dir/out/journal.jsonl" '"throttle_reasons":["hw_thermal_slowdown"]'
says "$dir/out/journal.jsonl" '"certified":true'
rm -rf out

# a GPU that others use is searched and not timed, unless that is asked for; what is resumed stays as it was asked for
run idle=1,held=100 --device cuda:0 --memory 100MiB --precision fp32 --checkpoint none
says out.txt "1 other process computed on this device: other4242 (pid 4242); stop it, or time all the same with --shared"
says "$dir/out/journal.jsonl" '"certified":true'
! grep '"samples_per_s"' "$dir/out/journal.jsonl" >/dev/null || fail "a shared GPU was timed"
rm -rf out
run idle=1,held=100 --device cuda:0 --memory 100MiB --precision fp32 --checkpoint none --shared
says out.txt "‡ others used the device meanwhile"
says out.txt " --shared"
says "$dir/out/journal.jsonl" '"shared":true'
says "$dir/out/journal.jsonl" '"others":[{"pid":4242,"name":"other4242"'
wants 0 "$FILLMARK" run --resume --out "$dir/out"
[ "$(grep -c '"kind":"row"' "$dir/out/journal.jsonl")" -gt 1 ] || fail "no rows"
grep '"kind":"resume"' "$dir/out/journal.jsonl" | grep '"shared":"true"' >/dev/null || fail "--shared was not resumed"
rm -rf out

# a kernel that fails is a crash, an error of memory is one too, and neither is called out of memory
run idle=1,sync_at=9,sync_fail=719 --device cuda:0 --memory 100MiB
says "$dir/out/journal.jsonl" '"crash"'
says out.txt "CUDA_ERROR_LAUNCH_FAILED"
! grep -q '"oom_device"' "$dir/out/journal.jsonl" || fail "a failed kernel was taken for a lack of memory"
rm -rf out
run idle=1,sync_at=9,sync_fail=214 --device cuda:0 --memory 100MiB
says out.txt "ECC"
rm -rf out

# a GPU that hangs is a timeout
run idle=1,hang_at=9 --device cuda:0 --memory 100MiB --deadline 1s
says "$dir/out/journal.jsonl" '"timeout"'
rm -rf out

# what the library cannot do is unsupported, with the reason
run idle=1,sm=75 --device cuda:0 --memory 100MiB --precision bf16
says out.txt "no engine for this bf16 convolution on sm_75"
rm -rf out

# nor is what a cuDNN computes wrongly computed otherwise under the same name: the rest of the run is ranked without it
run idle=1,cudnn=91002 --device cuda:0 --memory 100MiB --precision tf32,fp32
says out.txt "cuDNN 9.10.2 computes 3-D convolutions in TF32 wrongly: install 9.16 or later"
says "$dir/out/result.json" '"outcome":	"unsupported"'
[ "$(grep -c '"rank":	[0-9]' "$dir/out/result.json")" = 1 ] || fail "a cell that cannot be computed was ranked"

# no GPU, and devices that are not there
FAKE_CUDA=devices=0
wants 11 "$FILLMARK" run "${cell[@]}" --device cuda:0 --out "$dir/none"
says err.txt "NVIDIA's driver is here, but no GPU"
FAKE_CUDA=devices=1
wants 11 "$FILLMARK" run "${cell[@]}" --device cuda:3 --out "$dir/none"
says err.txt "no GPU 'cuda:3' here; there is 1: cuda:0 Fake GPU"
wants 0 "$FILLMARK" devices
says out.txt "cuda:0  Fake GPU"
says out.txt "cuDNN 9.19.0, CUDA 13.0 · "
says out.txt "NCCL 2.28.9, CUDA 13.0 · "
wants 0 "$FILLMARK" devices --json
says out.txt '"software"'
says out.txt '"framework_bytes"'
mkdir "$dir/gpu-only"
ln -s "$dir/workers/fillmark-worker-cuda" "$dir/gpu-only"
FILLMARK_WORKER_DIR="$dir/gpu-only" wants 0 "$FILLMARK" devices
says out.txt "cuda:0  Fake GPU"
says out.txt "no CPU device: "
FAKE_CUDA=init=100
wants 0 "$FILLMARK" devices
says out.txt "no NVIDIA GPU: NVIDIA's driver is here, but no GPU"
says out.txt "     cuDNN 9.19.0, CUDA 13.0 · "
says out.txt "     NCCL 2.28.9, CUDA 13.0 · "
wants 0 "$FILLMARK" devices --json
says out.txt '"no_gpu"'
says out.txt '"cuDNN"'

# no driver: one sentence, and the libraries that are here without it
mkdir "$dir/no-driver"
for library in "$FILLMARK_CUDA_LIBS"/lib*; do
    case $library in *libcuda.so*) ;; *) ln -s "$library" "$dir/no-driver/" ;; esac
done
FILLMARK_CUDA_LIBS="$dir/no-driver" wants 0 "$FILLMARK" devices
says out.txt "no NVIDIA GPU: NVIDIA's driver (libcuda.so.1) is not here: install"
says out.txt "     driver: not here; install it"
says out.txt "     cuDNN 9.19.0, CUDA 13.0 · "
FILLMARK_CUDA_LIBS="$dir/no-driver" wants 0 "$FILLMARK" devices --json
says out.txt "is not here: install NVIDIA's driver"
FILLMARK_CUDA_LIBS="$dir/no-driver" wants 11 "$FILLMARK" run "${cell[@]}" --device cuda:0 --out "$dir/none"
says err.txt "error: NVIDIA's driver (libcuda.so.1) is not here: install"
