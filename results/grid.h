/* A table of short texts, written aligned for a terminal or as Markdown.
 *
 * Texts may come from anywhere: control characters become '?', Markdown's own marks are escaped. Widths count UTF-8
 * characters, each one column wide. Failures are sticky, as a buffer's. */
#ifndef FM_RESULTS_GRID_H
#define FM_RESULTS_GRID_H

#include <stdbool.h>
#include <stddef.h>

#include "tuner/base/buf.h"

#define FM_GRID_COLUMNS 40
#define FM_UNKNOWN_TEXT "\xe2\x80\x93"      /* – */

struct fm_grid {
    struct {
        const char *above, *title;          /* two lines of the title; above may be NULL; borrowed */
        bool right;
    } column[FM_GRID_COLUMNS];
    char **text;                            /* rows * columns, NULL is empty; owned */
    size_t columns, rows, capacity;
    bool failed;
};

/* false: FM_GRID_COLUMNS are there already */
bool fm_grid_column(struct fm_grid *grid, const char *above, const char *title, bool right);
void fm_grid_row(struct fm_grid *grid);     /* all columns must be there */
/* into the last row */
void fm_grid_put(struct fm_grid *grid, size_t column, const char *text);
void fm_grid_release(struct fm_grid *grid);

/* each line begins with `indent` spaces */
void fm_grid_text(const struct fm_grid *grid, int indent, struct fm_buf *out);
void fm_grid_markdown(const struct fm_grid *grid, struct fm_buf *out);

/* the text with what a terminal, or Markdown too, would take as its own made harmless */
void fm_put_plain(struct fm_buf *out, const char *text);
void fm_put_markdown(struct fm_buf *out, const char *text);

#endif
