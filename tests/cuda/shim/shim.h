/* The part of the CUDA shim that is not templates: fibers, barriers, shared memory. See shim.hpp. */
#ifndef FM_TESTS_CUDA_SHIM_H
#define FM_TESTS_CUDA_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fm_shim_index { uint32_t x, y, z; };
struct fm_shim_launch_shape { struct fm_shim_index grid, threads; };

/* the block that runs */
struct fm_shim_block_state { struct fm_shim_index block, threads, grid; };
extern struct fm_shim_block_state fm_shim_block;

/* Order of threads and blocks from now on: 0 ascending, all threads side by side; 1 descending, others shuffled anew
 * whenever threads go on, and in both each warp runs ahead of the others as far as it can. Blocks of odd ones descend. */
void fm_shim_order(uint32_t seed);
/* the next launch fails with this error number, as if CUDA had refused it; 0: it does not */
void fm_shim_refuse(int error);
/* launches so far */
uint64_t fm_shim_launches(void);

void fm_shim_run(const struct fm_shim_launch_shape *shape, void (*body)(void *), void *context);
struct fm_shim_index fm_shim_thread_index(void);
void fm_shim_barrier(void);
uint64_t fm_shim_shuffle(uint32_t mask, uint64_t value, int away);
void *fm_shim_shared(void *site, size_t bytes);
/* clears it, as cudaGetLastError() */
int fm_shim_last_error(void);
const char *fm_shim_error_text(int error);

/* numbers of 16 bits with so many of fraction; least: exponent of the smallest normal one. To nearest even, once. */
uint16_t fm_shim_narrow(double value, int fraction, int least);
float fm_shim_widen_f16(uint16_t bits);

#ifdef __cplusplus
}
#endif

#endif
