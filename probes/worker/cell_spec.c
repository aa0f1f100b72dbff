#include "probes/worker/cell_spec.h"

#include <stdio.h>

fm_status fm_cell_from_spec(const struct fm_cell_spec *spec, struct fm_cell *out, struct fm_err *err)
{
    const struct fm_workload *w = fm_workload_find(spec->workload, err);
    if (!w) return FM_INVALID;
    fm_cell_default(out, w);
    for (uint32_t i = 0; i < spec->set.count; i++) {
        fm_status status = fm_settings_set(&out->settings, spec->set.item[i].key, spec->set.item[i].value, err);
        if (status != FM_OK) return status;
    }
    for (uint32_t i = 0; i < spec->strategies.count; i++) {
        const struct fm_pair *p = &spec->strategies.item[i];
        enum fm_strategy_id id = fm_strategy_find(p->key);
        if (id == FM_STRATEGY_COUNT) return FM_FAIL(err, FM_INVALID, "unknown strategy '%s'", p->key);
        fm_status status = fm_cell_set(out, id, p->value, err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

void fm_cell_to_spec(const struct fm_cell *cell, struct fm_cell_spec *out)
{
    const struct fm_workload *w = cell->settings.workload;
    *out = (struct fm_cell_spec){ 0 };
    (void)snprintf(out->workload, sizeof out->workload, "%s", w->name);
    for (uint32_t i = 0; i < w->settings; i++) (void)fm_pairs_set(&out->set, w->setting[i].name, cell->settings.value[i].text);
    for (int i = 0; i < FM_STRATEGY_COUNT; i++) (void)fm_pairs_set(&out->strategies, fm_strategies[i]->name, cell->value[i]);
}
