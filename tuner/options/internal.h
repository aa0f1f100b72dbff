/* What was given, by file or flag, before it is checked: name, raw values, and where each stands.
 *
 * Collecting (options.c for flags, config.c for the file) knows syntax; resolve.c knows what it means. */
#ifndef FM_TUNER_OPTIONS_INTERNAL_H
#define FM_TUNER_OPTIONS_INTERNAL_H

#include "tuner/options/table.h"

#define FM_VALUE_TEXT_BYTES 128         /* the longest value, but for paths */
#define FM_PATH_TEXT_BYTES 4095

struct fm_given_value { char *text; size_t line, column; };

struct fm_given {
    enum fm_option_id id;
    enum fm_origin origin;
    char *workload, *key;               /* SET: workload NULL: any */
    struct fm_given_value *value;       /* a switch has none where it is off */
    size_t count, capacity;
    size_t line, column;                /* of the key, from 1; 0 for a flag */
};

struct fm_givens {
    const char *file;                   /* borrowed */
    enum fm_command command;
    struct fm_given *item;
    size_t count, capacity;
};

void fm_givens_release(struct fm_givens *givens);
/* a new entry at the end, or NULL */
struct fm_given *fm_givens_add(struct fm_givens *givens, enum fm_option_id id, enum fm_origin origin);
bool fm_given_add(struct fm_given *given, const char *text, size_t bytes, size_t line, size_t column);
/* "a,b" for lists, else the whole; column counts on where the text is on one line of a file */
fm_status fm_given_split(const struct fm_givens *givens, struct fm_given *given, const struct fm_given_value *raw,
                         struct fm_err *err) FM_MUST_USE;
/* sets workload and key from "key" or "workload.key" */
bool fm_given_key(struct fm_given *given, const char *key, size_t bytes);

#define FM_AT_KEY SIZE_MAX
/* fails with place and name before the text; value: index, or FM_AT_KEY for the key */
fm_status fm_given_fail(const struct fm_givens *givens, const struct fm_given *given, size_t value, struct fm_err *err,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));
/* the same with what a check said, whose text may begin with `name` (which is taken off) */
fm_status fm_given_pass(const struct fm_givens *givens, const struct fm_given *given, size_t value, struct fm_err *err,
                        const struct fm_err *inner, const char *name);
#define FM_OPTIONS_NOMEM(err) FM_FAIL((err), FM_NOMEM, "host memory exhausted while reading the options")

/* The file's keys as givens, checked for syntax, unknown and repeated keys and shape, not for values. */
fm_status fm_config_parse(const char *text, size_t bytes, struct fm_givens *givens, struct fm_err *err) FM_MUST_USE;
fm_status fm_config_read(const char *path, struct fm_givens *givens, struct fm_err *err) FM_MUST_USE;

/* With --resume: the options that the journal in --out recorded, as the weakest givens. IO, INVALID: no such journal. */
fm_status fm_recorded_read(struct fm_givens *givens, struct fm_err *err) FM_MUST_USE;

/* All that was given, into options of givens->command. */
fm_status fm_options_resolve(const struct fm_givens *givens, struct fm_options *options,
                             struct fm_err *err) FM_MUST_USE;
/* checks and stores one given; workloads and settings apart */
fm_status fm_option_store(const struct fm_givens *givens, const struct fm_given *given, struct fm_options *options,
                          struct fm_err *err) FM_MUST_USE;
/* fills options->set; the workloads are known */
fm_status fm_options_resolve_sets(const struct fm_givens *givens, struct fm_options *options,
                                  struct fm_err *err) FM_MUST_USE;
/* checkpoint's block names are those of the chosen networks; no more cells than FM_CELLS_MAX */
fm_status fm_options_check(const struct fm_givens *givens, const struct fm_options *options,
                           struct fm_err *err) FM_MUST_USE;

/* One option as fm_options_echo() has it, whatever the command. */
fm_status fm_options_echo_one(const struct fm_options *options, enum fm_option_id id, fm_options_pair pair, void *context) FM_MUST_USE;

/* "fillmark run --workload segformer --set input=64x64 --precision bf16 --device cpu ...", in the table's order, each word as a
 * shell reads it back: runs one cell of a command alone, or plans it where nothing was to run or nothing can. It has what the
 * cell is where that is no default, and each option that was given and that decides what the cell computes or how that is
 * planned or measured. NULL: memory. */
struct fm_again {
    const struct fm_options *options;
    const struct fm_options *plain;     /* of the same command with nothing given; asked where a run is resumed */
    const char *device;
    int64_t memory_bytes;               /* the limit that holds; 0: none */
};
char *fm_again_command(const struct fm_again *again, const struct fm_cell *cell);

void fm_texts_release(struct fm_texts *texts);
bool fm_texts_add(struct fm_texts *texts, const char *text);
bool fm_texts_has(const struct fm_texts *texts, const char *text);

#endif
