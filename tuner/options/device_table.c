#include "tuner/options/device_table.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

bool fm_device_is_planned_for(const char *device)
{
    static const char *const others[] = { "cpu", "ref", "none", "all" };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(others[i], device) == 0) return false;
    return strncmp(device, "cuda:", 5) != 0 && strncmp(device, "GPU-", 4) != 0 && strncmp(device, "MIG-", 4) != 0;
}

fm_status fm_device_table(const struct fm_options *options, struct fm_gpus *out, struct fm_err *err)
{
    *out = (struct fm_gpus){ 0 };
    fm_status status = fm_gpus_builtin(out, err);
    if (status == FM_OK && options->device_file) status = fm_gpus_read(out, options->device_file, err);
    return status;
}

/* ---- as text ---- */

static void put_figure(struct fm_buf *out, const struct fm_gpu *gpu, enum fm_gpu_field field, double scale, int width)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%.5g", fm_gpu_value(gpu, field) * scale);
    /* the dash is three bytes wide in UTF-8 and one column */
    if (!fm_gpu_has(gpu, field)) fm_buf_printf(out, "  %*s–", width - 1, "");
    else fm_buf_printf(out, "  %*s", width, text);
}

static void write_table(const struct fm_gpus *gpus, struct fm_buf *out)
{
    static const struct { enum fm_gpu_field field; double scale; int width; const char *head, *unit; } column[] = {
        { FM_GPU_SMS, 1, 4, "SMs", "" },                       { FM_GPU_MEMORY_GIB, 1, 6, "memory", "GiB" },
        { FM_GPU_TOTAL_MIB, 1.0 / 1024, 7, "total", "GiB" },   { FM_GPU_BANDWIDTH_GBS, 1, 9, "bandwidth", "GB/s" },
        { FM_GPU_BOOST_MHZ, 1, 5, "boost", "MHz" },            { FM_GPU_L2_KIB, 1.0 / 1024, 5, "L2", "MiB" },
        { FM_GPU_FP32_TFLOPS, 1, 6, "fp32", "TFLOPS" },        { FM_GPU_TF32_TFLOPS, 1, 6, "tf32", "TFLOPS" },
        { FM_GPU_FP16_TFLOPS, 1, 6, "fp16", "TFLOPS" },        { FM_GPU_BF16_TFLOPS, 1, 6, "bf16", "TFLOPS" },
    };
    const size_t columns = sizeof column / sizeof column[0];
    fm_buf_printf(out, "%-11s  %-30s  %5s", "device", "name", "sm");
    for (size_t c = 0; c < columns; c++) fm_buf_printf(out, "  %*s", column[c].width, column[c].head);
    fm_buf_printf(out, "\n%-11s  %-30s  %5s", "", "", "");
    for (size_t c = 0; c < columns; c++) fm_buf_printf(out, "  %*s", column[c].width, column[c].unit);
    fm_buf_putc(out, '\n');
    for (size_t i = 0; i < gpus->count; i++) {
        const struct fm_gpu *g = &gpus->item[i];
        fm_buf_printf(out, "%-11s  %-30s  %5d", g->name, g->title, g->capability);
        for (size_t c = 0; c < columns; c++) put_figure(out, g, column[c].field, column[c].scale, column[c].width);
        fm_buf_puts(out, g->own ? "  (own)\n" : "\n");
    }
    fm_buf_puts(out, "total: as the driver reports it; – unknown. TFLOPS: peaks, tensor cores dense with sums in fp32; – not "
                     "there. Sources: --json\n");
}

/* ---- as JSON ---- */

static bool add_figures(cJSON *o, const struct fm_gpus *gpus, const struct fm_gpu *gpu)
{
    bool good = true;
    for (int f = 0; f < FM_GPU_FIELD_COUNT && good; f++) {
        if (!gpu->figure[f].source) continue;
        cJSON *figure = cJSON_AddObjectToObject(o, fm_gpu_field_key((enum fm_gpu_field)f));
        good = figure && cJSON_AddNumberToObject(figure, "value", gpu->figure[f].value) &&
               cJSON_AddStringToObject(figure, "source", gpus->source[gpu->figure[f].source - 1].text);
    }
    return good;
}

static bool add_device(cJSON *list, const struct fm_gpus *gpus, const struct fm_gpu *gpu)
{
    struct fm_buf json = FM_BUF(4096);
    cJSON *o = cJSON_CreateObject();
    bool good = o && cJSON_AddItemToArray(list, o);
    fm_gpu_cudnn_json(gpu, &json);
    good = good && fm_buf_ok(&json) && cJSON_AddStringToObject(o, "id", gpu->name) &&
           cJSON_AddStringToObject(o, "name", gpu->title) &&
           cJSON_AddNumberToObject(o, "compute_capability", gpu->capability / 10.0) && add_figures(o, gpus, gpu);
    cJSON *cudnn = good ? cJSON_Parse(fm_buf_text(&json)) : NULL;
    good = cudnn && cJSON_AddItemToObject(o, "cudnn", cudnn);
    fm_buf_release(&json);
    return good;
}

static fm_status write_json(const struct fm_gpus *gpus, struct fm_buf *out, struct fm_err *err)
{
    cJSON *root = cJSON_CreateObject();
    bool good = cJSON_AddStringToObject(root, "schema", "fillmark.known_devices/1") != NULL;
    cJSON *list = good ? cJSON_AddArrayToObject(root, "devices") : NULL;
    good = list != NULL;
    for (size_t i = 0; i < gpus->count && good; i++) good = add_device(list, gpus, &gpus->item[i]);
    char *text = good ? cJSON_Print(root) : NULL;
    if (text) fm_buf_printf(out, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(root);
    return text ? FM_OK : FM_FAIL(err, FM_NOMEM, "devices");
}

fm_status fm_device_table_show(const struct fm_options *options, struct fm_buf *out, struct fm_err *err)
{
    struct fm_gpus gpus;
    fm_status status = fm_device_table(options, &gpus, err);
    if (status == FM_OK && options->json) status = write_json(&gpus, out, err);
    else if (status == FM_OK) write_table(&gpus, out);
    fm_gpus_release(&gpus);
    return status;
}
