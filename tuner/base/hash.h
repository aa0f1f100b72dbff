/* FNV-1a, 64 bits: identities and journal checksums. Not for adversaries. */
#ifndef FM_TUNER_BASE_HASH_H
#define FM_TUNER_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define FM_HASH_INIT UINT64_C(0xcbf29ce484222325)
#define FM_HASH_TEXT_BYTES 17       /* 16 hexadecimal digits and the NUL */

uint64_t fm_hash_add(uint64_t hash, const void *data, size_t bytes);
uint64_t fm_hash_text(uint64_t hash, const char *text);      /* the NUL included, so that "ab","c" != "a","bc" */
/* mixes one word at a time: fast, for keys of tables in memory */
static inline uint64_t fm_hash_word(uint64_t hash, uint64_t word)
{
    hash ^= word;
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ (hash >> 29);
}
void fm_hash_print(uint64_t hash, char text[FM_HASH_TEXT_BYTES]);

#endif
