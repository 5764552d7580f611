/* Internal: SipHash-2-4, a checksum that nobody can compute who doesn't have the key. */
#ifndef WRT_CORE_SIPHASH_H
#define WRT_CORE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* A message that is being hashed. */
typedef struct wrt__siphash {
    uint64_t v[4];
    uint64_t size; /* bytes so far */
} wrt__siphash;

void wrt__siphash_begin(wrt__siphash *hash, const uint64_t key[2]);

/* Takes eight bytes of the message, the first one lowest. */
void wrt__siphash_word(wrt__siphash *hash, uint64_t word);

/* Takes the rest of the message, of any size, and gives the result. */
uint64_t wrt__siphash_end(wrt__siphash *hash, const uint8_t *bytes, size_t size);

/* Eight bytes with the first one lowest, as the hash reads message and key. */
uint64_t wrt__siphash_read(const uint8_t *bytes, size_t size);

#endif
