#!/usr/bin/env bash
# The kernels' library holds code for every GPU architecture that it is said to be for, and PTX for later ones.
set -euo pipefail

if [ -z "${FM_CUDA_KERNELS:-}" ]; then
    echo "no nvcc, or not the release build: nothing was compiled for GPUs"
    exit 0
fi
cuobjdump=$(dirname "$FM_NVCC")/cuobjdump
if [ ! -x "$cuobjdump" ]; then
    echo "no cuobjdump beside $FM_NVCC"
    exit 0
fi
elf=$("$cuobjdump" --list-elf "$FM_CUDA_KERNELS" 2>/dev/null)
ptx=$("$cuobjdump" --list-ptx "$FM_CUDA_KERNELS" 2>/dev/null)
status=0
last=
for architecture in $FM_CUDA_ARCHITECTURES; do
    for source in "$FM_SOURCE_DIR"/probes/backends/cuda/kernels/*.cu; do
        name=$(basename "$source" .cu)
        if ! grep -q "$name.*sm_$architecture\.cubin" <<<"$elf"; then
            echo "$name: no code for sm_$architecture" >&2
            status=1
        fi
    done
    last=$architecture
done
if ! grep -q "sm_$last\.ptx" <<<"$ptx"; then
    echo "no PTX for what comes after sm_$last" >&2
    status=1
fi
exit $status
