/* Internal: reads the binary format, and never beyond its end. The first failure is kept; from
 * then on there is nothing left to read and every answer is 0, so that callers ask once, after
 * a group of reads, whether it went well. A loop over a count must ask each time round. */
#ifndef WRT_ENGINE_READER_H
#define WRT_ENGINE_READER_H

#include "wrt_platform/module.h"

typedef struct wrt__reader {
    const uint8_t *bytes;
    uint32_t at;       /* offset of the next byte */
    uint32_t end;      /* offset of the first byte that may not be read */
    wrt_status status; /* of the first failure */
    const char *reason;
    uint64_t detail[2];
} wrt__reader;

static inline bool wrt__reader_failed(const wrt__reader *reader)
{
    return reader->status != WRT_OK;
}

/* Keeps a failure, unless there was one before. Offsets go to detail0. */
void wrt__reader_fail(wrt__reader *reader, wrt_status status, const char *reason, uint64_t detail0,
                      uint64_t detail1);

/* The bytes at the present place are not WebAssembly. */
void wrt__malformed(wrt__reader *reader, const char *reason);

/* An integer in LEB128 of at most `bits` bits. */
uint64_t wrt__read_leb(wrt__reader *reader, uint32_t bits, bool is_signed);

/* Four or eight bytes of a constant, or any others that need no look. */
void wrt__skip_bytes(wrt__reader *reader, uint32_t count);

/* A number of items that follow, each of at least one byte. */
uint32_t wrt__read_count(wrt__reader *reader);

wrt_name wrt__read_name(wrt__reader *reader);
uint8_t wrt__read_value_type(wrt__reader *reader);
uint8_t wrt__read_reference_type(wrt__reader *reader);

bool wrt__is_utf8(const uint8_t *bytes, uint32_t size);
bool wrt__is_reference_type(uint8_t type);

static inline uint8_t wrt__read_byte(wrt__reader *reader)
{
    if (reader->at < reader->end) return reader->bytes[reader->at++];
    wrt__malformed(reader, "unexpected end at byte {0}");
    return 0;
}

static inline uint32_t wrt__read_u32(wrt__reader *reader)
{
    if (reader->at < reader->end && reader->bytes[reader->at] < 0x80) {
        return reader->bytes[reader->at++];
    }
    return (uint32_t)wrt__read_leb(reader, 32, false);
}

/* Steps over a signed integer that need not be known. */
static inline void wrt__skip_signed(wrt__reader *reader, uint32_t bits)
{
    if (reader->at < reader->end && reader->bytes[reader->at] < 0x80) {
        reader->at++;
    } else {
        (void)wrt__read_leb(reader, bits, true);
    }
}

#endif
