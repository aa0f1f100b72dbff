#!/usr/bin/env bash
# The library that nvcc made defines every launch, each of its objects holds code for GPUs and, where cuobjdump can tell,
# for every architecture that was asked for, with PTX for later ones.
set -euo pipefail

if [ -z "${FM_CUDA_KERNELS:-}" ]; then
    echo "no nvcc, or not the release build: nothing was compiled for GPUs"
    exit 0
fi
status=0
complain() {
    echo "$*" >&2
    status=1
}
kernels=$FM_SOURCE_DIR/probes/backends/cuda
defined=$(nm -g --defined-only "$FM_CUDA_KERNELS" 2>/dev/null)
for launch in $(grep -o '\bfm_cuda_launch_[a-z_]*' "$kernels/kernels.h" | sort -u); do
    case $launch in fm_cuda_launch_fn) continue ;; esac
    grep -q " T $launch\$" <<<"$defined" || complain "$launch is not defined"
done
sources=("$kernels"/kernels/*.cu)
code=$(objdump -h "$FM_CUDA_KERNELS" | grep -c ' \.nv_fatbin ')
[ "$code" -eq ${#sources[@]} ] || complain "$code objects of ${#sources[@]} hold code for GPUs"

cuobjdump=$(dirname "$FM_NVCC")/cuobjdump
[ -x "$cuobjdump" ] || exit $status
elf=$("$cuobjdump" --list-elf "$FM_CUDA_KERNELS" 2>/dev/null)
last=
for architecture in $FM_CUDA_ARCHITECTURES; do
    for source in "${sources[@]}"; do
        name=$(basename "$source" .cu)
        grep -q "$name.*sm_$architecture\.cubin" <<<"$elf" || complain "$name: no code for sm_$architecture"
    done
    last=$architecture
done
"$cuobjdump" --list-ptx "$FM_CUDA_KERNELS" 2>/dev/null | grep "sm_$last\.ptx" >/dev/null || complain "no PTX for what comes after sm_$last"
exit $status
