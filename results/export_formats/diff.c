#include "results/export_formats/diff.h"

#include <stdint.h>
#include <string.h>

#include "tuner/base/memory.h"

#define CONTEXT 3

/* a text's lines, each with its newline if it has one */
struct lines {
    const char **start;
    size_t *bytes;
    size_t count, start_capacity, bytes_capacity;
};

struct diff {
    struct lines before, after;
    int32_t **trace;            /* of each edit distance d: the furthest `before` line on each diagonal */
    size_t traces, trace_capacity;
    bool *removed, *added;      /* of the lines */
};

static bool split(const struct fm_buf *text, struct lines *out)
{
    const char *at = fm_buf_text(text), *end = at + text->bytes;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t bytes = newline ? (size_t)(newline + 1 - at) : (size_t)(end - at);
        const char **start = fm_grow(out->start, &out->start_capacity, out->count + 1, sizeof *start);
        if (!start) return false;
        out->start = start;
        size_t *sizes = fm_grow(out->bytes, &out->bytes_capacity, out->count + 1, sizeof *sizes);
        if (!sizes) return false;
        out->bytes = sizes;
        start[out->count] = at;
        sizes[out->count++] = bytes;
        at += bytes;
    }
    return true;
}

static bool same(const struct diff *d, int64_t i, int64_t k)
{
    return d->before.bytes[i] == d->after.bytes[k] && memcmp(d->before.start[i], d->after.start[k], d->before.bytes[i]) == 0;
}

/* The furthest line of `before` on diagonal k (before - after) with distance `edits`, from the distance before it. */
static int32_t step(const struct diff *d, const int32_t *last, int32_t edits, int32_t k)
{
    int32_t x;
    if (!last) x = 0;
    /* last[] holds the diagonals -(edits - 1) ... edits - 1 */
    else if (k == -edits) x = last[k + 1 + edits - 1];
    else if (k == edits) x = last[k - 1 + edits - 1] + 1;
    else {
        int32_t down = k + 1 <= edits - 1 ? last[k + 1 + edits - 1] : -1;
        int32_t right = k - 1 >= -(edits - 1) ? last[k - 1 + edits - 1] + 1 : -1;
        x = down > right ? down : right;
    }
    int64_t y = (int64_t)x - k;
    while (x >= 0 && y >= 0 && (size_t)x < d->before.count && (size_t)y < d->after.count && same(d, x, y)) x++, y++;
    return x;
}

/* fills trace until both texts are used up; false: no memory */
static bool search(struct diff *d)
{
    int64_t n = (int64_t)d->before.count, m = (int64_t)d->after.count;
    for (int32_t edits = 0;; edits++) {
        int32_t **trace = fm_grow(d->trace, &d->trace_capacity, d->traces + 1, sizeof *trace);
        if (!trace) return false;
        d->trace = trace;
        int32_t *row = fm_calloc((size_t)edits * 2 + 1, sizeof *row);
        if (!row) return false;
        const int32_t *last = d->traces ? trace[d->traces - 1] : NULL;
        trace[d->traces++] = row;
        bool over = false;
        for (int32_t k = -edits; k <= edits; k++) {
            row[k + edits] = INT32_MIN / 2;
            if ((k + edits) % 2) continue;
            row[k + edits] = step(d, last, edits, k);
            over = over || (row[k + edits] >= n && row[k + edits] - k >= m && k == n - m);
        }
        if (over) return true;
    }
}

/* back from the end: which lines went and came */
static void walk(struct diff *d)
{
    int64_t x = (int64_t)d->before.count, y = (int64_t)d->after.count;
    for (int32_t edits = (int32_t)d->traces - 1; edits > 0; edits--) {
        const int32_t *last = d->trace[edits - 1];
        int32_t k = (int32_t)(x - y);
        int32_t down = k + 1 <= edits - 1 ? last[k + 1 + edits - 1] : INT32_MIN / 2;
        int32_t right = k - 1 >= -(edits - 1) ? last[k - 1 + edits - 1] + 1 : INT32_MIN / 2;
        bool added = k == -edits || (k != edits && down > right);
        int64_t from = added ? down : right;        /* where this edit left off, before equal lines */
        if (added) d->added[from - k - 1] = true;
        else d->removed[from - 1] = true;
        x = added ? from : from - 1;
        y = added ? from - k - 1 : from - k;
    }
}

/* ---- hunks ---- */

static void put_line(const struct lines *lines, size_t i, char mark, struct fm_buf *out)
{
    fm_buf_putc(out, mark);
    fm_buf_add(out, lines->start[i], lines->bytes[i]);
    if (lines->start[i][lines->bytes[i] - 1] != '\n') fm_buf_puts(out, "\n\\ No newline at end of file\n");
}

/* where the lines at (i, k) and behind them are equal for more than two contexts, or to the end */
static bool quiet(const struct diff *d, size_t i, size_t k)
{
    for (size_t n = 0; n <= 2 * CONTEXT; n++, i++, k++) {
        if (i >= d->before.count && k >= d->after.count) return true;
        if ((i < d->before.count && d->removed[i]) || (k < d->after.count && d->added[k])) return false;
    }
    return true;
}

static void put_range(struct fm_buf *out, char mark, size_t from, size_t count)
{
    fm_buf_printf(out, "%c%zu", mark, count ? from + 1 : from);
    if (count != 1) fm_buf_printf(out, ",%zu", count);
}

/* the lines of a hunk, from (i, k) on for that many of each text */
static void put_hunk(const struct diff *d, size_t i, size_t k, size_t before, size_t after, struct fm_buf *out)
{
    size_t i_end = i + before, k_end = k + after;
    fm_buf_puts(out, "@@ ");
    put_range(out, '-', i, before);
    fm_buf_putc(out, ' ');
    put_range(out, '+', k, after);
    fm_buf_puts(out, " @@\n");
    while (i < i_end || k < k_end) {
        if (i < i_end && d->removed[i]) put_line(&d->before, i++, '-', out);
        else if (k < k_end && d->added[k]) put_line(&d->after, k++, '+', out);
        else put_line(&d->before, i++, ' ', out), k++;
    }
}

static void put_hunks(const struct diff *d, struct fm_buf *out)
{
    size_t i = 0, k = 0;
    while (i < d->before.count || k < d->after.count) {
        bool changed = (i < d->before.count && d->removed[i]) || (k < d->after.count && d->added[k]);
        if (!changed) {
            i++, k++;
            continue;
        }
        size_t lead = i < CONTEXT ? i : CONTEXT;
        size_t i_end = i, k_end = k;
        while (!quiet(d, i_end, k_end)) {
            if (i_end < d->before.count && d->removed[i_end]) i_end++;
            else if (k_end < d->after.count && d->added[k_end]) k_end++;
            else i_end++, k_end++;
        }
        size_t tail = d->before.count - i_end < CONTEXT ? d->before.count - i_end : CONTEXT;
        put_hunk(d, i - lead, k - lead, i_end + tail - (i - lead), k_end + tail - (k - lead), out);
        i = i_end;
        k = k_end;
    }
}

static void release(struct diff *d)
{
    for (size_t i = 0; i < d->traces; i++) fm_free(d->trace[i]);
    fm_free(d->trace);
    fm_free(d->before.start);
    fm_free(d->before.bytes);
    fm_free(d->after.start);
    fm_free(d->after.bytes);
    fm_free(d->removed);
    fm_free(d->added);
}

fm_status fm_diff_unified(const char *name, const struct fm_buf *before, const struct fm_buf *after, struct fm_buf *out,
                          struct fm_err *err)
{
    struct diff d = { 0 };
    if (before->bytes == after->bytes && memcmp(fm_buf_text(before), fm_buf_text(after), before->bytes) == 0) return FM_OK;
    bool good = split(before, &d.before) && split(after, &d.after);
    if (good) {
        d.removed = fm_calloc(d.before.count + 1, sizeof *d.removed);
        d.added = fm_calloc(d.after.count + 1, sizeof *d.added);
        good = d.removed && d.added && search(&d);
    }
    if (good) {
        walk(&d);
        fm_buf_printf(out, "--- %s\n+++ %s\n", name, name);
        put_hunks(&d, out);
    }
    release(&d);
    return good && fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "%s: no memory for the difference", name);
}
