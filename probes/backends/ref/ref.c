#include "probes/backends/ref/ref.h"

#include "probes/backends/ref/kernels.h"
#include "tuner/base/memory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct fm_backend { struct fm_backend_config config; };

#define MANY UINT32_MAX

/* each kernel with the counts of outputs and inputs it takes */
static const struct row {
    fm_ref_kernel *run;
    uint32_t min_out, max_out, min_in, max_in;
} rows[FM_KERNEL_COUNT] = {
    [FM_K_FILL] = { fm_ref_fill, 1, 1, 0, 0 },
    [FM_K_COPY] = { fm_ref_copy, 1, 1, 1, 1 },
    [FM_K_UNARY] = { fm_ref_unary, 1, 1, 1, 1 },
    [FM_K_UNARY_BWD] = { fm_ref_unary_bwd, 1, 1, 2, 2 },
    [FM_K_BINARY] = { fm_ref_binary, 1, 1, 2, 2 },
    [FM_K_CAT] = { fm_ref_cat, 1, 1, 1, MANY },
    [FM_K_SUM] = { fm_ref_sum, 1, 1, 1, 1 },
    [FM_K_SOFTMAX] = { fm_ref_softmax, 1, 1, 1, 1 },
    [FM_K_SOFTMAX_BWD] = { fm_ref_softmax_bwd, 1, 1, 2, 2 },
    [FM_K_NLL] = { fm_ref_nll, 2, 2, 2, 3 },
    [FM_K_NLL_BWD] = { fm_ref_nll_bwd, 1, 1, 3, 4 },
    [FM_K_ARANGE] = { fm_ref_arange, 1, 1, 0, 0 },
    [FM_K_ARGMAX] = { fm_ref_argmax, 1, 1, 1, 1 },
    [FM_K_MATMUL] = { fm_ref_matmul, 1, 1, 2, 3 },
    [FM_K_SDPA] = { fm_ref_sdpa, 2, 2, 3, 3 },
    [FM_K_SDPA_BWD] = { fm_ref_sdpa_bwd, 3, 3, 6, 6 },
    [FM_K_CONV] = { fm_ref_conv, 1, 1, 2, 3 },
    [FM_K_CONV_DGRAD] = { fm_ref_conv_dgrad, 1, 1, 2, 2 },
    [FM_K_CONV_WGRAD] = { fm_ref_conv_wgrad, 1, 1, 2, 2 },
    [FM_K_BATCH_NORM] = { fm_ref_batch_norm, 5, 5, 3, 3 },
    [FM_K_BATCH_NORM_EVAL] = { fm_ref_batch_norm_eval, 1, 1, 5, 5 },
    [FM_K_BATCH_NORM_BWD] = { fm_ref_batch_norm_bwd, 3, 3, 5, 5 },
    [FM_K_GROUP_NORM] = { fm_ref_group_norm, 3, 3, 3, 3 },
    [FM_K_GROUP_NORM_BWD] = { fm_ref_group_norm_bwd, 3, 3, 5, 5 },
    [FM_K_LAYER_NORM] = { fm_ref_layer_norm, 3, 3, 3, 3 },
    [FM_K_LAYER_NORM_BWD] = { fm_ref_layer_norm_bwd, 3, 3, 5, 5 },
    [FM_K_INTERPOLATE] = { fm_ref_interpolate, 1, 1, 1, 1 },
    [FM_K_INTERPOLATE_BWD] = { fm_ref_interpolate_bwd, 1, 1, 1, 1 },
    [FM_K_DROPOUT] = { fm_ref_dropout, 2, 2, 1, 1 },
    [FM_K_DROPOUT_BWD] = { fm_ref_dropout_bwd, 1, 1, 2, 2 },
    [FM_K_BERNOULLI] = { fm_ref_bernoulli, 1, 1, 0, 0 },
    [FM_K_INPUT] = { fm_ref_input, 1, 1, 0, 0 },
    [FM_K_INIT] = { fm_ref_init, 1, 1, 0, 0 },
    [FM_K_SGD] = { fm_ref_sgd, FM_SGD_OPERANDS, MANY, 0, 1 },
    [FM_K_ADAM] = { fm_ref_adam, FM_ADAM_OPERANDS, MANY, 0, 1 },
    [FM_K_AMP_UNSCALE] = { fm_ref_amp_unscale, 1, MANY, 1, 1 },
    [FM_K_AMP_UPDATE] = { fm_ref_amp_update, 2, 2, 1, 1 },
};

static struct fm_view view(const struct fm_launch *launch, uint32_t i)
{
    const struct fm_operand *o = &launch->problem.operand[i];
    if (o->storage == FM_NONE || !launch->address[i]) return (struct fm_view){ o, NULL };
    return (struct fm_view){ o, (char *)launch->address[i] + o->offset * fm_dtype_bytes((enum fm_dtype)o->dtype) };
}

struct fm_view fm_ref_out(const struct fm_launch *launch, uint32_t i)
{
    return i < launch->problem.n_out ? view(launch, i) : (struct fm_view){ NULL, NULL };
}

struct fm_view fm_ref_in(const struct fm_launch *launch, uint32_t i)
{
    return i < launch->problem.n_in ? view(launch, launch->problem.n_out + i) : (struct fm_view){ NULL, NULL };
}

/* may operand i be absent? */
static bool optional(const struct fm_problem *problem, uint32_t i)
{
    switch (problem->kernel) {
    case FM_K_SGD: return i < problem->n_out && i % FM_SGD_OPERANDS == 2;
    case FM_K_ADAM: return i < problem->n_out && (i % FM_ADAM_OPERANDS == 3 || i % FM_ADAM_OPERANDS == 4);
    case FM_K_MATMUL: case FM_K_CONV: return i == 3;
    case FM_K_NLL: return i == 4;
    case FM_K_NLL_BWD: return i == 4;
    case FM_K_BATCH_NORM: return i == 3 || i == 4 || i > 5;
    case FM_K_BATCH_NORM_EVAL: return i == 2 || i == 3;
    case FM_K_GROUP_NORM: case FM_K_LAYER_NORM: return i > 3;
    case FM_K_BATCH_NORM_BWD: case FM_K_GROUP_NORM_BWD: case FM_K_LAYER_NORM_BWD: return i == 1 || i == 2 || i == 5;
    default: return false;
    }
}

static fm_status check(const struct fm_problem *problem, struct fm_err *err)
{
    if ((unsigned)problem->kernel >= FM_KERNEL_COUNT)
        return FM_FAIL(err, FM_INVALID, "no kernel %u", (unsigned)problem->kernel);
    const struct row *row = &rows[problem->kernel];
    const char *name = fm_kernel_name(problem->kernel);
    uint32_t list = problem->kernel == FM_K_SGD ? FM_SGD_OPERANDS : problem->kernel == FM_K_ADAM ? FM_ADAM_OPERANDS : 1;
    if (problem->n_out < row->min_out || problem->n_out > row->max_out || problem->n_out % list ||
        problem->n_in < row->min_in || problem->n_in > row->max_in)
        return FM_FAIL(err, FM_INVALID, "%s takes not %u outputs and %u inputs", name, problem->n_out, problem->n_in);
    for (uint32_t i = 0; i < problem->n_out + problem->n_in; i++) {
        const struct fm_operand *o = &problem->operand[i];
        if (o->storage == FM_NONE && !optional(problem, i))
            return FM_FAIL(err, FM_INVALID, "%s: operand %u is absent", name, i);
        if (o->ndim > FM_MAX_DIMS || o->dtype >= FM_DTYPE_COUNT)
            return FM_FAIL(err, FM_INVALID, "%s: operand %u has %u dimensions or unknown dtype %u", name, i, o->ndim,
                           o->dtype);
    }
    if (problem->attr->dim && problem->attr->dim >= problem->operand[0].ndim)
        return FM_FAIL(err, FM_INVALID, "%s: dimension %u of %u", name, problem->attr->dim, problem->operand[0].ndim);
    bool grouped = problem->kernel == FM_K_GROUP_NORM || problem->kernel == FM_K_GROUP_NORM_BWD;
    if (grouped && (problem->attr->groups < 1 || problem->operand[0].size[1] % problem->attr->groups))
        return FM_FAIL(err, FM_INVALID, "%s: %d groups of %lld channels", name, problem->attr->groups,
                       (long long)problem->operand[0].size[1]);
    return FM_OK;
}

static fm_status ref_open(const struct fm_backend_config *config, struct fm_backend **out, struct fm_err *err)
{
    *out = fm_calloc(1, sizeof **out);
    if (!*out) return FM_FAIL(err, FM_NOMEM, "ref backend: no host memory");
    if (config) (*out)->config = *config;
    return FM_OK;
}

static void ref_close(struct fm_backend *backend)
{
    fm_free(backend);
}

static int64_t pages_to_bytes(long pages)
{
    long page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? (int64_t)pages * page_bytes : -1;
}

static fm_status ref_info(struct fm_backend *backend, struct fm_device_info *out, struct fm_err *err)
{
    (void)backend, (void)err;
    *out = (struct fm_device_info){ .threads = 1, .total_bytes = pages_to_bytes(sysconf(_SC_PHYS_PAGES)),
                                    .free_bytes = pages_to_bytes(sysconf(_SC_AVPHYS_PAGES)) };
    (void)snprintf(out->id, sizeof out->id, "ref");
    (void)snprintf(out->name, sizeof out->name, "reference (plain C, double, one thread)");
    (void)snprintf(out->isa, sizeof out->isa, "any");
    (void)snprintf(out->library, sizeof out->library, "none");
    return FM_OK;
}

static fm_status ref_candidates(struct fm_backend *backend, const struct fm_problem *problem, struct fm_candidates *out,
                                struct fm_err *err)
{
    (void)backend;
    *out = (struct fm_candidates){ 0 };
    /* run would give fp32's values for it: a row that says tf32 would not have been */
    if (problem->attr->tf32) return FM_FAIL(err, FM_UNSUPPORTED, "TF32 is of NVIDIA's tensor cores; ref has fp32");
    if (problem->attr->benchmark) return FM_FAIL(err, FM_UNSUPPORTED, "cudnn_benchmark is of NVIDIA's GPUs; ref has one implementation");
    return check(problem, err);
}

static fm_status ref_run(struct fm_backend *backend, const struct fm_launch *launch, struct fm_err *err)
{
    (void)backend;
    fm_status status = check(&launch->problem, err);
    return status == FM_OK ? rows[launch->problem.kernel].run(launch, err) : status;
}

static fm_status ref_synchronize(struct fm_backend *backend, struct fm_err *err)
{
    (void)backend, (void)err;
    return FM_OK;
}

static fm_status ref_read(struct fm_backend *backend, void *host, const void *device, int64_t bytes, struct fm_err *err)
{
    (void)backend, (void)err;
    if (bytes > 0) memcpy(host, device, (size_t)bytes);
    return FM_OK;
}

static fm_status ref_write(struct fm_backend *backend, void *device, const void *host, int64_t bytes,
                           struct fm_err *err)
{
    (void)backend, (void)err;
    if (bytes > 0) memcpy(device, host, (size_t)bytes);
    return FM_OK;
}

const struct fm_backend_ops fm_backend_ref = {
    .abi = FM_BACKEND_ABI, .name = "ref", .open = ref_open, .close = ref_close, .info = ref_info,
    .candidates = ref_candidates, .run = ref_run, .synchronize = ref_synchronize, .read = ref_read, .write = ref_write,
    .channels_last = false,
};
