/* A file of the user's with names in it: "{{ batch }}" becomes the number.
 *
 * Names are those of results/export_formats/names.h, with or without blanks around them. A list of sizes is written
 * 160x160x256; input.1 is its first. "{{{{" is a literal "{{". A name that is not known, a value that the run does not have
 * and braces that do not close are errors with file:line:column. */
#ifndef FM_RESULTS_EXPORT_FORMATS_TEMPLATE_H
#define FM_RESULTS_EXPORT_FORMATS_TEMPLATE_H

#include "results/choice.h"
#include "tuner/base/buf.h"

/* Appends. INVALID, NOMEM */
fm_status fm_template_fill(const char *name, const char *text, size_t bytes, const struct fm_choice *choice, struct fm_buf *out,
                           struct fm_err *err) FM_MUST_USE;

#endif
