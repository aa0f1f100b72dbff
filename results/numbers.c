#include "results/numbers.h"

#include <math.h>
#include <string.h>

#include "results/grid.h"

void fm_put_count(struct fm_buf *out, int64_t count)
{
    if (count < 0) fm_buf_puts(out, FM_UNKNOWN_TEXT);
    else fm_buf_printf(out, "%lld", (long long)count);
}

void fm_put_gib(struct fm_buf *out, int64_t bytes)
{
    if (bytes < 0) fm_buf_puts(out, FM_UNKNOWN_TEXT);
    else fm_buf_printf(out, "%.3f", (double)bytes / 0x1p30);
}

void fm_put_size(struct fm_buf *out, int64_t bytes)
{
    if (bytes < 0) fm_buf_puts(out, FM_UNKNOWN_TEXT);
    else if (bytes >= INT64_C(1) << 30) fm_buf_printf(out, "%.3f GiB", (double)bytes / 0x1p30);
    else if (bytes >= INT64_C(1) << 20) fm_buf_printf(out, "%.1f MiB", (double)bytes / 0x1p20);
    else if (bytes >= 1024) fm_buf_printf(out, "%.1f KiB", (double)bytes / 0x1p10);
    else fm_buf_printf(out, "%lld bytes", (long long)bytes);
}

void fm_put_gib_range(struct fm_buf *out, int64_t lo, int64_t hi)
{
    struct fm_buf a = FM_BUF(64), b = FM_BUF(64);
    fm_put_gib(&a, lo);
    fm_put_gib(&b, hi);
    fm_buf_puts(out, fm_buf_text(&a));
    if (strcmp(fm_buf_text(&a), fm_buf_text(&b)) != 0) fm_buf_printf(out, FM_UNKNOWN_TEXT "%s", fm_buf_text(&b));
    if (!fm_buf_ok(&a) || !fm_buf_ok(&b)) out->failed = true;
    fm_buf_release(&a);
    fm_buf_release(&b);
}

/* decimals that show four digits of a value */
static int decimals_of(double value)
{
    double magnitude = value != 0 ? floor(log10(fabs(value))) : 0;
    return magnitude >= 3 ? 0 : magnitude <= -6 ? 9 : 3 - (int)magnitude;
}

void fm_put_f64(struct fm_buf *out, double value)
{
    if (!isfinite(value)) fm_buf_puts(out, FM_UNKNOWN_TEXT);
    else fm_buf_printf(out, "%.*f", decimals_of(value), value);
}

void fm_put_interval(struct fm_buf *out, const struct fm_interval *interval)
{
    fm_put_f64(out, interval->point_known ? interval->point : NAN);
    if (!interval->point_known) return;
    if (!interval->interval_known) {
        fm_buf_puts(out, " ± " FM_UNKNOWN_TEXT);
        return;
    }
    double half = fmax(interval->hi - interval->point, interval->point - interval->lo);
    fm_buf_printf(out, " ± %.*f", decimals_of(interval->point), half);
}

void fm_put_scaled(struct fm_buf *out, double value, const char *unit)
{
    static const char *const prefixes[] = { "", "k", "M", "G", "T", "P" };
    size_t prefix = 0;
    if (!isfinite(value)) {
        fm_buf_printf(out, FM_UNKNOWN_TEXT " %s", unit);
        return;
    }
    for (; value >= 999.95 && prefix + 1 < sizeof prefixes / sizeof *prefixes; prefix++) value /= 1000;
    fm_buf_printf(out, "%.*f %s%s", prefix == 0 ? 0 : value < 9.995 ? 2 : 1, value, prefixes[prefix], unit);
}

void fm_put_duration(struct fm_buf *out, int64_t ns)
{
    if (ns < 0) fm_buf_puts(out, FM_UNKNOWN_TEXT);
    else if (ns < INT64_C(99950000000)) fm_buf_printf(out, "%.1f s", (double)ns * 1e-9);
    else fm_buf_printf(out, "%lld min %02lld s", (long long)(ns / 60000000000), (long long)(ns / 1000000000 % 60));
}
