/* Faulty kernels for the shim's own tests: y has 192 elements, x too. */
#ifndef FM_TESTS_CUDA_SHIM_FAULTY_H
#define FM_TESTS_CUDA_SHIM_FAULTY_H

#ifdef __cplusplus
extern "C" {
#endif

enum fm_fault_kind {
    FM_FAULT_NONE, FM_FAULT_NO_BARRIER,                 /* 64 elements reversed through shared memory */
    FM_FAULT_NONE_EITHER, FM_FAULT_BARRIER_DIVERGES, FM_FAULT_SHUFFLE_DIVERGES,
    FM_FAULT_BLOCKS_RACE, FM_FAULT_UNWRITTEN, FM_FAULT_TOO_MUCH_SHARED, FM_FAULT_TOO_MANY_THREADS,
};

/* the error that the launch left, with its text */
int fm_faulty_launch(enum fm_fault_kind fault, const float *x, float *y, const char **text);

#ifdef __cplusplus
}
#endif

#endif
