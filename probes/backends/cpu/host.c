#include "probes/backends/cpu/host.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 1024
#define FILE_BYTES 65536

/* the beginning of a file as text; false if it cannot be read */
static bool slurp(char *text, size_t bytes, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t length = 0;
    for (;;) {
        ssize_t got = read(fd, text + length, bytes - 1 - length);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        length += (size_t)got;
    }
    close(fd);
    text[length] = '\0';
    return length > 0;
}

/* a decimal number at the start of a file; -1 if there is none ("max") */
static int64_t number_in(const char *path)
{
    char text[64], *end;
    if (!slurp(text, sizeof text, path)) return -1;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return end == text || errno != 0 || value < 0 ? -1 : value;
}

/* the number after `field` at the start of a line; -1 if it is not there */
static int64_t field_of(const char *text, const char *field)
{
    size_t length = strlen(field);
    for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, field, length) == 0) return strtoll(line + length, NULL, 10);
    return -1;
}

static int64_t smaller(int64_t a, int64_t b)
{
    if (a < 0) return b;
    return b >= 0 && b < a ? b : a;
}

/* one level of a control group: its limit, and what is left below it; inactive page cache can be taken back */
static void limit_by_group(struct fm_host_memory *memory, const char *folder, bool v2)
{
    char path[PATH_BYTES], stat[FILE_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, v2 ? "memory.max" : "memory.limit_in_bytes");
    int64_t limit = number_in(path);
    if (limit < 0 || limit > (int64_t)1 << 60) return;          /* v1 says "none" with a huge number */
    snprintf(path, sizeof path, "%s/%s", folder, v2 ? "memory.current" : "memory.usage_in_bytes");
    int64_t used = number_in(path);
    memory->total_bytes = smaller(memory->total_bytes, limit);
    if (used < 0) return;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    int64_t cache = slurp(stat, sizeof stat, path) ? field_of(stat, v2 ? "inactive_file " : "total_inactive_file ") : 0;
    if (cache > 0) used -= cache;
    int64_t left = limit - (used > 0 ? used : 0);
    memory->free_bytes = smaller(memory->free_bytes, left > 0 ? left : 0);
}

/* where this process stands: the path after "0::" (v2) or in the line of a v1 controller */
static bool group_path(const char *root, const char *controller, char *path, size_t bytes)
{
    char name[PATH_BYTES], text[FILE_BYTES], *save = NULL;
    snprintf(name, sizeof name, "%s/proc/self/cgroup", root);
    if (!slurp(text, sizeof text, name)) return false;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *list = strchr(line, ':'), *where = list ? strchr(list + 1, ':') : NULL;
        if (!where) continue;
        *where++ = '\0';
        bool found = !controller ? list[1] == '\0' : false;
        char *inner = NULL;
        for (char *word = strtok_r(list + 1, ",", &inner); word && controller; word = strtok_r(NULL, ",", &inner))
            found |= strcmp(word, controller) == 0;
        if (!found) continue;
        snprintf(path, bytes, "%s", where);
        return true;
    }
    return false;
}

/* calls `visit` for the group's folder and all above it; inside a container the mount may be the group itself */
static void each_group(const char *root, const char *controller, void (*visit)(void *, const char *, bool), void *context)
{
    char group[PATH_BYTES / 2], folder[PATH_BYTES], mount[PATH_BYTES / 4];
    if (!group_path(root, controller, group, sizeof group)) return;
    snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s%s", root, controller ? "/" : "", controller ? controller : "");
    for (;;) {
        snprintf(folder, sizeof folder, "%s%s", mount, strcmp(group, "/") == 0 ? "" : group);
        visit(context, folder, !controller);
        char *slash = strrchr(group, '/');
        if (!slash || (slash == group && group[1] == '\0')) break;
        slash[slash == group] = '\0';
    }
}

static void visit_memory(void *context, const char *folder, bool v2)
{
    limit_by_group(context, folder, v2);
}

struct fm_host_memory fm_host_memory(const char *root)
{
    char path[PATH_BYTES], text[FILE_BYTES];
    struct fm_host_memory memory = { -1, -1 };
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (slurp(text, sizeof text, path)) {
        int64_t total = field_of(text, "MemTotal:"), left = field_of(text, "MemAvailable:");
        if (total >= 0) memory.total_bytes = total * 1024;
        if (left >= 0) memory.free_bytes = left * 1024;
    }
    each_group(root, NULL, visit_memory, &memory);
    each_group(root, "memory", visit_memory, &memory);
    return memory;
}

/* cores that the group's quota pays for, rounded up */
static void visit_quota(void *context, const char *folder, bool v2)
{
    int64_t *cores = context, quota, period;
    char path[PATH_BYTES], text[128], *end;
    if (v2) {
        snprintf(path, sizeof path, "%s/cpu.max", folder);
        if (!slurp(text, sizeof text, path)) return;
        quota = strtoll(text, &end, 10);
        if (end == text) return;                                /* "max" */
        period = strtoll(end, NULL, 10);
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
        quota = number_in(path);
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        period = number_in(path);
    }
    if (quota > 0 && period > 0) *cores = smaller(*cores, (quota + period - 1) / period);
}

int fm_host_cores(const char *root)
{
    cpu_set_t set;
    int64_t cores = -1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
    if (cores < 1) cores = sysconf(_SC_NPROCESSORS_ONLN);       /* more than CPU_SETSIZE processors */
    each_group(root, NULL, visit_quota, &cores);
    each_group(root, "cpu", visit_quota, &cores);
    return cores < 1 ? 1 : (int)cores;
}

void fm_host_cpu_name(const char *root, char *name, size_t bytes)
{
    char path[PATH_BYTES], text[FILE_BYTES];
    snprintf(name, bytes, "unknown CPU");
    snprintf(path, sizeof path, "%s/proc/cpuinfo", root);
    if (!slurp(text, sizeof text, path)) return;
    const char *field = strstr(text, "model name");
    const char *colon = field ? strchr(field, ':') : NULL;
    if (!colon) return;
    colon += 1 + strspn(colon + 1, " \t");
    snprintf(name, bytes, "%.*s", (int)strcspn(colon, "\n"), colon);
}
