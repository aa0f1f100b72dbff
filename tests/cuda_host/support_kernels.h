/* The stand-ins for the cuda backend's kernels. */
#ifndef FM_TESTS_CUDA_HOST_SUPPORT_KERNELS_H
#define FM_TESTS_CUDA_HOST_SUPPORT_KERNELS_H

extern long fm_fake_kernels_fail_at;    /* the n-th call fails; 0: none */
extern long fm_fake_kernels_run;        /* calls so far */

#endif
