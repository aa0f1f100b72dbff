/* Host memory: the only door to malloc in this project, with a seam for faults.
 *
 * A fault plan makes the n-th fallible base operation fail (allocation, write, fsync, ...), so that a
 * test can sweep n until a run meets no fault. The plan and the live count are per thread. */
#ifndef FM_TUNER_BASE_MEMORY_H
#define FM_TUNER_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

struct fm_fault {
    long left;        /* operations that still succeed */
    long hits;        /* how many were made to fail */
    bool armed;
    bool sticky;      /* every later one fails too */
};

extern _Thread_local struct fm_fault fm_fault;   /* tests arm it; zero outside tests */
extern _Thread_local long fm_memory_live;        /* blocks allocated here and not freed here */

/* true: the caller must fail as if the system had refused */
bool fm_fault_here(void);

/* NULL when memory is exhausted or count * size overflows. fm_free(NULL) is fine. */
void *fm_calloc(size_t count, size_t size) __attribute__((malloc));
void *fm_realloc(void *block, size_t count, size_t size);
char *fm_strdup(const char *text);
char *fm_strndup(const char *text, size_t bytes);
void fm_free(void *block);

/* Tells the C library to keep freed memory, up to `bytes`, for what is allocated next: giving it back and getting it again
 * costs a page fault every 4096 bytes. For the whole process; does nothing where the library cannot. */
void fm_memory_keep(size_t bytes);

/* Grow-by-doubling for arrays held as (pointer, capacity). Returns the array (perhaps moved) with
 * room for `want` items, *capacity updated, or NULL (the old array stays valid). */
void *fm_grow(void *items, size_t *capacity, size_t want, size_t item_bytes);

#endif
