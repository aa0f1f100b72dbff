#include "tuner/commands/plan_cells.h"

#include "tuner/base/memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MAX_THREADS 64

struct all_cells {
    const struct fm_options *options;
    const struct fm_plan_device *device;
    struct fm_records *records;         /* of each cell */
    size_t cells;
    atomic_size_t next;                 /* that no thread has taken */
};

struct planner_thread {
    struct all_cells *all;
    pthread_t id;
    size_t failed;                      /* the cell; only if status is not FM_OK */
    fm_status status;
    struct fm_err err;
    long live;                          /* blocks it allocated and left to others */
};

/* Cells are taken in order, so whatever comes before one that failed was taken too and is brought to its end. */
static void plan_some(struct planner_thread *t)
{
    struct all_cells *all = t->all;
    const struct fm_plan_device *device = all->device;
    struct fm_session branch = { 0 };
    size_t before = 0;                  /* cells of the devices before this one */
    for (size_t i; t->status == FM_OK && (i = atomic_fetch_add(&all->next, 1)) < all->cells;) {
        bool moved = !branch.base;
        for (; i - before >= device->space.count; moved = true) before += device++->space.count;
        if (moved) {
            if (branch.base) fm_session_close(&branch);
            fm_session_branch(device->session, &branch);
        }
        t->status = fm_plan_cell(device, all->options, &branch, i - before, &all->records[i], &t->err);
        if (t->status == FM_OK) continue;
        t->failed = i;
        atomic_store(&all->next, all->cells);       /* no more are begun */
    }
    if (branch.base) fm_session_close(&branch);
}

static void *thread_main(void *context)
{
    struct planner_thread *t = context;
    plan_some(t);
    t->live = fm_memory_live;
    return NULL;
}

static size_t usable_cores(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cores > 0 ? (size_t)cores : 1;
}

/* on this thread and threads - 1 others, or as many as the system gives */
static fm_status plan_on(struct all_cells *all, size_t threads, struct fm_err *err)
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
    const struct planner_thread *first = NULL;
    for (size_t i = 0; i < started; i++)
        if (t[i].status != FM_OK && (!first || t[i].failed < first->failed)) first = &t[i];
    fm_status status = first ? FM_FAIL(err, first->status, "%s", first->err.text) : FM_OK;
    fm_free(t);
    return status;
}

fm_status fm_plan_cells(const struct fm_options *options, const struct fm_plan_device *device, size_t devices, size_t threads,
                        struct fm_records *out, struct fm_err *err)
{
    struct all_cells all = { .options = options, .device = device };
    for (size_t i = 0; i < devices; i++) all.cells += device[i].space.count;
    all.records = fm_calloc(all.cells, sizeof *all.records);
    if (!all.records) return FM_FAIL(err, FM_NOMEM, "%zu cells", all.cells);
    if (!threads) threads = usable_cores();
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads > all.cells) threads = all.cells;
    fm_status status = all.cells ? plan_on(&all, threads, err) : FM_OK;
    for (size_t i = 0; i < all.cells; i++) {
        for (size_t k = 0; k < all.records[i].count && status == FM_OK; k++) {
            status = fm_records_add(out, all.records[i].item[k], err);
            all.records[i].item[k] = NULL;          /* taken in any case */
        }
        fm_records_release(&all.records[i]);
    }
    fm_free(all.records);
    return status;
}
