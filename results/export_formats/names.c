#include "results/export_formats/names.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "results/json.h"

const char *const fm_choice_names[] = {
    "tool", "workload", "cell", "device", "device_name", "planned", "certified", "at_limit", "changes_model",
    "batch", "val_batch", "max_batch", "max_val_batch", "accumulation", "devices", "global_batch",
    "precision", "checkpoint", "channels", "memory_format", "optimizer", "input", "learning_rate",
    "samples_per_s", "peak_bytes", "planned_peak_bytes", "capacity_bytes", NULL,
};
const size_t fm_choice_name_count = sizeof fm_choice_names / sizeof fm_choice_names[0] - 1;

static struct fm_value text_or_null(const char *text)
{
    return text ? fm_value_text(text) : fm_value_null();
}

static struct fm_value count_or_null(int64_t count)
{
    return count >= 0 ? fm_value_int(count) : fm_value_null();
}

static struct fm_value real_or_null(double real)
{
    return isfinite(real) ? fm_value_real(real) : fm_value_null();
}

static struct fm_value input_of(const struct fm_choice *choice)
{
    return choice->input_dims ? fm_value_ints(choice->input, choice->input_dims) : fm_value_null();
}

/* in the order of fm_choice_names */
static struct fm_value field(const struct fm_choice *c, size_t index)
{
    switch (index) {
    case 0: return text_or_null(c->tool);
    case 1: return text_or_null(c->workload);
    case 2: return text_or_null(c->cell);
    case 3: return text_or_null(c->device);
    case 4: return text_or_null(c->device_name);
    case 5: return fm_value_bool(c->planned);
    case 6: return fm_value_bool(c->certified && !c->at_limit);     /* only what was shown */
    case 7: return fm_value_bool(c->at_limit);
    case 8: return fm_value_bool(c->changes_model);
    case 9: return count_or_null(c->batch);
    case 10: return count_or_null(c->val_batch);
    case 11: return count_or_null(c->max_batch);
    case 12: return count_or_null(c->max_val_batch);
    case 13: return count_or_null(c->accumulation);
    case 14: return count_or_null(c->devices);
    case 15: return count_or_null(c->global_batch);
    case 16: return text_or_null(c->precision);
    case 17: return text_or_null(c->checkpoint);
    case 18: return text_or_null(c->channels);
    case 19: return text_or_null(c->memory_format);
    case 20: return text_or_null(c->optimizer);
    case 21: return input_of(c);
    case 22: return isfinite(c->learning_rate) ? fm_value_rounded(c->learning_rate) : fm_value_null();
    case 23: return real_or_null(c->samples_per_s);
    case 24: return count_or_null(c->peak_bytes);
    case 25: return count_or_null(c->planned_peak_bytes);
    default: return count_or_null(c->capacity_bytes);
    }
}

/* the field of a setting or strategy, whose names are the run's own */
static enum fm_name_state recorded(const cJSON *object, const char *name, struct fm_value *out)
{
    const char *text = fm_json_text(object, name);
    *out = text_or_null(text);
    return text ? FM_NAME_KNOWN : FM_NAME_NONE;
}

static enum fm_name_state one_size(const struct fm_choice *choice, const char *digit, struct fm_value *out)
{
    if (digit[0] < '1' || digit[0] > '0' + FM_CHOICE_DIMS || digit[1]) return FM_NAME_NONE;
    uint32_t index = (uint32_t)(digit[0] - '1');
    if (index >= choice->input_dims) return FM_NAME_UNKNOWN;
    *out = fm_value_int(choice->input[index]);
    return FM_NAME_KNOWN;
}

enum fm_name_state fm_choice_get(const struct fm_choice *choice, const char *name, struct fm_value *out)
{
    *out = fm_value_null();
    if (strncmp(name, "set.", 4) == 0) return recorded(choice->set, name + 4, out);
    if (strncmp(name, "strategy.", 9) == 0) return recorded(choice->strategies, name + 9, out);
    if (strncmp(name, "input.", 6) == 0) return one_size(choice, name + 6, out);
    for (size_t i = 0; i < fm_choice_name_count; i++) {
        if (strcmp(fm_choice_names[i], name) != 0) continue;
        *out = field(choice, i);
        return out->kind == FM_VALUE_NULL ? FM_NAME_UNKNOWN : FM_NAME_KNOWN;
    }
    return FM_NAME_NONE;
}
