/* What an export says: keys with values, and notes on what it cannot say. Fixed room, nothing to release.
 *
 * A path is keys joined by '.': "trainer.precision". Values are written alike in YAML, JSON and Python where that is
 * possible: a real number always has a point and, if it has an exponent, the exponent's sign, since YAML 1.1 readers
 * (PyYAML) take "1e-4" for text. */
#ifndef FM_RESULTS_EXPORT_FORMATS_VALUE_H
#define FM_RESULTS_EXPORT_FORMATS_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

#define FM_ENTRIES_MAX 64
#define FM_NOTES_MAX 16
#define FM_NOTE_BYTES 320
#define FM_ENTRY_PATH_BYTES 96
#define FM_VALUE_TEXT_MAX 128
#define FM_VALUE_ITEMS 3

enum fm_value_kind { FM_VALUE_NULL, FM_VALUE_BOOL, FM_VALUE_INT, FM_VALUE_REAL, FM_VALUE_TEXT, FM_VALUE_INTS };

struct fm_value {
    enum fm_value_kind kind;
    bool on;                            /* BOOL */
    int64_t number;                     /* INT */
    double real;                        /* REAL; finite */
    char text[FM_VALUE_TEXT_MAX];       /* TEXT */
    int64_t item[FM_VALUE_ITEMS];       /* INTS */
    uint32_t items;
};

struct fm_entry {
    char path[FM_ENTRY_PATH_BYTES];
    /* when a file is edited in which the parent of this path is there, it is used instead; NULL: none. A literal. */
    const char *instead;
    struct fm_value value;
    unsigned accepts;                   /* 1 << kind: kinds that an existing value may have besides the new one's */
    const char *word;                   /* an existing text that stands for a value, such as "auto"; NULL: none. A literal */
    bool keep;                          /* where the key is there already, its value stays as it is */
    bool may_be_new;                    /* hydra: the key need not be in the configuration */
};

struct fm_entries {
    struct fm_entry entry[FM_ENTRIES_MAX];
    char note[FM_NOTES_MAX][FM_NOTE_BYTES];
    size_t count, notes;
};

struct fm_value fm_value_null(void);
struct fm_value fm_value_bool(bool on);
struct fm_value fm_value_int(int64_t number);
struct fm_value fm_value_real(double real);
/* the same to twelve digits: a product such as a rescaled rate has no more that mean anything */
struct fm_value fm_value_rounded(double real);
struct fm_value fm_value_text(const char *text);        /* cut at FM_VALUE_TEXT_MAX - 1 bytes */
struct fm_value fm_value_ints(const int64_t *item, uint32_t items);
/* "a number", "text", "true or false", ... */
const char *fm_value_kind_name(enum fm_value_kind kind);

/* the new entry, for its other fields */
struct fm_entry *fm_entries_add(struct fm_entries *entries, const char *path, struct fm_value value);
void fm_entries_note(struct fm_entries *entries, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum fm_notation { FM_NOTATION_YAML, FM_NOTATION_JSON, FM_NOTATION_PYTHON };
/* the text without quotes can be nothing but that text, in YAML 1.1 and 1.2 */
bool fm_text_is_plain(const char *text);
void fm_put_quoted(struct fm_buf *out, const char *text);                /* "...", as JSON */
void fm_put_real(struct fm_buf *out, double real);
/* lists on one line */
void fm_put_value(struct fm_buf *out, const struct fm_value *value, enum fm_notation notation);

#endif
