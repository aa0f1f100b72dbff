/* Times training steps of one cell on the cpu backend, for ci/bench.sh, which sets PyTorch beside it.
 *
 *   bench_step WORKLOAD BATCH PRECISION THREADS SECONDS [key=value ...]
 * prints "step_ms MEDIAN steps N library TEXT". The step is the one that a probe times: the loader's, one optimizer step. */
#include "probes/backends/cpu/cpu.h"
#include "probes/worker/engine.h"
#include "tuner/base/text.h"
#include "workloads/strategies/strategies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEPS 1000

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static fm_status make_cell(int argc, char **argv, struct fm_cell *cell, struct fm_err *err)
{
    const struct fm_workload *w = fm_workload_find(argv[1], err);
    if (!w) return FM_INVALID;
    fm_cell_default(cell, w);
    fm_status status = fm_cell_set(cell, FM_STRATEGY_PRECISION, argv[3], err);
    for (int i = 6; i < argc && status == FM_OK; i++) {
        char key[64];
        const char *equal = strchr(argv[i], '=');
        if (!equal) return FM_FAIL(err, FM_INVALID, "'%s' is not key=value", argv[i]);
        (void)snprintf(key, sizeof key, "%.*s", (int)(equal - argv[i]), argv[i]);
        status = fm_settings_set(&cell->settings, key, equal + 1, err);
    }
    return status;
}

static fm_status time_steps(struct fm_engine *engine, double seconds, int64_t *median_ns, int *count, struct fm_err *err)
{
    static int64_t ns[MAX_STEPS];
    int64_t total = 0;
    fm_status status = fm_engine_run(engine, FM_SECTION_INIT, NULL, err);
    if (status == FM_OK) status = fm_engine_run(engine, FM_SECTION_TRAIN_FIRST, NULL, err);
    for (int warm = 0; warm < 2 && status == FM_OK; warm++) status = fm_engine_run(engine, FM_SECTION_TRAIN, NULL, err);
    *count = 0;
    while (status == FM_OK && *count < MAX_STEPS && ((double)total < seconds * 1e9 || *count < 3)) {
        status = fm_engine_run(engine, FM_SECTION_TRAIN, &ns[*count], err);
        total += ns[(*count)++];
    }
    qsort(ns, (size_t)*count, sizeof ns[0], by_value);
    *median_ns = ns[*count / 2];
    return status;
}

int main(int argc, char **argv)
{
    struct fm_err err = { 0 };
    struct fm_cell cell;
    struct fm_program program = { 0 };
    struct fm_engine engine = { 0 };
    struct fm_backend *backend = NULL;
    struct fm_device_info info = { 0 };
    int64_t batch = 0, threads = 0, median_ns = 0;
    double seconds = 0;
    int steps = 0;
    if (argc < 6 || !fm_parse_i64(argv[2], &batch) || !fm_parse_i64(argv[4], &threads) || !fm_parse_f64(argv[5], &seconds)) {
        (void)fprintf(stderr, "usage: bench_step WORKLOAD BATCH PRECISION THREADS SECONDS [key=value ...]\n");
        return FM_INVALID;
    }
    fm_status status = make_cell(argc, argv, &cell, &err);
    if (status == FM_OK) status = fm_cell_lower(&cell, (struct fm_cell_batch){ .train = batch }, &program, &err);
    if (status == FM_OK) status = fm_backend_cpu.open(&(struct fm_backend_config){ .threads = (int32_t)threads }, &backend, &err);
    if (status == FM_OK) status = fm_backend_cpu.info(backend, &info, &err);
    if (status == FM_OK)
        status = fm_engine_open(&engine, &(struct fm_engine_config){ .ops = &fm_backend_cpu, .backend = backend, .program = &program,
                                .memory_bytes = INT64_MAX, .seed = 1 }, &err);
    if (status == FM_OK) status = time_steps(&engine, seconds, &median_ns, &steps, &err);
    if (status == FM_OK) (void)printf("step_ms %.3f steps %d library %s\n", (double)median_ns * 1e-6, steps, info.library);
    else (void)fprintf(stderr, "bench_step: %s\n", err.text);
    fm_engine_close(&engine);
    fm_backend_cpu.close(backend);
    fm_program_release(&program);
    return (int)status;
}
