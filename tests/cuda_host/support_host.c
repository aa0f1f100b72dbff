#include "tests/cuda_host/support_host.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *folder = FM_BINARY_DIR "/fake_cuda";

void fm_fake(const char *options)
{
    assert_int_equal(setenv("FAKE_CUDA", options, 1), 0);
    assert_int_equal(setenv("FILLMARK_CUDA_LIBS", folder, 1), 0);
}

void fm_fake_folder(const char *below)
{
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/fake_cuda%s%s", FM_BINARY_DIR, *below ? "/" : "", below);
    folder = path;
}

struct fm_backend *fm_fake_open(const char *options)
{
    struct fm_backend *backend = NULL;
    struct fm_err err = { 0 };
    fm_fake(options);
    if (fm_backend_cuda.open(&(struct fm_backend_config){ .device = "cuda:0" }, &backend, &err) != FM_OK) fail_msg("%s", err.text);
    return backend;
}

static void *symbol(const char *file, const char *name)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/fake_cuda/%s", FM_BINARY_DIR, file);
    void *handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD), *found = handle ? dlsym(handle, name) : NULL;
    assert_non_null(found);
    (void)dlclose(handle);
    return found;
}

size_t fm_fake_size(const char *file, const char *counter)
{
    size_t (*function)(void);
    void *found = symbol(file, counter);
    memcpy(&function, &found, sizeof found);
    return function();
}

int fm_fake_int(const char *file, const char *counter)
{
    int (*function)(void);
    void *found = symbol(file, counter);
    memcpy(&function, &found, sizeof found);
    return function();
}

double fm_host_tolerance(double most) { return most; }
