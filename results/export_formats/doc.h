/* A YAML or JSON file as a tree whose nodes know their bytes in the file.
 *
 * libyaml reads both; a file that is to be JSON (`json`) is held against JSON's own grammar too (cJSON), since YAML takes
 * more. Positions are bytes into the text, which is borrowed and must outlive the document.
 *
 * Refused, with file:line:column: what libyaml refuses (tabs as indentation among it), more than one document, nesting
 * beyond FM_DOC_DEPTH, a root that is neither mapping nor empty, and UTF-16. CR LF, a byte-order mark and a missing newline
 * at the end are fine. Anchors, aliases and tags are kept as marks on the nodes: who edits decides. */
#ifndef FM_RESULTS_EXPORT_FORMATS_DOC_H
#define FM_RESULTS_EXPORT_FORMATS_DOC_H

#include <stdbool.h>
#include <stddef.h>

#include "results/export_formats/value.h"
#include "tuner/base/status.h"

#define FM_DOC_DEPTH 64
#define FM_DOC_MAX_BYTES ((size_t)4 << 20)
#define FM_DOC_NONE SIZE_MAX

enum fm_doc_kind { FM_DOC_SCALAR, FM_DOC_SEQUENCE, FM_DOC_MAPPING, FM_DOC_ALIAS };
enum fm_doc_style { FM_DOC_PLAIN, FM_DOC_SINGLE_QUOTED, FM_DOC_DOUBLE_QUOTED, FM_DOC_BLOCK };

struct fm_doc_node {
    enum fm_doc_kind kind;
    enum fm_doc_style style;            /* of a scalar */
    bool flow;                          /* [...] or {...} */
    bool anchored, tagged;
    size_t start, end;                  /* bytes; of a block collection: its last child's end */
    size_t line, column;                /* from 1 */
    const char *text;                   /* of a scalar, owned by the document */
    size_t parent, first, last, next;   /* a mapping's children: key, value, key, value, ... */
};

struct fm_doc {
    const char *name, *text;            /* borrowed */
    size_t bytes;
    bool json;
    struct fm_doc_node *node;
    size_t count, capacity;
    size_t root;                        /* FM_DOC_NONE: nothing but blanks and comments */
    char **texts;                       /* owned */
    size_t text_count, text_capacity;
};

/* INVALID, NOMEM. On failure there is nothing to release. */
fm_status fm_doc_read(const char *name, const char *text, size_t bytes, struct fm_doc *out, struct fm_err *err) FM_MUST_USE;
void fm_doc_release(struct fm_doc *doc);

/* Is a file of that name and text JSON? By its ending; else by its text. */
bool fm_doc_is_json(const char *name, const char *text, size_t bytes);

/* the value of a key in a mapping; FM_DOC_NONE. *twice (may be NULL): a second key of that name */
size_t fm_doc_find(const struct fm_doc *doc, size_t mapping, const char *key, size_t key_bytes, size_t *twice);
/* what a scalar is to a YAML 1.1 reader; a real also where only YAML 1.2 says so ("1e-4") */
enum fm_value_kind fm_doc_kind_of(const struct fm_doc_node *scalar);
/* "file:line:column: text" of the node; INVALID */
fm_status fm_doc_fail(const struct fm_doc *doc, size_t node, struct fm_err *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
