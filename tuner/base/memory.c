#include "tuner/base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <limits.h>
#include <malloc.h>
#endif

_Thread_local struct fm_fault fm_fault;
_Thread_local long fm_memory_live;

bool fm_fault_here(void)
{
    if (!fm_fault.armed) return false;
    if (fm_fault.left > 0) {
        fm_fault.left--;
        return false;
    }
    fm_fault.hits++;
    if (!fm_fault.sticky) fm_fault.armed = false;
    return true;
}

void *fm_calloc(size_t count, size_t size)
{
    void *block = fm_fault_here() ? NULL : calloc(count ? count : 1, size ? size : 1);
    if (block) fm_memory_live++;
    return block;
}

void *fm_realloc(void *block, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) return NULL;
    if (fm_fault_here()) return NULL;
    size_t bytes = count * size;
    void *moved = realloc(block, bytes ? bytes : 1);
    if (moved && !block) fm_memory_live++;
    return moved;
}

char *fm_strndup(const char *text, size_t bytes)
{
    char *copy = fm_calloc(bytes + 1, 1);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

char *fm_strdup(const char *text)
{
    return fm_strndup(text, strlen(text));
}

void fm_free(void *block)
{
    if (!block) return;
    fm_memory_live--;
    free(block);
}

void *fm_grow(void *items, size_t *capacity, size_t want, size_t item_bytes)
{
    if (want <= *capacity) return items;
    size_t room = *capacity ? *capacity : 16;
    while (room < want) {
        if (room > SIZE_MAX / 2) return NULL;
        room *= 2;
    }
    void *moved = fm_realloc(items, room, item_bytes);
    if (moved) *capacity = room;
    return moved;
}

void fm_memory_keep(size_t bytes)
{
#ifdef __GLIBC__
    enum { LARGEST_MMAP_THRESHOLD = 32 << 20 };     /* glibc takes no more */
    (void)mallopt(M_TRIM_THRESHOLD, bytes < INT_MAX ? (int)bytes : INT_MAX);
    (void)mallopt(M_MMAP_THRESHOLD, bytes < LARGEST_MMAP_THRESHOLD ? (int)bytes : LARGEST_MMAP_THRESHOLD);
#else
    (void)bytes;
#endif
}
