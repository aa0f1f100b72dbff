#include "tuner/campaign/calibration.h"

#include "tuner/base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N FM_ROOFLINE_CLASS_COUNT
#define PRIOR 0.5                   /* how far efficiencies are expected apart, relative */
#define ROUNDS 20
#define LEAST_NOISE 0.002           /* relative; a step's time is not known better */
#define USUAL_NOISE 0.05            /* where the points are too few to tell */
#define BIWEIGHT 4.685              /* 95 % efficient for normal errors */
#define NORMAL_MAD 1.4826           /* standard deviation over median absolute deviation */

/* least squares of 1 = a . x, x >= 1, x near `centre` */
struct fit {
    const struct fm_calibration_point *point;
    size_t count;
    uint32_t skip;                  /* this cell takes no part; UINT32_MAX: all do */
    bool used[N];                   /* classes with a parameter of their own */
    int parameters;
    double centre;
    double *weight, *scratch;       /* per point */
    double x[N];                    /* 1 / efficiency; of used classes */
};

static void row_of(const struct fit *f, const struct fm_calibration_point *p, double a[N])
{
    memset(a, 0, N * sizeof *a);
    for (int c = 0; c < N; c++) a[f->used[c] ? c : FM_ROOFLINE_REST] += p->bound.seconds[c] / p->seconds;
}

static double times(const double a[N], const double x[N])
{
    double sum = 0;
    for (int c = 0; c < N; c++) sum += a[c] * x[c];
    return sum;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *value, size_t count)
{
    qsort(value, count, sizeof *value, by_value);
    return count % 2 ? value[count / 2] : (value[count / 2 - 1] + value[count / 2]) / 2;
}

/* Gaussian elimination of a positive definite system over the classes in `mask`; others of x stay */
static void solve(double m[N][N], double b[N], unsigned mask, double x[N])
{
    for (int k = 0; k < N; k++) {
        if (!(mask >> k & 1)) continue;
        for (int i = k + 1; i < N; i++) {
            if (!(mask >> i & 1)) continue;
            double share = m[i][k] / m[k][k];
            for (int j = k; j < N; j++) m[i][j] -= share * m[k][j];
            b[i] -= share * b[k];
        }
    }
    for (int k = N - 1; k >= 0; k--) {
        if (!(mask >> k & 1)) continue;
        double sum = b[k];
        for (int j = k + 1; j < N; j++)
            if (mask >> j & 1) sum -= m[k][j] * x[j];
        x[k] = sum / m[k][k];
    }
}

/* x of the classes in `free`, the others of `used` at 1; the quadratic's value there, infinite if some x is below 1 */
static double try_free(double m[N][N], const double b[N], unsigned used, unsigned free, double x[N])
{
    double left[N][N], right[N], value = 0;
    memcpy(left, m, sizeof left);
    for (int i = 0; i < N; i++) {
        x[i] = used >> i & 1 ? 1 : 0;
        right[i] = b[i];
        for (int j = 0; j < N; j++)
            if ((used & ~free) >> j & 1) right[i] -= m[i][j];
    }
    solve(left, right, free, x);
    for (int i = 0; i < N; i++) {
        if (used >> i & 1 && x[i] < 1) return INFINITY;
        value += x[i] * (times(m[i], x) - 2 * b[i]);
    }
    return value;
}

/* The minimum under x >= 1 frees some of the parameters and fixes the others: of all such choices the best. */
static void minimise(struct fit *f, double m[N][N], const double b[N])
{
    unsigned used = 0;
    double best = INFINITY, x[N];
    for (int c = 0; c < N; c++) used |= (unsigned)f->used[c] << c;
    for (unsigned free = used;; free = (free - 1) & used) {
        double value = try_free(m, b, used, free, x);
        if (value < best) {
            best = value;
            memcpy(f->x, x, sizeof x);
            if (free == used) break;        /* no bound is met: nothing is better */
        }
        if (!free) break;
    }
}

static void solve_weighted(struct fit *f, double noise)
{
    double m[N][N] = { { 0 } }, b[N] = { 0 }, a[N], pull = noise / PRIOR * (noise / PRIOR);
    for (size_t i = 0; i < f->count; i++) {
        row_of(f, &f->point[i], a);
        for (int r = 0; r < N; r++) {
            for (int c = 0; c < N; c++) m[r][c] += f->weight[i] * a[r] * a[c];
            b[r] += f->weight[i] * a[r];
        }
    }
    for (int c = 0; c < N; c++) {
        if (!f->used[c]) continue;
        m[c][c] += pull / (f->centre * f->centre);
        b[c] += pull / f->centre;
    }
    minimise(f, m, b);
}

static bool takes_part(const struct fit *f, size_t i) { return f->point[i].cell != f->skip; }

/* weights from the residuals; returns the noise that they show */
static double weigh(struct fit *f)
{
    double a[N];
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++) {
        row_of(f, &f->point[i], a);
        if (takes_part(f, i)) f->scratch[n++] = fabs(times(a, f->x) - 1);
    }
    double noise = n ? NORMAL_MAD * median(f->scratch, n) : USUAL_NOISE;
    if (noise < LEAST_NOISE) noise = LEAST_NOISE;
    bool enough = n >= 2 * (size_t)f->parameters;
    for (size_t i = 0; i < f->count; i++) {
        row_of(f, &f->point[i], a);
        double far = (times(a, f->x) - 1) / (BIWEIGHT * noise), near = 1 - far * far;
        f->weight[i] = !takes_part(f, i) || (enough && near <= 0) ? 0 : enough ? near * near : 1;
    }
    return enough ? noise : USUAL_NOISE;
}

static bool fit(struct fit *f)
{
    size_t n = 0;
    f->parameters = 0;
    for (int c = 0; c < N; c++) f->used[c] = c == FM_ROOFLINE_REST;
    for (size_t i = 0; i < f->count; i++) {
        const struct fm_calibration_point *p = &f->point[i];
        double whole = fm_roofline_seconds(&p->bound);
        if (!takes_part(f, i)) continue;
        for (int c = 0; c < N; c++) f->used[c] |= p->bound.seconds[c] >= FM_CALIBRATION_SHARE * whole;
        f->scratch[n++] = p->seconds / whole;
    }
    if (!n) return false;
    for (int c = 0; c < N; c++) f->parameters += f->used[c];
    f->centre = fmax(1, median(f->scratch, n));
    for (int c = 0; c < N; c++) f->x[c] = f->used[c] ? f->centre : 0;
    for (int round = 0; round < ROUNDS; round++) solve_weighted(f, weigh(f));
    return true;
}

static void store(const struct fit *f, struct fm_calibration *out)
{
    *out = (struct fm_calibration){ .points = f->count, .error = NAN };
    for (int c = 0; c < N; c++) {
        out->known[c] = f->used[c];
        out->efficiency[c] = f->used[c] ? 1 / f->x[c] : NAN;
    }
    for (size_t i = 0; i < f->count; i++) out->left_out += f->weight[i] <= 0;
}

/* median over cells, each predicted from all others, of its worst point's relative error; `error` has room for a cell a point */
static double error_of_others(struct fit *f, double *error)
{
    size_t cells = 0;
    for (size_t i = 0; i < f->count; i++) {
        bool first = true;
        for (size_t k = 0; k < i; k++) first = first && f->point[k].cell != f->point[i].cell;
        f->skip = f->point[i].cell;
        if (!first || !fit(f)) continue;
        struct fm_calibration without;
        enum fm_roofline_class missing;
        double worst = 0;
        store(f, &without);
        for (size_t k = i; k < f->count; k++) {
            if (f->point[k].cell != f->skip) continue;
            double off = fabs(fm_calibration_seconds(&without, &f->point[k].bound, &missing) / f->point[k].seconds - 1);
            if (!(off <= worst)) worst = off;
        }
        if (!isnan(worst)) error[cells++] = worst;
    }
    return cells >= 3 ? median(error, cells) : NAN;
}

fm_status fm_calibration_fit(const struct fm_calibration_point *point, size_t count, struct fm_calibration *out, struct fm_err *err)
{
    *out = (struct fm_calibration){ .error = NAN };
    if (!count) return FM_FAIL(err, FM_INVALID, "calibration: no measured steps");
    for (size_t i = 0; i < count; i++) {
        double whole = fm_roofline_seconds(&point[i].bound);
        if (!(whole > 0 && isfinite(whole) && point[i].seconds > 0 && isfinite(point[i].seconds)))
            return FM_FAIL(err, FM_INVALID, "calibration: point %zu: a bound of %g s, measured %g s", i, whole, point[i].seconds);
    }
    double *room = fm_calloc(3 * count, sizeof *room);
    if (!room) return FM_FAIL(err, FM_NOMEM, "calibration of %zu points", count);
    struct fit f = { .point = point, .count = count, .skip = UINT32_MAX, .weight = room, .scratch = room + count };
    (void)fit(&f);
    store(&f, out);
    out->error = error_of_others(&f, room + 2 * count);
    fm_free(room);
    return FM_OK;
}

double fm_calibration_seconds(const struct fm_calibration *calibration, const struct fm_roofline *bound, enum fm_roofline_class *missing)
{
    double whole = fm_roofline_seconds(bound), total = 0;
    for (int c = 0; c < N; c++) {
        bool known = calibration->known[c];
        if (!known && bound->seconds[c] >= FM_CALIBRATION_SHARE * whole) {
            *missing = (enum fm_roofline_class)c;
            return NAN;
        }
        total += bound->seconds[c] / calibration->efficiency[known ? c : FM_ROOFLINE_REST];
    }
    return total;
}
