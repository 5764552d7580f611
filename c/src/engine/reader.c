#include "reader.h"

void wrt__reader_fail(wrt__reader *reader, wrt_status status, const char *reason, uint64_t detail0,
                      uint64_t detail1)
{
    if (wrt__reader_failed(reader)) return;
    reader->status = status;
    reader->reason = reason;
    reader->detail[0] = detail0;
    reader->detail[1] = detail1;
    reader->at = reader->end;
}

void wrt__malformed(wrt__reader *reader, const char *reason)
{
    wrt__reader_fail(reader, WRT_ERR_MALFORMED, reason, reader->at, 0);
}

/* Bits of the last byte that lie beyond the integer: 0 in an unsigned one, copies of the sign bit
 * (which is looked at with them) in a signed one. */
static bool spare_bits_are_right(uint8_t byte, uint32_t bits_left, bool is_signed)
{
    const uint8_t spare = (uint8_t)((0x7F << (is_signed ? bits_left - 1 : bits_left)) & 0x7F);

    return (byte & spare) == 0 || (is_signed && (byte & spare) == spare);
}

uint64_t wrt__read_leb(wrt__reader *reader, uint32_t bits, bool is_signed)
{
    uint64_t value = 0;
    uint32_t shift = 0;
    uint8_t byte;

    do {
        if (reader->at >= reader->end) {
            wrt__malformed(reader, "unexpected end at byte {0}");
            return 0;
        }
        byte = reader->bytes[reader->at];
        const uint32_t bits_left = bits - shift;
        if (bits_left < 7 && (byte & 0x80) != 0) {
            wrt__malformed(reader, "integer representation too long at byte {0}");
            return 0;
        }
        if (bits_left < 7 && !spare_bits_are_right(byte, bits_left, is_signed)) {
            wrt__malformed(reader, "integer too large at byte {0}");
            return 0;
        }
        value |= (uint64_t)(byte & 0x7F) << shift;
        shift += 7;
        reader->at++;
    } while ((byte & 0x80) != 0);
    if (is_signed && shift < 64 && (byte & 0x40) != 0) value |= UINT64_MAX << shift;
    return value;
}

void wrt__skip_bytes(wrt__reader *reader, uint32_t count)
{
    if (count > reader->end - reader->at) {
        wrt__malformed(reader, "unexpected end at byte {0}: length out of bounds");
        return;
    }
    reader->at += count;
}

uint32_t wrt__read_count(wrt__reader *reader)
{
    const uint32_t start = reader->at;
    const uint32_t count = wrt__read_u32(reader);

    if (count <= reader->end - reader->at) return count;
    wrt__reader_fail(reader, WRT_ERR_MALFORMED,
                     "unexpected end: length out of bounds at byte {0}, {1} items are announced",
                     start, count);
    return 0;
}

/* How many bytes follow the first byte of a character, 4 if none can start with it. */
static uint32_t following_bytes(uint8_t first)
{
    if (first < 0x80) return 0;
    if (first < 0xC2) return 4;
    if (first < 0xE0) return 1;
    if (first < 0xF0) return 2;
    return first < 0xF5 ? 3 : 4;
}

/* The second byte rules out longer forms than needed, surrogates, and what is above U+10FFFF. */
static bool second_byte_is_right(uint8_t first, uint8_t second)
{
    const uint8_t least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const uint8_t most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;

    return second >= least && second <= most;
}

bool wrt__is_utf8(const uint8_t *bytes, uint32_t size)
{
    uint32_t at = 0;

    while (at < size) {
        const uint8_t first = bytes[at++];
        const uint32_t following = following_bytes(first);
        if (following == 0) continue;
        if (following == 4 || following > size - at) return false;
        if (!second_byte_is_right(first, bytes[at])) return false;
        for (uint32_t i = 1; i < following; i++) {
            if ((bytes[at + i] & 0xC0) != 0x80) return false;
        }
        at += following;
    }
    return true;
}

wrt_name wrt__read_name(wrt__reader *reader)
{
    const uint32_t size = wrt__read_count(reader);
    const wrt_name name = {(const char *)reader->bytes + reader->at, size};

    if (!wrt__is_utf8(reader->bytes + reader->at, size)) {
        wrt__malformed(reader, "malformed UTF-8 encoding in the name at byte {0}");
        return (wrt_name){(const char *)reader->bytes, 0};
    }
    reader->at += size;
    return name;
}

bool wrt__is_reference_type(uint8_t type)
{
    return type == WRT_FUNCREF || type == WRT_EXTERNREF;
}

uint8_t wrt__read_value_type(wrt__reader *reader)
{
    const uint32_t start = reader->at;
    const uint8_t type = wrt__read_byte(reader);

    if ((type >= WRT_F64 && type <= WRT_I32) || wrt__is_reference_type(type)) return type;
    if (type == 0x7B) {
        wrt__reader_fail(reader, WRT_ERR_UNSUPPORTED, "value type v128 (SIMD) at byte {0}", start,
                         0);
    } else {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed value type {1} at byte {0}", start,
                         type);
    }
    return 0;
}

uint8_t wrt__read_reference_type(wrt__reader *reader)
{
    const uint32_t start = reader->at;
    const uint8_t type = wrt__read_byte(reader);

    if (wrt__is_reference_type(type)) return type;
    wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed reference type {1} at byte {0}", start,
                     type);
    return 0;
}
