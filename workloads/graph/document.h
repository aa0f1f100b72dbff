/* A YAML text as a tree of scalars, sequences and mappings that remember where they stand.
 *
 * What could surprise is refused: anchors, aliases, tags, a second document, nesting deeper than 8, repeated keys, keys
 * that are no scalars, more than 4 million nodes, scalars of more than 200 bytes. Shared by the YAML reader; not for others. */
#ifndef FM_WORKLOADS_GRAPH_DOCUMENT_H
#define FM_WORKLOADS_GRAPH_DOCUMENT_H

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define FM_DOCUMENT_SCALAR_BYTES 200
#define FM_DOCUMENT_NOTHING 0U             /* node 0 is none */

enum fm_document_kind { FM_DOCUMENT_SCALAR, FM_DOCUMENT_SEQUENCE, FM_DOCUMENT_MAPPING };

struct fm_document_node {
    enum fm_document_kind kind;
    uint32_t line, column;          /* from 1 */
    uint32_t first, next, count;    /* children as a list, and how many: of a mapping key, value, key, value */
    size_t text;                    /* SCALAR: where it begins in document->text */
};

struct fm_document {
    const char *path;               /* borrowed; for errors */
    struct fm_document_node *node;
    size_t node_count, node_room;
    struct fm_buf text;             /* the scalars, each with a NUL */
    uint32_t root;
};

fm_status fm_document_parse(struct fm_document *document, const char *path, const char *text, size_t bytes, struct fm_err *err)
    FM_MUST_USE;
void fm_document_release(struct fm_document *document);

/* the text of a scalar; of others "" */
const char *fm_document_text(const struct fm_document *document, uint32_t node);
/* the value of a key, FM_DOCUMENT_NOTHING if the mapping has none */
uint32_t fm_document_get(const struct fm_document *document, uint32_t mapping, const char *key);
/* "path:line:column: ..." */
fm_status fm_document_fail(const struct fm_document *document, uint32_t node, struct fm_err *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* every key is one of keys[count], else FM_INVALID with the nearest one */
fm_status fm_document_check_keys(const struct fm_document *document, uint32_t mapping, const char *const *keys, size_t count,
                          struct fm_err *err);

/* for (child = first; child; child = next): of a mapping, steps from key to key */
uint32_t fm_document_next_key(const struct fm_document *document, uint32_t key);

#endif
