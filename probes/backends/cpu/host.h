/* What this machine is: cores, memory and CPU name, as far as this process may use them.
 *
 * Limits come from /proc/meminfo, the scheduler's affinity mask and the control group (v1 and v2); the tightest counts.
 * Source: proc(5), sched_setaffinity(2), Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. */
#ifndef FM_PROBES_BACKENDS_CPU_HOST_H
#define FM_PROBES_BACKENDS_CPU_HOST_H

#include <stddef.h>
#include <stdint.h>

struct fm_host_memory { int64_t total_bytes, free_bytes; };     /* -1: unknown */

/* root: "" outside tests; a folder that holds proc/ and sys/ otherwise */
struct fm_host_memory fm_host_memory(const char *root);
/* at least 1 */
int fm_host_cores(const char *root);
/* "unknown CPU" if the system does not say */
void fm_host_cpu_name(const char *root, char *name, size_t bytes);

#endif
