/* fillmark show workloads, show workload NAME. */
#include "tuner/commands/commands.h"

#include "workloads/nets/layers.h"
#include "workloads/nets/show.h"

#include <stdio.h>

/* the named workload with the settings that were given */
static fm_status settings_of(const struct fm_options *o, struct fm_settings *out, struct fm_err *err)
{
    const struct fm_workload *w = fm_workload_find(o->workload.item[0], err);
    if (!w) return FM_INVALID;
    fm_settings_default(out, w);
    for (size_t i = 0; i < o->set_count; i++) {
        if (o->set[i].workload != w) continue;
        if (o->set[i].values.count > 1) return FM_FAIL(err, FM_INVALID, "--set %s: one value, please; this shows one network", o->set[i].key);
        fm_status status = fm_settings_set(out, o->set[i].key, o->set[i].values.item[0], err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

fm_status fm_command_show(const struct fm_options *o, struct fm_err *err)
{
    struct fm_buf text = FM_BUF((size_t)64 << 20);
    struct fm_settings settings;
    fm_status status;
    if (o->command == FM_COMMAND_SHOW_WORKLOADS) {
        status = fm_show_workloads(&text, o->json, err);
    } else if (o->layers + o->yaml + o->json > 1) {
        status = FM_FAIL(err, FM_INVALID, "show workload: --layers, --yaml and --json are three forms; give one of them");
    } else {
        status = settings_of(o, &settings, err);
        if (status == FM_OK)
            status = o->layers ? fm_layers_write(&settings, &text, err)
                     : o->yaml ? fm_show_yaml(&settings, &text, err)
                               : fm_show_workload(&settings, &text, o->json, err);
    }
    if (status == FM_OK && fwrite(fm_buf_text(&text), 1, text.bytes, stdout) != text.bytes)
        status = FM_FAIL(err, FM_IO, "writing to standard output failed");
    fm_buf_release(&text);
    return status;
}
