#include "tests/support/values.h"

#include "tuner/base/memory.h"

#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 4096

void fm_values_release(struct fm_values_case *c)
{
    for (int i = 0; i < c->tensors; i++) fm_free(c->tensor[i].values);
    *c = (struct fm_values_case){ 0 };
}

const struct fm_values_tensor *fm_values_tensor(const struct fm_values_case *c, const char *role)
{
    for (int i = 0; i < c->tensors; i++)
        if (strcmp(c->tensor[i].role, role) == 0) return &c->tensor[i];
    return NULL;
}

double fm_values_attr(const struct fm_values_case *c, const char *key, int i, double absent)
{
    for (int k = 0; k < c->attrs; k++)
        if (strcmp(c->attr[k].key, key) == 0 && i < c->attr[k].count) return c->attr[k].value[i];
    return absent;
}

/* up to `most` numbers of a line; how many, or -1 if something else stands there */
static int numbers(const char *text, double *values, int most)
{
    int count = 0;
    for (;; count++) {
        char *end = NULL;
        double value = strtod(text, &end);
        if (end == text) return text[strspn(text, " \t\r\n")] ? -1 : count;
        if (count == most) return -1;
        values[count] = value;
        text = end;
    }
}

static fm_status read_attr(struct fm_values_case *c, const char *line, struct fm_err *err)
{
    int used = 0;
    if (c->attrs == FM_VALUES_ITEMS || sscanf(line, "attr %23s%n", c->attr[c->attrs].key, &used) != 1)
        return FM_FAIL(err, FM_INVALID, "case %s: bad attribute: %s", c->name, line);
    c->attr[c->attrs].count = numbers(line + used, c->attr[c->attrs].value, 8);
    if (c->attr[c->attrs].count < 1) return FM_FAIL(err, FM_INVALID, "case %s: bad attribute: %s", c->name, line);
    c->attrs++;
    return FM_OK;
}

static fm_status read_tensor(FILE *file, struct fm_values_case *c, char *line, struct fm_err *err)
{
    char dtype[8];
    double size[FM_MAX_DIMS];
    int used = 0;
    struct fm_values_tensor *t = &c->tensor[c->tensors];
    if (c->tensors == FM_VALUES_ITEMS || sscanf(line, "tensor %47s %7s %d%n", t->role, dtype, &t->ndim, &used) != 3)
        return FM_FAIL(err, FM_INVALID, "case %s: bad tensor: %s", c->name, line);
    t->dtype = fm_dtype_parse(dtype);
    if (t->dtype == FM_DTYPE_COUNT || t->ndim < 0 || numbers(line + used, size, FM_MAX_DIMS) != t->ndim)
        return FM_FAIL(err, FM_INVALID, "case %s: bad tensor: %s", c->name, line);
    t->count = 1;
    for (int d = 0; d < t->ndim; d++) {
        if (!(size[d] >= 1 && size[d] <= 1e6)) return FM_FAIL(err, FM_INVALID, "case %s: bad size: %s", c->name, line);
        t->size[d] = (int64_t)size[d];
        t->count *= t->size[d];
    }
    t->values = fm_calloc((size_t)t->count, sizeof *t->values);
    if (!t->values) return FM_FAIL(err, FM_NOMEM, "case %s: %lld values", c->name, (long long)t->count);
    c->tensors++;
    for (int64_t at = 0; at < t->count;) {
        int64_t left = t->count - at;
        int got = fgets(line, LINE_BYTES, file) ? numbers(line, t->values + at, left < 64 ? (int)left : 64) : -1;
        if (got < 1)
            return FM_FAIL(err, FM_INVALID, "case %s, %s: %lld values missing", c->name, t->role, (long long)left);
        at += got;
    }
    return FM_OK;
}

fm_status fm_values_next(FILE *file, struct fm_values_case *c, bool *found, struct fm_err *err)
{
    char line[LINE_BYTES];
    fm_status status = FM_OK;
    *c = (struct fm_values_case){ 0 };
    *found = false;
    while (status == FM_OK && fgets(line, sizeof line, file)) {
        if (line[0] == '#' || line[0] == '\n') continue;
        if (!*found) {
            *found = sscanf(line, "case %63s %31s", c->name, c->operator) == 2;
            if (!*found) return FM_FAIL(err, FM_INVALID, "after the last case: %s", line);
        } else if (strncmp(line, "attr ", 5) == 0) status = read_attr(c, line, err);
        else if (strncmp(line, "tensor ", 7) == 0) status = read_tensor(file, c, line, err);
        else if (strcmp(line, "end\n") == 0) return FM_OK;
        else return FM_FAIL(err, FM_INVALID, "case %s: %s", c->name, line);
    }
    if (status == FM_OK && *found) return FM_FAIL(err, FM_INVALID, "case %s has no end", c->name);
    return status;
}
