#include "probes/backends/cuda/kernels/space.h"

#include <assert.h>
#include <string.h>

void fm_cuda_views_begin(struct fm_cuda_views *views, const struct fm_operand *like)
{
    memset(views, 0, sizeof *views);
    views->space.ndim = like->ndim;
    views->space.numel = fm_operand_numel(like);
    for (int d = 0; d < like->ndim; d++) views->space.size[d] = like->size[d];
}

int fm_cuda_views_strided(struct fm_cuda_views *views, const int64_t *stride, enum fm_dtype dtype, void *data)
{
    struct fm_cuda_space *space = &views->space;
    int v = space->views++;
    assert(v < FM_SPACE_VIEWS);
    for (int d = 0; d < space->ndim; d++) space->stride[d][v] = stride[d];
    views->dtype[v] = (uint8_t)dtype;
    views->data[v] = data;
    return v;
}

int fm_cuda_views_add(struct fm_cuda_views *views, const struct fm_operand *operand, void *data)
{
    int64_t stride[FM_SPACE_DIMS] = { 0 };
    for (int d = 0; d < views->space.ndim && d < operand->ndim; d++)
        if (operand->size[d] == views->space.size[d]) stride[d] = operand->stride[d];
    return fm_cuda_views_strided(views, stride, (enum fm_dtype)operand->dtype, data);
}

int fm_cuda_views_along(struct fm_cuda_views *views, int dim, const struct fm_operand *operand, void *data)
{
    int64_t stride[FM_SPACE_DIMS] = { 0 };
    if (data) stride[dim] = operand->stride[0];
    return fm_cuda_views_strided(views, stride, data ? (enum fm_dtype)operand->dtype : FM_DTYPE_COUNT, data);
}

int fm_cuda_views_index(struct fm_cuda_views *views)
{
    int64_t stride[FM_SPACE_DIMS] = { 0 }, next = 1;
    for (int d = views->space.ndim - 1; d >= 0; d--) {
        stride[d] = next;
        next *= views->space.size[d];
    }
    return fm_cuda_views_strided(views, stride, FM_DTYPE_COUNT, NULL);
}

void fm_cuda_views_group(struct fm_cuda_views *views, int dim, int64_t groups)
{
    struct fm_cuda_space *space = &views->space;
    assert(space->ndim < FM_SPACE_DIMS && groups > 0 && space->size[dim] % groups == 0);
    for (int d = space->ndim; d > dim; d--) {
        space->size[d] = space->size[d - 1];
        memcpy(space->stride[d], space->stride[d - 1], sizeof space->stride[d]);
    }
    space->ndim++;
    space->size[dim] = groups;
    space->size[dim + 1] /= groups;
    for (int v = 0; v < space->views; v++) space->stride[dim][v] *= space->size[dim + 1];
}

/* must dimension a lie outside dimension b? The first view that tells decides. */
static bool lies_outside(const struct fm_cuda_space *space, int a, int b)
{
    for (int v = 0; v < space->views; v++) {
        int64_t outer = space->stride[a][v], within = space->stride[b][v];
        if (outer && within && outer != within) return outer > within;
    }
    return false;
}

static bool can_merge(const struct fm_cuda_space *space, int dim, const struct fm_cuda_space *out, int last)
{
    for (int v = 0; v < space->views; v++)
        if (space->stride[dim][v] != out->stride[last][v] * out->size[last]) return false;
    return true;
}

void fm_cuda_space_join(struct fm_cuda_space *space)
{
    int order[FM_SPACE_DIMS], n = 0;
    for (int d = space->ndim - 1; d >= 0; d--) {
        if (space->size[d] == 1) continue;
        int at = n++;
        for (; at > 0 && lies_outside(space, order[at - 1], d); at--) order[at] = order[at - 1];
        order[at] = d;
    }
    struct fm_cuda_space out = { .views = space->views, .ndim = 1, .numel = 1, .size = { 1 } };
    for (int i = 0; i < n; i++) {
        int d = order[i], last = out.ndim - 1;
        out.numel *= space->size[d];
        if (i == 0 || can_merge(space, d, &out, last)) {
            if (i == 0) memcpy(out.stride[0], space->stride[d], sizeof out.stride[0]);
            out.size[last] *= space->size[d];
            continue;
        }
        out.size[last + 1] = space->size[d];
        memcpy(out.stride[last + 1], space->stride[d], sizeof out.stride[0]);
        out.ndim++;
    }
    *space = out;
    fm_cuda_space_vectorize(space, 1);
}

void fm_cuda_space_split(const struct fm_cuda_space *all, uint32_t reduced, struct fm_cuda_space *kept,
                         struct fm_cuda_space *rest)
{
    *kept = *rest = (struct fm_cuda_space){ .views = all->views };
    for (int d = 0; d < all->ndim; d++) {
        struct fm_cuda_space *to = reduced >> d & 1 ? rest : kept;
        to->size[to->ndim] = all->size[d];
        memcpy(to->stride[to->ndim], all->stride[d], sizeof all->stride[d]);
        to->ndim++;
    }
    fm_cuda_space_join(kept);
    fm_cuda_space_join(rest);
}

int fm_cuda_views_widest(const struct fm_cuda_views *views, uint32_t mask)
{
    for (int v = 0; v < views->space.views; v++) {
        bool half = views->dtype[v] == FM_F16 || views->dtype[v] == FM_BF16;
        if (half && mask >> v & 1) return 8;
    }
    return 4;
}

/* can view v be read `width` elements at a time? */
static bool is_aligned(const struct fm_cuda_space *space, const struct fm_cuda_views *of, int v, int width)
{
    if (of->dtype[v] == FM_DTYPE_COUNT || width == 1) return true;
    int64_t bytes = fm_dtype_bytes((enum fm_dtype)of->dtype[v]), line = bytes * width < 16 ? bytes * width : 16;
    if (space->stride[0][v] == 0) return true;
    if (space->stride[0][v] != 1 && space->size[0] != 1) return false;
    if ((uintptr_t)of->data[v] % (uintptr_t)line) return false;
    for (int d = 1; d < space->ndim; d++)
        if (space->stride[d][v] * bytes % line) return false;
    return true;
}

int fm_cuda_views_width(const struct fm_cuda_space *space, const struct fm_cuda_views *of, uint32_t mask, int most,
                        bool ragged)
{
    for (int width = most; width > 1; width /= 2) {
        bool fits = space->size[0] % width == 0 || (ragged && space->ndim == 1 && space->size[0] > width);
        for (int v = 0; fits && v < space->views; v++) fits = !(mask >> v & 1) || is_aligned(space, of, v, width);
        if (fits && width != 2) return width;
    }
    return 1;
}

int fm_cuda_parts_width(const struct fm_cuda_space *vectors, const struct fm_cuda_space *other,
                        const struct fm_cuda_views *of, uint32_t mask, int most)
{
    int width = fm_cuda_views_width(vectors, of, mask, most, false);
    for (int v = 0; v < vectors->views && width > 1; v++) {
        if (!(mask >> v & 1) || of->dtype[v] == FM_DTYPE_COUNT || vectors->stride[0][v] == 0) continue;
        int64_t bytes = fm_dtype_bytes((enum fm_dtype)of->dtype[v]), line = bytes * width < 16 ? bytes * width : 16;
        for (int d = 0; d < other->ndim; d++)
            if (other->size[d] > 1 && other->stride[d][v] * bytes % line) return 1;
    }
    return width;
}

/* Division by multiplication for n < 2^31 (Granlund and Montgomery 1994, with a 33-bit multiplier) */
static void set_divisor(struct fm_cuda_space *space, int d)
{
    uint64_t divisor = (uint64_t)space->size[d];
    uint32_t shift = 0;
    while (UINT64_C(1) << shift < divisor) shift++;
    space->shift[d] = shift;
    space->magic[d] = (uint32_t)(((UINT64_C(1) << 32) * ((UINT64_C(1) << shift) - divisor)) / divisor + 1);
}

void fm_cuda_space_vectorize(struct fm_cuda_space *space, int width)
{
    space->width = width;
    for (int v = 0; v < space->views; v++) {
        space->step[v] = space->stride[0][v];
        space->stride[0][v] *= width;
    }
    space->size[0] = (space->size[0] + width - 1) / width;
    space->steps = space->numel > 0 ? 1 : 0;
    for (int d = 0; d < space->ndim && space->numel > 0; d++) space->steps *= space->size[d];
    space->narrow = space->steps < INT32_MAX;
    for (int d = 0; d < space->ndim && space->narrow && space->numel > 0; d++) set_divisor(space, d);
}
