/* Reads the files of recorded values that the scripts of tests/reference write (tests/data/op_values.txt): lines
 *     case NAME OPERATOR / attr KEY VALUE... / tensor ROLE DTYPE NDIM SIZE... then its values / end
 * and lines beginning with '#'. */
#ifndef FM_TESTS_SUPPORT_VALUES_H
#define FM_TESTS_SUPPORT_VALUES_H

#include "tuner/base/status.h"
#include "workloads/program/program.h"

#include <stdio.h>

#define FM_VALUES_ITEMS 48

struct fm_values_tensor {
    char role[48];
    enum fm_dtype dtype;
    int ndim;
    int64_t size[FM_MAX_DIMS], count;
    double *values;                     /* owned by the case; row-major */
};

struct fm_values_case {
    char name[64], operator[32];
    int attrs, tensors;
    struct { char key[24]; int count; double value[8]; } attr[FM_VALUES_ITEMS];
    struct fm_values_tensor tensor[FM_VALUES_ITEMS];
};

/* The next case of a file, whose name is for messages; *found false at its end. Release the case each time. */
fm_status fm_values_next(FILE *file, struct fm_values_case *c, bool *found, struct fm_err *err) FM_MUST_USE;
void fm_values_release(struct fm_values_case *c);

/* NULL if the case has none */
const struct fm_values_tensor *fm_values_tensor(const struct fm_values_case *c, const char *role);
/* value i of an attribute, `absent` if there is none */
double fm_values_attr(const struct fm_values_case *c, const char *key, int i, double absent);

#endif
