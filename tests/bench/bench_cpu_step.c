/* Where a training step's time goes on the cpu backend: the dearest problems of a real step, each with its rate.
 *
 *     cmake --build build --target bench
 *     build/bench/bench_cpu_step [WORKLOAD [BATCH [f32|bf16 [KEY=VALUE...]]]]      (threads=N among the keys)
 *
 * Each call counts with the fastest of a few steps, so that the table means the kernels and not their neighbours;
 * the step's own time is the fastest whole step. With one thread its own CPU time is taken: comparable on a busy
 * machine. */
#include "probes/backends/cpu/backend.h"
#include "probes/worker/engine.h"
#include "tuner/base/memory.h"
#include "workloads/lower/lower.h"
#include "workloads/nets/nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS = 5, ROWS = 45 };

struct row {
    uint64_t key;
    enum fm_kernel kernel;
    struct fm_operand operand[3];
    uint32_t operands, calls;
    double ns, flops, bytes;
    int64_t workspace_bytes;
    char what[48];
};

/* one call of the step */
struct mark { int64_t ns; struct row *row; };

static struct fm_backend_ops timed;
static struct mark *marks;
static size_t mark_count, mark_room, at;
static struct row rows[4096];
static size_t row_count;
static int threads;

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static struct row *row_of(struct fm_backend *backend, const struct fm_problem *problem)
{
    struct fm_err err = { 0 };
    struct fm_candidates candidates;
    uint64_t key = fm_problem_key(problem);
    for (size_t i = 0; i < row_count; i++)
        if (rows[i].key == key) return &rows[i];
    if (row_count == sizeof rows / sizeof *rows) abort();
    struct row *row = &rows[row_count++];
    *row = (struct row){ .key = key, .kernel = problem->kernel };
    row->operands = problem->n_out + problem->n_in < 3 ? problem->n_out + problem->n_in : 3;
    memcpy(row->operand, problem->operand, row->operands * sizeof *row->operand);
    row->flops = fm_problem_flops(problem);
    row->bytes = fm_problem_bytes(problem);
    if (fm_backend_cpu.candidates(backend, problem, &candidates, &err) == FM_OK && candidates.count) {
        row->workspace_bytes = candidates.item[0].workspace_bytes;
        memcpy(row->what, candidates.item[0].what, sizeof row->what);
    }
    return row;
}

static fm_status timed_run(struct fm_backend *backend, const struct fm_launch *launch, struct fm_err *err)
{
    int64_t start_ns = now_ns();
    fm_status status = fm_backend_cpu.run(backend, launch, err);
    int64_t spent_ns = now_ns() - start_ns;
    if (at == mark_count) {
        void *grown = fm_grow(marks, &mark_room, mark_count + 1, sizeof *marks);
        if (!grown) abort();
        marks = grown;
        marks[mark_count++] = (struct mark){ spent_ns, row_of(backend, &launch->problem) };
    } else if (spent_ns < marks[at].ns) {
        marks[at].ns = spent_ns;
    }
    at++;
    return status;
}

static int dearer(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return (x->ns < y->ns) - (x->ns > y->ns);
}

static void print_row(const struct row *row, double total_ns)
{
    printf("%5.1f%% %8.2f ms %4u x %9.3f ms %7.1f GF/s %6.1f GB/s %8.2f MiB  %-15s %-28s", 100 * row->ns / total_ns, 1e-6 * row->ns,
           row->calls, 1e-6 * row->ns / row->calls, row->flops * row->calls / row->ns, row->bytes * row->calls / row->ns,
           (double)row->workspace_bytes / 1048576, fm_kernel_name(row->kernel), row->what);
    for (uint32_t i = 0; i < row->operands; i++) {
        printf("%s%s", i ? " " : "", fm_dtype_name((enum fm_dtype)row->operand[i].dtype));
        for (int d = 0; d < row->operand[i].ndim; d++)
            printf("%c%lld", d ? 'x' : ':', (long long)row->operand[i].size[d]);
    }
    printf("\n");
}

static void report(int64_t best_ns)
{
    double total_ns = 0, kernel_ns[FM_KERNEL_COUNT] = { 0 };
    for (size_t i = 0; i < mark_count; i++) {
        struct row *row = marks[i].row;
        row->ns += (double)marks[i].ns;
        row->calls++;
        kernel_ns[row->kernel] += (double)marks[i].ns;
        total_ns += (double)marks[i].ns;
    }
    printf("fastest step %.2f ms; sum of each call's fastest %.2f ms, %zu calls\n", 1e-6 * (double)best_ns, 1e-6 * total_ns,
           mark_count);
    for (int k = 0; k < FM_KERNEL_COUNT; k++)
        if (kernel_ns[k] > 0.005 * total_ns) printf("  %-16s %5.1f%%\n", fm_kernel_name((enum fm_kernel)k), 100 * kernel_ns[k] / total_ns);
    qsort(rows, row_count, sizeof *rows, dearer);
    for (size_t i = 0; i < row_count && i < ROWS; i++)
        if (rows[i].calls) print_row(&rows[i], total_ns);
}

static fm_status measure(const struct fm_program *program, struct fm_err *err)
{
    fm_status status = FM_OK;
    struct fm_backend *backend = NULL;
    struct fm_engine engine = { 0 };
    int64_t best_ns = INT64_MAX, ns;
    timed = fm_backend_cpu;
    timed.run = timed_run;
    FM_TRY(fm_backend_cpu.open(&(struct fm_backend_config){ .threads = threads }, &backend, err));
    FM_TRY(fm_engine_open(&engine, &(struct fm_engine_config){ .ops = &timed, .backend = backend, .program = program,
                                                                .memory_bytes = INT64_C(16) << 30, .seed = 1 }, err));
    FM_TRY(fm_engine_run(&engine, FM_SECTION_INIT, NULL, err));
    FM_TRY(fm_engine_run(&engine, FM_SECTION_TRAIN_FIRST, NULL, err));
    FM_TRY(fm_engine_run(&engine, FM_SECTION_TRAIN, NULL, err));
    mark_count = 0;
    for (int i = 0; i < STEPS; i++) {
        at = 0;
        FM_TRY(fm_engine_run(&engine, FM_SECTION_TRAIN, &ns, err));
        if (i > 0 && ns < best_ns) best_ns = ns;
    }
    printf("peak allocated %.1f MiB, reserved %.1f MiB, loss %g\n", (double)engine.replay.peak[0].allocated_bytes / 1048576,
           (double)engine.replay.peak[0].reserved_bytes / 1048576, engine.loss_last);
    report(best_ns);
out:
    fm_engine_close(&engine);
    fm_backend_cpu.close(backend);
    return status;
}

int main(int argc, char **argv)
{
    struct fm_err err = { 0 };
    struct fm_settings settings;
    struct fm_graph graph = { 0 };
    struct fm_program program = { 0 };
    struct fm_policy policy = fm_policy_default();
    fm_status status = FM_OK;
    const struct fm_workload *workload = fm_workload_find(argc > 1 ? argv[1] : "denseunet3d", &err);
    int64_t batch = argc > 2 ? strtoll(argv[2], NULL, 10) : 2;
    if (!workload) goto out;
    fm_settings_default(&settings, workload);
    policy.autocast = argc > 3 ? fm_dtype_parse(argv[3]) : FM_F32;
    for (int i = 4; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) continue;
        *value++ = '\0';
        if (strcmp(argv[i], "threads") == 0) {
            threads = (int)strtol(value, NULL, 10);
            continue;
        }
        FM_TRY(fm_settings_set(&settings, argv[i], value, &err));
    }
    FM_TRY(fm_settings_build(&settings, batch, 0, &graph, &err));
    FM_TRY(fm_lower(&graph, &policy, &program, &err));
    FM_TRY(measure(&program, &err));
out:
    if (!workload || status != FM_OK) (void)fprintf(stderr, "bench_cpu_step: %s\n", err.text);
    fm_graph_release(&graph);
    fm_program_release(&program);
    fm_free(marks);
    return !workload || status != FM_OK;
}
