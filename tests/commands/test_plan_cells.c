/* Plans of many cells side by side: the same records, to the byte, as one thread makes; no question asked twice; the first cell's
 * error; memory balanced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tuner/base/buf.h"
#include "tuner/base/memory.h"
#include "tuner/options/device_table.h"
#include "tuner/commands/plan_cells.h"

#define MAX_DEVICES 2

static char folder[64];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/fillmark-plan-XXXXXX");
    bool good = mkdtemp(folder) && setenv("FILLMARK_WORKER_DIR", FM_BINARY_DIR, 1) == 0;
    return good ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(fm_memory_live, 0);
    return system(command);
}

/* a cache that nothing was written to yet */
static void new_cache(void)
{
    static int count;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%d", folder, count++);
    assert_int_equal(setenv("FILLMARK_CACHE_DIR", path, 1), 0);
}

struct place {
    struct fm_options options;
    struct fm_gpus gpus;
    struct fm_session session[MAX_DEVICES];
    struct fm_plan_device device[MAX_DEVICES];
    size_t devices;
};

static void parse(struct place *p, const char *devices)
{
    static const char *const words[] = {
        "fillmark", "plan", "--workload", "denseunet3d,segformer", "--set", "denseunet3d.base_channels=4", "--set", "denseunet3d.levels=2",
        "--set", "denseunet3d.input=16x16x16", "--set", "segformer.input=64x64", "--precision", "fp32,bf16", "--checkpoint", "none,blocks",
        "--val-batch", "max", "--memory", "200MiB", "--max-batch", "4", "--device",
    };
    enum { WORDS = sizeof words / sizeof words[0] };
    char text[WORDS][48], device[64], *argv[WORDS + 1];
    for (size_t i = 0; i < WORDS; i++) {
        (void)snprintf(text[i], sizeof text[i], "%s", words[i]);
        argv[i] = text[i];
    }
    argv[WORDS] = device;
    struct fm_err err = { 0 };
    (void)snprintf(device, sizeof device, "%s", devices);
    *p = (struct place){ 0 };
    if (fm_options_parse(WORDS + 1, argv, &p->options, &err) != FM_OK) fail_msg("%s", err.text);
    if (fm_device_table(&p->options, &p->gpus, &err) != FM_OK) fail_msg("%s", err.text);
}

/* false: no worker of one of them was built here */
static bool open_place(struct place *p, const char *devices)
{
    struct fm_err err = { 0 };
    parse(p, devices);
    for (; p->devices < p->options.device.count; p->devices++) {
        size_t i = p->devices;
        struct fm_session_config config = { .device = p->options.device.item[i], .memory_bytes = p->options.memory_bytes };
        config.gpu = fm_gpus_find(&p->gpus, config.device);
        fm_status status = fm_session_open(&p->session[i], &config, &err);
        if (status == FM_INVALID || status == FM_UNSUPPORTED) return false;
        if (status != FM_OK) fail_msg("%s", err.text);
        p->device[i] = (struct fm_plan_device){ .session = &p->session[i], .gpu = config.gpu };
        if (fm_space_build(&p->options, config.device, 0, &p->device[i].space, &err) != FM_OK) fail_msg("%s", err.text);
    }
    return true;
}

static void close_place(struct place *p)
{
    for (size_t i = 0; i < p->devices; i++) {
        fm_space_release(&p->device[i].space);
        fm_session_close(&p->session[i]);
    }
    fm_gpus_release(&p->gpus);
    fm_options_release(&p->options);
}

static uint64_t questions(const struct place *p)
{
    uint64_t count = 0;
    for (size_t i = 0; i < p->devices; i++) count += p->session[i].workspace_questions;
    return count;
}

static void print_records(const struct fm_records *records, struct fm_buf *out)
{
    for (size_t i = 0; i < records->count; i++) {
        char *text = cJSON_PrintUnformatted(records->item[i]);
        assert_non_null(text);
        fm_buf_puts(out, text);
        fm_buf_putc(out, '\n');
        cJSON_free(text);
    }
    assert_true(fm_buf_ok(out));
}

/* plans with nothing in the cache, then again with what the first time left there */
static bool plan(const char *devices, size_t threads, struct fm_buf *out, uint64_t *asked)
{
    new_cache();
    *asked = 0;
    for (int time = 0; time < 2; time++) {
        struct place p;
        struct fm_records records = { 0 };
        struct fm_err err = { 0 };
        bool there = open_place(&p, devices);
        if (there && fm_plan_cells(&p.options, p.device, p.devices, threads, &records, &err) != FM_OK) fail_msg("%s", err.text);
        if (time == 0) *asked = questions(&p);
        else assert_int_equal(questions(&p), 0);
        print_records(&records, out);
        fm_records_release(&records);
        close_place(&p);
        if (!there) return false;
    }
    return true;
}

static void however_many_threads(void **state)
{
    (void)state;
    static const char *const places[] = { "none", "ref", "cpu", "rtx4090,t4" };
    static const size_t threads[] = { 3, 0 };
    int there = 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct fm_buf want = FM_BUF((size_t)16 << 20);
        uint64_t asked, again;
        bool any = plan(places[i], 1, &want, &asked);
        there += any;
        if (any) assert_true(want.bytes > 5000);
        for (size_t k = 0; any && k < sizeof threads / sizeof threads[0]; k++) {
            struct fm_buf got = FM_BUF((size_t)16 << 20);
            assert_true(plan(places[i], threads[k], &got, &again));
            assert_string_equal(fm_buf_text(&got), fm_buf_text(&want));
            assert_int_equal(again, asked);
            fm_buf_release(&got);
        }
        fm_buf_release(&want);
        assert_int_equal(fm_memory_live, 0);
    }
    assert_true(there >= 3);            /* all but the cpu backend, which not every machine can build */
}

/* what cells below `known` ask is answered; nothing can be asked */
static void open_deaf(struct place *p, size_t known)
{
    struct fm_err err = { 0 };
    parse(p, "none");
    p->devices = 1;
    p->options.batch = 1;               /* that one alone is planned, as no memory is too small */
    p->options.max_batch = FM_SEARCH_BATCH_LIMIT;
    p->session[0] = (struct fm_session){ .config = { .device = "deaf" }, .backend = "deaf", .capacity_bytes = INT64_MAX,
                                         .cache = { .fd = -1 }, .asking = PTHREAD_MUTEX_INITIALIZER,
                                         .learning = PTHREAD_MUTEX_INITIALIZER };
    (void)snprintf(p->session[0].worker_path, sizeof p->session[0].worker_path, "/dev/null/fillmark-worker");
    p->session[0].device = fm_calloc(1, sizeof *p->session[0].device);
    assert_non_null(p->session[0].device);
    p->device[0].session = &p->session[0];
    if (fm_space_build(&p->options, "deaf", 0, &p->device[0].space, &err) != FM_OK) fail_msg("%s", err.text);
    struct fm_program program = { 0 };
    for (size_t i = 0; i < known; i++) {
        const struct fm_cell *cell = &p->device[0].space.cell[i];
        struct fm_cell_batch at = { .train = 1, .val = fm_cell_val_batch(cell, 1) };
        if (fm_cell_lower(cell, at, &program, &err) != FM_OK) fail_msg("%s", err.text);
        for (size_t k = 0; k < program.call_count; k++) {
            struct fm_workspace_entry entry = { .key = program.call[k].key };
            if (entry.key && fm_workspaces_add(&p->session[0].workspaces, &entry, &err) != FM_OK) fail_msg("%s", err.text);
        }
    }
    fm_program_release(&program);
}

/* the cell that is the first not to be known whole, if `known` are; they may share problems */
static void the_first_cell_that_fails(void **state)
{
    (void)state;
    for (size_t known = 0; known <= 8; known += 2) {
        struct fm_buf want = FM_BUF((size_t)16 << 20);
        fm_status expected = FM_OK;
        for (size_t threads = 1; threads <= 4; threads++) {
            struct place p;
            struct fm_records records = { 0 };
            struct fm_err err = { 0 };
            open_deaf(&p, known);
            assert_int_equal(p.device[0].space.count, 8);
            fm_status status = fm_plan_cells(&p.options, p.device, p.devices, threads, &records, &err);
            if (threads == 1) expected = status;
            assert_int_equal(status, expected);
            assert_int_equal(status == FM_OK, !err.text[0]);
            if (known == 0) assert_int_equal(status, FM_IO);
            if (known == 8) assert_int_equal(status, FM_OK);
            /* what stands before it is there, and no more */
            struct fm_buf got = FM_BUF((size_t)16 << 20);
            print_records(&records, &got);
            assert_true(records.count >= known * 3);
            if (threads == 1) fm_buf_add(&want, fm_buf_text(&got), got.bytes);
            assert_string_equal(fm_buf_text(&got), fm_buf_text(&want));
            fm_buf_release(&got);
            fm_records_release(&records);
            close_place(&p);
        }
        fm_buf_release(&want);
        assert_int_equal(fm_memory_live, 0);
    }
}

/* on the calling thread; the others go on and are waited for */
static void memory_runs_out(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= 3; threads += 2) {
        long sweeps = 0;
        for (long n = 0;; n += 1 + n / 4) {
            struct place p;
            struct fm_records records = { 0 };
            struct fm_err err = { 0 };
            open_deaf(&p, 8);
            fm_fault = (struct fm_fault){ .left = n, .armed = true };
            fm_status status = fm_plan_cells(&p.options, p.device, p.devices, threads, &records, &err);
            long hits = fm_fault.hits;
            fm_fault = (struct fm_fault){ 0 };
            assert_true(hits ? status == FM_NOMEM || status == FM_OK : status == FM_OK);
            if (status == FM_OK) assert_int_equal(records.count, 8 * 3);   /* a cell, its row, its verdict */
            fm_records_release(&records);
            close_place(&p);
            assert_int_equal(fm_memory_live, 0);
            if (!hits) break;
            sweeps++;
        }
        assert_true(sweeps > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(however_many_threads),
        cmocka_unit_test(the_first_cell_that_fails),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
