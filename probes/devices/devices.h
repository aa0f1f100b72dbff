/* The table of GPUs that can be planned for without having them: probes/devices.yaml and a user's own file.
 *
 * Data, not code: each figure stands in YAML with its source, and whoever needs one asks for its field. What the file
 * does not say is unknown (fm_gpu_has), never 0. The built-in file is compiled in, so that the command needs no other.
 *
 *     struct fm_gpus gpus = { 0 };
 *     status = fm_gpus_builtin(&gpus, &err);
 *     if (status == FM_OK && path) status = fm_gpus_read(&gpus, path, &err);      // adds to it
 *     const struct fm_gpu *gpu = fm_gpus_find(&gpus, "rtx4090");
 *     fm_gpus_release(&gpus);
 *
 * Errors name the file, line and column: "my.yaml:7:11: devices.x1.sms: '-3' is not from 1 to 1000". */
#ifndef FM_PROBES_DEVICES_DEVICES_H
#define FM_PROBES_DEVICES_DEVICES_H

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* field, key, lowest, highest, whole number, of: what must be there (1: every device, 0: unknown is fine) */
#define FM_GPU_FIELDS(X)                                                     \
    X(SMS, "sms", 1, 1000, 1, 1)                                             \
    X(MEMORY_GIB, "memory_gib", 0.5, 4096, 0, 1)                             \
    X(TOTAL_MIB, "total_mib", 256, 4194304, 1, 0)                            \
    X(BUS_BITS, "bus_bits", 32, 65536, 1, 1)                                 \
    X(BANDWIDTH_GBS, "bandwidth_gbs", 10, 100000, 0, 1)                      \
    X(BOOST_MHZ, "boost_mhz", 100, 10000, 1, 1)                              \
    X(L2_KIB, "l2_kib", 64, 4194304, 1, 1)                                   \
    X(FP32_TFLOPS, "fp32_tflops", 0.1, 100000, 0, 1)                         \
    X(TF32_TFLOPS, "tf32_tflops", 0.1, 100000, 0, 0)                         \
    X(FP16_TFLOPS, "fp16_tflops", 0.1, 100000, 0, 0)                         \
    X(BF16_TFLOPS, "bf16_tflops", 0.1, 100000, 0, 0)                         \
    X(THREADS_PER_SM, "threads_per_sm", 256, 8192, 1, 1)                     \
    X(BLOCKS_PER_SM, "blocks_per_sm", 1, 256, 1, 1)                          \
    X(SHARED_OPTIN_KIB, "shared_optin_kib", 48, 4096, 1, 1)                  \
    X(SHARED_RESERVED_BYTES, "shared_reserved_bytes", 0, 65536, 1, 1)

#define X(name, key, lo, hi, whole, needed) FM_GPU_##name,
enum fm_gpu_field { FM_GPU_FIELDS(X) FM_GPU_FIELD_COUNT };
#undef X
const char *fm_gpu_field_key(enum fm_gpu_field field);

struct fm_gpu_figure {
    double value;
    uint32_t source;                    /* index + 1 into the table's sources; 0: unknown */
};

struct fm_gpu {
    char name[24];                      /* "rtx4090": what --device takes */
    char title[64];                     /* "NVIDIA GeForce RTX 4090" */
    int capability;                     /* 89 */
    uint32_t capability_source;
    struct fm_gpu_figure figure[FM_GPU_FIELD_COUNT];
    size_t line;                        /* where its file has it */
    bool own;                           /* from a user's file */
};

struct fm_gpu_source { char key[24], text[160]; };

/* limits that all devices of a compute capability share */
struct fm_gpu_capability { int capability; struct fm_gpu_figure figure[FM_GPU_FIELD_COUNT]; };

/* Owns its arrays; zero is an empty table. */
struct fm_gpus {
    struct fm_gpu *item;
    struct fm_gpu_source *source;
    struct fm_gpu_capability *capability;
    size_t count, sources, capabilities, room, source_room, capability_room;
};

void fm_gpus_release(struct fm_gpus *gpus);
fm_status fm_gpus_builtin(struct fm_gpus *gpus, struct fm_err *err) FM_MUST_USE;
/* Adds a file's devices. FM_IO: cannot be read; FM_INVALID: place, what is wrong and what would be right. After a
 * failure the table is to be released, not used. */
fm_status fm_gpus_read(struct fm_gpus *gpus, const char *path, struct fm_err *err) FM_MUST_USE;
/* the same from memory; `file` is for messages */
fm_status fm_gpus_parse(struct fm_gpus *gpus, const char *file, const char *text, size_t bytes,
                        struct fm_err *err) FM_MUST_USE;

/* NULL if there is none; borrowed */
const struct fm_gpu *fm_gpus_find(const struct fm_gpus *gpus, const char *name);
/* the nearest name, or NULL */
const char *fm_gpus_nearest(const struct fm_gpus *gpus, const char *name);

bool fm_gpu_has(const struct fm_gpu *gpu, enum fm_gpu_field field);
/* the figure, NaN where unknown */
double fm_gpu_value(const struct fm_gpu *gpu, enum fm_gpu_field field);
/* what the driver reports as total, else what is sold (total_known false) */
int64_t fm_gpu_total_bytes(const struct fm_gpu *gpu, bool *total_known);

/* What cuDNN takes as a device (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION), on one line. Fields that the CUDA guide
 * gives alike for all capabilities here are written so; the memory clock follows from bandwidth and bus (two transfers
 * a clock). */
void fm_gpu_cudnn_json(const struct fm_gpu *gpu, struct fm_buf *out);

#endif
