/* For the tests of edits: what a YAML reader sees in a text, and random YAML and JSON texts. */
#ifndef FM_TESTS_EXPORT_SUPPORT_YAML_H
#define FM_TESTS_EXPORT_SUPPORT_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "results/export_formats/value.h"
#include "tuner/base/buf.h"

/* "path=value" for each scalar, in the order of the text, by libyaml's events alone; paths are keys and indices, '/' behind
 * each. "@" stands before the value of an alias, "{}" and "[]" for an empty collection. */
struct fm_seen {
    char **line;
    size_t count, capacity;
};
/* false: not YAML */
bool fm_test_see(const char *text, size_t bytes, struct fm_seen *out);
void fm_test_seen_release(struct fm_seen *seen);
/* NULL: no such path */
const char *fm_test_seen_value(const struct fm_seen *seen, const char *path);

/* The keys that random texts may have for an edit: */
enum fm_target { FM_TARGET_B, FM_TARGET_C, FM_TARGET_F, FM_TARGET_G, FM_TARGET_LIST, FM_TARGETS };
extern const char *const fm_target_path[FM_TARGETS];        /* "a.b", "a.c", "d.e.f", "g", "d.list" */

struct fm_random_text {
    uint64_t seed, index;
    bool json, flow;            /* flow: mappings may be {...} */
    bool all;                   /* every target is there, each with a value of its kind in the form it is written in */
    bool nulls;                 /* values and parents may be null or missing */
    bool canonical;             /* fixed values: those of fm_test_random_entries(values 0) */
    struct fm_buf out;
};
/* fills `out`, which the caller releases */
void fm_test_random_text(struct fm_random_text *text);
/* values for all targets; which: 0 and 1 give different ones */
void fm_test_entries(int which, struct fm_entries *out);

#endif
