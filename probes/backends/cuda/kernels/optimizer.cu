/* SGD, ADAM, AMP_UNSCALE, AMP_UPDATE. A list of tensors goes in few launches, as many pointers in each as a kernel's
 * parameters hold; blocks find their tensor by bisection. Tensors whose operands do not lie alike go one by one. */
#include "probes/backends/cuda/kernels/elementwise.cuh"

namespace {

#define LIST_TENSORS 48
#define LIST_ROLES 5
#define CHUNK (FM_THREADS * 16)     /* elements a block */

struct tensor_list {
    void *data[LIST_ROLES][LIST_TENSORS];
    int64_t numel[LIST_TENSORS];
    uint32_t first_block[LIST_TENSORS + 1];
    uint8_t dtype[LIST_ROLES][LIST_TENSORS];    /* FM_INDEX: absent */
    uint8_t aligned[LIST_TENSORS];              /* vectors of 4 */
    int32_t count;
};
static_assert(sizeof(tensor_list) < 3600, "kernel parameters");

template <class Op, int V>
static __device__ __forceinline__ void update(const tensor_list &list, const Op &op, int t, int64_t at)
{
    float x[Op::VIEWS][V] = {};
#pragma unroll
    for (int r = 0; r < Op::VIEWS; r++)
        if (list.dtype[r][t] != FM_INDEX) fm_vector_io<float, V>::load(x[r], list.data[r][t], list.dtype[r][t], at);
    op.template operator()<float, V>(x, 0, 0);
#pragma unroll
    for (int r = 0; r < Op::WRITES; r++)
        if (list.dtype[r][t] != FM_INDEX) fm_vector_io<float, V>::store(x[r], list.data[r][t], list.dtype[r][t], at);
}

template <class Op> static __global__ void __launch_bounds__(FM_THREADS) list_kernel(const tensor_list list, const Op op)
{
    int low = 0, high = list.count;
    if (op.skips()) return;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (list.first_block[middle] <= blockIdx.x) low = middle;
        else high = middle;
    }
    int64_t begin = (int64_t)(blockIdx.x - list.first_block[low]) * CHUNK, end = begin + CHUNK;
    if (end > list.numel[low]) end = list.numel[low];
    int64_t vectors = list.aligned[low] ? (end - begin) / 4 : 0;
    for (int64_t i = threadIdx.x; i < vectors; i += FM_THREADS) update<Op, 4>(list, op, low, begin + i * 4);
    for (int64_t i = begin + vectors * 4 + threadIdx.x; i < end; i += FM_THREADS) update<Op, 1>(list, op, low, i);
}

template <class Op> struct lists {
    tensor_list list;
    uint32_t blocks;
    struct CUstream_st *stream;
    Op op;

    void flush()
    {
        list.first_block[list.count] = blocks;
        auto kernel = list_kernel<Op>;
        if (blocks > 0) FM_LAUNCH(kernel, blocks, FM_THREADS, stream, list, op);
        list.count = 0;
        blocks = 0;
    }
    /* operands of one tensor by role */
    void add(const struct fm_operand *const *operand, void *const *data)
    {
        struct fm_cuda_views views;
        fm_cuda_views_begin(&views, operand[0]);
        for (int r = 0; r < Op::VIEWS; r++) {
            if (data[r]) fm_cuda_views_add(&views, operand[r], data[r]);
            else views.dtype[views.space.views++] = FM_INDEX;
        }
        struct fm_cuda_views joined = views;
        fm_cuda_space_join(&joined.space);
        int64_t blocks_here = (joined.space.numel + CHUNK - 1) / CHUNK;
        if (joined.space.numel == 0) return;
        bool dense = joined.space.ndim == 1 && blocks_here < INT32_MAX / 2;
        for (int r = 0; r < Op::VIEWS; r++)
            dense = dense && (!data[r] || joined.space.size[0] == 1 || joined.space.stride[0][r] == 1);
        if (!dense) {
            elementwise<Op, float>(&views, op, stream);
            return;
        }
        if (list.count == LIST_TENSORS || blocks + blocks_here >= INT32_MAX) flush();
        int t = list.count++;
        list.numel[t] = joined.space.numel;
        list.first_block[t] = blocks;
        list.aligned[t] = 1;
        for (int r = 0; r < Op::VIEWS; r++) {
            list.data[r][t] = data[r];
            list.dtype[r][t] = joined.dtype[r];
            if (data[r] && (uintptr_t)data[r] % 16) list.aligned[t] = 0;
        }
        blocks += (uint32_t)blocks_here;
    }
};

/* a loss scaler met infinities: the step does nothing */
struct skipping {
    const void *found;
    uint8_t found_dtype;
    __device__ bool skips() const
    {
        if (!found) return false;
        float x = load_one<float>(found, found_dtype, 0);
        return x > 0 || x < 0;
    }
};

/* param, gradient, buffer */
struct sgd : skipping {
    static constexpr int VIEWS = 3, WRITES = 3, UPDATES = 3;
    static constexpr bool INDEXED = false;
    float lr, decay, momentum;
    bool first_step, nesterov, buffered;
    template <class A, int V> __device__ void operator()(A (&x)[3][V], int64_t, int64_t) const
    {
        if (skips()) return;
#pragma unroll
        for (int k = 0; k < V; k++) {
            A grad = x[1][k] + decay * x[0][k], direction = grad;
            if (buffered) {
                x[2][k] = first_step ? grad : momentum * x[2][k] + grad;
                if (nesterov) grad += momentum * x[2][k];
                direction = nesterov ? grad : x[2][k];
            }
            x[1][k] = grad;
            x[0][k] -= lr * direction;
        }
    }
};

/* param, m, v, largest v, gradient. share1, share2: what a new value weighs in the moments. */
struct adam : skipping {
    static constexpr int VIEWS = 5, WRITES = 4, UPDATES = 4;
    static constexpr bool INDEXED = false;
    float keep, decay, share1, share2, step_size, root, eps;
    bool amsgrad;
    template <class A, int V> __device__ void operator()(A (&x)[5][V], int64_t, int64_t) const
    {
        if (skips()) return;
#pragma unroll
        for (int k = 0; k < V; k++) {
            A grad = x[4][k] + decay * x[0][k];
            x[1][k] += (grad - x[1][k]) * share1;
            x[2][k] += (grad * grad - x[2][k]) * share2;
            A most = x[2][k];
            if (amsgrad) x[3][k] = most = fmax(x[3][k], most);
            x[0][k] = x[0][k] * keep - step_size * x[1][k] / (sqrt(most) * root + eps);
        }
    }
};

/* gradient. Threads that find an infinity all write the same. */
struct unscale {
    static constexpr int VIEWS = 1, WRITES = 1, UPDATES = 1;
    static constexpr bool INDEXED = false;
    const void *scale;
    void *found;
    uint8_t scale_dtype, found_dtype;
    __device__ bool skips() const { return false; }
    template <class A, int V> __device__ void operator()(A (&x)[1][V], int64_t, int64_t) const
    {
        A factor = 1 / load_one<A>(scale, scale_dtype, 0);
        bool bad = false;
#pragma unroll
        for (int k = 0; k < V; k++) {
            bad = bad || !(fabs(x[0][k]) < (A)INFINITY);
            x[0][k] *= factor;
        }
        if (bad) store_one<A>(found, found_dtype, 0, (A)1);
    }
};

static __global__ void set_kernel(void *to, int dtype, float value)
{
    store_one<float>(to, dtype, 0, value);
}

struct scaler {
    void *scale, *tracker;
    const void *found;
    uint8_t scale_dtype, tracker_dtype, found_dtype;
};

static __global__ void amp_update_kernel(const scaler s)
{
    double found = load_one<double>(s.found, s.found_dtype, 0), scale = load_one<double>(s.scale, s.scale_dtype, 0);
    double steps = load_one<double>(s.tracker, s.tracker_dtype, 0) + 1;
    if (found > 0 || found < 0) scale *= 0.5, steps = 0;
    if (steps >= 2000) scale *= 2, steps = 0;
    store_one<double>(s.scale, s.scale_dtype, 0, scale);
    store_one<double>(s.tracker, s.tracker_dtype, 0, steps);
}

/* all tensors of a call, `apart` operands from one to the next; roles: which of them in the operation's order */
template <class Op>
static void run_lists(const struct fm_cuda_call *call, uint32_t first, uint32_t apart, const int *role, const Op &op,
                      struct CUstream_st *stream)
{
    lists<Op> all = { {}, 0, stream, op };
    for (uint32_t i = first; i + apart <= call->problem.n_out; i += apart) {
        const struct fm_operand *operand[LIST_ROLES];
        void *data[LIST_ROLES];
        for (int r = 0; r < Op::VIEWS; r++) {
            operand[r] = &call->problem.operand[i + (uint32_t)role[r]];
            data[r] = call->data[i + (uint32_t)role[r]];
        }
        all.add(operand, data);
    }
    all.flush();
}

static struct skipping skipping_of(const struct fm_cuda_call *call)
{
    const void *found = fm_in_data(call, 0);
    return { found, found ? fm_in(call, 0)->dtype : (uint8_t)FM_F32 };
}

} // namespace

extern "C" fm_status fm_cuda_launch_sgd(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                        struct fm_err *err)
{
    static const int role[] = { 0, 1, 2 };
    const struct fm_attr *attr = call->problem.attr;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, FM_SGD_OPERANDS, 0, err);
    if (status != FM_OK) return status;
    struct sgd op;
    *(struct skipping *)&op = skipping_of(call);
    op.lr = (float)attr->lr, op.decay = (float)attr->weight_decay, op.momentum = (float)attr->momentum;
    op.first_step = call->step == 0, op.nesterov = attr->nesterov != 0, op.buffered = call->data[2] != NULL;
    run_lists(call, 0, FM_SGD_OPERANDS, role, op, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_adam(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                         struct fm_err *err)
{
    static const int role[] = { 0, 1, 2, 3, 5 };
    const struct fm_attr *attr = call->problem.attr;
    double t = (double)call->step + 1;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, FM_ADAM_OPERANDS, 0, err);
    if (status != FM_OK) return status;
    for (uint32_t i = 0; attr->amsgrad && i < call->problem.n_out; i += FM_ADAM_OPERANDS)
        if (!call->data[i + 3]) return FM_FAIL(err, FM_INVALID, "ADAM: amsgrad without its maximum");
    struct adam op;
    *(struct skipping *)&op = skipping_of(call);
    op.keep = attr->decoupled ? (float)(1 - attr->lr * attr->weight_decay) : 1.0f;
    op.decay = attr->decoupled ? 0.0f : (float)attr->weight_decay;
    op.share1 = (float)(1 - attr->alpha), op.share2 = (float)(1 - attr->beta);
    op.step_size = (float)(attr->lr / (1 - pow(attr->alpha, t)));
    op.root = (float)(1 / sqrt(1 - pow(attr->beta, t)));
    op.eps = (float)attr->eps;
    op.amsgrad = attr->amsgrad != 0;
    run_lists(call, 0, FM_ADAM_OPERANDS, role, op, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_amp_unscale(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                                struct fm_err *err)
{
    static const int role[] = { 0 };
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 1, 1, err);
    if (status != FM_OK) return status;
    struct unscale op = { fm_in_data(call, 0), call->data[0], fm_in(call, 0)->dtype, call->problem.operand[0].dtype };
    FM_LAUNCH(set_kernel, 1, 1, stream, call->data[0], (int)op.found_dtype, 0.0f);
    run_lists(call, 1, 1, role, op, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_amp_update(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                               struct fm_err *err)
{
    const struct fm_operand *out = call->problem.operand;
    fm_status status = fm_check(call, FM_TAKES_ANY, 2, 1, err);
    if (status != FM_OK) return status;
    struct scaler s = { call->data[0],   call->data[1],    fm_in_data(call, 0),
                        out[0].dtype, out[1].dtype, fm_in(call, 0)->dtype };
    FM_LAUNCH(amp_update_kernel, 1, 1, stream, s);
    return fm_launched(call, err);
}
