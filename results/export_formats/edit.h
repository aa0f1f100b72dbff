/* Setting keys in a text that exists: only the scalars concerned change, every other byte stays.
 *
 * A key that is there gets its value replaced, in the quotes it had. One that is missing is added under its parent: in a
 * block, as a line after the parent's last one; in braces, after the last member, on a line of its own if that has one.
 * Missing parents are made. Line ends are those of the file; a file without a newline at its end keeps none.
 *
 * Refused with file:line:column, and nothing is changed: a value of another kind (a list or mapping for a number, text for
 * a number, ...; null is replaced); a key that is there twice; a value or parent that is an alias, or has an anchor or a
 * tag, since other places hang on it; a missing parent in a mapping with a merge key ('<<'), which may have it; a text in
 * block style; a file that ends within such a block without a newline, where a line behind it would lengthen it. A list must have as many numbers.
 *
 * Afterwards the new text is read again and must say what was asked for; else FM_FAILED, which is a bug of fillmark. */
#ifndef FM_RESULTS_EXPORT_FORMATS_EDIT_H
#define FM_RESULTS_EXPORT_FORMATS_EDIT_H

#include "results/export_formats/value.h"

/* text[bytes] must be '\0'; name is for messages, and .json at its end makes the text JSON. Appends the new text. */
fm_status fm_edit(const char *name, const char *text, size_t bytes, const struct fm_entries *entries, struct fm_buf *out,
                  struct fm_err *err) FM_MUST_USE;

#endif
