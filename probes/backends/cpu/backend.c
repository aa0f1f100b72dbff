#include "probes/backends/cpu/backend.h"

#include "probes/backends/cpu/host.h"
#include "probes/backends/cpu/kernels.h"
#include "probes/backends/cpu/onednn.h"
#include "tuner/base/hash.h"
#include "tuner/base/memory.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#define MAX_THREADS 4096

struct entry {
    uint64_t key;                       /* 0: free */
    struct fm_dnn_plan *plan;
};

struct fm_backend {
    int threads;
    struct fm_dnn *dnn;
    struct entry *table;                /* plans by problem; open addressing, capacity a power of two */
    size_t used, capacity;
    struct fm_operand *operand;         /* of the call at hand, physical */
    void **data;
    size_t operand_room, data_room;
};

static void cpu_close(struct fm_backend *backend)
{
    if (!backend) return;
    for (size_t i = 0; i < backend->capacity; i++) fm_dnn_plan_destroy(backend->table[i].plan);
    fm_dnn_close(backend->dnn);
    fm_free(backend->table);
    fm_free(backend->operand);
    fm_free(backend->data);
    fm_free(backend);
}

static fm_status cpu_open(const struct fm_backend_config *config, struct fm_backend **out, struct fm_err *err)
{
    *out = NULL;
    if (config->threads < 0 || config->threads > MAX_THREADS)
        return FM_FAIL(err, FM_INVALID, "cpu: %d threads: give 1 to %d, or 0 for all", config->threads, MAX_THREADS);
    struct fm_backend *backend = fm_calloc(1, sizeof *backend);
    if (!backend) return FM_FAIL(err, FM_NOMEM, "cpu backend");
    backend->threads = config->threads ? config->threads : fm_host_cores("");
    omp_set_dynamic(0);
    omp_set_num_threads(backend->threads);
    fm_status status = fm_dnn_open(&backend->dnn, backend->threads, err);
    if (status != FM_OK) {
        cpu_close(backend);
        return status;
    }
    *out = backend;
    return FM_OK;
}

static fm_status cpu_info(struct fm_backend *backend, struct fm_device_info *out, struct fm_err *err)
{
    (void)err;
    struct fm_host_memory memory = fm_host_memory("");
    *out = (struct fm_device_info){ .total_bytes = memory.total_bytes, .free_bytes = memory.free_bytes,
                                    .threads = backend->threads };
    snprintf(out->id, sizeof out->id, "cpu");
    fm_host_cpu_name("", out->name, sizeof out->name);
    snprintf(out->isa, sizeof out->isa, "%s", fm_dnn_cpu(backend->dnn));
    snprintf(out->library, sizeof out->library, "%s", fm_dnn_version(backend->dnn));
    return FM_OK;
}

/* OpenMP's thread count belongs to the calling thread, and oneDNN plans for the count it finds */
static void claim_threads(const struct fm_backend *backend)
{
    if (omp_get_max_threads() != backend->threads) omp_set_num_threads(backend->threads);
}

/* the problem with its operands as they lie in memory, in backend->operand */
static fm_status resolve(struct fm_backend *backend, const struct fm_problem *problem, struct fm_problem *physical,
                         struct fm_err *err)
{
    uint32_t count = problem->n_out + problem->n_in;
    if (problem->kernel >= FM_KERNEL_COUNT) return FM_FAIL(err, FM_INVALID, "cpu: kernel %d", (int)problem->kernel);
    void *grown = fm_grow(backend->operand, &backend->operand_room, count, sizeof *backend->operand);
    if (!grown) return FM_FAIL(err, FM_NOMEM, "cpu: %u operands", count);
    backend->operand = grown;
    for (uint32_t i = 0; i < count; i++) {
        struct fm_operand *o = &backend->operand[i];
        *o = problem->operand[i];
        if (!fm_operand_channels_last(o))
            return FM_FAIL(err, FM_UNSUPPORTED,
                           "%s: operand %u is a view across channels and space, which a channels-last tensor has not",
                           fm_kernel_name(problem->kernel), i);
    }
    *physical = *problem;
    physical->operand = backend->operand;
    return FM_OK;
}

/* nothing to compute; keeps empty tensors away from every kernel that writes just one */
static bool is_empty(const struct fm_problem *problem)
{
    return fm_dnn_serves(problem->kernel) && problem->n_out == 1 && fm_operand_numel(&problem->operand[0]) == 0;
}

static struct entry *find(struct entry *table, size_t capacity, uint64_t key)
{
    size_t i = (size_t)fm_hash_word(key, 0) & (capacity - 1);
    while (table[i].key != 0 && table[i].key != key) i = (i + 1) & (capacity - 1);
    return &table[i];
}

static fm_status make_room(struct fm_backend *backend, struct fm_err *err)
{
    if (2 * (backend->used + 1) <= backend->capacity) return FM_OK;
    size_t capacity = backend->capacity ? 2 * backend->capacity : 256;
    struct entry *table = fm_calloc(capacity, sizeof *table);
    if (!table) return FM_FAIL(err, FM_NOMEM, "cpu: table of %zu plans", capacity);
    for (size_t i = 0; i < backend->capacity; i++)
        if (backend->table[i].key) *find(table, capacity, backend->table[i].key) = backend->table[i];
    fm_free(backend->table);
    backend->table = table;
    backend->capacity = capacity;
    return FM_OK;
}

/* the plan of a problem that ran before; NULL if there is none */
static struct fm_dnn_plan *known_plan(const struct fm_backend *backend, uint64_t key)
{
    return backend->capacity ? find(backend->table, backend->capacity, key)->plan : NULL;
}

static fm_status cpu_candidates(struct fm_backend *backend, const struct fm_problem *problem, struct fm_candidates *out,
                                struct fm_err *err)
{
    struct fm_problem physical;
    *out = (struct fm_candidates){ 0 };
    if (problem->attr->tf32) return FM_FAIL(err, FM_UNSUPPORTED, "TF32 is of NVIDIA's tensor cores; the cpu has fp32");
    if (problem->attr->benchmark) return FM_FAIL(err, FM_UNSUPPORTED, "cudnn_benchmark is of NVIDIA's GPUs; the cpu times no implementations");
    claim_threads(backend);
    fm_status status = resolve(backend, problem, &physical, err);
    if (status != FM_OK || is_empty(&physical)) return status;
    struct fm_candidate *item = &out->item[0];
    if (fm_dnn_serves(problem->kernel)) {
        /* not kept: a planner asks about many problems of which few will run */
        struct fm_dnn_plan *known = known_plan(backend, fm_problem_key(problem)), *plan = known;
        if (!plan) status = fm_dnn_plan_create(backend->dnn, &physical, &plan, err);
        if (status != FM_OK) return status;
        out->count = 1;
        item->workspace_bytes = fm_dnn_plan_bytes(plan);
        snprintf(item->what, sizeof item->what, "%s", fm_dnn_plan_what(plan));
        if (!known) fm_dnn_plan_destroy(plan);
        return FM_OK;
    }
    const struct fm_cpu_kernel *kernel = &fm_cpu_kernels[problem->kernel];
    if (!kernel->run) return FM_FAIL(err, FM_UNSUPPORTED, "cpu has no %s", fm_kernel_name(problem->kernel));
    item->workspace_bytes = kernel->workspace_bytes ? kernel->workspace_bytes(&physical, backend->threads) : 0;
    if (item->workspace_bytes == 0) return FM_OK;
    out->count = 1;
    snprintf(item->what, sizeof item->what, "own");
    return FM_OK;
}

static fm_status plan_of(struct fm_backend *backend, uint64_t key, const struct fm_problem *physical,
                         struct fm_dnn_plan **plan, struct fm_err *err)
{
    *plan = known_plan(backend, key);
    if (*plan) return FM_OK;
    fm_status status = make_room(backend, err);
    if (status != FM_OK) return status;
    status = fm_dnn_plan_create(backend->dnn, physical, plan, err);
    if (status != FM_OK) return status;
    *find(backend->table, backend->capacity, key) = (struct entry){ key, *plan };
    backend->used++;
    return FM_OK;
}

static fm_status check_workspace(const struct fm_launch *launch, int64_t need, struct fm_err *err)
{
    if (launch->candidate != 0)
        return FM_FAIL(err, FM_INVALID, "%s: candidate %u of 1", fm_kernel_name(launch->problem.kernel), launch->candidate);
    if (launch->workspace_bytes >= need && (need == 0 || launch->workspace)) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "%s: workspace of %lld bytes where %lld are needed", fm_kernel_name(launch->problem.kernel),
                   (long long)launch->workspace_bytes, (long long)need);
}

static fm_status run_dnn(struct fm_backend *backend, const struct fm_launch *launch, const struct fm_problem *physical,
                         struct fm_err *err)
{
    struct fm_dnn_plan *plan;
    if (is_empty(physical)) return FM_OK;
    fm_status status = plan_of(backend, fm_problem_key(&launch->problem), physical, &plan, err);
    if (status != FM_OK) return status;
    status = check_workspace(launch, fm_dnn_plan_bytes(plan), err);
    if (status != FM_OK) return status;
    return fm_dnn_plan_run(backend->dnn, plan, backend->data, launch->workspace, err);
}

static fm_status run_own(struct fm_backend *backend, const struct fm_launch *launch, const struct fm_problem *physical,
                         struct fm_err *err)
{
    const struct fm_cpu_kernel *kernel = &fm_cpu_kernels[physical->kernel];
    if (!kernel->run) return FM_FAIL(err, FM_UNSUPPORTED, "cpu has no %s", fm_kernel_name(physical->kernel));
    int64_t need = kernel->workspace_bytes ? kernel->workspace_bytes(physical, backend->threads) : 0;
    fm_status status = check_workspace(launch, need, err);
    if (status != FM_OK) return status;
    struct fm_cpu_call call = {
        .problem = *physical,
        .data = backend->data,
        .workspace = launch->workspace,
        .seed = launch->seed,
        .step = launch->step,
        .threads = backend->threads,
    };
    return kernel->run(&call, err);
}

static fm_status cpu_run(struct fm_backend *backend, const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_problem physical;
    claim_threads(backend);
    fm_status status = resolve(backend, &launch->problem, &physical, err);
    if (status != FM_OK) return status;
    uint32_t count = physical.n_out + physical.n_in;
    void *grown = fm_grow(backend->data, &backend->data_room, count, sizeof *backend->data);
    if (!grown) return FM_FAIL(err, FM_NOMEM, "cpu: %u operands", count);
    backend->data = grown;
    for (uint32_t i = 0; i < count; i++) {
        const struct fm_operand *o = &physical.operand[i];
        bool absent = o->storage == FM_NONE || !launch->address[i];
        backend->data[i] = absent ? NULL : (char *)launch->address[i] + o->offset * fm_dtype_bytes((enum fm_dtype)o->dtype);
    }
    return fm_dnn_serves(physical.kernel) ? run_dnn(backend, launch, &physical, err)
                                          : run_own(backend, launch, &physical, err);
}

static fm_status cpu_synchronize(struct fm_backend *backend, struct fm_err *err)
{
    (void)backend, (void)err;
    return FM_OK;
}

static fm_status cpu_read(struct fm_backend *backend, void *host, const void *device, int64_t bytes, struct fm_err *err)
{
    (void)backend, (void)err;
    memcpy(host, device, (size_t)bytes);
    return FM_OK;
}

static fm_status cpu_write(struct fm_backend *backend, void *device, const void *host, int64_t bytes, struct fm_err *err)
{
    (void)backend, (void)err;
    memcpy(device, host, (size_t)bytes);
    return FM_OK;
}

const struct fm_backend_ops fm_backend_cpu = {
    .abi = FM_BACKEND_ABI,
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .info = cpu_info,
    .candidates = cpu_candidates,
    .run = cpu_run,
    .synchronize = cpu_synchronize,
    .read = cpu_read,
    .write = cpu_write,
    .channels_last = true,
};
