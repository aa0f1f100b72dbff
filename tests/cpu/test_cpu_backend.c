/* The cpu backend as a device: what it says of the machine, what it refuses and why, plans that are used again. */
#include "probes/backends/cpu/backend.h"
#include "probes/backends/cpu/host.h"
#include "probes/backends/ref/ref.h"
#include "tests/support/case.h"
#include "tuner/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MIB (INT64_C(1) << 20)

static struct fm_backend *open_cpu(int threads)
{
    struct fm_backend *backend;
    struct fm_err err = { 0 };
    if (fm_backend_cpu.open(&(struct fm_backend_config){ .threads = threads }, &backend, &err) != FM_OK) fail_msg("%s", err.text);
    return backend;
}

/* a fake root folder, its files made one by one */
static char root[64];

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void new_root(void)
{
    snprintf(root, sizeof root, "/tmp/fm_cpu_backend_XXXXXX");
    assert_non_null(mkdtemp(root));
}

static void drop_root(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    assert_int_equal(system(command), 0);
}

static void memory_is_the_tightest_limit(void **state)
{
    (void)state;
    new_root();
    struct fm_host_memory memory = fm_host_memory(root);
    assert_int_equal(memory.total_bytes, -1);
    assert_int_equal(memory.free_bytes, -1);
    write_file("proc/meminfo", "MemTotal:       8388608 kB\nMemFree:        1048576 kB\nMemAvailable:   4194304 kB\n");
    memory = fm_host_memory(root);
    assert_int_equal(memory.total_bytes, 8192 * MIB);
    assert_int_equal(memory.free_bytes, 4096 * MIB);
    /* version 2: the parent's limit is the tighter one; inactive cache counts as free */
    write_file("proc/self/cgroup", "0::/outer/inner\n");
    write_file("sys/fs/cgroup/outer/inner/memory.max", "max\n");
    write_file("sys/fs/cgroup/outer/memory.max", "2147483648\n");
    write_file("sys/fs/cgroup/outer/memory.current", "1073741824\n");
    write_file("sys/fs/cgroup/outer/memory.stat", "anon 5\ninactive_file 536870912\n");
    memory = fm_host_memory(root);
    assert_int_equal(memory.total_bytes, 2048 * MIB);
    assert_int_equal(memory.free_bytes, 1536 * MIB);
    /* version 1 beside it: tighter still, and overdrawn */
    write_file("proc/self/cgroup", "4:cpuset,memory:/job\n0::/outer/inner\n");
    write_file("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1073741824\n");
    write_file("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1173741824\n");
    write_file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    memory = fm_host_memory(root);
    assert_int_equal(memory.total_bytes, 1024 * MIB);
    assert_int_equal(memory.free_bytes, 0);
    drop_root();
}

static void cores_obey_the_quota(void **state)
{
    (void)state;
    new_root();
    int all = fm_host_cores(root);
    assert_true(all >= 1);
    write_file("proc/self/cgroup", "0::/\n");
    write_file("sys/fs/cgroup/cpu.max", "max 100000\n");
    assert_int_equal(fm_host_cores(root), all);
    write_file("sys/fs/cgroup/cpu.max", "50000 100000\n");
    assert_int_equal(fm_host_cores(root), 1);
    write_file("sys/fs/cgroup/cpu.max", "1000000000 100000\n");
    assert_int_equal(fm_host_cores(root), all);
    write_file("proc/self/cgroup", "3:cpu,cpuacct:/\n");
    write_file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "1\n");
    write_file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(fm_host_cores(root), 1);
    drop_root();
}

static void cpu_has_a_name(void **state)
{
    (void)state;
    char name[32];
    new_root();
    fm_host_cpu_name(root, name, sizeof name);
    assert_string_equal(name, "unknown CPU");
    write_file("proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU 9000 @ 3 GHz\nflags\t: a b\n");
    fm_host_cpu_name(root, name, sizeof name);
    assert_string_equal(name, "Some CPU 9000 @ 3 GHz");
    drop_root();
}

static void says_what_it_is(void **state)
{
    (void)state;
    struct fm_backend *cpu = open_cpu(3);
    struct fm_device_info info;
    assert_int_equal(fm_backend_cpu.info(cpu, &info, NULL), FM_OK);
    assert_string_equal(info.id, "cpu");
    assert_int_equal(info.threads, 3);
    assert_true(info.total_bytes > 0 && info.free_bytes >= 0 && info.free_bytes <= info.total_bytes);
    assert_int_equal(strncmp(info.library, "oneDNN ", 7), 0);
    assert_true(info.isa[0] && info.name[0]);
    fm_backend_cpu.close(cpu);
    fm_backend_cpu.close(NULL);
}

static void refuses_threads(void **state)
{
    (void)state;
    struct fm_backend *cpu = (void *)1;
    struct fm_err err = { 0 };
    assert_int_equal(fm_backend_cpu.open(&(struct fm_backend_config){ .threads = -1 }, &cpu, &err), FM_INVALID);
    assert_null(cpu);
    assert_non_null(strstr(err.text, "threads"));
}

static void product(struct fm_case *c, enum fm_dtype dtype)
{
    fm_case_init(c, FM_K_MATMUL);
    c->attr.alpha = 1;
    fm_case_out(c, dtype, 2, (int64_t[]){ 20, 30 });
    fm_case_in(c, dtype, 2, (int64_t[]){ 20, 40 });
    fm_case_in(c, dtype, 2, (int64_t[]){ 40, 30 });
    fm_case_random(c, 1, -1, 1, 1);
    fm_case_random(c, 2, -1, 1, 2);
}

static void convolution(struct fm_case *c, enum fm_kernel kernel, int64_t channels)
{
    int64_t x[5] = { 2, channels, 9, 8, 7 }, w[5] = { channels, channels, 3, 3, 3 };
    fm_case_init(c, kernel);
    c->attr.groups = 1;
    for (int d = 0; d < 3; d++) c->attr.stride[d] = c->attr.padding[d] = c->attr.dilation[d] = 1;
    fm_case_out(c, FM_F32, 5, x);
    fm_case_in(c, FM_F32, 5, x);
    fm_case_in(c, FM_F32, 5, w);
    for (uint32_t i = 0; i < 3; i++) fm_case_image(c, i);
    fm_case_random(c, 1, -1, 1, 1);
    fm_case_random(c, 2, -1, 1, 2);
}

static fm_status ask(struct fm_backend *cpu, const struct fm_case *c, struct fm_candidates *candidates, struct fm_err *err)
{
    struct fm_problem problem = fm_case_problem(c);
    *err = (struct fm_err){ 0 };
    return fm_backend_cpu.candidates(cpu, &problem, candidates, err);
}

static void refuses_what_it_cannot(void **state)
{
    (void)state;
    struct fm_backend *cpu = open_cpu(2);
    struct fm_candidates candidates;
    struct fm_case c;
    struct fm_err err;
    product(&c, FM_F64);
    assert_int_equal(ask(cpu, &c, &candidates, &err), FM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "f64"));
    c.operand[2].size[0] = 41;
    for (int i = 0; i < 3; i++) c.operand[i].dtype = FM_F32;
    assert_int_equal(ask(cpu, &c, &candidates, &err), FM_INVALID);
    fm_case_release(&c);
    product(&c, FM_F16);
    fm_status status = ask(cpu, &c, &candidates, &err);
    if (status != FM_OK) {
        assert_int_equal(status, FM_UNSUPPORTED);
        assert_non_null(strstr(err.text, "f16"));
    }
    fm_case_release(&c);
    convolution(&c, FM_K_CONV, 8);
    c.attr.stride[1] = 0;
    assert_int_equal(ask(cpu, &c, &candidates, &err), FM_INVALID);
    c.attr.stride[1] = 1;
    c.attr.groups = 3;
    assert_int_equal(ask(cpu, &c, &candidates, &err), FM_INVALID);
    c.attr.groups = 1;
    /* positions as channels: a view that channels-last memory has no strides for */
    c.operand[1].size[1] = 16;
    c.operand[1].stride[1] = 300;
    assert_int_equal(ask(cpu, &c, &candidates, &err), FM_UNSUPPORTED);
    fm_case_release(&c);
    fm_backend_cpu.close(cpu);
}

static void refuses_a_small_workspace(void **state)
{
    (void)state;
    struct fm_backend *cpu = open_cpu(2);
    struct fm_candidates candidates;
    struct fm_case c;
    struct fm_err err;
    float values[3] = { 0 };
    void *address[3] = { &values[0], &values[1], &values[2] };
    convolution(&c, FM_K_CONV, 16);
    assert_int_equal(ask(cpu, &c, &candidates, &err), FM_OK);
    assert_int_equal(candidates.count, 1);
    assert_true(candidates.item[0].workspace_bytes > 0 && candidates.item[0].workspace_bytes % 64 == 0);
    struct fm_launch launch = { .problem = fm_case_problem(&c), .address = address, .workspace = values,
                                .workspace_bytes = candidates.item[0].workspace_bytes - 1 };
    assert_int_equal(fm_backend_cpu.run(cpu, &launch, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "workspace"));
    launch.workspace_bytes++;
    launch.candidate = 1;
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_backend_cpu.run(cpu, &launch, &err), FM_INVALID);
    fm_case_release(&c);
    fm_backend_cpu.close(cpu);
}

/* The same problem at other addresses and offsets, more than once, thousands of others between: equal bits. */
static void plans_are_used_again(void **state)
{
    (void)state;
    struct fm_backend *cpu = open_cpu(2);
    struct fm_candidates before, after;
    struct fm_case first, c;
    struct fm_err err = { 0 };
    convolution(&first, FM_K_CONV_DGRAD, 16);
    fm_case_copy(&c, &first);
    assert_int_equal(ask(cpu, &first, &before, &err), FM_OK);
    assert_int_equal(fm_case_run(&first, &fm_backend_cpu, cpu, &err), FM_OK);
    for (int64_t n = 1; n < 400; n++) {
        struct fm_case other;
        fm_case_init(&other, FM_K_MATMUL);
        other.attr.alpha = 1;
        fm_case_out(&other, FM_F32, 2, (int64_t[]){ n, 1 });
        fm_case_in(&other, FM_F32, 2, (int64_t[]){ n, 2 });
        fm_case_in(&other, FM_F32, 2, (int64_t[]){ 2, 1 });
        assert_int_equal(fm_case_run(&other, &fm_backend_cpu, cpu, &err), FM_OK);
        fm_case_release(&other);
    }
    assert_int_equal(ask(cpu, &c, &after, &err), FM_OK);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(fm_case_run(&c, &fm_backend_cpu, cpu, &err), FM_OK);
    assert_memory_equal(c.values[0], first.values[0], (size_t)c.elements[0] * sizeof(double));
    fm_case_release(&c);
    fm_case_release(&first);
    fm_backend_cpu.close(cpu);
}

/* two slices of equal strides share a plan, not an offset */
static void offsets_are_not_part_of_a_plan(void **state)
{
    (void)state;
    struct fm_backend *cpu = open_cpu(2), *ref;
    struct fm_err err = { 0 };
    assert_int_equal(fm_backend_ref.open(&(struct fm_backend_config){ .threads = 0 }, &ref, &err), FM_OK);
    for (int64_t start = 0; start < 5; start++) {
        struct fm_case c, expected;
        convolution(&c, FM_K_CONV, 8);
        fm_case_slice(&c, 1, 1, start, 13);
        fm_case_random(&c, 1, -1, 1, 4);
        fm_case_copy(&expected, &c);
        assert_int_equal(fm_case_run(&c, &fm_backend_cpu, cpu, &err), FM_OK);
        assert_int_equal(fm_case_run(&expected, &fm_backend_ref, ref, &err), FM_OK);
        assert_true(fm_case_difference(&c, &expected, 0) < 1e-5);
        fm_case_release(&c);
        fm_case_release(&expected);
    }
    fm_backend_cpu.close(cpu);
    fm_backend_ref.close(ref);
}

/* what threads cost is planned: a plan depends on their number, not on the asking thread's setting */
static void workspace_follows_the_threads(void **state)
{
    (void)state;
    int64_t bytes[3];
    for (int t = 0; t < 3; t++) {
        struct fm_backend *cpu = open_cpu(1 + 3 * t), *other = open_cpu(2);
        struct fm_candidates candidates;
        struct fm_case c;
        struct fm_err err;
        convolution(&c, FM_K_CONV_WGRAD, 8);
        struct fm_operand w = c.operand[2];
        c.operand[2] = c.operand[0];
        c.operand[0] = w;
        assert_int_equal(ask(cpu, &c, &candidates, &err), FM_OK);
        bytes[t] = candidates.item[0].workspace_bytes;
        assert_int_equal(ask(cpu, &c, &candidates, &err), FM_OK);
        assert_int_equal(candidates.item[0].workspace_bytes, bytes[t]);
        fm_case_release(&c);
        fm_backend_cpu.close(other);
        fm_backend_cpu.close(cpu);
    }
    assert_true(bytes[0] <= bytes[1] && bytes[1] <= bytes[2]);
}

static fm_status whole_life(struct fm_err *err)
{
    struct fm_backend *cpu;
    struct fm_candidates candidates;
    fm_status status = fm_backend_cpu.open(&(struct fm_backend_config){ .threads = 1 }, &cpu, err);
    if (status != FM_OK) return status;
    struct fm_operand o[3] = { { .dtype = FM_F32, .ndim = 2, .size = { 4, 4 }, .stride = { 4, 1 } } };
    o[1] = o[2] = o[0];
    struct fm_attr attr = { .alpha = 1 };
    float values[3][16] = { { 0 } };
    void *address[3] = { values[0], values[1], values[2] };
    _Alignas(64) char workspace[4096];
    struct fm_launch launch = { .problem = { FM_K_MATMUL, 1, 2, o, &attr }, .address = address, .workspace = workspace,
                                .workspace_bytes = sizeof workspace };
    FM_TRY(fm_backend_cpu.candidates(cpu, &launch.problem, &candidates, err));
    FM_TRY(fm_backend_cpu.run(cpu, &launch, err));
    FM_TRY(fm_backend_cpu.run(cpu, &launch, err));
out:
    fm_backend_cpu.close(cpu);
    return status;
}

static void every_fault_is_reported(void **state)
{
    (void)state;
    long live = fm_memory_live, hits = 1;
    for (long n = 0; hits > 0; n++) {
        struct fm_err err = { 0 };
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = whole_life(&err);
        hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(status, hits > 0 ? FM_NOMEM : FM_OK);
        assert_int_equal(fm_memory_live, live);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_the_tightest_limit),
        cmocka_unit_test(cores_obey_the_quota),
        cmocka_unit_test(cpu_has_a_name),
        cmocka_unit_test(says_what_it_is),
        cmocka_unit_test(refuses_threads),
        cmocka_unit_test(refuses_what_it_cannot),
        cmocka_unit_test(refuses_a_small_workspace),
        cmocka_unit_test(plans_are_used_again),
        cmocka_unit_test(offsets_are_not_part_of_a_plan),
        cmocka_unit_test(workspace_follows_the_threads),
        cmocka_unit_test(every_fault_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
