#include "results/xml.h"

#include "results/grid.h"

void fm_put_xml(struct fm_buf *out, const char *text)
{
    struct fm_buf plain = FM_BUF(1 << 16);
    fm_put_plain(&plain, text);
    for (const char *c = fm_buf_text(&plain); *c; c++) {
        switch (*c) {
        case '&': fm_buf_puts(out, "&amp;"); break;
        case '<': fm_buf_puts(out, "&lt;"); break;
        case '>': fm_buf_puts(out, "&gt;"); break;
        case '"': fm_buf_puts(out, "&quot;"); break;
        case '\'': fm_buf_puts(out, "&apos;"); break;
        default: fm_buf_putc(out, *c);
        }
    }
    if (!fm_buf_ok(&plain)) out->failed = true;
    fm_buf_release(&plain);
}
