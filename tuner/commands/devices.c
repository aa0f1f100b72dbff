#include "tuner/commands/devices.h"

#include "probes/protocol/json.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/session.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_GPUS 64

static void found(struct fm_reply *d, const char *what, const char *remedy)
{
    if (d->findings == FM_MAX_REPLY_FINDINGS) return;
    struct fm_reply_finding *x = &d->finding[d->findings++];
    (void)snprintf(x->what, sizeof x->what, "%s", what);
    (void)snprintf(x->remedy, sizeof x->remedy, "%s", remedy);
}

/* the first line of a small file of /proc or /sys; false if there is none */
static bool first_line(const char *path, char *line, size_t bytes)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool good = fgets(line, (int)bytes, file) != NULL;
    (void)fclose(file);
    if (good) line[strcspn(line, "\n")] = '\0';
    return good;
}

static void look_at_load(struct fm_reply *d)
{
    char line[128], text[160];
    double load = 0;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (first_line("/proc/loadavg", line, sizeof line)) load = strtod(line, NULL);
    if (load > 0.5 && load > 0.25 * (double)cores) {
        (void)snprintf(text, sizeof text, "load average %.2f on %ld cores: others are computing", load, cores);
        found(d, text, "wait for them, or expect wide intervals");
    }
    if (first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof line) && strcmp(line, "performance") != 0) {
        (void)snprintf(text, sizeof text, "cpu frequency governor is '%.40s'", line);
        found(d, text, "cpupower frequency-set -g performance");
    }
}

static void look_at_memory(struct fm_reply *d)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    long long total = 0, spare = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "SwapTotal:", 10) == 0) total = strtoll(line + 10, NULL, 10);
        if (strncmp(line, "SwapFree:", 9) == 0) spare = strtoll(line + 9, NULL, 10);
    }
    if (file) (void)fclose(file);
    if (total - spare > 64 * 1024) {
        char text[160];
        (void)snprintf(text, sizeof text, "%lld MiB of swap are in use", (total - spare) / 1024);
        found(d, text, "free memory first: steps that swap measure the disk");
    }
}

static void keep_holder(struct fm_reply *d, const struct fm_reply_holder *h)
{
    uint32_t at = d->holders;
    while (at > 0 && d->holder[at - 1].bytes < h->bytes) at--;
    if (at == FM_MAX_REPLY_HOLDERS) return;
    uint32_t last = d->holders < FM_MAX_REPLY_HOLDERS ? d->holders : FM_MAX_REPLY_HOLDERS - 1;
    memmove(&d->holder[at + 1], &d->holder[at], (last - at) * sizeof *h);
    d->holder[at] = *h;
    if (d->holders < FM_MAX_REPLY_HOLDERS) d->holders++;
}

/* who holds the rest: the largest resident processes */
static void look_at_processes(struct fm_reply *d)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc)) != NULL) {
        char *end, path[300], line[256];
        struct fm_reply_holder h = { .pid = strtol(entry->d_name, &end, 10) };
        if (*end || h.pid <= 0 || h.pid == getpid()) continue;
        (void)snprintf(path, sizeof path, "/proc/%ld/statm", (long)h.pid);
        if (!first_line(path, line, sizeof line)) continue;
        const char *second = strchr(line, ' ');
        h.bytes = second ? strtoll(second + 1, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
        (void)snprintf(path, sizeof path, "/proc/%ld/comm", (long)h.pid);
        if (h.bytes < (INT64_C(64) << 20) || !first_line(path, h.name, sizeof h.name)) continue;
        keep_holder(d, &h);
    }
    if (proc) (void)closedir(proc);
}

/* ---- all devices ---- */

struct inventory {
    struct fm_reply *device[1 + MAX_GPUS];  /* owned */
    size_t count;
    char no_gpu[FM_ERR_TEXT_BYTES];         /* why there is none; "" if there is */
    struct fm_reply *beside;                /* then: the software that is here nevertheless; NULL: nothing is told */
};

static void release_reply(struct fm_reply *reply)
{
    if (reply) fm_reply_release(reply);
    fm_free(reply);
}

/* *told: what its worker says, also where there is no such device (FM_UNSUPPORTED); the caller's */
static fm_status look_at(const char *device, int64_t threads, struct fm_reply **told, struct fm_err *err)
{
    struct fm_session_config config = { .device = device, .threads = (int32_t)threads };
    *told = fm_calloc(1, sizeof **told);
    if (!*told) return FM_FAIL(err, FM_NOMEM, "devices");
    fm_reply_init(*told);
    return fm_session_inventory(&config, *told, err);
}

static fm_status add_cpu(struct inventory *all, int64_t threads, struct fm_err *err)
{
    struct fm_reply *cpu;
    fm_status status = look_at("cpu", threads, &cpu, err);
    if (status != FM_OK) {
        release_reply(cpu);
        return status;
    }
    look_at_load(cpu);
    look_at_memory(cpu);
    look_at_processes(cpu);
    all->device[all->count++] = cpu;
    return FM_OK;
}

static void add_gpus(struct inventory *all, int64_t threads)
{
    int32_t count = 1;
    for (int32_t i = 0; i < count && i < MAX_GPUS; i++) {
        char name[32];
        struct fm_err why = { 0 };
        struct fm_reply *gpu;
        (void)snprintf(name, sizeof name, "cuda:%d", i);
        if (look_at(name, threads, &gpu, &why) == FM_OK) {
            all->device[all->count++] = gpu;
            if (i == 0 && gpu->device_count > 0) count = gpu->device_count;
            continue;
        }
        if (i == 0) {
            (void)snprintf(all->no_gpu, sizeof all->no_gpu, "%s", why.text);
            if (gpu && gpu->softwares) all->beside = gpu;
        }
        if (!all->beside) release_reply(gpu);
        return;
    }
}

/* "     cuDNN 9.19.0, CUDA 13.0 · /usr/lib/libcudnn.so.9" */
static void write_software(const struct fm_reply_software *s, struct fm_buf *out)
{
    fm_buf_printf(out, "     %s", s->name);
    if (s->absent[0]) {
        fm_buf_printf(out, ": not here; %s\n", s->absent);
        return;
    }
    fm_buf_printf(out, " %s, CUDA %s", s->version[0] ? s->version : "of unknown version", s->cuda[0] ? s->cuda : "unknown");
    fm_buf_printf(out, s->path[0] ? " · %s\n" : "%s\n", s->path);
}

static void write_holders(const struct fm_reply *d, struct fm_buf *out)
{
    for (uint32_t i = 0; i < d->holders; i++) {
        fm_buf_printf(out, "     held by %s (pid %ld): ", d->holder[i].name, (long)d->holder[i].pid);
        if (d->holder[i].bytes >= 0) fm_buf_printf(out, "%.2f GiB\n", (double)d->holder[i].bytes / (1024.0 * 1024 * 1024));
        else fm_buf_puts(out, "unknown\n");
    }
}

static void write_findings(const struct fm_reply *d, struct fm_buf *out)
{
    for (uint32_t i = 0; i < d->findings; i++) fm_buf_printf(out, "     ! %s: %s\n", d->finding[i].what, d->finding[i].remedy);
}

static void write_device(const struct fm_reply *d, struct fm_buf *out)
{
    const double gib = 1024.0 * 1024 * 1024;
    fm_buf_printf(out, "%s  %s\n     %s · %s", d->device_id, d->device_name, d->device_library, d->device_isa);
    if (d->device_threads) fm_buf_printf(out, " · %d threads", d->device_threads);
    if (d->device_driver[0]) fm_buf_printf(out, " · driver %s", d->device_driver);
    fm_buf_putc(out, '\n');
    if (d->device_total_bytes >= 0) fm_buf_printf(out, "     %.1f GiB in all, ", (double)d->device_total_bytes / gib);
    if (d->device_free_bytes >= 0) fm_buf_printf(out, "%.1f GiB free", (double)d->device_free_bytes / gib);
    else fm_buf_puts(out, "free memory unknown");
    if (d->device_framework_bytes > 0)
        fm_buf_printf(out, "; %.1f GiB are left to PyTorch's context and libraries (assumed)", (double)d->device_framework_bytes / gib);
    fm_buf_putc(out, '\n');
    if (d->device_uuid[0] || d->device_facts[0])
        fm_buf_printf(out, "     %s%s%s\n", d->device_uuid, d->device_uuid[0] && d->device_facts[0] ? " · " : "", d->device_facts);
    for (uint32_t i = 0; i < d->softwares; i++) write_software(&d->software[i], out);
    write_holders(d, out);
    write_findings(d, out);
    if (!d->findings) fm_buf_puts(out, "     nothing found that would spoil a measurement\n");
}

static void write_no_gpu(const struct inventory *all, struct fm_buf *out)
{
    fm_buf_printf(out, "no NVIDIA GPU: %s\n", all->no_gpu);
    for (uint32_t i = 0; all->beside && i < all->beside->softwares; i++) write_software(&all->beside->software[i], out);
    if (all->beside) write_findings(all->beside, out);
}

static bool add_bytes(cJSON *o, const char *name, int64_t bytes)
{
    return bytes < 0 || fm_json_add_i64(o, name, bytes);
}

static bool add_known(cJSON *o, const char *name, const char *text)
{
    return !text[0] || cJSON_AddStringToObject(o, name, text);
}

static bool software_json(const struct fm_reply *d, cJSON *o)
{
    cJSON *list = cJSON_AddArrayToObject(o, "software");
    bool good = list != NULL;
    for (uint32_t i = 0; good && i < d->softwares; i++) {
        const struct fm_reply_software *s = &d->software[i];
        cJSON *x = cJSON_CreateObject();
        good = x && cJSON_AddItemToArray(list, x) && cJSON_AddStringToObject(x, "name", s->name) && add_known(x, "version", s->version) &&
               add_known(x, "cuda", s->cuda) && add_known(x, "path", s->path) && add_known(x, "absent", s->absent);
    }
    return good;
}

static bool findings_json(const struct fm_reply *d, cJSON *o)
{
    cJSON *list = cJSON_AddArrayToObject(o, "findings");
    bool good = list != NULL;
    for (uint32_t i = 0; good && i < d->findings; i++) {
        cJSON *x = cJSON_CreateObject();
        good = x && cJSON_AddItemToArray(list, x) && cJSON_AddStringToObject(x, "what", d->finding[i].what) &&
               cJSON_AddStringToObject(x, "remedy", d->finding[i].remedy);
    }
    return good;
}

static bool device_json(const struct fm_reply *d, cJSON *o)
{
    bool good = cJSON_AddStringToObject(o, "id", d->device_id) && cJSON_AddStringToObject(o, "name", d->device_name) &&
                cJSON_AddStringToObject(o, "library", d->device_library) && cJSON_AddStringToObject(o, "isa", d->device_isa) &&
                cJSON_AddStringToObject(o, "driver", d->device_driver) && cJSON_AddNumberToObject(o, "threads", d->device_threads) &&
                cJSON_AddStringToObject(o, "facts", d->device_facts) && add_bytes(o, "total_bytes", d->device_total_bytes) &&
                add_bytes(o, "free_bytes", d->device_free_bytes) && add_bytes(o, "framework_bytes", d->device_framework_bytes);
    good = good && add_known(o, "uuid", d->device_uuid);
    cJSON *holders = good ? cJSON_AddArrayToObject(o, "holders") : NULL;
    good = holders && findings_json(d, o) && software_json(d, o);
    for (uint32_t i = 0; good && i < d->holders; i++) {
        cJSON *h = cJSON_CreateObject();
        good = h && cJSON_AddItemToArray(holders, h) && cJSON_AddStringToObject(h, "name", d->holder[i].name) &&
               fm_json_add_i64(h, "pid", d->holder[i].pid) && add_bytes(h, "bytes", d->holder[i].bytes);
    }
    return good;
}

static fm_status write_json(const struct inventory *all, const char *no_cpu, struct fm_buf *out, struct fm_err *err)
{
    cJSON *root = cJSON_CreateObject();
    bool good = cJSON_AddStringToObject(root, "schema", "fillmark.devices/1") != NULL;
    cJSON *list = good ? cJSON_AddArrayToObject(root, "devices") : NULL;
    good = list != NULL;
    for (size_t i = 0; good && i < all->count; i++) {
        cJSON *o = cJSON_CreateObject();
        good = o && cJSON_AddItemToArray(list, o) && device_json(all->device[i], o);
    }
    if (good && no_cpu[0]) good = cJSON_AddStringToObject(root, "no_cpu", no_cpu) != NULL;
    if (good && all->no_gpu[0]) good = cJSON_AddStringToObject(root, "no_gpu", all->no_gpu) != NULL;
    if (good && all->beside) good = software_json(all->beside, root) && findings_json(all->beside, root);
    char *text = good ? cJSON_Print(root) : NULL;
    if (text) fm_buf_printf(out, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(root);
    return text ? FM_OK : FM_FAIL(err, FM_NOMEM, "devices");
}

fm_status fm_devices_show(int64_t threads, bool json, struct fm_buf *out, struct fm_err *err)
{
    struct inventory *all = fm_calloc(1, sizeof *all);
    if (!all) return FM_FAIL(err, FM_NOMEM, "devices");
    struct fm_err no_cpu = { 0 };
    fm_status status = add_cpu(all, threads, &no_cpu);
    add_gpus(all, threads);
    if (all->count == 0) {              /* not even the CPU: that is the failure */
        if (err) *err = no_cpu;
    } else {
        status = json ? write_json(all, no_cpu.text, out, err) : FM_OK;
        for (size_t i = 0; !json && i < all->count; i++) write_device(all->device[i], out);
        if (!json && no_cpu.text[0]) fm_buf_printf(out, "no CPU device: %s\n", no_cpu.text);
        if (!json && all->no_gpu[0]) write_no_gpu(all, out);
    }
    for (size_t i = 0; i < all->count; i++) release_reply(all->device[i]);
    release_reply(all->beside);
    fm_free(all);
    return status;
}
