/* Configurations for training frameworks, from a choice.
 *
 * Each format is a table row: a function that says which keys get which values, and how a new file of it is written. Keys
 * and types are those of the versions named in tests/reference/export_keys.py. What a framework has no key for, or what
 * the run does not know, is a note: a comment in a new file where the notation has comments, else the caller's to show.
 * Nothing is made up. What would train another thing than was measured is an error (FM_UNSUPPORTED).
 *
 *     const struct fm_export_format *format = fm_export_find("lightning", &err);
 *     status = fm_export_entries(format, &choice, &entries, &err);
 *     status = fm_export_new(format, &choice, &entries, &text, &err);     // or fm_edit() of an existing file */
#ifndef FM_RESULTS_EXPORT_FORMATS_FORMATS_H
#define FM_RESULTS_EXPORT_FORMATS_FORMATS_H

#include "results/choice.h"
#include "results/export_formats/value.h"

enum fm_export_kind {
    FM_EXPORT_YAML, FM_EXPORT_JSON, FM_EXPORT_PYTHON,
    FM_EXPORT_FLAGS,            /* --key value */
    FM_EXPORT_OVERRIDES,        /* key=value */
    FM_EXPORT_ENV,              /* KEY=value, as a shell reads it */
    FM_EXPORT_TEMPLATE          /* a file of the user's with {{names}}: fm_template_fill() */
};

struct fm_export_format {
    const char *name, *help;
    enum fm_export_kind kind;
    bool edits;                 /* an existing YAML or JSON file may get its keys */
    /* adds entries and notes; UNSUPPORTED: the framework cannot be told this choice; INVALID: it lacks what is needed */
    fm_status (*fill)(const struct fm_choice *choice, struct fm_entries *out, struct fm_err *err);
    void (*write)(const struct fm_choice *choice, const struct fm_entries *entries, struct fm_buf *out);    /* NULL: by kind */
};

extern const struct fm_export_format *const fm_export_formats[];
extern const size_t fm_export_format_count;

/* NULL and INVALID with the nearest name */
const struct fm_export_format *fm_export_find(const char *name, struct fm_err *err);
/* *out is emptied first */
fm_status fm_export_entries(const struct fm_export_format *format, const struct fm_choice *choice, struct fm_entries *out,
                            struct fm_err *err) FM_MUST_USE;
/* are the notes in the text that fm_export_new() makes? */
bool fm_export_has_comments(const struct fm_export_format *format);
/* Appends the whole text of a new file. NOMEM */
fm_status fm_export_new(const struct fm_export_format *format, const struct fm_choice *choice, const struct fm_entries *entries,
                        struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
/* one line about what the choice is and how it was found: "denseunet3d on NVIDIA ..., batch 8 (largest 9), ..." */
void fm_export_about(const struct fm_choice *choice, struct fm_buf *out);

#endif
