/* Shared by the files that read a graph's YAML: yaml_scalars.c, yaml_operator.c, yaml_read.c; not for others. */
#ifndef FM_WORKLOADS_GRAPH_YAML_INTERNAL_H
#define FM_WORKLOADS_GRAPH_YAML_INTERNAL_H

#include "workloads/graph/build_internal.h"
#include "workloads/graph/document.h"
#include "workloads/graph/names.h"
#include "workloads/graph/yaml.h"

#define FM_ID_BYTES (FM_NAME_BYTES + 16)    /* of a value's name */

/* what is known of a value of the body: where it was made, dropped, overwritten in place (NOTHING: it was not) */
struct fm_known { uint32_t made, dropped, overwritten; };

struct fm_reader {
    struct fm_document document;
    struct fm_build *b;
    struct fm_names params, values;         /* values: of the body being read */
    struct fm_known *known;                 /* per value of the body */
    size_t known_count, known_room;
    bool drops;                             /* the body says itself when values die */
    uint32_t block, block_values;           /* the open block's statement, and how many values there were before it */
    struct fm_err *err;
};

#define BAD(r, node, ...) fm_document_fail(&(r)->document, (node), (r)->err, __VA_ARGS__)

static inline const char *text(const struct fm_reader *r, uint32_t node)
{
    return fm_document_text(&r->document, node);
}
static inline uint32_t get(const struct fm_reader *r, uint32_t mapping, const char *key)
{
    return fm_document_get(&r->document, mapping, key);
}
static inline bool is_a(const struct fm_reader *r, uint32_t node, enum fm_document_kind kind)
{
    return r->document.node[node].kind == kind;
}
static inline uint32_t first_of(const struct fm_reader *r, uint32_t node) { return r->document.node[node].first; }
static inline uint32_t next_of(const struct fm_reader *r, uint32_t node) { return r->document.node[node].next; }

fm_status fm_read_no_memory(struct fm_reader *r);
/* FM_OK, or what the builder has to say about a statement */
fm_status fm_read_builder_says(struct fm_reader *r, uint32_t node);
fm_status fm_read_integer(struct fm_reader *r, uint32_t node, double lo, double hi, int64_t *out);
fm_status fm_read_real(struct fm_reader *r, uint32_t node, double lo, double hi, double *out);
fm_status fm_read_flag(struct fm_reader *r, uint32_t node, bool *out);
/* shorter than `bytes`; borrowed from the document */
fm_status fm_read_name(struct fm_reader *r, uint32_t node, size_t bytes, const char **out);
/* the first item of a list of least to most items; a scalar counts as a list of one */
fm_status fm_read_list(struct fm_reader *r, uint32_t node, uint32_t least, uint32_t most, uint32_t *first);
uint32_t fm_read_next_item(const struct fm_reader *r, uint32_t list, uint32_t item);
/* batch 0: sizes know no batch. hole: where one size may be -1, its dimension goes there (else NULL); it reads as 1 */
fm_status fm_read_shape(struct fm_reader *r, uint32_t node, int64_t batch, struct fm_shape *out, int *hole);
/* the value of a name; alive: and it was not dropped yet */
fm_status fm_find_value(struct fm_reader *r, uint32_t node, bool alive, fm_value *out);
fm_status fm_read_call(struct fm_reader *r, uint32_t node);
/* of a training body: the loss needs a gradient, and all that needs one leads to the loss */
fm_status fm_check_gradients(struct fm_reader *r, uint32_t loss);

#endif
