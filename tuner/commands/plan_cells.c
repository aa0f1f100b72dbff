#include "tuner/commands/plan_cells.h"

#include "tuner/base/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#define MAX_THREADS 64

struct one_cell {
    const struct fm_plan_device *device;
    size_t index;                       /* in its space */
    bool begun;
    fm_status status;
    struct fm_records records;
};

struct all_cells {
    const struct fm_options *options;
    struct one_cell *cell;
    size_t cells;
    atomic_size_t taken;
    atomic_bool failed;
};

struct planner_thread {
    struct all_cells *all;
    pthread_t id;
    struct fm_session branch;           /* of the device of its last cell */
    const struct one_cell *failed;      /* NULL: none did */
    struct fm_err err;
    long live;                          /* blocks it allocated and left to others */
};

static bool plan_one(struct planner_thread *t, struct one_cell *c)
{
    if (t->branch.base != c->device->session) {
        if (t->branch.base) fm_session_close(&t->branch);
        fm_session_branch(c->device->session, &t->branch);
    }
    c->begun = true;
    c->status = fm_plan_cell(c->device, t->all->options, &t->branch, c->index, &c->records, &t->err);
    if (c->status == FM_OK) return true;
    t->failed = c;
    atomic_store(&t->all->failed, true);
    return false;
}

/* From the last one to the first: those that combine strategies come last and take longest, and no thread shall begin with
 * one when the others have ended. After a failure none is begun. */
static void plan_some(struct planner_thread *t)
{
    struct all_cells *all = t->all;
    bool good = true;
    while (good && !atomic_load(&all->failed)) {
        size_t taken = atomic_fetch_add(&all->taken, 1);
        if (taken >= all->cells) break;
        good = plan_one(t, &all->cell[all->cells - 1 - taken]);
    }
    if (t->branch.base) fm_session_close(&t->branch);
}

static void *thread_main(void *context)
{
    struct planner_thread *t = context;
    plan_some(t);
    t->live = fm_memory_live;
    return NULL;
}

/* One failed: what stands before it, up to the first that fails. *cells: how many did not. */
static fm_status find_failure(struct all_cells *all, const struct planner_thread *thread, size_t threads, size_t *cells, struct fm_err *err)
{
    struct planner_thread own = { .all = all };
    size_t i = 0;
    for (; i < all->cells; i++)
        if (all->cell[i].begun ? all->cell[i].status != FM_OK : !plan_one(&own, &all->cell[i])) break;
    if (own.branch.base) fm_session_close(&own.branch);
    *cells = i;
    const struct fm_err *why = &own.err;
    for (size_t k = 0; k < threads; k++)
        if (thread[k].failed == &all->cell[i]) why = &thread[k].err;
    return FM_FAIL(err, all->cell[i].status, "%s", why->text);
}

static size_t usable_cores(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cores > 0 ? (size_t)cores : 1;
}

/* on this thread and threads - 1 others, or as many as the system gives. *planned: of the first cells, all that did not fail */
static fm_status plan_on(struct all_cells *all, size_t threads, size_t *planned, struct fm_err *err)
{
    struct planner_thread *t = fm_calloc(threads, sizeof *t);
    size_t started = 1;
    if (!t) return FM_FAIL(err, FM_NOMEM, "%zu threads", threads);
    for (size_t i = 0; i < threads; i++) t[i].all = all;
    while (started < threads && pthread_create(&t[started].id, NULL, thread_main, &t[started]) == 0) started++;
    plan_some(&t[0]);
    for (size_t i = 1; i < started; i++) {
        (void)pthread_join(t[i].id, NULL);
        fm_memory_live += t[i].live;
    }
    *planned = all->cells;
    fm_status status = atomic_load(&all->failed) ? find_failure(all, t, started, planned, err) : FM_OK;
    fm_free(t);
    return status;
}

/* moves the records of the cells that were planned, in order; releases those of the others */
static fm_status collect(struct all_cells *all, size_t planned, struct fm_records *out, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < all->cells; i++) {
        struct fm_records *records = &all->cell[i].records;
        for (size_t k = 0; i < planned && k < records->count && status == FM_OK; k++) {
            status = fm_records_add(out, records->item[k], err);
            records->item[k] = NULL;            /* taken in any case */
        }
        fm_records_release(records);
    }
    return status;
}

fm_status fm_plan_cells(const struct fm_options *options, const struct fm_plan_device *device, size_t devices, size_t threads,
                        struct fm_records *out, struct fm_err *err)
{
    struct all_cells all = { .options = options };
    size_t cells = 0, planned = 0;
    for (size_t i = 0; i < devices; i++) cells += device[i].space.count;
    all.cell = fm_calloc(cells, sizeof *all.cell);
    if (!all.cell) return FM_FAIL(err, FM_NOMEM, "%zu cells", cells);
    for (size_t i = 0; i < devices; i++)
        for (size_t k = 0; k < device[i].space.count; k++) all.cell[all.cells++] = (struct one_cell){ .device = &device[i], .index = k };
    if (!threads) threads = usable_cores();
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads > cells) threads = cells;
    fm_status status = cells ? plan_on(&all, threads, &planned, err) : FM_OK;
    fm_status collected = collect(&all, planned, out, status == FM_OK ? err : NULL);
    fm_free(all.cell);
    return status == FM_OK ? collected : status;
}
