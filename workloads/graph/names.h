/* A table from names to numbers; it keeps copies of the names. Errors are sticky. Shared by yaml_*.c. */
#ifndef FM_WORKLOADS_GRAPH_NAMES_H
#define FM_WORKLOADS_GRAPH_NAMES_H

#include "tuner/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define FM_NO_NUMBER UINT32_MAX

struct fm_names {
    struct fm_name_entry { size_t text; uint32_t number; } *entry;
    size_t count, room;
    uint32_t *slot;                 /* open addressing; 0 = empty, else entry + 1 */
    size_t slots;                   /* a power of two */
    struct fm_buf text;
    bool failed;                    /* host memory ran out */
};

void fm_names_release(struct fm_names *names);
void fm_names_add(struct fm_names *names, const char *name, uint32_t number);     /* a name that is not there yet */
void fm_names_set(struct fm_names *names, const char *name, uint32_t number);     /* of a name that is there */
void fm_names_clear(struct fm_names *names);                                    /* keeps its memory */
uint32_t fm_names_find(const struct fm_names *names, const char *name);           /* FM_NO_NUMBER if it is not there */
/* the nearest name there is, "" if none is near; borrowed */
const char *fm_names_nearest(const struct fm_names *names, const char *name);

#endif
