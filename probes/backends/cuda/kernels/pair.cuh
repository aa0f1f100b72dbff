/* Sums of g and of g * hat, hat = (x - mean) * rstd: a norm's gradients by bias and weight. Views: g, x, mean, rstd; up to
 * four results: two of the sum of g * hat and g, in that order, each absent where its dtype is FM_INDEX. */
#ifndef FM_PROBES_BACKENDS_CUDA_KERNELS_PAIR_CUH
#define FM_PROBES_BACKENDS_CUDA_KERNELS_PAIR_CUH

#include "probes/backends/cuda/kernels/reduce.cuh"

struct fm_pair {
    typedef float T;
    struct part { float sum, hat; };
    static constexpr int INPUTS = 4, VALUES = 2, WORDS = 2, MOST_WIDTH = 8;
    __device__ void clear(part &p) const { p.sum = p.hat = 0; }
    template <int V>
    __device__ void read(float (&x)[2][V], const fm_reduce_args &a, const int64_t (&at)[4], const int64_t *step) const
    {
        float mean[V], rstd[V];
        load<float, V>(x[0], a.data[0], a.dtype[0], at[0], step[0]);
        load<float, V>(x[1], a.data[1], a.dtype[1], at[1], step[1]);
        load<float, V>(mean, a.data[2], a.dtype[2], at[2], step[2]);
        load<float, V>(rstd, a.data[3], a.dtype[3], at[3], step[3]);
#pragma unroll
        for (int k = 0; k < V; k++) x[1][k] = (x[1][k] - mean[k]) * rstd[k] * x[0][k];
    }
    template <int V> __device__ void add(part &p, const float (&x)[2][V], int first, int count) const
    {
        float sum = 0, hat = 0;
#pragma unroll
        for (int k = 0; k < V; k++)
            if (k >= first && k < first + count) sum += x[0][k], hat += x[1][k];
        p.sum += sum;
        p.hat += hat;
    }
    __device__ void merge(part &p, const part &other) const
    {
        p.sum += other.sum;
        p.hat += other.hat;
    }
    __device__ void finish(const part &p, const fm_reduce_args &a, const int64_t (&at)[FM_SPACE_VIEWS]) const
    {
#pragma unroll
        for (int v = 4; v < FM_SPACE_VIEWS; v += 2) {
            store_if(a.data[v], a.dtype[v], at[v], p.hat);
            store_if(a.data[v + 1], a.dtype[v + 1], at[v + 1], p.sum);
        }
    }
};

#endif
