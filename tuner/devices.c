#include "tuner/devices.h"

#include "tuner/base/memory.h"
#include "tuner/campaign/session.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_FINDINGS 8
#define MAX_HOLDERS 5

struct finding { char what[160], remedy[160]; };
struct holder { long pid; int64_t bytes; char name[32]; };

struct facts {
    struct fm_reply *device;
    struct finding finding[MAX_FINDINGS];
    size_t findings;
    struct holder holder[MAX_HOLDERS];      /* largest resident processes, descending */
    size_t holders;
};

static void found(struct facts *f, const char *what, const char *remedy)
{
    if (f->findings == MAX_FINDINGS) return;
    struct finding *x = &f->finding[f->findings++];
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

static void look_at_load(struct facts *f)
{
    char line[128], text[160];
    double load = 0;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (first_line("/proc/loadavg", line, sizeof line)) load = strtod(line, NULL);
    if (load > 0.5 && load > 0.25 * (double)cores) {
        (void)snprintf(text, sizeof text, "load average %.2f on %ld cores: others are computing", load, cores);
        found(f, text, "wait for them, or expect wide intervals");
    }
    if (first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof line) && strcmp(line, "performance") != 0) {
        (void)snprintf(text, sizeof text, "cpu frequency governor is '%.40s'", line);
        found(f, text, "cpupower frequency-set -g performance");
    }
}

static void look_at_memory(struct facts *f)
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
        found(f, text, "free memory first: steps that swap measure the disk");
    }
}

static void keep_holder(struct facts *f, const struct holder *h)
{
    size_t at = f->holders;
    while (at > 0 && f->holder[at - 1].bytes < h->bytes) at--;
    if (at == MAX_HOLDERS) return;
    size_t last = f->holders < MAX_HOLDERS ? f->holders : MAX_HOLDERS - 1;
    memmove(&f->holder[at + 1], &f->holder[at], (last - at) * sizeof *h);
    f->holder[at] = *h;
    if (f->holders < MAX_HOLDERS) f->holders++;
}

/* who holds the rest: the largest resident processes */
static void look_at_processes(struct facts *f)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc)) != NULL) {
        char *end, path[300], line[256];
        struct holder h = { .pid = strtol(entry->d_name, &end, 10) };
        if (*end || h.pid <= 0 || h.pid == getpid()) continue;
        (void)snprintf(path, sizeof path, "/proc/%ld/statm", h.pid);
        if (!first_line(path, line, sizeof line)) continue;
        const char *second = strchr(line, ' ');
        h.bytes = second ? strtoll(second + 1, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
        (void)snprintf(path, sizeof path, "/proc/%ld/comm", h.pid);
        if (h.bytes < (INT64_C(64) << 20) || !first_line(path, h.name, sizeof h.name)) continue;
        keep_holder(f, &h);
    }
    if (proc) (void)closedir(proc);
}

static void write_text(const struct facts *f, struct fm_buf *out)
{
    const struct fm_reply *d = f->device;
    const double gib = 1024.0 * 1024 * 1024;
    fm_buf_printf(out, "%s  %s\n     %s · %s · %d threads\n", d->device_id, d->device_name, d->device_library, d->device_isa, d->device_threads);
    if (d->device_total_bytes >= 0) fm_buf_printf(out, "     %.1f GiB in all, %.1f GiB free\n", (double)d->device_total_bytes / gib, (double)d->device_free_bytes / gib);
    for (size_t i = 0; i < f->holders; i++)
        fm_buf_printf(out, "     held by %s (pid %ld): %.2f GiB\n", f->holder[i].name, f->holder[i].pid, (double)f->holder[i].bytes / gib);
    for (size_t i = 0; i < f->findings; i++) fm_buf_printf(out, "     ! %s: %s\n", f->finding[i].what, f->finding[i].remedy);
    if (!f->findings) fm_buf_puts(out, "     nothing found that would spoil a measurement\n");
}

static fm_status write_json(const struct facts *f, struct fm_buf *out, struct fm_err *err)
{
    const struct fm_reply *d = f->device;
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "devices"), *o = cJSON_CreateObject();
    bool good = list && o && cJSON_AddItemToArray(list, o);
    good = good && cJSON_AddStringToObject(o, "id", d->device_id) && cJSON_AddStringToObject(o, "name", d->device_name) &&
           cJSON_AddStringToObject(o, "library", d->device_library) && cJSON_AddStringToObject(o, "isa", d->device_isa) &&
           cJSON_AddStringToObject(o, "driver", d->device_driver) && cJSON_AddNumberToObject(o, "threads", d->device_threads);
    if (good && d->device_total_bytes >= 0)
        good = cJSON_AddNumberToObject(o, "total_bytes", (double)d->device_total_bytes) &&
               cJSON_AddNumberToObject(o, "free_bytes", (double)d->device_free_bytes);
    cJSON *holders = cJSON_AddArrayToObject(o, "holders"), *findings = cJSON_AddArrayToObject(o, "findings");
    for (size_t i = 0; good && i < f->holders; i++) {
        cJSON *h = cJSON_CreateObject();
        good = h && cJSON_AddItemToArray(holders, h) && cJSON_AddStringToObject(h, "name", f->holder[i].name) &&
               cJSON_AddNumberToObject(h, "pid", (double)f->holder[i].pid) && cJSON_AddNumberToObject(h, "bytes", (double)f->holder[i].bytes);
    }
    for (size_t i = 0; good && i < f->findings; i++) {
        cJSON *x = cJSON_CreateObject();
        good = x && cJSON_AddItemToArray(findings, x) && cJSON_AddStringToObject(x, "what", f->finding[i].what) &&
               cJSON_AddStringToObject(x, "remedy", f->finding[i].remedy);
    }
    char *text = good ? cJSON_Print(root) : NULL;
    if (text) fm_buf_printf(out, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(root);
    return text ? FM_OK : FM_FAIL(err, FM_NOMEM, "devices");
}

fm_status fm_devices_show(int64_t threads, bool json, struct fm_buf *out, struct fm_err *err)
{
    struct fm_session session;
    struct fm_session_config config = { .device = "cpu", .threads = (int32_t)threads };
    fm_status status = fm_session_open(&session, &config, err);
    if (status != FM_OK) return status;
    struct facts f = { .device = session.device };
    look_at_load(&f);
    look_at_memory(&f);
    look_at_processes(&f);
    if (json) status = write_json(&f, out, err);
    else write_text(&f, out);
    fm_session_close(&session);
    return status;
}
