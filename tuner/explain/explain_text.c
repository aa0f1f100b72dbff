/* An explanation for people. */
#include "tuner/explain/explain.h"

#include "workloads/program/dtype.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB 1073741824.0
#define MIB 1048576.0
#define SUGGESTIONS 6

static void put_size(struct fm_buf *out, int64_t bytes)
{
    double b = (double)bytes;
    if (llabs(bytes) >= INT64_C(1) << 30) fm_buf_printf(out, "%.2f GiB", b / GIB);
    else if (llabs(bytes) >= INT64_C(1) << 20) fm_buf_printf(out, "%.2f MiB", b / MIB);
    else if (llabs(bytes) >= 1024) fm_buf_printf(out, "%.2f KiB", b / 1024);
    else fm_buf_printf(out, "%" PRId64 " bytes", bytes);
}

/* "about 20 GiB (19.8 to 21.0)" */
static void put_range(struct fm_buf *out, const struct fm_range *r)
{
    double lo = (double)r->lo_bytes / GIB, hi = (double)r->hi_bytes / GIB, mid = (lo + hi) / 2;
    if (r->hi_bytes - r->lo_bytes < INT64_C(64) << 20) put_size(out, (r->lo_bytes + r->hi_bytes) / 2);
    else if (mid >= 10) fm_buf_printf(out, "about %.0f GiB (%.1f to %.1f)", mid, lo, hi);
    else fm_buf_printf(out, "about %.1f GiB (%.1f to %.1f)", mid, lo, hi);
}

/* "  allocated             9.29 GiB  what it means" */
static void line(struct fm_buf *out, const char *name, const struct fm_oom_size *size, const char *means)
{
    char text[32] = "\xe2\x80\x93";
    struct fm_buf number = FM_BUF(64);
    if (size->known) {
        put_size(&number, size->bytes);
        (void)snprintf(text, sizeof text, "%s", fm_buf_text(&number));
    }
    fm_buf_printf(out, "  %-24s %*s  %s\n", name, size->known ? 11 : 13, text, means);
    fm_buf_release(&number);
}

static void range_line(struct fm_buf *out, const char *name, const struct fm_range *r, const char *means)
{
    if (!r->known) return;
    fm_buf_printf(out, "  %-24s ", name);
    put_range(out, r);
    fm_buf_printf(out, "; %s\n", means);
}

/* ---- the numbers ---- */

static void put_request(const struct fm_oom *m, struct fm_buf *out)
{
    const char *means = "";
    if (m->kind == FM_OOM_PYTORCH && m->requested.known) {
        if (m->requested.bytes == 2 << 20) means = "the allocator's smallest segment: a tensor of at most 1 MiB";
        else if (m->requested.bytes == 20 << 20) means = "the allocator's segment for a tensor of 1 to 10 MiB (or one of up to 20 MiB)";
        else means = "the segment that the allocator asked for: the tensor, rounded up to 2 MiB";
    }
    line(out, "tried to allocate", &m->requested, means);
    if (!m->dims) return;
    fm_buf_puts(out, "  a tensor of shape        ");
    for (uint32_t i = 0; i < m->dims; i++) fm_buf_printf(out, "%s%" PRId64, i ? "x" : "", m->shape[i]);
    fm_buf_printf(out, " %s\n", m->dtype);
}

static void put_numbers(const struct fm_explanation *x, struct fm_buf *out)
{
    const struct fm_oom *m = &x->oom;
    const struct fm_account *a = &x->account;
    put_request(m, out);
    if (m->capacity.known) line(out, "capacity", &m->capacity, "of the device");
    if (m->allowed.known) line(out, "allowed", &m->allowed, "a limit for this process, set by the program or the framework");
    if (m->allocated.known) line(out, "allocated", &m->allocated, "tensors and other blocks alive in this process");
    if (m->private_pools.known) line(out, "  in private pools", &m->private_pools, "of it, kept by CUDA graphs");
    if (m->other.known) line(out, "other allocations", &m->other, "of the same process, beside the allocator");
    if (m->allocated.known && m->kind == FM_OOM_PYTORCH) {
        const char *means = m->unused.known ? "cached by the allocator, in pieces too small or not releasable"
                            : a->unused_planned ? "not in the message; see the planned figure below" : "not in the message";
        line(out, "reserved, not allocated", &m->unused, means);
    }
    if (a->unused_planned) range_line(out, "  planned", &a->unused, "what a walk through the step leaves there when it fails");
    if (m->parameters.known) line(out, "parameters", &m->parameters, "inputs of the compiled step: weights, optimizer state, batch");
    if (m->temporaries.known) line(out, "temporaries", &m->temporaries, "what the compiled step keeps while it runs");
    if (m->total.known) line(out, "total", &m->total, "of the compiled step");
    if (m->free.known) line(out, "free", &m->free, "of the device, for any process");
    range_line(out, "outside the allocator", &a->outside,
               m->reserved.known ? "capacity - free - reserved" : "capacity - free - allocated");
    range_line(out, "  this process' context", &a->context,
               a->process_known ? "what the process holds beyond its allocator: context, cuDNN, NCCL" : "assumed: context and libraries");
    range_line(out, "  other processes", &a->others,
               a->others_listed ? "as the message lists them"
               : a->process_known ? "capacity - free - this process" : "what is left: nvidia-smi names them");
    for (size_t i = 0; i < m->processes; i++) {
        if (m->process[i].pid < 0) continue;
        fm_buf_printf(out, "  process %-15" PRId64 "  ", m->process[i].pid);
        if (m->process[i].used.known) put_size(out, m->process[i].used.bytes);
        else fm_buf_puts(out, "\xe2\x80\x93");
        fm_buf_puts(out, m->process[i].used.known && m->reserved.known && m->process[i].used.hi_bytes >= m->reserved.lo_bytes
                             ? "  (in a container it may be this very process under another number)\n" : "\n");
    }
    if (m->overflowed) fm_buf_puts(out, "  A size of 2^60 bytes or more is an underflow in the framework, not a size; it counts as not known.\n");
    if (m->cut) fm_buf_puts(out, "  The message ends early: what came after is not known.\n");
    if (m->more) fm_buf_printf(out, "  %zu more message%s in the text; this one is the first.\n", m->more, m->more == 1 ? "" : "s");
}

/* ---- which tensor ---- */

static void put_cell(const struct fm_cell *cell, struct fm_buf *out)
{
    const struct fm_workload *w = cell->settings.workload;
    fm_cell_describe(cell, out);
    for (uint32_t i = 0; i < w->settings; i++)
        if (strcmp(cell->settings.value[i].text, w->setting[i].text) != 0)
            fm_buf_printf(out, " %s=%s", w->setting[i].name, cell->settings.value[i].text);
}

/* "2nd of 3" */
static void put_nth(const struct fm_match *m, struct fm_buf *out)
{
    static const char *const ends[] = { "th", "st", "nd", "rd" };
    unsigned last = m->nth % 10;
    if (m->of > 1) fm_buf_printf(out, ", the %" PRIu32 "%s of %" PRIu32 " in it", m->nth,
                                 ends[last > 3 || (m->nth / 10) % 10 == 1 ? 0 : last], m->of);
}

static void put_match(const struct fm_explanation *x, const struct fm_match *m, struct fm_buf *out)
{
    fm_buf_puts(out, "  ");
    put_cell(&x->cell[m->cell], out);
    fm_buf_printf(out, "\n    %s at batch %" PRId64 " on that device, in %s%s", m->label, m->batch, fm_scene_text(m->scene),
                  m->section == FM_SECTION_VAL ? ", a later batch" : m->section == FM_SECTION_TRAIN ? ", a later step" : "");
    put_nth(m, out);
    fm_buf_puts(out, "\n    ");
    put_size(out, m->tensor_bytes);
    fm_buf_printf(out, " of %s (%s)%s", fm_dtype_name(m->dtype), fm_storage_kind_name(m->kind), m->scales ? ", grows with the batch" : "");
    fm_buf_puts(out, "\n    allocated before it: ");
    put_size(out, m->live_bytes);
    if (m->ddp) fm_buf_puts(out, " with DistributedDataParallel's gradient buckets");
    if (m->off_bytes) {
        fm_buf_puts(out, m->off_bytes < 0 ? ", less by " : ", more by ");
        put_size(out, llabs(m->off_bytes));
    } else if (x->oom.allocated.known) {
        fm_buf_puts(out, ", as the message says");
    }
    fm_buf_putc(out, '\n');
    if (m->confirmed) fm_buf_puts(out, "    A walk through this step with the memory that the process could have fails at just this allocation.\n");
}

/* the same tensor, batch and scene: only the cell differs */
static bool same_place(const struct fm_match *a, const struct fm_match *b)
{
    return a->batch == b->batch && a->scene == b->scene && a->section == b->section && a->ddp == b->ddp && a->nth == b->nth &&
           a->off_bytes == b->off_bytes && strcmp(a->label, b->label) == 0;
}

static void put_matches(const struct fm_explanation *x, struct fm_buf *out)
{
    const struct fm_matches *m = &x->matches;
    fm_buf_puts(out, "\nwhat it was (planned: the step program's allocations, without workspaces)\n");
    if (!m->count) {
        fm_buf_puts(out, "  No tensor of this workload asks for that much at any batch that was looked at: other settings, another\n"
                         "  precision, a workspace, or a buffer of a library.\n");
        if (m->unsupported) fm_buf_printf(out, "  %s\n", m->reason);
        return;
    }
    bool exact = fm_match_exact(m, &x->oom);
    if (!exact && x->oom.allocated.known)
        fm_buf_puts(out, "  No allocation of that size finds as much allocated as the message says; the nearest:\n");
    if (!x->oom.allocated.known) fm_buf_printf(out, "  By size alone: %zu allocations have it; the first of them:\n", m->total);
    put_match(x, &m->item[0], out);
    size_t shown = 1;
    for (size_t i = 1; i < m->count && shown < 4; i++) {
        if (exact && (m->item[i].off_bytes || m->item[i].confirmed != m->item[0].confirmed)) break;
        if (same_place(&m->item[i], &m->item[0])) {
            fm_buf_puts(out, "    The same with ");
            put_cell(&x->cell[m->item[i].cell], out);
            fm_buf_putc(out, '\n');
            continue;
        }
        fm_buf_puts(out, "  or\n");
        put_match(x, &m->item[i], out);
        shown++;
    }
}

/* ---- what to change ---- */

static void put_share(struct fm_buf *out, const char *what, double share)
{
    double percent = 100 * (share - 1);
    if (fabs(percent) >= 0.5) fm_buf_printf(out, ", %+.0f %% %s", percent, what);
}

static void put_change(const struct fm_change *c, struct fm_buf *out)
{
    fm_buf_puts(out, "     ");
    put_size(out, c->needed_bytes);
    fm_buf_printf(out, "  %s", c->text);
    put_share(out, "compute a sample", c->compute);
    if (c->kind == FM_CHANGE_MODEL) fm_buf_printf(out, "; another model: %.0f %% of its FLOPs", 100 * c->capacity);
    fm_buf_putc(out, '\n');
}

static void put_changes(const struct fm_explanation *x, int *number, struct fm_buf *out)
{
    const struct fm_match *m = &x->matches.item[0];
    const struct fm_changes *c = &x->changes;
    bool limited = x->alone_bytes >= 0, fits = limited && c->needed_bytes <= x->alone_bytes;
    fm_buf_printf(out, "  %d. Planned for batch %" PRId64 " in training and validation: ", ++*number, m->batch);
    put_size(out, c->needed_bytes);
    if (limited) {
        fm_buf_puts(out, fits ? ". That fits into the " : ". That does not fit into the ");
        put_size(out, x->alone_bytes);
        fm_buf_puts(out, " that\n     the process could have alone on this device");
    }
    fm_buf_puts(out, fits ? ".\n" : ".\n     What would take less, the cheapest first:\n");
    for (size_t i = 0; i < c->count && i < SUGGESTIONS && !fits; i++)
        if (c->item[i].fits || !c->item[0].fits || i < 2) put_change(&c->item[i], out);
    if (!c->count && !fits) fm_buf_puts(out, "     nothing that is known here\n");
}

static void put_general(const struct fm_explanation *x, int *number, struct fm_buf *out)
{
    fm_buf_printf(out, "  %d. A smaller batch, accumulated to the same global batch; in validation also a smaller batch of its own.\n", ++*number);
    fm_buf_printf(out, "  %d. Mixed precision (bf16, fp16), then checkpointing of activations: it recomputes, so it costs time.\n", ++*number);
    if (!x->cells && x->oom.requested.known)
        fm_buf_printf(out, "  %d. Name the network to see which tensor it was: --workload, --set KEY=VALUE, --precision.\n", ++*number);
}

static void put_advice(const struct fm_explanation *x, struct fm_buf *out)
{
    const struct fm_oom *m = &x->oom;
    const struct fm_account *a = &x->account;
    int number = 0;
    fm_buf_puts(out, "\nwhat to change first\n");
    if (m->kind == FM_OOM_PYTORCH_CPU) {
        fm_buf_printf(out, "  %d. This is the host's memory, not the device's: fewer loader workers, smaller caches, or a smaller batch.\n", ++number);
        return;
    }
    if (a->others.known && a->others.lo_bytes > INT64_C(512) << 20 && (!m->requested.known || a->others.hi_bytes >= m->requested.lo_bytes))
        fm_buf_printf(out, "  %d. Free the device: other processes hold more than was missing (nvidia-smi; a process that hung, another\n"
                      "     rank on the same device, a neighbour). Nothing in the network needs to change for that.\n", ++number);
    if (m->unused.known && m->requested.known && m->unused.lo_bytes >= m->requested.hi_bytes)
        fm_buf_printf(out, "  %d. The cache holds more than was asked for, in pieces: PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True,\n"
                      "     or max_split_size_mb before PyTorch 2.1.\n", ++number);
    if (m->allowed.known && m->reserved.known && m->requested.known && m->reserved.hi_bytes + m->requested.hi_bytes >= m->allowed.lo_bytes)
        fm_buf_printf(out, "  %d. The limit of the process was met, not that of the device: raise its memory fraction.\n", ++number);
    if (m->requested.known && m->free.known && m->free.lo_bytes > m->requested.hi_bytes && !m->allowed.known)
        fm_buf_printf(out, "  %d. More was free than was asked for: a limit of the driver or system (Windows, a container, a slice of\n"
                      "     the device), or memory that another process gave back just after.\n", ++number);
    if (x->planned) put_changes(x, &number, out);
    else put_general(x, &number, out);
}

void fm_explain_text(const struct fm_explanation *x, struct fm_buf *out)
{
    const struct fm_oom *m = &x->oom;
    fm_buf_printf(out, "%s", fm_oom_kind_title(m->kind));
    if (m->device >= 0) fm_buf_printf(out, ", device %" PRId64, m->device);
    fm_buf_printf(out, " (line %zu, column %zu)\n", m->line, m->column);
    put_numbers(x, out);
    if (m->kind == FM_OOM_BARE) fm_buf_puts(out, "  The error has no numbers. PyTorch's own message, TensorFlow's or nvidia-smi at that moment would have them.\n");
    if (x->searched) put_matches(x, out);
    else if (x->cells) fm_buf_puts(out, "\nThe message does not say how much was requested, so no tensor can be found by its size.\n");
    put_advice(x, out);
}
