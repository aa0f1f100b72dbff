/* The miniature eager engine, shared by the files of this room; not for others. */
#ifndef FM_WORKLOADS_LOWER_INTERNAL_H
#define FM_WORKLOADS_LOWER_INTERNAL_H

#include "workloads/lower/lower.h"

#define MAX_SAVED 6
#define MAX_EDGES 8

/* a block of device memory with the tensors that view it */
struct store {
    uint32_t id;                    /* of the program's storage */
    uint32_t refs;
    uint32_t channels, spatial;     /* image-like: see fm_operand */
    int64_t bytes;
};

/* a tensor: a view on a store */
struct tensor {
    struct store *store;
    uint32_t refs;
    uint8_t dtype, ndim;
    int64_t offset, size[FM_RANK], stride[FM_RANK];
};

struct node;

/* a Python variable's object: a tensor and its place in the autograd graph */
struct var {
    struct tensor *x;
    struct node *fn;                /* who made it; NULL for leaves */
    uint32_t refs;
    int32_t param;                  /* leaf parameter, or -1 */
    bool requires_grad;
    struct tensor *grad;            /* leaves */
};

/* one block under checkpointing: what it holds, and what its recomputation gives */
struct frame {
    const struct fm_block *block;
    struct { fm_value value; struct var *var; } *input;
    uint32_t inputs, slots, unreleased;
    struct tensor **recomputed;     /* per slot; NULL before the recomputation */
    bool autocast;
    struct frame *next;
};

/* what a backward node keeps of a tensor: itself, or a slot of a frame (rule 55) */
struct saved {
    union { struct tensor *x; struct frame *frame; };
    uint32_t slot;
    bool packed;                    /* in a frame */
};

/* where a gradient goes: to the node that made the input, or to a leaf; nowhere if neither */
struct edge {
    struct node *fn;
    struct var *leaf;
};

/* shape and layout of an input, kept after the tensor may be gone */
struct meta {
    uint8_t dtype, ndim;
    bool need;                      /* requires grad */
    uint32_t channels, spatial;
    int64_t size[FM_RANK], stride[FM_RANK];
};

struct lower;
/* Writes out[i], an owned reference or NULL, for each edge; g is borrowed. The engine reduces a gradient of the
 * broadcast size and casts one of another dtype. */
typedef void (*backward_fn)(struct lower *l, struct node *n, struct tensor *g, struct tensor **out);

/* small, since large graphs have thousands; the arrays are in the arena too */
struct node {
    backward_fn backward;
    const struct fm_node *op;       /* graph operator */
    struct tensor *grad;            /* arrived so far */
    struct saved *saved;            /* room for MAX_SAVED once there is one */
    struct tensor **unpacked;       /* while backward runs: what was saved */
    struct edge *edge;
    struct meta *meta;              /* per edge */
    const struct fm_attr *attr;     /* NULL: none */
    uint32_t label, saved_count, edges;
};

struct chunk {
    char *memory;
    size_t bytes;
};

/* memory that lives as long as one backward graph; chunk[at - 1] is in use, `used` bytes of it */
struct arena {
    struct chunk *chunk;
    size_t chunks, chunk_room, at, used;
};

struct pool {
    void **free_item;
    size_t free_count, free_room;
    struct arena arena;
};

#define FM_OPTIMIZER_STATES 4      /* see optimizer.c */

struct lower {
    const struct fm_graph *graph;
    const struct fm_policy *policy;
    struct fm_program *program;
    const struct fm_body *body;
    struct fm_err *err;
    fm_status status;               /* first failure; everything stops */
    struct pool stores, tensors, vars;
    struct arena arena;             /* nodes, metas, frames: until backward ends */
    struct node **node;             /* creation order */
    size_t node_count, node_room;
    struct var **param;             /* per graph parameter */
    struct tensor **state;          /* per parameter: FM_OPTIMIZER_STATES each */
    struct var **cast_cache;        /* per parameter: its low-precision copy (rule 28) */
    struct var **value;             /* per value of the body, NULL when dead */
    struct var **local;             /* likewise, while a block is recomputed */
    uint32_t *made_in;              /* per value: 1 + the block that makes it, as far as blocks were looked at */
    struct var *loop_var[FM_MAX_LOOP_VARIABLES];
    uint32_t loop_register[FM_MAX_LOOP_VARIABLES];      /* storage that carries it to the next iteration */
    struct tensor **resident;       /* plain loop: per value, its resident input */
    uint32_t *node_label;           /* per graph node of the body, 0 = not yet */
    uint32_t label;                 /* of what is being recorded */
    struct fm_operand *scratch;     /* operands of a list call while it is made */
    size_t scratch_room;
    uint32_t *order;                /* parameters that are trained, in optimizer order */
    uint32_t trained;
    struct frame *frame;            /* block being run under checkpointing: saves go to its slots */
    bool recomputing, stopped;      /* recomputation; it has all it needs (early stop) */
    uint32_t recomputed;            /* slots filled so far */
    bool autocast, training, grad;  /* autocast region; train mode; autograd recording */
    uint32_t micro;                 /* micro-batch of the step */
    uint32_t op_index;              /* graph node being run: random streams */
    struct tensor *scale, *growth_tracker;
    struct tensor *found_inf;
    bool any_image_plain;           /* a store lost its image layout after operands were recorded */
    uint8_t *plain;                 /* per program storage */
    size_t plain_room;
};

/* ---- tensor.c ---- */
void *lower_alloc(struct lower *l, struct arena *arena, size_t bytes);      /* zeroed; any size; NULL and status set */
void lower_fail(struct lower *l, fm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
static inline bool failed(const struct lower *l) { return l->status != FM_OK || l->program->failed; }
void arena_reset(struct arena *arena);
void arena_release(struct arena *arena);
void pool_release(struct pool *pool);

int64_t numel_of(const struct tensor *x);
bool is_contiguous(const struct tensor *x);
bool is_dense(const struct tensor *x);                                      /* non-overlapping and dense */
bool is_channels_last(const struct tensor *x);                              /* 4-D, strides of NHWC */
void contiguous_strides(const int64_t *size, uint32_t ndim, int64_t *stride);
void channels_last_strides(const int64_t *size, uint32_t ndim, int64_t *stride);

enum layout { PLAIN, IMAGE, CHANNELS_LAST };                                /* IMAGE: contiguous, image-like */
enum layout image_layout(const struct lower *l);                            /* by policy */
struct tensor *new_tensor(struct lower *l, const int64_t *size, uint32_t ndim, enum fm_dtype dtype, enum layout layout);
struct tensor *new_vector(struct lower *l, int64_t n, enum fm_dtype dtype);
struct tensor *new_scalar(struct lower *l, enum fm_dtype dtype);
struct tensor *new_like(struct lower *l, const struct tensor *x, enum fm_dtype dtype); /* empty_like, preserve_format */
struct tensor *new_from_meta(struct lower *l, const struct meta *m, enum fm_dtype dtype);   /* likewise */
struct tensor *new_view(struct lower *l, struct tensor *x, const int64_t *size, const int64_t *stride, uint32_t ndim,
                        int64_t offset);
struct tensor *keep(struct tensor *x);                                      /* one more reference; NULL is fine */
void drop(struct lower *l, struct tensor *x);                               /* one fewer; NULL is fine */
void set_kind(struct lower *l, struct tensor *x, enum fm_storage_kind kind);
void become_plain(struct lower *l, struct store *store);
/* torch's computeStride: strides of a view with these sizes, or false */
bool view_strides(const struct tensor *x, const int64_t *size, uint32_t ndim, int64_t *stride);

struct var *new_var(struct lower *l, struct tensor *x);                     /* takes the reference */
struct var *keep_var(struct var *v);
void drop_var(struct lower *l, struct var *v);

/* ---- record.c ---- */
struct fm_operand operand_of(const struct tensor *x);
/* records a call; operands borrowed; NULL tensors are absent optionals (storage FM_NONE) */
void record(struct lower *l, enum fm_kernel kernel, const struct fm_attr *attr, struct tensor *const *out,
            uint32_t n_out, struct tensor *const *in, uint32_t n_in);
void record_operands(struct lower *l, enum fm_kernel kernel, const struct fm_attr *attr,
                     const struct fm_operand *operand, uint32_t n_out, uint32_t n_in);
struct fm_operand *scratch_operands(struct lower *l, size_t count);         /* NULL and status set; not freed */
void record_copy(struct lower *l, struct tensor *y, struct tensor *x);
void record_fill(struct lower *l, struct tensor *y, double value);
void record_unary(struct lower *l, enum fm_unary mode, double alpha, double beta, struct tensor *y, struct tensor *x);
void record_binary(struct lower *l, enum fm_binary mode, double alpha, struct tensor *y, struct tensor *a,
                   struct tensor *b);
void record_sum(struct lower *l, double alpha, struct tensor *y, const struct tensor *x,
                uint32_t dims); /* y in keepdim or reduced form */

/* ---- autograd.c ---- */
/* NULL when nothing needs a gradient; inputs may be NULL */
struct node *new_node(struct lower *l, backward_fn backward, struct var *const *input, uint32_t n);
void save(struct lower *l, struct node *n, struct tensor *x);               /* in the order rule 54 frees them */
void set_attr(struct lower *l, struct node *n, const struct fm_attr *attr); /* copied; n may be NULL */
struct var *result(struct lower *l, struct tensor *x, struct node *n);      /* takes x */
void backward(struct lower *l, struct var *loss);
static inline bool needs(const struct var *v) { return v && v->requires_grad; }

/* ---- checkpoint.c ---- */
struct frame *checkpoint_begin(struct lower *l, const struct fm_block *block);
void recompute(struct lower *l, struct frame *frame);
void frame_release_slot(struct lower *l, struct frame *frame);

/* ---- autocast.c ---- */
struct var *cast_to(struct lower *l, struct var *v,
                    enum fm_dtype dtype); /* owned; the same variable if it has that dtype */
struct var *cast_low(struct lower *l, struct var *v);                       /* owned; NULL stays NULL */
struct var *cast_f32(struct lower *l, struct var *v);
void autocast_enter(struct lower *l);
void autocast_exit(struct lower *l);

/* ---- run.c ---- */
void run_statements(struct lower *l, size_t first, size_t last, struct var **value);
struct var *value_of(struct lower *l, struct var **value, fm_value v);      /* borrowed */

/* ---- ops_*.c: each returns an owned variable ---- */
typedef struct var *(*op_fn)(struct lower *l, const struct fm_node *op, struct var **in);
extern const op_fn lower_ops[FM_OP_COUNT];
struct var *reshape_var(struct lower *l, struct var *v, const int64_t *size, uint32_t ndim);
struct var *transpose_var(struct lower *l, struct var *v, int dim, int dim2);
/* the tensor itself or, under eager accounting, a contiguous copy as kernels make them; owned */
struct tensor *kernel_contiguous(struct lower *l, struct tensor *x);
struct fm_attr attr_of(const struct fm_node *op);

struct var *op_input(struct lower *, const struct fm_node *, struct var **);
struct var *op_conv(struct lower *, const struct fm_node *, struct var **);
struct var *op_linear(struct lower *, const struct fm_node *, struct var **);
struct var *op_matmul(struct lower *, const struct fm_node *, struct var **);
struct var *op_sdpa(struct lower *, const struct fm_node *, struct var **);
struct var *op_batch_norm(struct lower *, const struct fm_node *, struct var **);
struct var *op_group_norm(struct lower *, const struct fm_node *, struct var **);
struct var *op_layer_norm(struct lower *, const struct fm_node *, struct var **);
struct var *op_activation(struct lower *, const struct fm_node *, struct var **);
struct var *op_activation_(struct lower *, const struct fm_node *, struct var **);
struct var *op_dropout(struct lower *, const struct fm_node *, struct var **);
struct var *op_drop_path(struct lower *, const struct fm_node *, struct var **);
struct var *op_softmax(struct lower *, const struct fm_node *, struct var **);
struct var *op_log_softmax(struct lower *, const struct fm_node *, struct var **);
struct var *op_nll_loss(struct lower *, const struct fm_node *, struct var **);
struct var *op_interpolate(struct lower *, const struct fm_node *, struct var **);
struct var *op_cat(struct lower *, const struct fm_node *, struct var **);
struct var *op_stack(struct lower *, const struct fm_node *, struct var **);
struct var *op_add_sub(struct lower *, const struct fm_node *, struct var **);
struct var *op_mul(struct lower *, const struct fm_node *, struct var **);
struct var *op_div(struct lower *, const struct fm_node *, struct var **);
struct var *op_add_(struct lower *, const struct fm_node *, struct var **);
struct var *op_affine(struct lower *, const struct fm_node *, struct var **);
struct var *op_log(struct lower *, const struct fm_node *, struct var **);
struct var *op_sum(struct lower *, const struct fm_node *, struct var **);
struct var *op_mean(struct lower *, const struct fm_node *, struct var **);
struct var *op_reshape(struct lower *, const struct fm_node *, struct var **);
struct var *op_transpose(struct lower *, const struct fm_node *, struct var **);
struct var *op_permute(struct lower *, const struct fm_node *, struct var **);
struct var *op_clone(struct lower *, const struct fm_node *, struct var **);
struct var *op_one_hot(struct lower *, const struct fm_node *, struct var **);
struct var *op_argmax(struct lower *, const struct fm_node *, struct var **);
struct var *op_compare(struct lower *, const struct fm_node *, struct var **);

/* ---- optimizer.c ---- */
void optimizer_step(struct lower *l);
struct var *scale_loss(struct lower *l, struct var *loss);      /* loss scaler and accumulation; owned */

#endif
