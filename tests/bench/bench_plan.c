/* Plans a second: building a graph, lowering it and replaying the program through the allocator, on one core. And how long
 * a cell's planned max batch takes: several plans, validation with them.
 *
 *     cmake --build build --target bench && build/bench/bench_plan [NETWORK]
 *
 * "cold": everything from nothing, its memory given back each time; "warm": program, planner and their arrays are used
 * again, as a search does; "kept": the answer of the same search is in the cache, and looked at on both sides. "workspaces": every call that may need one finds a candidate of 1 MiB. */
#include "probes/memory/planner.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/session.h"
#include "workloads/lower/lower.h"
#include "workloads/nets/nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB (INT64_C(1) << 20)
#define RUN_NS INT64_C(400000000)

/* of this thread alone: what others do on the machine counts as little as can be */
static int64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct subject {
    const struct fm_workload *workload;
    const char *key, *value;            /* a setting, or NULL */
    enum fm_dtype autocast;
    bool checkpoint;
    int64_t capacity_gib;               /* for its max batch */
};

struct parts { int64_t build_ns, lower_ns, plan_ns; };

struct bench {
    struct fm_settings settings;
    struct fm_policy policy;
    struct fm_program program;
    struct fm_planner planner;
    struct fm_workspaces workspaces;
    struct parts parts;
};

static fm_status one_plan(struct bench *b, int64_t batch, bool with_workspaces, struct fm_err *err)
{
    struct fm_graph graph;
    struct fm_plan plan;
    int64_t start_ns = cpu_ns();
    fm_status status = fm_settings_build(&b->settings, batch, 0, &graph, err);
    if (status != FM_OK) return status;
    int64_t built_ns = cpu_ns();
    status = fm_lower(&graph, &b->policy, &b->program, err);
    int64_t lowered_ns = cpu_ns();
    if (status == FM_OK)
        status =
            fm_planner_run(&b->planner, &b->program, with_workspaces ? &b->workspaces : NULL, INT64_MAX, &plan, err);
    b->parts.plan_ns += cpu_ns() - lowered_ns;
    b->parts.lower_ns += lowered_ns - built_ns;
    b->parts.build_ns += built_ns - start_ns;
    fm_graph_release(&graph);
    return status;
}

static void forget(struct bench *b)
{
    fm_program_release(&b->program);
    fm_planner_release(&b->planner);
}

static fm_status fill_workspaces(struct bench *b, int64_t batch, struct fm_err *err)
{
    fm_status status = one_plan(b, batch, false, err);
    struct fm_workspace_entry entry = { .candidates = { .count = 1, .item = { { .workspace_bytes = MIB } } } };
    for (size_t i = 0; i < b->program.call_count && status == FM_OK; i++) {
        entry.key = b->program.call[i].key;
        if (entry.key) status = fm_workspaces_add(&b->workspaces, &entry, err);
    }
    return status;
}

static fm_status measure(struct bench *b, const char *name, bool cold, bool with_workspaces, struct fm_err *err)
{
    enum { BATCHES = 7 };
    fm_status status = FM_OK;
    for (int64_t batch = 1; batch <= BATCHES && status == FM_OK; batch++) status = fill_workspaces(b, batch, err);
    b->parts = (struct parts){ 0 };
    int64_t start_ns = cpu_ns(), spent_ns = 0, plans = 0;
    for (; spent_ns < RUN_NS && status == FM_OK; plans++) {
        if (cold) forget(b);
        status = one_plan(b, 1 + plans % BATCHES, with_workspaces, err);
        spent_ns = cpu_ns() - start_ns;
    }
    double each_us = 1e-3 / (double)(plans ? plans : 1);
    printf("%-28s %-5s %-10s %7.0f/s  build %6.0f  lower %6.0f  plan %6.0f us  (%zu instructions)\n", name,
           cold ? "cold" : "warm", with_workspaces ? "workspaces" : "-", (double)plans * 1e9 / (double)spent_ns,
           (double)b->parts.build_ns * each_us, (double)b->parts.lower_ns * each_us, (double)b->parts.plan_ns * each_us,
           b->program.instr_count);
    return status;
}

static fm_status run(const struct subject *s, struct fm_err *err)
{
    static uint8_t all[256];
    char name[64];
    struct bench b = { .policy = fm_policy_default() };
    memset(all, 1, sizeof all);
    fm_settings_default(&b.settings, s->workload);
    fm_status status = s->key ? fm_settings_set(&b.settings, s->key, s->value, err) : FM_OK;
    b.policy.autocast = s->autocast;
    b.policy.loss_scaler = s->autocast == FM_F16;
    if (s->checkpoint) b.policy.checkpoint = all;
    (void)snprintf(name, sizeof name, "%s %s %s%s", s->workload->name, s->key ? s->value : "",
                   fm_dtype_name(s->autocast), s->checkpoint ? " ckpt" : "");
    for (int i = 0; i < 4 && status == FM_OK; i++) status = measure(&b, name, i % 2, i / 2, err);
    forget(&b);
    fm_workspaces_release(&b.workspaces);
    return status;
}

/* ---- the max batch of a cell ---- */

#define CELL_BATCHES 128                /* the table of workspaces answers up to this batch; the limit of the search */

/* a device that is never asked: what it would answer is in the table */
static fm_status open_table(struct fm_session *s, const struct fm_cell *cell, int64_t capacity_bytes, struct fm_err *err)
{
    *s = (struct fm_session){ .backend = "table", .capacity_bytes = capacity_bytes, .cache = { .fd = -1 } };
    fm_status status = FM_OK;
    struct fm_workspace_entry entry = { .candidates = { .count = 1, .item = { { .workspace_bytes = MIB } } } };
    for (int64_t batch = 1; batch <= CELL_BATCHES && status == FM_OK; batch++) {
        struct fm_cell_batch at = { .train = batch, .val = fm_cell_val_batch(cell, batch) };
        status = fm_cell_lower(cell, at, &s->program, err);
        for (size_t i = 0; i < s->program.call_count && status == FM_OK; i++) {
            entry.key = s->program.call[i].key;
            if (entry.key) status = fm_workspaces_add(&s->workspaces, &entry, err);
        }
    }
    return status;
}

enum search { WARM, COLD, KEPT, SEARCHES };
static const char *const search_name[] = { "warm", "cold", "kept" };

/* a cache of its own, with the answer of the search in it */
static fm_status keep_answer(struct fm_session *s, const struct fm_cell *cell, struct fm_err *err)
{
    struct fm_plan_max_answer answer;
    s->fingerprint = 1;
    fm_status status = fm_cache_open(&s->cache, s->fingerprint, err);
    if (status == FM_OK) status = fm_session_max_batch(s, cell, CELL_BATCHES, 0, &answer, err);
    fm_cache_close(&s->cache);
    return status == FM_OK ? fm_cache_open(&s->cache, s->fingerprint, err) : status;
}

static fm_status measure_cell(const struct subject *s, enum search search, struct fm_err *err)
{
    struct fm_cell cell;
    struct fm_session session;
    struct fm_plan_max_answer answer = { 0 };
    const char *precision = s->autocast == FM_F16 ? "fp16" : s->autocast == FM_BF16 ? "bf16" : "fp32";
    fm_cell_default(&cell, s->workload);
    fm_status status = s->key ? fm_settings_set(&cell.settings, s->key, s->value, err) : FM_OK;
    if (status == FM_OK) status = fm_cell_set(&cell, FM_STRATEGY_PRECISION, precision, err);
    if (status == FM_OK && s->checkpoint) status = fm_cell_set(&cell, FM_STRATEGY_CHECKPOINT, "blocks", err);
    if (status != FM_OK) return status;
    status = open_table(&session, &cell, s->capacity_gib << 30, err);
    if (status == FM_OK && search == KEPT) status = keep_answer(&session, &cell, err);
    int64_t start_ns = cpu_ns(), spent_ns = 0, times = 0;
    for (; spent_ns < RUN_NS && status == FM_OK; times++) {
        if (search == COLD) {
            fm_program_release(&session.program);
            fm_planner_release(&session.planner);
        }
        status = fm_session_max_batch(&session, &cell, CELL_BATCHES, 0, &answer, err);
        spent_ns = cpu_ns() - start_ns;
    }
    fm_session_close(&session);
    if (status != FM_OK) return status;
    printf("%-12s %-3s %-4s %-4s %-5s max batch %3lld in %7.2f ms, %2d batches planned\n", s->workload->name, s->key ? s->value : "",
           fm_dtype_name(s->autocast), s->checkpoint ? "ckpt" : "", search_name[search], (long long)answer.max_batch,
           1e-6 * (double)spent_ns / (double)times, answer.evaluations);
    return FM_OK;
}

int main(int argc, char **argv)
{
    const struct subject subjects[] = {
        { &fm_denseunet3d, NULL, NULL, FM_F32, false, 80 },  { &fm_denseunet3d, NULL, NULL, FM_F16, true, 80 },
        { &fm_segformer, "variant", "b0", FM_F32, false, 8 }, { &fm_segformer, "variant", "b5", FM_F32, false, 24 },
        { &fm_segformer, "variant", "b5", FM_BF16, true, 24 },
    };
    int failed = 0;
    char folder[] = "/tmp/bench-plan-XXXXXX", command[64];
    fm_memory_keep((size_t)64 << 20);                  /* as the command does */
    if (!mkdtemp(folder) || setenv("FILLMARK_CACHE_DIR", folder, 1) != 0) return 1;
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        struct fm_err err = { 0 };
        if (argc > 1 && strcmp(argv[1], subjects[i].workload->name) != 0) continue;
        fm_status status = run(&subjects[i], &err);
        for (int k = 0; k < SEARCHES && status == FM_OK; k++) status = measure_cell(&subjects[i], (enum search)k, &err);
        if (status == FM_OK) continue;
        (void)fprintf(stderr, "bench_plan: %s\n", err.text);
        failed = 1;
    }
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) == 0 ? failed : 1;
}
