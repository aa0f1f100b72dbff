/* cuDNN's description of the first visible GPU, as it is and as the device table has it, one JSON object a line:
 *
 *   device_json            {"name":"...","real":{...}}
 *   device_json DEVICE     {"name":"DEVICE","table":{...}}, without a GPU
 *
 * A plan for an absent GPU is made from the second; the first says whether it may be trusted. */
#include "probes/backends/cuda/context.h"
#include "probes/devices/devices.h"
#include "tuner/base/buf.h"

#include <stdio.h>
#include <string.h>

/* cudnn_graph.h of 9.19 */
enum { JSON_REPRESENTATION = 2702, TYPE_CHAR = 24 };

static fm_status from_table(const char *name, struct fm_err *err)
{
    struct fm_gpus gpus = { 0 };
    struct fm_buf json = FM_BUF(1 << 16);
    const struct fm_gpu *gpu = NULL;
    fm_status status = fm_gpus_builtin(&gpus, err);
    if (status == FM_OK && !(gpu = fm_gpus_find(&gpus, name)))
        status = FM_FAIL(err, FM_INVALID, "no device '%s' in the table; fillmark show devices has them", name);
    if (status == FM_OK) {
        fm_gpu_cudnn_json(gpu, &json);
        if (!fm_buf_ok(&json)) status = FM_FAIL(err, FM_NOMEM, "a device's description");
        else (void)printf("{\"name\":\"%s\",\"table\":%.*s}\n", name, (int)json.bytes, json.data);
    }
    fm_buf_release(&json);
    fm_gpus_release(&gpus);
    return status;
}

static fm_status from_gpu(struct fm_err *err)
{
    static struct fm_cuda cuda;
    static char json[8192];
    fm_cudnn_descriptor description = NULL;
    int64_t count = 0;
    fm_status status = FM_OK;
    FM_TRY(fm_cuda_choose(&cuda, "cuda:0", err));
    FM_TRY(fm_cuda_use(&cuda, err));
    const struct fm_cudnn_api *api = &cuda.lib.cudnn;
    int32_t id = cuda.ordinal;
    int result = api->create_descriptor(FM_CUDNN_DEVICEPROP, &description);
    if (!result) result = api->set(description, FM_CUDNN_ATTR_DEVICEPROP_DEVICE_ID, FM_CUDNN_TYPE_INT32, 1, &id);
    if (!result) result = api->finalize(description);
    if (!result) result = api->get(description, JSON_REPRESENTATION, TYPE_CHAR, sizeof json - 1, &count, json);
    if (result) status = FM_FAIL(err, FM_UNSUPPORTED, "cuDNN does not describe this GPU: status %d", result);
    else (void)printf("{\"name\":\"%s\",\"real\":%.*s}\n", cuda.name, (int)strnlen(json, sizeof json), json);
    if (description) (void)api->destroy_descriptor(description);
out:
    fm_cuda_release(&cuda);
    return status;
}

int main(int argc, char **argv)
{
    struct fm_err err = { 0 };
    fm_status status = argc > 1 ? from_table(argv[1], &err) : from_gpu(&err);
    if (status != FM_OK) (void)fprintf(stderr, "device_json: %s\n", err.text);
    return (int)status;
}
