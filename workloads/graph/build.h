/* The builder: networks read like their papers, and like the PyTorch modules they stand for.
 *
 * Modules are declared first (fm_new_*: parameters come into being in construction order), then a body is traced by
 * calling them. Errors are sticky: a failed call returns FM_NO_VALUE, later ones do nothing, fm_build_finish tells.
 *
 * Lifetimes, as in Python: a result lives until its last use, unless something holds it longer:
 *   FM_SCOPE      a module call: it holds its arguments until it returns, also where the callee rebinds its name for one
 *   fm_hold       a local that outlives its last use: until the scope ends
 *   fm_rebind     a local that is assigned again: the old value is released when the new one exists
 *   fm_bind_loop  a variable of the loop around the step: with --loop loader it lives until the next iteration binds it
 */
#ifndef FM_WORKLOADS_GRAPH_BUILD_H
#define FM_WORKLOADS_GRAPH_BUILD_H

#include "workloads/graph/graph.h"

struct fm_build;                                    /* one graph under construction */

struct fm_build *fm_build_new(const char *name, struct fm_err *err);        /* NULL when memory is exhausted */
void fm_build_free(struct fm_build *b);
/* starts a body for `batch` samples; the other body stays as it is */
void fm_build_body(struct fm_build *b, enum fm_body_kind kind, int64_t batch);
/* moves the graph out (caller releases) after fm_graph_check */
fm_status fm_build_finish(struct fm_build *b, struct fm_graph *out, struct fm_err *err) FM_MUST_USE;
bool fm_build_training(const struct fm_build *b);
int64_t fm_build_batch(const struct fm_build *b);
/* records the first error */
void fm_build_fail(struct fm_build *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- modules ---- */
/* one size for all spatial dimensions; dims = 2 or 3 */
struct fm_conv { int dims, in, out, kernel, stride, padding, groups; bool bias, transposed; };     /* stride, groups 0 = 1 */
struct fm_norm { int channels, groups; double eps; };                                              /* eps 0 = 1e-5 */
struct fm_linear { int in, out; };

/* a module's parameters and settings; copied freely */
struct fm_module {
    enum fm_op op;
    uint32_t param, params;                         /* graph->param[param .. param + params) */
    struct fm_op_attr attr;
    char name[FM_NAME_BYTES];
};

/* later parameters belong to the n-th group of the optimizer's order (rule 67); 0 at first */
void fm_parameter_group(struct fm_build *b, uint32_t order);
struct fm_module fm_new_conv(struct fm_build *b, const char *name, struct fm_conv conv);
struct fm_module fm_new_batch_norm(struct fm_build *b, const char *name, struct fm_norm norm);
struct fm_module fm_new_group_norm(struct fm_build *b, const char *name, struct fm_norm norm);
struct fm_module fm_new_layer_norm(struct fm_build *b, const char *name, struct fm_norm norm);
struct fm_module fm_new_linear(struct fm_build *b, const char *name, struct fm_linear linear);
fm_value fm_apply(struct fm_build *b, const struct fm_module *module, fm_value x);

/* ---- operators ---- */
fm_value fm_input(struct fm_build *b, const char *name, enum fm_input kind, int64_t classes, struct fm_shape shape);
fm_value fm_relu(struct fm_build *b, const char *name, fm_value x);
fm_value fm_relu_(struct fm_build *b, const char *name, fm_value x);
fm_value fm_leaky_relu(struct fm_build *b, const char *name, fm_value x, double slope);
fm_value fm_leaky_relu_(struct fm_build *b, const char *name, fm_value x, double slope);
fm_value fm_gelu(struct fm_build *b, const char *name, fm_value x);
fm_value fm_silu(struct fm_build *b, const char *name, fm_value x);
fm_value fm_dropout(struct fm_build *b, const char *name, fm_value x, double probability);
fm_value fm_drop_path(struct fm_build *b, const char *name, fm_value x, double probability);
fm_value fm_softmax(struct fm_build *b, const char *name, fm_value x, int dim);
fm_value fm_log_softmax(struct fm_build *b, const char *name, fm_value x, int dim);
fm_value fm_nll_loss(struct fm_build *b, const char *name, fm_value logp, fm_value target, int64_t ignore_index);
fm_value fm_cross_entropy(struct fm_build *b, const char *name, fm_value logits, fm_value target, int64_t ignore_index);
fm_value fm_matmul(struct fm_build *b, const char *name, fm_value a, fm_value c);
/* q (B, H, L, D), k and v (B, H, M, D), as F.scaled_dot_product_attention */
fm_value fm_sdpa(struct fm_build *b, const char *name, const fm_value qkv[3], double scale);
fm_value fm_interpolate(struct fm_build *b, const char *name, fm_value x, int64_t height, int64_t width);
fm_value fm_cat(struct fm_build *b, const char *name, const fm_value *x, uint32_t n, int dim);
fm_value fm_stack(struct fm_build *b, const char *name, const fm_value *x, uint32_t n);
fm_value fm_binary(struct fm_build *b, enum fm_op op, const char *name, fm_value x, fm_value y);   /* add, sub, mul, div, add_, equal, logical_* */
fm_value fm_affine(struct fm_build *b, const char *name, fm_value x, double alpha, double beta);
fm_value fm_log_plus(struct fm_build *b, const char *name, fm_value x, double beta);               /* log(x + beta) */
fm_value fm_sum(struct fm_build *b, const char *name, fm_value x, uint32_t dims, bool keepdim);
fm_value fm_mean(struct fm_build *b, const char *name, fm_value x);                                /* of all elements */
fm_value fm_mean_dims(struct fm_build *b, const char *name, fm_value x, uint32_t dims, bool keepdim);
fm_value fm_reshape(struct fm_build *b, fm_value x, uint32_t ndim, const int64_t *size);          /* one size may be -1 */
fm_value fm_transpose(struct fm_build *b, fm_value x, int dim, int dim2);
fm_value fm_permute(struct fm_build *b, fm_value x, const uint32_t *order);
fm_value fm_clone(struct fm_build *b, const char *name, fm_value x);
fm_value fm_one_hot(struct fm_build *b, const char *name, fm_value x, int64_t classes);
fm_value fm_argmax(struct fm_build *b, const char *name, fm_value x, int dim);
fm_value fm_equal_scalar(struct fm_build *b, const char *name, fm_value x, double value);
struct fm_shape fm_shape_of(const struct fm_build *b, fm_value x);

/* ---- lifetimes and blocks ---- */
void fm_scope_begin(struct fm_build *b, const fm_value *argument, uint32_t n);
void fm_scope_end(struct fm_build *b);
void fm_hold(struct fm_build *b, fm_value x);                       /* until the current scope ends */
/* *variable = x; what it held (if not FM_NO_VALUE) is held up to here, x until rebound or the scope ends */
void fm_rebind(struct fm_build *b, fm_value *variable, fm_value x);
void fm_bind_loop(struct fm_build *b, const char *variable, fm_value x);
/* a block that checkpointing may recompute; blocks do not nest */
void fm_block_begin(struct fm_build *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
fm_value fm_block_end(struct fm_build *b, fm_value result);
void fm_body_output(struct fm_build *b, fm_value logits);
void fm_body_loss(struct fm_build *b, fm_value loss);

/* around the body of a module call: FM_SCOPE(b, x) { ... }; never leave it by return or break */
#define FM_SCOPE_NAME2(line) fm_scope_once_##line
#define FM_SCOPE_NAME(line) FM_SCOPE_NAME2(line)
#define FM_VALUES(...) (const fm_value[]){ __VA_ARGS__ }, (uint32_t)(sizeof((const fm_value[]){ __VA_ARGS__ }) / sizeof(fm_value))
#define FM_SCOPE(b, ...)                                                                              \
    for (int FM_SCOPE_NAME(__LINE__) = (fm_scope_begin((b), FM_VALUES(__VA_ARGS__)), 1);              \
         FM_SCOPE_NAME(__LINE__); FM_SCOPE_NAME(__LINE__) = (fm_scope_end(b), 0))

/* names of parts: a value, so that it can stand in a call. fm_name("enc%d.res%d", i, r).text; truncated to fit */
struct fm_name { char text[FM_NAME_BYTES]; };
struct fm_name fm_name(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct fm_name fm_part(const char *owner, const char *part);        /* "owner.part" */

#endif
