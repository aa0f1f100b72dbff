#include "results/grid.h"

#include <string.h>

#include "probes/protocol/json.h"
#include "tuner/base/memory.h"

/* what stands at text[0..n): a terminal's control characters are below 0x20, 0x7f, and U+0080 ... U+009F */
static bool is_control(const char *text, size_t n)
{
    unsigned char a = (unsigned char)text[0], b = n > 1 ? (unsigned char)text[1] : 0;
    return a < 0x20 || a == 0x7f || (a == 0xc2 && n == 2 && b < 0xa0);
}

static void put(struct fm_buf *out, const char *text, const char *escaped)
{
    size_t bytes = strlen(text), n;
    for (size_t i = 0; i < bytes; i += n ? n : 1) {
        n = fm_utf8_length(text + i, bytes - i);
        if (n == 0 || is_control(text + i, n)) {
            fm_buf_putc(out, '?');
            continue;
        }
        if (n == 1 && strchr(escaped, text[i])) fm_buf_putc(out, '\\');
        fm_buf_add(out, text + i, n);
    }
}

void fm_put_plain(struct fm_buf *out, const char *text)
{
    put(out, text, "");
}

void fm_put_markdown(struct fm_buf *out, const char *text)
{
    put(out, text, "\\`*|<>[]~");
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; text && *text; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

bool fm_grid_column(struct fm_grid *grid, const char *above, const char *title, bool right)
{
    if (grid->columns == FM_GRID_COLUMNS) return false;
    grid->column[grid->columns].above = above;
    grid->column[grid->columns].title = title;
    grid->column[grid->columns++].right = right;
    return true;
}

void fm_grid_row(struct fm_grid *grid)
{
    size_t had = grid->rows * grid->columns;
    char **text = fm_grow(grid->text, &grid->capacity, had + grid->columns, sizeof *text);
    if (!text) {
        grid->failed = true;
        return;
    }
    grid->text = text;
    memset(text + had, 0, grid->columns * sizeof *text);
    grid->rows++;
}

void fm_grid_put(struct fm_grid *grid, size_t column, const char *text)
{
    if (grid->failed || !grid->rows) return;
    struct fm_buf plain = FM_BUF(1 << 16);
    fm_put_plain(&plain, text);
    char **at = &grid->text[(grid->rows - 1) * grid->columns + column];
    fm_free(*at);
    *at = fm_buf_ok(&plain) ? fm_strdup(fm_buf_text(&plain)) : NULL;
    grid->failed = !*at;
    fm_buf_release(&plain);
}

void fm_grid_release(struct fm_grid *grid)
{
    for (size_t i = 0; i < grid->rows * grid->columns; i++) fm_free(grid->text[i]);
    fm_free(grid->text);
    *grid = (struct fm_grid){ 0 };
}

static const char *text_at(const struct fm_grid *grid, size_t row, size_t column)
{
    const char *text = grid->text[row * grid->columns + column];
    return text ? text : "";
}

static void put_padded(struct fm_buf *out, const char *text, size_t width, bool right)
{
    size_t have = width_of(text), pad = have < width ? width - have : 0;
    if (right) fm_buf_printf(out, "%*s", (int)pad, "");
    fm_buf_puts(out, text);
    if (!right) fm_buf_printf(out, "%*s", (int)pad, "");
}

/* no blanks at the ends of lines */
static void end_line(struct fm_buf *out, size_t start)
{
    while (fm_buf_ok(out) && out->bytes > start && out->data[out->bytes - 1] == ' ') out->data[--out->bytes] = '\0';
    fm_buf_putc(out, '\n');
}

static void text_line(const struct fm_grid *grid, const char *const *texts, const size_t *width, int indent, struct fm_buf *out)
{
    size_t start = out->bytes;
    fm_buf_printf(out, "%*s", indent, "");
    for (size_t c = 0; c < grid->columns; c++) {
        if (c) fm_buf_puts(out, "  ");
        put_padded(out, texts[c] ? texts[c] : "", width[c], grid->column[c].right);
    }
    end_line(out, start);
}

void fm_grid_text(const struct fm_grid *grid, int indent, struct fm_buf *out)
{
    const char *texts[FM_GRID_COLUMNS];
    size_t width[FM_GRID_COLUMNS];
    bool above = false;
    if (grid->failed) out->failed = true;
    if (grid->failed) return;
    for (size_t c = 0; c < grid->columns; c++) {
        size_t a = width_of(grid->column[c].above), b = width_of(grid->column[c].title);
        above = above || a;
        width[c] = a > b ? a : b;
        for (size_t r = 0; r < grid->rows; r++) {
            size_t n = width_of(text_at(grid, r, c));
            if (n > width[c]) width[c] = n;
        }
    }
    for (size_t c = 0; c < grid->columns; c++) texts[c] = grid->column[c].above;
    if (above) text_line(grid, texts, width, indent, out);
    for (size_t c = 0; c < grid->columns; c++) texts[c] = grid->column[c].title;
    text_line(grid, texts, width, indent, out);
    for (size_t r = 0; r < grid->rows; r++) {
        for (size_t c = 0; c < grid->columns; c++) texts[c] = text_at(grid, r, c);
        text_line(grid, texts, width, indent, out);
    }
}

void fm_grid_markdown(const struct fm_grid *grid, struct fm_buf *out)
{
    if (grid->failed) out->failed = true;
    if (grid->failed) return;
    for (size_t c = 0; c < grid->columns; c++) {
        fm_buf_puts(out, c ? " | " : "| ");
        if (grid->column[c].above) fm_buf_printf(out, "%s ", grid->column[c].above);
        fm_put_markdown(out, grid->column[c].title);
    }
    fm_buf_puts(out, " |\n");
    for (size_t c = 0; c < grid->columns; c++) fm_buf_puts(out, grid->column[c].right ? "|---:" : "|---");
    fm_buf_puts(out, "|\n");
    for (size_t r = 0; r < grid->rows; r++) {
        for (size_t c = 0; c < grid->columns; c++) {
            fm_buf_puts(out, c ? " | " : "| ");
            fm_put_markdown(out, text_at(grid, r, c));
        }
        fm_buf_puts(out, " |\n");
    }
}
