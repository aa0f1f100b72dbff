#include "probes/memory/mmap_source.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "tuner/base/memory.h"

static fm_status map_pages(int64_t bytes, int protection, uint64_t *address, struct fm_err *err)
{
    void *pages = MAP_FAILED;
    errno = ENOMEM;
    if (!fm_fault_here())
        pages = mmap(NULL, (size_t)bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return FM_FAIL(err, FM_NOMEM, "mmap of %lld bytes: %s", (long long)bytes, strerror(errno));
    *address = (uint64_t)(uintptr_t)pages;
    return FM_OK;
}

static void unmap_pages(uint64_t address, int64_t bytes)
{
    int failed = munmap(fm_mmap_pointer(address), (size_t)bytes);
    assert(!failed);
    (void)failed;
}

static fm_status segment_alloc(void *context, int64_t bytes, uint64_t *address, struct fm_err *err)
{
    struct fm_mmap_source *s = context;
    if (bytes > s->budget_bytes - s->used_bytes) return FM_OOM;
    fm_status status = map_pages(bytes, PROT_READ | PROT_WRITE, address, err);
    if (status == FM_OK) s->used_bytes += bytes;
    return status;
}

static void segment_free(void *context, uint64_t address, int64_t bytes)
{
    struct fm_mmap_source *s = context;
    unmap_pages(address, bytes);
    s->used_bytes -= bytes;
}

static fm_status range_reserve(void *context, int64_t bytes, uint64_t *address, struct fm_err *err)
{
    (void)context;
    return map_pages(bytes, PROT_NONE, address, err);
}

static void range_release(void *context, uint64_t address, int64_t bytes)
{
    (void)context;
    unmap_pages(address, bytes);
}

static fm_status range_map(void *context, uint64_t address, int64_t bytes, struct fm_err *err)
{
    struct fm_mmap_source *s = context;
    if (bytes > s->budget_bytes - s->used_bytes) return FM_OOM;
    if (fm_fault_here() || mprotect(fm_mmap_pointer(address), (size_t)bytes, PROT_READ | PROT_WRITE))
        return FM_FAIL(err, FM_NOMEM, "mprotect of %lld bytes failed", (long long)bytes);
    s->used_bytes += bytes;
    return FM_OK;
}

/* Maps fresh inaccessible pages over the old ones, which drops their memory. Cannot fail but for want of
 * kernel mappings; then the pages stay accessible and dropping their memory is what counts. */
static void range_unmap(void *context, uint64_t address, int64_t bytes)
{
    struct fm_mmap_source *s = context;
    void *pages = mmap(fm_mmap_pointer(address), (size_t)bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (pages == MAP_FAILED) (void)madvise(fm_mmap_pointer(address), (size_t)bytes, MADV_DONTNEED);
    s->used_bytes -= bytes;
}

static void fill(void *context, uint64_t address, int64_t bytes, uint8_t value)
{
    (void)context;
    memset(fm_mmap_pointer(address), value, (size_t)bytes);
}

/* every byte equals the one before it, and the first equals value */
static bool holds(void *context, uint64_t address, int64_t bytes, uint8_t value)
{
    const uint8_t *data = fm_mmap_pointer(address);
    (void)context;
    return bytes == 0 || (data[0] == value && memcmp(data, data + 1, (size_t)bytes - 1) == 0);
}

static int64_t free_bytes(void *context)
{
    const struct fm_mmap_source *s = context;
    return s->budget_bytes - s->used_bytes;
}

void fm_mmap_source_init(struct fm_mmap_source *s, int64_t budget_bytes)
{
    *s = (struct fm_mmap_source){ .budget_bytes = budget_bytes };
}

struct fm_segment_source fm_mmap_source_interface(struct fm_mmap_source *s)
{
    return (struct fm_segment_source){
        .segment_alloc = segment_alloc,
        .segment_free = segment_free,
        .range_reserve = range_reserve,
        .range_release = range_release,
        .range_map = range_map,
        .range_unmap = range_unmap,
        .fill = fill,
        .holds = holds,
        .free_bytes = free_bytes,
        .context = s,
    };
}
