#include "tuner/commands/recorded_cell.h"

bool fm_recorded_cell(const struct fm_result_cell *from, struct fm_cell *out)
{
    const struct fm_workload *w = fm_workload_find(from->workload, NULL);
    const cJSON *item = NULL;
    if (!w) return false;
    fm_cell_default(out, w);
    cJSON_ArrayForEach(item, from->set)
        if (!cJSON_IsString(item) || fm_settings_set(&out->settings, item->string, item->valuestring, NULL) != FM_OK) return false;
    cJSON_ArrayForEach(item, from->strategies) {
        enum fm_strategy_id id = fm_strategy_find(item->string);
        if (id == FM_STRATEGY_COUNT || !cJSON_IsString(item) || fm_cell_set(out, id, item->valuestring, NULL) != FM_OK) return false;
    }
    return true;
}
