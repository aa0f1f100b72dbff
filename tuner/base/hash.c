#include "tuner/base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t fm_hash_add(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *byte = data;
    for (size_t i = 0; i < bytes; i++) {
        hash ^= byte[i];
        hash *= UINT64_C(0x100000001b3);
    }
    return hash;
}

uint64_t fm_hash_text(uint64_t hash, const char *text)
{
    return fm_hash_add(hash, text, strlen(text) + 1);
}

void fm_hash_print(uint64_t hash, char text[FM_HASH_TEXT_BYTES])
{
    (void)snprintf(text, FM_HASH_TEXT_BYTES, "%016" PRIx64, hash);
}
