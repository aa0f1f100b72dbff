/* What conv.c and conv_graph.c share: a problem as cuDNN sees it, what is known of it, and building the one from the
 * other. Not for others. */
#ifndef FM_PROBES_BACKENDS_CUDA_CONV_INTERNAL_H
#define FM_PROBES_BACKENDS_CUDA_CONV_INTERNAL_H

#include "probes/backends/attention_graph.h"
#include "probes/backends/cuda/conv.h"

#define ALIGNED 16                      /* what engines of half precision ask of pointers */
#define UID_X 1
#define UID_W 2
#define UID_Y 3

enum pass { FORWARD, DGRAD, WGRAD };
enum { X, W, Y };

/* a convolution as cuDNN sees it: which operand of the call is its x, w and y; or attention, a graph of its own */
struct shape {
    enum pass pass;
    uint32_t index[3];
    struct fm_operand operand[3];
    const struct fm_attr *attr;
    const struct fm_problem *attention; /* NULL: a convolution */
    int type;
    int64_t align[3];
};

struct config {
    fm_cudnn_descriptor config, plan;
    int64_t workspace_bytes;
    char what[48];
};

/* what is known of one problem; descriptors are kept as long as plans that were made of them */
struct entry {
    uint64_t key;                       /* 0: free */
    fm_cudnn_descriptor part[12];
    uint32_t parts, count;
    struct fm_attention_graph *attention;
    struct config item[FM_MAX_CANDIDATES];
};

struct fm_cuda_conv {
    struct fm_cuda *cuda;
    struct cudnnContext *handle;        /* NULL until something runs */
    fm_cudnn_descriptor device;         /* describes the GPU without a context; NULL: the handle does */
    bool asked_device;
    struct entry *table;                /* of problems that ran; open addressing, capacity a power of two */
    size_t used, capacity;
};

/* builds an entry: the first failure sticks */
struct build {
    struct fm_cuda_conv *conv;
    struct entry *entry;
    int status;
    const char *what;
    bool only_asked;                    /* nothing will run: engines of attention are compiled when they are built */
};

/* FM_UNSUPPORTED: mixed or unknown element types; what attention is not for */
fm_status fm_cuda_conv_shape(const struct fm_problem *problem, struct shape *out, struct fm_err *err) FM_MUST_USE;
bool fm_cuda_conv_is_3d(const struct shape *shape);
struct fm_attention_api fm_cuda_attention_api(const struct fm_cuda_conv *conv);

/* descriptors of an entry; NULL once something failed */
fm_cudnn_descriptor fm_cudnn_make(struct build *b, int type, const char *what);
void fm_cudnn_set(struct build *b, fm_cudnn_descriptor d, int attribute, int type, int64_t count, const void *values);
void fm_cudnn_finish(struct build *b, fm_cudnn_descriptor d);
/* the graph of a convolution or of attention */
fm_cudnn_descriptor fm_cudnn_graph(struct build *b, const struct shape *shape);

#endif
