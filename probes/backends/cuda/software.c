#include "probes/backends/cuda/software.h"

#include "tuner/base/memory.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RODATA_MOST_BYTES ((size_t)16 << 20)
#define SECTIONS_MOST 512

enum { DRIVER, RUNTIME, CUDNN, LT, NCCL, PARTS };
struct part {
    const char *name, *absent;      /* absent: what is said where it is not here */
    bool here;
    size_t cuda;                    /* it is made for; 0 unknown */
    char version[24], path[256];
};

/* ---- NCCL's file ---- */

static bool read_at(FILE *file, uint64_t offset, void *to, size_t bytes)
{
    return offset <= INT64_MAX && fseek(file, (long)offset, SEEK_SET) == 0 && fread(to, 1, bytes, file) == bytes;
}

/* the section of that name; false: there is none, or the file is no 64-bit ELF */
static bool find_section(FILE *file, const char *wanted, Elf64_Shdr *out)
{
    Elf64_Ehdr head;
    Elf64_Shdr names;
    char name[16];
    size_t length = strlen(wanted) + 1;
    if (!read_at(file, 0, &head, sizeof head) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return false;
    if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_shentsize != sizeof names || head.e_shnum > SECTIONS_MOST) return false;
    if (!read_at(file, head.e_shoff + head.e_shstrndx * sizeof names, &names, sizeof names)) return false;
    for (unsigned i = 0; i < head.e_shnum; i++) {
        if (!read_at(file, head.e_shoff + i * sizeof *out, out, sizeof *out)) return false;
        if (read_at(file, names.sh_offset + out->sh_name, name, length) && memcmp(name, wanted, length) == 0) return true;
    }
    return false;
}

/* "NCCL version 2.28.9+cuda13.0": 13000 */
static size_t cuda_in(const char *text, size_t bytes)
{
    static const char start[] = "NCCL version ", mark[] = "+cuda";
    for (size_t i = 0; i + sizeof start < bytes; i++) {
        if (memcmp(text + i, start, sizeof start - 1) != 0) continue;
        const char *at = strstr(text + i, mark);        /* the text ends in 0 */
        unsigned major = 0, minor = 0;
        char *end = NULL;
        if (!at || at - (text + i) > 40) continue;
        major = (unsigned)strtoul(at + sizeof mark - 1, &end, 10);
        if (*end == '.') minor = (unsigned)strtoul(end + 1, NULL, 10);
        if (major >= 9 && major < 100 && minor < 100) return 1000 * (size_t)major + 10 * minor;
    }
    return 0;
}

size_t fm_nccl_cuda(const char *path)
{
    Elf64_Shdr rodata;
    size_t cuda = 0;
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    if (find_section(file, ".rodata", &rodata) && rodata.sh_type != SHT_NOBITS) {
        size_t bytes = rodata.sh_size < RODATA_MOST_BYTES ? (size_t)rodata.sh_size : RODATA_MOST_BYTES;
        char *text = fm_calloc(bytes + 1, 1);
        if (text && read_at(file, rodata.sh_offset, text, bytes)) cuda = cuda_in(text, bytes);
        fm_free(text);
    }
    (void)fclose(file);
    return cuda;
}

/* ---- what is here ---- */

/* a library's function int (*)(int *): its version; false: the library or the function is not here */
static bool ask_version(const char *const file[2], const char *wheel, bool older, const char *name, struct part *out, int *version)
{
    int (*function)(int *);
    Dl_info info;
    void *handle = fm_cuda_open_file(file, wheel, older), *found = handle ? dlsym(handle, name) : NULL;
    if (!found) return false;
    memcpy(&function, &found, sizeof function);
    if (dladdr(found, &info) && info.dli_fname) (void)snprintf(out->path, sizeof out->path, "%.250s", info.dli_fname);
    return function(version) == 0 && *version > 0;
}

static void look_beside(const struct fm_cuda_libraries *l, struct part part[PARTS])
{
    static const char *const runtime[2] = { "libcudart.so.13", "libcudart.so.12" }, *const nccl[2] = { "libnccl.so.2", NULL };
    bool older = l->found[FM_CUDA_DRIVER].version < 13000;
    int version = 0;
    part[RUNTIME].here = ask_version(runtime, "cu*", older, "cudaRuntimeGetVersion", &part[RUNTIME], &version);
    if (part[RUNTIME].here) {
        part[RUNTIME].cuda = (size_t)version;
        fm_cuda_version_text((size_t)version, part[RUNTIME].version);
    }
    part[NCCL].here = ask_version(nccl, "nccl", false, "ncclGetVersion", &part[NCCL], &version);
    if (!part[NCCL].here) return;
    (void)snprintf(part[NCCL].version, sizeof part[NCCL].version, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    if (part[NCCL].path[0]) part[NCCL].cuda = fm_nccl_cuda(part[NCCL].path);
}

static void look(const struct fm_cuda_libraries *l, const char *driver, struct part part[PARTS])
{
    static const int used[] = { [DRIVER] = FM_CUDA_DRIVER, [CUDNN] = FM_CUDA_CUDNN, [LT] = FM_CUDA_LT };
    static const int which[] = { DRIVER, CUDNN, LT };
    for (size_t i = 0; i < 3; i++) {
        const struct fm_cuda_found *f = &l->found[used[which[i]]];
        struct part *p = &part[which[i]];
        p->here = f->here;
        p->cuda = f->cudart;
        (void)snprintf(p->path, sizeof p->path, "%s", f->path);
        if (which[i] != DRIVER && f->version) fm_cudnn_version_text(f->version, p->version);
    }
    (void)snprintf(part[DRIVER].version, sizeof part[DRIVER].version, "%.20s", driver);
    look_beside(l, part);
}

/* ---- do they fit? ---- */

__attribute__((format(printf, 3, 4)))
static void found(struct fm_device_info *out, const char *remedy, const char *format, ...)
{
    va_list args;
    if (out->findings == FM_MAX_FINDINGS) return;
    struct fm_finding *f = &out->finding[out->findings++];
    va_start(args, format);
    (void)vsnprintf(f->what, sizeof f->what, format, args);
    va_end(args);
    (void)snprintf(f->remedy, sizeof f->remedy, "%s", remedy);
}

static void check_driver(const struct part *driver, const struct part *p, struct fm_device_info *out)
{
    char knows[24], wants[24], newer[48], remedy[128];
    if (!p->here || !p->cuda || !driver->cuda || p->cuda <= driver->cuda) return;
    fm_cuda_version_text(driver->cuda, knows);
    fm_cuda_version_text(p->cuda, wants);
    /* within one major version newer libraries run on older drivers */
    fm_cuda_driver_text(p->cuda / 1000 * 1000, newer);
    (void)snprintf(remedy, sizeof remedy, "install a newer driver (%s), or this library for an older CUDA", newer);
    if (p->cuda / 1000 > driver->cuda / 1000)
        found(out, remedy, "%s is made for CUDA %s, the driver knows CUDA up to %s: it does not run", p->name, wants, knows);
    else
        found(out, "a newer driver lifts that", "%s is made for CUDA %s, the driver knows CUDA up to %s: it runs, but for what is compiled at run time",
              p->name, wants, knows);
}

static void check_all(const struct part part[PARTS], struct fm_device_info *out)
{
    const struct part *dnn = &part[CUDNN];
    for (int i = DRIVER + 1; i < PARTS; i++) check_driver(&part[DRIVER], &part[i], out);
    for (int i = DRIVER + 1; i < PARTS; i++) {
        const struct part *p = &part[i];
        if (i == CUDNN || !p->here || !p->cuda || !dnn->cuda || p->cuda / 1000 == dnn->cuda / 1000) continue;
        if (part[DRIVER].cuda && p->cuda / 1000 > part[DRIVER].cuda / 1000) continue;       /* said already */
        found(out, "install both for the same CUDA", "cuDNN is for CUDA %zu, %s for CUDA %zu", dnn->cuda / 1000, p->name, p->cuda / 1000);
    }
}

void fm_cuda_software(const struct fm_cuda_libraries *l, const char *driver, struct fm_device_info *out)
{
    struct part part[PARTS] = {
        [DRIVER] = { .name = "driver", .absent = "install it, or start the container with its GPUs (--gpus all)" },
        [RUNTIME] = { .name = "CUDA's runtime", .absent = "fillmark does not need it" },
        [CUDNN] = { .name = "cuDNN", .absent = "pip install nvidia-cudnn-cu13, or the package libcudnn9-cuda-13" },
        [LT] = { .name = "cuBLASLt", .absent = "pip install nvidia-cublas, or the package libcublas-13-0" },
        [NCCL] = { .name = "NCCL", .absent = "only trainings on several GPUs need it: pip install nvidia-nccl-cu13, or the package libnccl2" },
    };
    look(l, driver, part);
    for (int i = 0; i < PARTS && out->softwares < FM_MAX_SOFTWARE; i++) {
        struct fm_software *s = &out->software[out->softwares++];
        (void)snprintf(s->name, sizeof s->name, "%s", part[i].name);
        (void)snprintf(s->version, sizeof s->version, "%s", part[i].version);
        (void)snprintf(s->path, sizeof s->path, "%.250s", part[i].path);
        if (part[i].cuda) fm_cuda_version_text(part[i].cuda, s->cuda);
        if (!part[i].here && !part[i].path[0]) (void)snprintf(s->absent, sizeof s->absent, "%s", part[i].absent);
    }
    check_all(part, out);
}
