/* Element types, with the bytes that PyTorch gives them. */
#ifndef FM_WORKLOADS_PROGRAM_DTYPE_H
#define FM_WORKLOADS_PROGRAM_DTYPE_H

#include <stdint.h>

/* name, bytes. f64 exists for the oracle alone. bool is one byte, 0 or 1. */
#define FM_DTYPE_LIST(X) X(F32, "f32", 4) X(F16, "f16", 2) X(BF16, "bf16", 2) X(F64, "f64", 8) X(I64, "i64", 8) X(BOOL, "bool", 1)

#define X(name, text, bytes) FM_##name,
enum fm_dtype { FM_DTYPE_LIST(X) FM_DTYPE_COUNT };
#undef X

static inline int64_t fm_dtype_bytes(enum fm_dtype dtype)
{
    static const uint8_t bytes[] = {
#define X(name, text, bytes) bytes,
        FM_DTYPE_LIST(X)
#undef X
    };
    return bytes[dtype];
}

const char *fm_dtype_name(enum fm_dtype dtype);
/* FM_DTYPE_COUNT if unknown */
enum fm_dtype fm_dtype_parse(const char *name);

#endif
