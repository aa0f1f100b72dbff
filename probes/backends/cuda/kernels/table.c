#include "probes/backends/cuda/kernels.h"

fm_cuda_launch_fn *fm_cuda_launch_of(enum fm_kernel kernel)
{
    static fm_cuda_launch_fn *const launch[FM_KERNEL_COUNT] = {
        [FM_K_FILL] = fm_cuda_launch_fill,
        [FM_K_COPY] = fm_cuda_launch_copy,
        [FM_K_UNARY] = fm_cuda_launch_unary,
        [FM_K_UNARY_BWD] = fm_cuda_launch_unary_bwd,
        [FM_K_BINARY] = fm_cuda_launch_binary,
        [FM_K_CAT] = fm_cuda_launch_cat,
        [FM_K_SUM] = fm_cuda_launch_sum,
        [FM_K_SOFTMAX] = fm_cuda_launch_softmax,
        [FM_K_SOFTMAX_BWD] = fm_cuda_launch_softmax_bwd,
        [FM_K_NLL] = fm_cuda_launch_nll,
        [FM_K_NLL_BWD] = fm_cuda_launch_nll_bwd,
        [FM_K_ARANGE] = fm_cuda_launch_arange,
        [FM_K_ARGMAX] = fm_cuda_launch_argmax,
        [FM_K_BATCH_NORM] = fm_cuda_launch_batch_norm,
        [FM_K_BATCH_NORM_EVAL] = fm_cuda_launch_batch_norm_eval,
        [FM_K_BATCH_NORM_BWD] = fm_cuda_launch_batch_norm_bwd,
        [FM_K_GROUP_NORM] = fm_cuda_launch_group_norm,
        [FM_K_GROUP_NORM_BWD] = fm_cuda_launch_group_norm_bwd,
        [FM_K_LAYER_NORM] = fm_cuda_launch_layer_norm,
        [FM_K_LAYER_NORM_BWD] = fm_cuda_launch_layer_norm_bwd,
        [FM_K_INTERPOLATE] = fm_cuda_launch_interpolate,
        [FM_K_INTERPOLATE_BWD] = fm_cuda_launch_interpolate_bwd,
        [FM_K_DROPOUT] = fm_cuda_launch_dropout,
        [FM_K_DROPOUT_BWD] = fm_cuda_launch_dropout_bwd,
        [FM_K_BERNOULLI] = fm_cuda_launch_bernoulli,
        [FM_K_INPUT] = fm_cuda_launch_input,
        [FM_K_INIT] = fm_cuda_launch_init,
        [FM_K_CONV] = fm_cuda_launch_depthwise,
        [FM_K_CONV_DGRAD] = fm_cuda_launch_depthwise,
        [FM_K_CONV_WGRAD] = fm_cuda_launch_depthwise,
        [FM_K_SGD] = fm_cuda_launch_sgd,
        [FM_K_ADAM] = fm_cuda_launch_adam,
        [FM_K_AMP_UNSCALE] = fm_cuda_launch_amp_unscale,
        [FM_K_AMP_UPDATE] = fm_cuda_launch_amp_update,
    };
    return (unsigned)kernel < FM_KERNEL_COUNT ? launch[kernel] : (fm_cuda_launch_fn *)0;
}
