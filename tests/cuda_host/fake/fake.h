/* Stand-ins for NVIDIA's libraries: device memory is the host's, under a capacity; convolutions and products are the ref
 * backend's; failures come when they are told to.
 *
 * $FAKE_CUDA, read when the driver is initialized and when a library is loaded, is a list of name=number, by commas:
 *
 *   driver=13000   what the driver knows of CUDA           init=0        what cuInit answers
 *   devices=2      how many GPUs                            sm=90         their architecture
 *   memory=4096    MiB of each                              context=300   MiB that a context takes
 *   held=0         MiB that other processes hold            mig=0         1: they are MIG instances
 *   oom_at=0       the n-th allocation is refused           alloc_fail=0  with this error instead of out of memory
 *   sync_at=0      the n-th wait fails with ...             sync_fail=0   this error, and so does all after it
 *   hang_at=0      the n-th wait does not end
 *   cudnn=91900    cuDNN's version                          cudart=13000  the CUDA that cuDNN and cuBLASLt are made for
 *   devprop=1      0: cuDNN cannot describe a device        conv_fail=0   what running a convolution answers
 *   slow=0         reasons of low clocks                    ecc=0         uncorrected errors
 *   lt_fail=0      what a product answers                   nvml=1        0: NVML does not start
 *   slow_from=0    those from the n-th look at them on   slow_until=0  and up to this one (0: for ever)
 *   others_from=0  the other process comes at the n-th    others_until=0 and goes after this one
 *                  look at processes
 *   self=0         NVML lists this process under this number (0: its own, -1: not at all), from the second look on
 *   nvml_hang_at=0 the n-th look at clocks does not end    nvml_slow_ms=0 each takes so long
 *   mig_parent=1   0: NVML does not tell of which GPU a MIG instance is a part
 *   runtime=13000  version of CUDA's runtime                 nccl=22809    of NCCL
 *   fast=-1        the engine of cuDNN that is fastest: all others take half a millisecond
 *   attention=1    0: no engine of attention
 *   uuid=0         added to the second byte of their UUIDs: GPUs of another machine
 *   idle=0         1: nothing is computed, for tests of memory alone */
#ifndef FM_TESTS_CUDA_HOST_FAKE_H
#define FM_TESTS_CUDA_HOST_FAKE_H

#include <stdlib.h>
#include <string.h>

#define FAKE_MIB ((size_t)1 << 20)

static inline long fake_option(const char *name, long standard)
{
    const char *text = getenv("FAKE_CUDA");
    size_t n = strlen(name);
    while (text && *text) {
        if (strncmp(text, name, n) == 0 && text[n] == '=') return strtol(text + n + 1, NULL, 10);
        text += strcspn(text, ",");
        text += *text == ',';
    }
    return standard;
}

#endif
