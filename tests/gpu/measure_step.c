/* One cell on a GPU: what was planned, what the allocator counted, what the device says is used, how long a step takes,
 * with and without a thread that looks at the device meanwhile, and which kernels that time goes to. One JSON object on
 * stdout.
 *
 *   step MEMORY SECONDS BATCH WORKLOAD [key=value ...] [+strategy=value ...]        step 24GiB 2 8 segformer +precision=fp16
 *
 * The time of kernels is that of a second pass over the step in which each call is waited for, so their sum is larger than
 * the step's own time where launches overlap. Used memory is the whole device's: others on it are counted too. */
#include "probes/backends/cuda/cuda.h"
#include "probes/memory/planner.h"
#include "probes/worker/engine.h"
#include "probes/worker/watch.h"
#include "tests/cuda_host/support_host.h"
#include "tuner/base/clock.h"
#include "tuner/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEPS 200
#define LOOKS 21

static struct { long calls; double ns, flops, bytes; } kernel[FM_KERNEL_COUNT];
static int64_t step_ns[MAX_STEPS];

/* the same steps, each after one that no one looked at; what was seen of the device meanwhile */
static struct {
    struct fm_watch *watch;             /* NULL: it does not let itself be looked at */
    int64_t step_ns[MAX_STEPS], look_ns[LOOKS];
    uint32_t looks, throttled;
    int32_t slow;                       /* bits FM_SLOW_*; -1: unknown */
} watched = { .slow = -1 };

/* the backend, with a clock around each call */
static fm_status run_timed(struct fm_backend *backend, const struct fm_launch *launch, struct fm_err *err)
{
    fm_status status = FM_OK;
    int64_t ns = 0;
    int k = (int)launch->problem.kernel;
    FM_TRY(fm_backend_cuda.time_begin(backend, err));
    FM_TRY(fm_backend_cuda.run(backend, launch, err));
    FM_TRY(fm_backend_cuda.time_end(backend, &ns, err));
    kernel[k].calls++;
    kernel[k].ns += (double)ns;
    kernel[k].flops += fm_problem_flops(&launch->problem);
    kernel[k].bytes += fm_problem_bytes(&launch->problem);
out:
    return status;
}

static int64_t used_bytes(struct fm_backend *backend, struct fm_device_info *info)
{
    if (fm_backend_cuda.info(backend, info, NULL) != FM_OK || info->free_bytes < 0) return -1;
    return info->total_bytes - info->free_bytes;
}

static void print_bytes(const char *name, int64_t bytes)
{
    if (bytes >= 0) (void)printf(",\"%s\":%lld", name, (long long)bytes);
}

static void print_list(const char *name, const int64_t *value, int count)
{
    (void)printf(",\"%s\":[", name);
    for (int i = 0; i < count; i++) (void)printf("%s%lld", i ? "," : "", (long long)value[i]);
    (void)printf("]");
}

static void print_watched(int steps)
{
    if (!watched.watch) return;
    print_list("watched_step_ns", watched.step_ns, steps);
    print_list("look_ns", watched.look_ns, LOOKS);
    (void)printf(",\"looks\":%u,\"throttled_steps\":%u", watched.looks, watched.throttled);
    if (watched.slow < 0) return;
    const char *comma = "";
    (void)printf(",\"slow\":[");
#define X(name, bit, throttles) if (watched.slow & FM_SLOW_##name) (void)printf("%s\"" #name "\"", comma), comma = ",";
    FM_SLOW_LIST(X)
#undef X
    (void)printf("]");
}

static void print_steps(int steps)
{
    print_list("step_ns", step_ns, steps);
    print_watched(steps);
    (void)printf(",\"kernels\":[");
    const char *comma = "";
    for (int k = 0; k < FM_KERNEL_COUNT; k++) {
        if (!kernel[k].calls) continue;
        (void)printf("%s{\"kernel\":\"%s\",\"calls\":%ld,\"ns\":%.0f,\"flops\":%.6g,\"bytes\":%.6g}", comma, fm_kernel_name((enum fm_kernel)k),
                     kernel[k].calls, kernel[k].ns, kernel[k].flops, kernel[k].bytes);
        comma = ",";
    }
    (void)printf("]");
}

/* how long it takes to be told what the device says, processes included */
static void time_looks(void)
{
    struct fm_device_sample sample;
    for (int i = 0; i < LOOKS && watched.watch; i++) {
        int64_t begin_ns = fm_now_ns(fm_clock_system());
        if (!fm_watch_look(watched.watch, &sample)) return;
        watched.look_ns[i] = fm_now_ns(fm_clock_system()) - begin_ns;
    }
}

static fm_status watched_step(struct fm_engine *engine, int step, struct fm_err *err)
{
    struct fm_watched seen;
    bool throttled = false;
    fm_watch_begin(watched.watch);
    struct fm_span span = { .begin_ns = fm_now_ns(fm_clock_system()) };
    fm_status status = fm_engine_run(engine, FM_SECTION_TRAIN, &watched.step_ns[step], err);
    span.end_ns = fm_now_ns(fm_clock_system());
    fm_watch_end(watched.watch, &span, 1, &throttled, &seen);
    watched.looks += seen.looks;
    watched.throttled += seen.marked && throttled;
    if (seen.slow >= 0) watched.slow = (watched.slow < 0 ? 0 : watched.slow) | seen.slow;
    return status;
}

static fm_status measure(struct fm_engine *engine, double seconds, int *steps, struct fm_err *err)
{
    static struct fm_backend_ops timed;
    fm_status status = FM_OK;
    int64_t total = 0;
    FM_TRY(fm_engine_run(engine, FM_SECTION_INIT, NULL, err));
    FM_TRY(fm_engine_run(engine, FM_SECTION_TRAIN_FIRST, NULL, err));
    FM_TRY(fm_engine_settle(engine, FM_SECTION_TRAIN, 3, err));
    time_looks();
    while (*steps < MAX_STEPS && ((double)total < seconds * 1e9 || *steps < 3)) {
        FM_TRY(fm_engine_run(engine, FM_SECTION_TRAIN, &step_ns[*steps], err));
        if (watched.watch) FM_TRY(watched_step(engine, *steps, err));
        total += step_ns[*steps] + watched.step_ns[*steps];
        ++*steps;
    }
    timed = *engine->ops;
    timed.run = run_timed;
    engine->ops = &timed;
    FM_TRY(fm_engine_run(engine, FM_SECTION_TRAIN, NULL, err));
out:
    return status;
}

static fm_status step(struct fm_backend *backend, const struct fm_program *program, int64_t memory_bytes, double seconds, struct fm_err *err)
{
    static struct fm_engine engine;
    static struct fm_planner planner;
    static struct fm_device_info before, after;
    struct fm_plan plan = { 0 };
    int steps = 0;
    struct fm_device_watch device;
    int64_t used_before = used_bytes(backend, &before);
    if (fm_backend_cuda.watch(backend, &device, err) != FM_OK || fm_watch_start(&watched.watch, &device, err) != FM_OK) watched.watch = NULL;
    struct fm_engine_config config = { .ops = &fm_backend_cuda, .backend = backend, .program = program, .memory_bytes = memory_bytes, .seed = 1 };
    fm_status status = fm_engine_open(&engine, &config, err);
    if (status == FM_OK) status = fm_planner_run(&planner, program, &engine.workspaces, memory_bytes, &plan, err);
    if (status == FM_OK) {
        status = measure(&engine, seconds, &steps, err);
        int64_t used = used_bytes(backend, &after);
        (void)printf("\"device\":\"%s\",\"library\":\"%s\",\"facts\":\"%s\",\"planned_fits\":%s", after.name, after.library, after.facts,
                     plan.fits ? "true" : "false");
        print_bytes("planned_allocated_bytes", plan.train.allocated_bytes);
        print_bytes("planned_reserved_bytes", plan.train.reserved_bytes);
        print_bytes("counted_allocated_bytes", engine.replay.peak[0].allocated_bytes);
        print_bytes("counted_reserved_bytes", engine.replay.peak[0].reserved_bytes);
        print_bytes("framework_bytes", after.framework_bytes);
        print_bytes("device_used_before_bytes", used_before);
        print_bytes("device_used_bytes", used);
        print_steps(steps);
        (void)printf(",");
    }
    fm_watch_stop(watched.watch);
    fm_engine_close(&engine);
    fm_planner_release(&planner);
    return status;
}

int main(int argc, char **argv)
{
    static char words[512];
    struct fm_err err = { 0 };
    struct fm_cell cell;
    struct fm_program program = { 0 };
    struct fm_backend *backend = NULL;
    int64_t memory_bytes = 0, batch = 0;
    double seconds = 0;
    if (argc < 5 || !fm_parse_bytes(argv[1], &memory_bytes) || !fm_parse_f64(argv[2], &seconds) || !fm_parse_i64(argv[3], &batch) || batch < 1) {
        (void)fprintf(stderr, "usage: step MEMORY SECONDS BATCH WORKLOAD [key=value ...] [+strategy=value ...]\n");
        return FM_INVALID;
    }
    for (int i = 4, n = 0; i < argc && n < (int)sizeof words; i++) n += snprintf(words + n, sizeof words - (size_t)n, "%s%s", i > 4 ? " " : "", argv[i]);
    fm_status status = fm_backend_cuda.open(&(struct fm_backend_config){ .device = "cuda:0" }, &backend, &err);
    if (status != FM_OK) {
        (void)fprintf(stderr, "no GPU to measure on: %s\n", err.text);
        return (int)status;
    }
    fm_host_cell(&cell, words);
    (void)printf("{\"cell\":\"%s\",\"batch\":%lld,\"memory_bytes\":%lld,", words, (long long)batch, (long long)memory_bytes);
    status = fm_cell_lower(&cell, (struct fm_cell_batch){ .train = batch }, &program, &err);
    if (status == FM_OK) status = step(backend, &program, memory_bytes, seconds, &err);
    (void)printf("\"status\":%d}\n", (int)status);
    if (status != FM_OK) (void)fprintf(stderr, "step: %s\n", err.text);
    fm_program_release(&program);
    fm_backend_cuda.close(backend);
    return (int)status;
}
