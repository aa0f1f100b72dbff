/* Whether a training body read from YAML can be differentiated as the lowering does it: from the loss, all at once. */
#include "workloads/graph/yaml_internal.h"

#include "tuner/base/memory.h"

static fm_status check(struct fm_reader *r, uint32_t loss, uint8_t *needs, uint8_t *leads)
{
    const struct fm_body *body = r->b->body;
    for (size_t v = 0; v < body->value_count; v++) {
        const struct fm_value_info *info = &body->value[v];
        needs[v] = info->role == FM_ROLE_PARAM && !r->b->graph.param[info->index].buffer;
    }
    for (size_t i = 0; i < body->node_count; i++) {
        const struct fm_node *node = &body->node[i];
        for (uint32_t k = 0; k < node->n_in && body->value[node->out].dtype == FM_F32; k++)
            needs[node->out] |= needs[body->arg[node->in + k]];
    }
    if (!needs[body->loss]) return BAD(r, loss, "no trained parameter leads to the loss '%s'", text(r, loss));
    leads[body->loss] = 1;
    for (size_t i = body->node_count; i-- > 0;) {
        const struct fm_node *node = &body->node[i];
        for (uint32_t k = 0; k < node->n_in && leads[node->out]; k++) leads[body->arg[node->in + k]] = 1;
        if (needs[node->out] && !leads[node->out])
            return BAD(r, r->known[node->out].made,
                       "this result needs a gradient, but does not lead to the loss: such dead ends "
                       "are not supported; leave it out of training");
    }
    return FM_OK;
}

fm_status fm_check_gradients(struct fm_reader *r, uint32_t loss)
{
    size_t n = r->b->body->value_count;
    uint8_t *needs = fm_calloc(n, 1), *leads = fm_calloc(n, 1);
    fm_status status = needs && leads ? check(r, loss, needs, leads) : fm_read_no_memory(r);
    fm_free(needs);
    fm_free(leads);
    return status;
}
