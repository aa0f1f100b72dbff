/* A choice's fields by name: what the formats env, json and template speak.
 *
 * Besides the fields listed here, set.NAME and strategy.NAME are the cell's settings and strategies as recorded, and
 * input.1, input.2, input.3 the input's sizes one by one. */
#ifndef FM_RESULTS_EXPORT_FORMATS_NAMES_H
#define FM_RESULTS_EXPORT_FORMATS_NAMES_H

#include "results/choice.h"
#include "results/export_formats/value.h"

enum fm_name_state { FM_NAME_NONE, FM_NAME_UNKNOWN, FM_NAME_KNOWN };

/* in the order in which they are written; ends with NULL */
extern const char *const fm_choice_names[];
extern const size_t fm_choice_name_count;

/* NONE: no such name; UNKNOWN: the run does not say, *out is null */
enum fm_name_state fm_choice_get(const struct fm_choice *choice, const char *name, struct fm_value *out);

#endif
