/* What a device backend offers to the worker. One const table a backend; opened once a process.
 *
 * All device memory, tensors and workspaces alike, belongs to the caller, which takes it from the backend's segment
 * source through the caching allocator; a backend holds less than 1 MiB of its own that grows with a problem. */
#ifndef FM_PROBES_BACKENDS_BACKEND_H
#define FM_PROBES_BACKENDS_BACKEND_H

#include "probes/memory/segment_source.h"
#include "tuner/base/status.h"
#include "workloads/program/candidates.h"
#include "workloads/program/program.h"

#include <stdint.h>

#define FM_BACKEND_ABI 1u
#define FM_TEXT_BYTES 128

/* what would spoil a measurement, and what to do about it */
struct fm_finding { char what[160], remedy[160]; };
/* another process that holds memory of the device; bytes -1: unknown */
struct fm_holder { int64_t pid, bytes; char name[64]; };
/* a driver or library: version and the CUDA it is made for (of a driver: the newest it knows) are "" where unknown */
struct fm_software { char name[24], version[24], cuda[24], path[256], absent[112]; };     /* absent: not here, and who needs it */
#define FM_MAX_SOFTWARE 8
#define FM_MAX_FINDINGS 12
#define FM_MAX_HOLDERS 8

struct fm_device_info {
    char id[32];                        /* "cpu", "cuda:0" */
    char name[FM_TEXT_BYTES];           /* "AMD EPYC ..." */
    char isa[64];                       /* what decides kernels and workspaces: "avx512_core_bf16" */
    char library[FM_TEXT_BYTES];        /* "oneDNN 2.6.3" */
    char driver[FM_TEXT_BYTES];         /* "" where there is none */
    char uuid[48];                      /* which one of its kind: "GPU-..."; "" where there is none, or unknown */
    int64_t total_bytes, free_bytes;    /* of the device; -1 unknown */
    int32_t threads;                    /* 0 where it does not matter */
    int32_t count;                      /* devices of this backend here; 0: not told */
    int64_t framework_bytes;            /* what PyTorch holds beside its allocator's segments; 0: memory is the host's */
    char facts[400];                    /* clocks, temperature, links, for people; "" */
    struct fm_software software[FM_MAX_SOFTWARE];
    uint32_t softwares;
    struct fm_finding finding[FM_MAX_FINDINGS];
    struct fm_holder holder[FM_MAX_HOLDERS];        /* descending */
    uint32_t findings, holders;
};

/* What holds a device's clocks down, and whether it throttles: heat, and supplies that give less than is drawn, change how
 * fast the same step is while it is timed. The power limit and sync groups belong to how the device was set up: they are
 * told and their times count. Idleness and clocks that were asked for are none of these. */
#define FM_SLOW_LIST(X)                                                                                             \
    X(sw_power_cap, 0, false) X(hw_slowdown, 1, true) X(sync_boost, 2, false) X(sw_thermal_slowdown, 3, true)       \
    X(hw_thermal_slowdown, 4, true) X(hw_power_brake, 5, true)
enum {
#define X(name, bit, throttles) FM_SLOW_##name = 1 << (bit),
    FM_SLOW_LIST(X)
#undef X
#define X(name, bit, throttles) | ((throttles) ? 1 << (bit) : 0)
    FM_SLOW_THROTTLES = 0 FM_SLOW_LIST(X)
#undef X
};

/* what a device said of itself at one moment; -1: unknown */
struct fm_device_sample {
    int32_t sm_mhz, memory_mhz, temperature_c, power_mw;
    int32_t slow;                       /* bits FM_SLOW_*; 0: nothing holds it down */
    int32_t others;                     /* other processes that compute on it; -1 also where they were not asked for */
    struct fm_holder other[FM_MAX_HOLDERS];         /* the first of them, descending */
    uint32_t others_listed;
};

/* Looks at a device while it is used. It lives on its own, so that a look that never returns can be left behind. Looks
 * come from one thread, another one than the backend's; the first one before the device is used. */
struct fm_device_watch {
    void *context;
    void (*look)(void *context, bool processes, struct fm_device_sample *out);      /* processes: ask for those too */
    void (*release)(void *context);
};

struct fm_launch {
    struct fm_problem problem;
    void *const *address;               /* of each operand's storage (its first byte); NULL if absent */
    void *workspace;                    /* the candidate's, or what is kept for the library; NULL if 0 bytes; 64-byte aligned */
    int64_t workspace_bytes;
    uint32_t candidate;                 /* index into the candidates */
    uint64_t seed;
    uint64_t step;                      /* optimizer steps done before this one: random streams, Adam's bias correction */
};

struct fm_backend;                      /* opaque, one a backend */

struct fm_backend_config {
    int32_t threads;                    /* 0: all */
    const char *device;                 /* "cuda:0", "GPU-..."; NULL: the backend's first. Borrowed while it opens */
};

struct fm_backend_ops {
    uint32_t abi;                       /* FM_BACKEND_ABI */
    const char *name;                   /* "cpu" */
    fm_status (*open)(const struct fm_backend_config *config, struct fm_backend **out, struct fm_err *err);
    void (*close)(struct fm_backend *backend);                          /* NULL is fine */
    fm_status (*info)(struct fm_backend *backend, struct fm_device_info *out, struct fm_err *err);
    /* Where it does not open: which drivers and libraries there are, with findings. Adds to *out. NULL: none to tell of. */
    void (*software)(struct fm_device_info *out);
    /* FM_UNSUPPORTED with the reason if this device or library cannot run it. Allocates nothing on the device. */
    fm_status (*candidates)(struct fm_backend *backend, const struct fm_problem *problem, struct fm_candidates *out,
                            struct fm_err *err);
    /* enqueues; FM_UNSUPPORTED, FM_FAILED */
    fm_status (*run)(struct fm_backend *backend, const struct fm_launch *launch, struct fm_err *err);
    fm_status (*synchronize)(struct fm_backend *backend, struct fm_err *err);
    /* host copies of n elements of a dense storage range, for losses and tests; element order is the backend's own */
    fm_status (*read)(struct fm_backend *backend, void *host, const void *device, int64_t bytes, struct fm_err *err);
    fm_status (*write)(struct fm_backend *backend, void *device, const void *host, int64_t bytes, struct fm_err *err);
    /* Times the candidates of a call whose bit in `valid` is 1, with the launch's workspace, which suffices for each of them.
     * NULL: no candidates of this backend are to be timed. */
    fm_status (*rank)(struct fm_backend *backend, const struct fm_launch *launch, uint32_t valid, struct fm_ranking *out,
                      struct fm_err *err);
    bool channels_last;                 /* stores image-like storages channels-last (program.h) */
    /* Where segments of its memory come from, at most memory_bytes in all; one source at a time, valid until the next
     * or close. NULL: it runs on host memory, which the caller maps. */
    fm_status (*source)(struct fm_backend *backend, int64_t memory_bytes, struct fm_segment_source *out, struct fm_err *err);
    /* The device's own clock around what is enqueued between the two; end waits for it. NULL: the host's clock, with
     * synchronize at the end. */
    fm_status (*time_begin)(struct fm_backend *backend, struct fm_err *err);
    fm_status (*time_end)(struct fm_backend *backend, int64_t *ns, struct fm_err *err);
    /* NULL: nothing is known of the device while it runs. NOMEM */
    fm_status (*watch)(struct fm_backend *backend, struct fm_device_watch *out, struct fm_err *err);
};

#endif
