/* Internal: LEB128 numbers of a module that has been validated: they end, and they fit. */
#ifndef WRT_ENGINE_LEB_H
#define WRT_ENGINE_LEB_H

#include <stdint.h>

typedef struct wrt__unsigned {
    const uint8_t *next; /* behind the number */
    uint32_t value;
} wrt__unsigned;

typedef struct wrt__signed {
    const uint8_t *next;
    int64_t value;
} wrt__signed;

static inline wrt__unsigned wrt__read_unsigned(const uint8_t *bytes)
{
    uint32_t value = 0;

    for (uint32_t shift = 0;; shift += 7) {
        const uint8_t byte = *bytes++;
        value |= (uint32_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return (wrt__unsigned){bytes, value};
    }
}

static inline wrt__signed wrt__read_signed(const uint8_t *bytes)
{
    uint64_t value = 0;
    uint32_t shift = 0;
    uint8_t byte;

    do {
        byte = *bytes++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        shift += 7;
    } while (byte >= 0x80);
    if (shift < 64 && (byte & 0x40) != 0) value |= UINT64_MAX << shift;
    return (wrt__signed){bytes, (int64_t)value};
}

static inline const uint8_t *wrt__skip_number(const uint8_t *bytes)
{
    while (*bytes++ >= 0x80) {
    }
    return bytes;
}

#endif
