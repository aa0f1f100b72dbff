/* Out-of-memory messages, as frameworks have written them over the years, read for their numbers.
 *
 * The text may be a whole log: the message is searched in it, line breaks inside it are blanks, and what follows or
 * precedes it is skipped. Of several messages the first with numbers counts; those of TensorFlow and XLA, which spread
 * one failure over several lines, are read together. Only whole numbers with whole units count, so a message that was cut
 * anywhere gives what stands before the cut.
 *
 * Sizes are printed rounded ("1.56 GiB" is 1.555 to 1.565): each is kept with the bounds it may have had. KB, MB and GB
 * of these messages are powers of 1024 (the sources divide so); a size of 2^60 bytes and more is a known bug of the
 * framework's arithmetic below zero and not a size.
 *
 * Forms, and where they come from:
 *   PyTorch 1.0-1.3   "(GPU 0; 7.43 GiB total capacity; ...; 33.58 MiB cached)": cached is reserved but not allocated
 *                     (pytorch/pytorch pull request 13751)
 *   PyTorch 1.4-2.0   "...; 9.11 GiB reserved in total by PyTorch)", with "... allowed" under a memory fraction
 *   PyTorch 2.1-      "GPU 0 has a total capac[i]ty of ... of which ... is free. Including non-PyTorch memory, this process
 *                     has ... Of the allocated memory ..."; private pools since pull request 124673; also HIP, XPU
 *   PyTorch           MPS ("MPS backend out of memory (...)") and DefaultCPUAllocator
 *   TensorFlow        BFC allocator, "OOM when allocating tensor with shape[...]", its Stats
 *   JAX, XLA          "Out of memory while trying to allocate ...", BufferAssignment stats, "Used 17.3G of 15.48G hbm"
 *   CUDA              cudaErrorMemoryAllocation and its other names: no number at all
 * "Tried to allocate" of PyTorch is the segment that the caching allocator asked the device for, not the tensor: requests
 * below 1 MiB ask for 2 MiB, below 10 MiB for 20 MiB, larger ones are rounded up to 2 MiB (rule 3 of
 * docs/memory-model.md). */
#ifndef FM_TUNER_EXPLAIN_MESSAGE_H
#define FM_TUNER_EXPLAIN_MESSAGE_H

#include "tuner/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_OOM_TEXT_MAX_BYTES ((size_t)16 << 20)
#define FM_OOM_PROCESSES_MAX 16
#define FM_OOM_DIMS_MAX 8

#define FM_OOM_KIND_LIST(X)                                                \
    X(PYTORCH, "pytorch", "PyTorch, caching allocator of the GPU")         \
    X(PYTORCH_MPS, "pytorch-mps", "PyTorch, Apple GPU (MPS)")              \
    X(PYTORCH_CPU, "pytorch-cpu", "PyTorch, memory of the host")           \
    X(TENSORFLOW, "tensorflow", "TensorFlow, BFC allocator")               \
    X(XLA, "xla", "XLA (JAX)")                                             \
    X(BARE, "cuda", "CUDA, without numbers")
#define X(name, text, title) FM_OOM_##name,
enum fm_oom_kind { FM_OOM_KIND_LIST(X) FM_OOM_KIND_COUNT };
#undef X
const char *fm_oom_kind_name(enum fm_oom_kind kind);
const char *fm_oom_kind_title(enum fm_oom_kind kind);

/* lo <= what it was <= hi; bytes is what was printed */
struct fm_oom_size {
    bool known;
    int64_t bytes, lo_bytes, hi_bytes;
};

struct fm_oom_process {
    int64_t pid;                    /* -1: "this process" */
    struct fm_oom_size used;
};

struct fm_oom {
    enum fm_oom_kind kind;
    size_t line, column;            /* where it begins, from 1 */
    size_t more;                    /* further messages in the text */
    bool cut;                       /* it ends before its last number */
    bool overflowed;                /* a size was 2^60 bytes or more, and is unknown */
    int64_t device;                 /* ordinal; -1 unknown */
    struct fm_oom_size requested, capacity, free, allocated, reserved;
    struct fm_oom_size unused;      /* reserved but not allocated; given, or reserved - allocated */
    struct fm_oom_size allowed;     /* what the process may reserve: torch.cuda.set_per_process_memory_fraction, MPS, BFC */
    struct fm_oom_size private_pools;       /* part of allocated: CUDA graphs */
    struct fm_oom_size other;       /* MPS: other allocations of the process */
    struct fm_oom_size parameters, temporaries, total;      /* XLA's buffer assignment */
    struct fm_oom_process process[FM_OOM_PROCESSES_MAX];
    size_t processes;
    int64_t shape[FM_OOM_DIMS_MAX]; /* TensorFlow's tensor */
    uint32_t dims;
    char dtype[16];                 /* "" unknown */
    char phrase[48];                /* what it was found by */
};

/* INVALID: no such message in the text (an empty one, too), or more than FM_OOM_TEXT_MAX_BYTES. Allocates nothing. */
fm_status fm_oom_read(const char *text, size_t bytes, struct fm_oom *out, struct fm_err *err) FM_MUST_USE;

#endif
