/* Scalars, lists and shapes of a graph's YAML. */
#include "workloads/graph/yaml_internal.h"

#include "tuner/base/text.h"

#include <stdio.h>
#include <string.h>

fm_status fm_read_no_memory(struct fm_reader *r)
{
    return FM_FAIL(r->err, FM_NOMEM, "reading %s", r->document.path);
}

fm_status fm_read_builder_says(struct fm_reader *r, uint32_t node)
{
    if (!fm_build_broken(r->b)) return FM_OK;
    return r->b->err.status == FM_NOMEM ? fm_read_no_memory(r) : BAD(r, node, "%s", r->b->err.text);
}

fm_status fm_read_integer(struct fm_reader *r, uint32_t node, double lo, double hi, int64_t *out)
{
    if (!fm_parse_i64(text(r, node), out) || (double)*out < lo || (double)*out > hi)
        return BAD(r, node, "a whole number from %.0f to %.0f, please, not '%s'", lo, hi, text(r, node));
    return FM_OK;
}

fm_status fm_read_real(struct fm_reader *r, uint32_t node, double lo, double hi, double *out)
{
    if (!fm_parse_f64(text(r, node), out) || *out < lo || *out > hi)
        return BAD(r, node, "a number from %g to %g, please, not '%s'", lo, hi, text(r, node));
    return FM_OK;
}

fm_status fm_read_flag(struct fm_reader *r, uint32_t node, bool *out)
{
    *out = strcmp(text(r, node), "true") == 0;
    if (!*out && strcmp(text(r, node), "false") != 0) return BAD(r, node, "true or false, please");
    return FM_OK;
}

fm_status fm_read_name(struct fm_reader *r, uint32_t node, size_t bytes, const char **out)
{
    if (!is_a(r, node, FM_DOCUMENT_SCALAR)) return BAD(r, node, "a name, please");
    if (strlen(text(r, node)) >= bytes) return BAD(r, node, "a name of at most %zu characters, please", bytes - 1);
    *out = text(r, node);
    return FM_OK;
}

/* how many items a list has, a scalar counting as a list of one */
fm_status fm_read_list(struct fm_reader *r, uint32_t node, uint32_t least, uint32_t most, uint32_t *first)
{
    uint32_t n = is_a(r, node, FM_DOCUMENT_SCALAR) ? 1 : r->document.node[node].count;
    if (is_a(r, node, FM_DOCUMENT_MAPPING) || n < least || n > most)
        return BAD(r, node, "a list of %u to %u items, please: [a, b]", least, most);
    *first = is_a(r, node, FM_DOCUMENT_SCALAR) ? node : first_of(r, node);
    return FM_OK;
}

/* after the last item of a list, or after a scalar that counts as one */
uint32_t fm_read_next_item(const struct fm_reader *r, uint32_t list, uint32_t item)
{
    return list == item ? FM_DOCUMENT_NOTHING : next_of(r, item);
}

/* "12", "B" or "2B"; a parameter's sizes know no batch (batch 0) */
static fm_status read_size(struct fm_reader *r, uint32_t node, int64_t batch, int64_t *out)
{
    char number[32];
    const char *word = text(r, node);
    size_t n = strlen(word);
    bool scales = n > 0 && word[n - 1] == 'B';
    if (scales && !batch) return BAD(r, node, "a parameter's size cannot depend on the batch");
    if (n < sizeof number && scales) {
        (void)snprintf(number, sizeof number, "%.*s", n > 1 ? (int)(n - 1) : 1, n > 1 ? word : "1");
        word = number;
    }
    int64_t most = scales ? FM_GRAPH_MAX_NUMEL / batch : FM_GRAPH_MAX_NUMEL;
    if (!fm_parse_i64(word, out) || *out < 1 || *out > most)
        return BAD(r, node, "a size is a number from 1 to 2^45%s, not '%s'",
                   batch ? ", B (the batch) or a multiple such as 2B" : "", text(r, node));
    if (scales) *out *= batch;
    return FM_OK;
}

/* `hole`: where one size may be -1, its position goes; else NULL */
fm_status fm_read_shape(struct fm_reader *r, uint32_t node, int64_t batch, struct fm_shape *out, int *hole)
{
    uint32_t item = 0;
    int64_t numel = 1;
    if (!is_a(r, node, FM_DOCUMENT_SEQUENCE))
        return BAD(r, node, "a shape is a list of sizes, please: [B, 1, 16, 16, 16]");
    fm_status status = fm_read_list(r, node, 0, FM_RANK, &item);
    if (status != FM_OK) return status;
    *out = (struct fm_shape){ 0 };
    for (; item; item = next_of(r, item)) {
        int64_t *size = &out->size[out->ndim++];
        if (hole && *hole < 0 && strcmp(text(r, item), "-1") == 0) {
            *hole = (int)out->ndim - 1;
            *size = 1;
            continue;
        }
        status = read_size(r, item, batch, size);
        if (status != FM_OK) return status;
        if (*size > FM_GRAPH_MAX_NUMEL / numel) return BAD(r, node, "this has more than 2^45 elements");
        numel *= *size;
    }
    return FM_OK;
}
