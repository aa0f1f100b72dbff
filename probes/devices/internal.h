/* Within probes/devices: the rule of each field, and the compiled-in file (written by CMake from probes/devices.yaml). */
#ifndef FM_PROBES_DEVICES_INTERNAL_H
#define FM_PROBES_DEVICES_INTERNAL_H

#include "probes/devices/devices.h"

struct fm_gpu_rule {
    const char *key;
    double lo, hi;
    bool whole, needed;
};
extern const struct fm_gpu_rule fm_gpu_rules[FM_GPU_FIELD_COUNT];

extern const unsigned char fm_gpu_table_text[];
extern const size_t fm_gpu_table_bytes;

#endif
