#include "workloads/program/program.h"

#include <string.h>

static const char *const dtype_names[] = {
#define X(name, text, bytes) text,
    FM_DTYPE_LIST(X)
#undef X
};

const char *fm_dtype_name(enum fm_dtype dtype)
{
    return (unsigned)dtype < FM_DTYPE_COUNT ? dtype_names[dtype] : "?";
}

enum fm_dtype fm_dtype_parse(const char *name)
{
    for (int i = 0; i < FM_DTYPE_COUNT; i++)
        if (strcmp(dtype_names[i], name) == 0) return (enum fm_dtype)i;
    return FM_DTYPE_COUNT;
}

const char *fm_kernel_name(enum fm_kernel kernel)
{
    static const char *const names[] = {
#define X(name, scratch) #name,
        FM_KERNEL_LIST(X)
#undef X
    };
    return (unsigned)kernel < FM_KERNEL_COUNT ? names[kernel] : "?";
}

int fm_kernel_scratch(enum fm_kernel kernel)
{
    static const uint8_t scratches[] = {
#define X(name, scratch) scratch,
        FM_KERNEL_LIST(X)
#undef X
    };
    return (unsigned)kernel < FM_KERNEL_COUNT ? scratches[kernel] : 0;
}

const char *fm_section_name(enum fm_section section)
{
    static const char *const names[] = { "init", "train_first", "train", "val_first", "val", "val_exit" };
    return (unsigned)section < FM_SECTION_COUNT ? names[section] : "?";
}

const char *fm_storage_kind_name(enum fm_storage_kind kind)
{
    static const char *const names[] = {
#define X(name, text) text,
        FM_STORAGE_LIST(X)
#undef X
    };
    return (unsigned)kind < FM_STORAGE_KIND_COUNT ? names[kind] : "?";
}
