/* Internal: the guest's memory, as the calls see it. Each access is checked here, in 64 bits, and
 * structures are copied out before they are looked at, so that a sealed worker, which shares the
 * memory and may be in other hands than its engine's, cannot change what has been checked. */
#ifndef WRT_WASI_GUEST_H
#define WRT_WASI_GUEST_H

#include "wrt_platform/instance.h"
#include <string.h>

typedef struct wasi_guest {
    uint8_t *base;
    uint64_t bytes;
    wrt_instance *caller;
} wasi_guest;

static inline bool wrt__guest_has(const wasi_guest *guest, uint32_t address, uint64_t size)
{
    return size <= guest->bytes && address <= guest->bytes - size;
}

/* Copies out; false if it does not lie inside. The compiler may not read it a second time. */
static inline bool wrt__guest_copy(const wasi_guest *guest, uint32_t address, void *copy_out,
                                   uint32_t size)
{
    if (!wrt__guest_has(guest, address, size)) return false;
    memcpy(copy_out, guest->base + address, size);
    __asm__ volatile("" : : "r"(copy_out) : "memory");
    return true;
}

static inline uint64_t wrt__load(const uint8_t *bytes, uint32_t size)
{
    uint64_t value = 0;

    for (uint32_t i = size; i > 0; i--) value = value << 8 | bytes[i - 1];
    return value;
}

static inline void wrt__store(uint8_t *bytes, uint32_t size, uint64_t value)
{
    for (uint32_t i = 0; i < size; i++, value >>= 8) bytes[i] = (uint8_t)value;
}

/* The next three are for places that wrt__guest_has() has seen. */
static inline void wrt__guest_put(const wasi_guest *guest, uint32_t address, const void *bytes,
                                  uint32_t size)
{
    if (size != 0) memcpy(guest->base + address, bytes, size);
}

static inline void wrt__guest_put32(const wasi_guest *guest, uint32_t address, uint64_t value)
{
    wrt__store(guest->base + address, 4, value);
}

static inline void wrt__guest_put64(const wasi_guest *guest, uint32_t address, uint64_t value)
{
    wrt__store(guest->base + address, 8, value);
}

#endif
