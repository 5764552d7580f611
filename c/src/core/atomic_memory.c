/* Records that are changed as a whole. Each has two copies ("slots"), and a write replaces the
 * older one in this order:
 *
 *     sequence, marked as being written | data | sequence | checksum
 *
 * Two walls stand behind each other. The order alone is enough where stores arrive in order: a
 * reader that finds the mark, or another sequence at the end than at the start, has not seen a
 * record. The checksum alone is enough where they do not, as in a memory that lost its power with
 * half of a write in it: it covers place, size and sequence as well, so no mixture of two writes
 * passes.
 *
 * All that a reader can meet is loaded and stored as atomic words; the writer, being alone, may
 * look at the slots as plain memory. */
#include "wrt_platform/atomic_memory.h"

#include "atomic.h"
#include "config.h"
#include "crc32c.h"
#include "fail.h"
#include "siphash.h"
#include <string.h>

enum {
    WORD = sizeof(uint32_t),
    BEING_WRITTEN = 1, /* the lowest bit of a sequence */
    NEXT_WRITE = 2,    /* what a write adds to it */
    CRC_WORDS = 1,     /* of the checksum in a slot */
    KEYED_WORDS = 2
};

_Static_assert(WRT_ATOMIC_OVERHEAD == WORD * (1 + 2 * (1 + CRC_WORDS)), "size and two slots");
_Static_assert(WRT_ATOMIC_KEYED_OVERHEAD == WORD * (1 + 2 * (1 + KEYED_WORDS)), "the same");
_Static_assert(WRT_ATOMIC_SIZE_MAX <= (UINT32_MAX - WRT_ATOMIC_KEYED_OVERHEAD) / 2, "no overflow");

/* Where the parts of one record lie. */
typedef struct place {
    const wrt_atomic_memory *memory;
    uint64_t offset;
    uint32_t *size_word;
    uint32_t *slots[2]; /* each: sequence, data, checksum */
    uint32_t size;      /* bytes of data */
    uint32_t check_at;  /* the word of a slot where its checksum begins */
} place;

static uint32_t data_words(size_t size)
{
    return (uint32_t)((size + WORD - 1) / WORD);
}

static uint32_t slot_words(size_t size, bool has_key)
{
    return 1 + data_words(size) + (has_key ? KEYED_WORDS : CRC_WORDS);
}

static size_t record_bytes(size_t size, bool has_key)
{
    return WORD * (1 + 2 * (size_t)slot_words(size, has_key));
}

static bool size_is_valid(size_t size)
{
    return size >= 1 && size <= WRT_ATOMIC_SIZE_MAX;
}

static bool fits(const wrt_atomic_memory *memory, size_t offset, size_t bytes)
{
    return bytes <= memory->memory_size && offset <= memory->memory_size - bytes;
}

static wrt_status fail_size(const char *operation, size_t size)
{
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "a record of {0} bytes: it can have 1 to {1}", size,
                           WRT_ATOMIC_SIZE_MAX);
}

static wrt_status check_offset(const char *operation, const wrt_atomic_memory *memory,
                               size_t offset)
{
    if (memory->checksum == 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "memory is not initialised");
    }
    if (offset % WRT_ATOMIC_ALIGNMENT != 0) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "offset {0} is not a multiple of {1}", offset, WRT_ATOMIC_ALIGNMENT);
    }
    return WRT_OK;
}

/* The record of this size at this offset, which is known to fit. Inline, as some below: a write
 * of 64 bytes is hardly more than its checksums. */
static inline place record_at(const wrt_atomic_memory *memory, size_t offset, size_t size)
{
    uint32_t *words = (uint32_t *)(void *)(memory->memory + offset);

    return (place){.memory = memory,
                   .offset = offset,
                   .size_word = words,
                   .slots = {words + 1, words + 1 + slot_words(size, memory->has_key)},
                   .size = (uint32_t)size,
                   .check_at = 1 + data_words(size)};
}

/* Whether a caller may have a record of this size at this offset. */
static bool has_place(const wrt_atomic_memory *memory, size_t offset, size_t size)
{
    return memory->checksum != 0 && offset % WRT_ATOMIC_ALIGNMENT == 0 && size_is_valid(size) &&
           fits(memory, offset, record_bytes(size, memory->has_key));
}

/* Says why not. */
static wrt_status refuse_place(const char *operation, const wrt_atomic_memory *memory,
                               size_t offset, size_t size)
{
    const wrt_status status = check_offset(operation, memory, offset);
    if (status != WRT_OK) return status;
    if (!size_is_valid(size)) return fail_size(operation, size);
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "the record takes {0} bytes, which would end beyond the memory of {1} "
                           "bytes",
                           record_bytes(size, memory->has_key), memory->memory_size);
}

/* What a CRC begins with: another number for every place that a record of some size can have, so
 * that a copy of its bytes at another offset is no record. */
static uint32_t crc_start(const place *record)
{
    const uint32_t spread = UINT32_C(0x9E3779B1); /* 2^32 by the golden ratio: odd, bits mixed */

    return (uint32_t)WRT__CRC32C_START ^ (uint32_t)(record->offset / WRT_ATOMIC_ALIGNMENT) ^
           (record->size * spread);
}

static uint64_t keyed_checksum(const place *record, uint32_t sequence, const uint8_t *data)
{
    wrt__siphash hash;

    wrt__siphash_begin(&hash, record->memory->key);
    wrt__siphash_word(&hash, record->offset);
    wrt__siphash_word(&hash, record->size | (uint64_t)sequence << 32);
    return wrt__siphash_end(&hash, data, record->size);
}

/* The checksum that belongs to `data` under this sequence, as a slot holds it. */
static inline uint64_t checksum_of(const place *record, uint32_t sequence, const uint8_t *data)
{
    if (record->memory->has_key) return keyed_checksum(record, sequence, data);
    return (uint32_t)~wrt__crc32c(crc_start(record), sequence, data, record->size,
                                  record->memory->checksum);
}

static uint64_t load_checksum(const place *record, const uint32_t *slot)
{
    const uint32_t *words = slot + record->check_at;

    if (!record->memory->has_key) return wrt__load(words);
    return wrt__load(words) | (uint64_t)wrt__load(words + 1) << 32;
}

static void store_checksum(const place *record, uint32_t *slot, uint64_t checksum)
{
    uint32_t *words = slot + record->check_at;

    if (record->memory->has_key) wrt__store_release(words + 1, (uint32_t)(checksum >> 32));
    wrt__store_release(words, (uint32_t)checksum);
}

static void store_word(uint32_t *words, const uint8_t *data)
{
    uint32_t word;

    memcpy(&word, data, WORD);
    wrt__store(words, word);
}

static void load_word(uint8_t *data_out, const uint32_t *words)
{
    const uint32_t word = wrt__load(words);

    memcpy(data_out, &word, WORD);
}

/* Four words at a time; what is left of the last one is zero. */
static void store_data(uint32_t *words, const uint8_t *data, uint32_t size)
{
    uint8_t rest[WORD] = {0};

    for (; size >= 4 * WORD; size -= 4 * WORD, data += 4 * WORD, words += 4) {
        store_word(words, data);
        store_word(words + 1, data + WORD);
        store_word(words + 2, data + 2 * WORD);
        store_word(words + 3, data + 3 * WORD);
    }
    for (; size >= WORD; size -= WORD, data += WORD) store_word(words++, data);
    if (size == 0) return;
    for (uint32_t i = 0; i < size; i++) rest[i] = data[i];
    store_word(words, rest);
}

static void load_data(uint8_t *data_out, const uint32_t *words, uint32_t size)
{
    uint8_t rest[WORD];

    for (; size >= 4 * WORD; size -= 4 * WORD, data_out += 4 * WORD, words += 4) {
        load_word(data_out, words);
        load_word(data_out + WORD, words + 1);
        load_word(data_out + 2 * WORD, words + 2);
        load_word(data_out + 3 * WORD, words + 3);
    }
    for (; size >= WORD; size -= WORD, data_out += WORD) load_word(data_out, words++);
    if (size == 0) return;
    load_word(rest, words);
    for (uint32_t i = 0; i < size; i++) data_out[i] = rest[i];
}

/* Which of two sequences was written later; they wrap. */
static uint32_t later(uint32_t first, uint32_t second)
{
    const uint32_t ahead = second - first;

    return ahead != 0 && ahead <= INT32_MAX;
}

/* The slot with the later sequence, whole or not: a reader's first choice. */
static uint32_t later_slot(const place *record)
{
    return later(wrt__load(record->slots[0]), wrt__load(record->slots[1]));
}

/* For the writer alone, which nobody overtakes. */
static bool is_whole(const place *record, const uint32_t *slot)
{
    const uint32_t sequence = wrt__load(slot);

    return (sequence & BEING_WRITTEN) == 0 &&
           load_checksum(record, slot) ==
               checksum_of(record, sequence, (const uint8_t *)(slot + 1));
}

/* Whether a record of this size, any size, begins at this offset. */
static bool holds_record(const wrt_atomic_memory *memory, size_t offset, uint32_t size)
{
    if (!size_is_valid(size) || !fits(memory, offset, record_bytes(size, memory->has_key))) {
        return false;
    }
    const place there = record_at(memory, offset, size);
    return is_whole(&there, there.slots[0]) || is_whole(&there, there.slots[1]);
}

/* Finds the slot that a reader would not choose, and the sequence for it. */
static wrt_status choose_slot(const char *operation, const place *record, uint32_t **slot_out,
                              uint32_t *sequence_out)
{
    const uint32_t newest = later_slot(record);
    const uint32_t size_there = wrt__load(record->size_word);

    *slot_out = record->slots[0];
    *sequence_out = NEXT_WRITE;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t *kept = record->slots[newest ^ i];
        if (!is_whole(record, kept)) continue;
        *slot_out = record->slots[newest ^ i ^ 1];
        *sequence_out = wrt__load(kept) + NEXT_WRITE;
        return WRT_OK;
    }
    if (size_there != record->size &&
        holds_record(record->memory, (size_t)record->offset, size_there)) {
        return wrt_fail_detail(WRT_ERR_STATE, operation,
                               "a record of {0} bytes begins here, not of {1}: clear it first",
                               size_there, record->size);
    }
    return WRT_OK;
}

/* Fills a slot. The first store also comes behind all of the write before, so that there is a
 * whole copy whenever a reader finds the mark; the fence keeps the data behind the mark. */
static void fill_slot(const place *record, uint32_t *slot, uint32_t sequence, const uint8_t *data)
{
    const uint64_t checksum = checksum_of(record, sequence, data);

    wrt__store_release(slot, sequence | BEING_WRITTEN);
    wrt__fence_release();
    store_data(slot + 1, data, record->size);
    wrt__store_release(slot, sequence);
    store_checksum(record, slot, checksum);
}

/* What a reader makes of a slot. */
typedef enum finding { WHOLE, NOT_WHOLE, OVERTAKEN } finding;

static finding read_slot(const place *record, const uint32_t *slot, uint8_t *data_out)
{
    const uint32_t sequence = wrt__load_acquire(slot);

    if ((sequence & BEING_WRITTEN) != 0) return NOT_WHOLE;
    load_data(data_out, slot + 1, record->size);
    const uint64_t checksum = load_checksum(record, slot);
    wrt__fence_acquire();
    if (wrt__load(slot) != sequence) return OVERTAKEN;
    return checksum == checksum_of(record, sequence, data_out) ? WHOLE : NOT_WHOLE;
}

/* Reads the later copy, or else the other one; false if neither is whole and nobody writes. */
static bool read_record(const place *record, uint8_t *data_out)
{
    uint32_t seen[2];

    do {
        seen[0] = wrt__load_acquire(record->slots[0]);
        seen[1] = wrt__load_acquire(record->slots[1]);
        const uint32_t newest = later(seen[0], seen[1]);
        const finding found = read_slot(record, record->slots[newest], data_out);
        if (found == WHOLE) return true;
        if (found == NOT_WHOLE && read_slot(record, record->slots[newest ^ 1], data_out) == WHOLE) {
            return true;
        }
    } while (wrt__load(record->slots[0]) != seen[0] || wrt__load(record->slots[1]) != seen[1]);
    return false;
}

static wrt_status fail_missing(const char *operation, const place *record)
{
    if (wrt__load(record->size_word) == record->size) {
        return wrt_fail_detail(WRT_ERR_STATE, operation,
                               "neither copy of the record at offset {0} is whole", record->offset,
                               0);
    }
    return wrt_fail_detail(WRT_ERR_NOT_FOUND, operation, "no record of {0} bytes is at offset {1}",
                           record->size, record->offset);
}

static bool overlap(const place *record, const uint8_t *data)
{
    const uintptr_t start = (uintptr_t)record->size_word;
    const uintptr_t bytes = record_bytes(record->size, record->memory->has_key);

    return (uintptr_t)data < start + bytes && start < (uintptr_t)data + record->size;
}

/* Reads a caller's config of any age. */
static wrt_status read_config(const char *operation, const wrt_atomic_memory_config *given,
                              wrt_atomic_memory_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->key_size != (config->key == NULL ? 0 : WRT_ATOMIC_KEY_SIZE)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "key_size is {0}: a key has {1} bytes, no key (NULL) has 0",
                               config->key_size, WRT_ATOMIC_KEY_SIZE);
    }
    return WRT_OK;
}

wrt_status wrt_atomic_memory_layout(const wrt_atomic_memory_config *config, size_t size,
                                    wrt_layout *layout_out)
{
    wrt_atomic_memory_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    const wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    if (!size_is_valid(size)) return fail_size(__func__, size);
    *layout_out = (wrt_layout){record_bytes(size, known.key != NULL), WRT_ATOMIC_ALIGNMENT};
    return WRT_OK;
}

wrt_status wrt_atomic_memory_init(wrt_atomic_memory *memory, const wrt_atomic_memory_config *config)
{
    wrt_atomic_memory_config known;

    if (memory == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "memory is NULL");
    const wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    if (known.memory == NULL || (uintptr_t)known.memory % WRT_ATOMIC_ALIGNMENT != 0 ||
        known.memory_size == 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "the config's memory is NULL, empty or not 4-byte aligned");
    }
    *memory = (wrt_atomic_memory){.memory = known.memory,
                                  .memory_size = known.memory_size,
                                  .checksum = wrt__port_crc32c(),
                                  .has_key = known.key != NULL};
    if (memory->has_key) {
        memory->key[0] = wrt__siphash_read(known.key, 8);
        memory->key[1] = wrt__siphash_read(known.key + 8, 8);
    }
    return WRT_OK;
}

wrt_status wrt_atomic_memory_write(const wrt_atomic_memory *memory, size_t offset, const void *data,
                                   size_t size)
{
    uint32_t *slot;
    uint32_t sequence;

    if (memory == NULL || data == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "memory or data is NULL");
    }
    if (!has_place(memory, offset, size)) return refuse_place(__func__, memory, offset, size);
    const place record = record_at(memory, offset, size);
    if (overlap(&record, data)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "data lies in the record itself");
    }
    const wrt_status status = choose_slot(__func__, &record, &slot, &sequence);
    if (status != WRT_OK) return status;
    if (wrt__load(record.size_word) != record.size) wrt__store(record.size_word, record.size);
    fill_slot(&record, slot, sequence, data);
    return WRT_OK;
}

wrt_status wrt_atomic_memory_read(const wrt_atomic_memory *memory, size_t offset, void *data_out,
                                  size_t size)
{
    if (memory == NULL || data_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "memory or data_out is NULL");
    }
    if (!has_place(memory, offset, size)) return refuse_place(__func__, memory, offset, size);
    const place record = record_at(memory, offset, size);
    if (read_record(&record, data_out)) return WRT_OK;
    memset(data_out, 0, size); /* not a byte of what was not whole */
    return fail_missing(__func__, &record);
}

wrt_status wrt_atomic_memory_query(const wrt_atomic_memory *memory, size_t offset,
                                   wrt_atomic_record *record_out)
{
    if (memory == NULL || record_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "memory or record_out is NULL");
    }
    *record_out = (wrt_atomic_record){0};
    const wrt_status status = check_offset(__func__, memory, offset);
    if (status != WRT_OK) return status;
    if (!fits(memory, offset, WORD)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "offset {0} is beyond the memory of {1} bytes", offset,
                               memory->memory_size);
    }
    const uint32_t size = wrt__load((const uint32_t *)(void *)(memory->memory + offset));
    if (!size_is_valid(size) || !fits(memory, offset, record_bytes(size, memory->has_key))) {
        return wrt_fail_detail(WRT_ERR_NOT_FOUND, __func__, "no record begins at offset {0}",
                               offset, 0);
    }
    const place record = record_at(memory, offset, size);
    const uint32_t newest = later_slot(&record);
    const uint32_t *first = record.slots[newest], *other = record.slots[newest ^ 1];
    const bool first_is_whole = is_whole(&record, first), other_is_whole = is_whole(&record, other);
    if (!first_is_whole && !other_is_whole) return fail_missing(__func__, &record);
    *record_out =
        (wrt_atomic_record){.size = size,
                            .sequence = wrt__load(first_is_whole ? first : other),
                            .whole_count = (uint32_t)first_is_whole + (uint32_t)other_is_whole};
    return WRT_OK;
}

wrt_status wrt_atomic_memory_deinit(wrt_atomic_memory *memory)
{
    if (memory == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "memory is NULL");

    for (size_t i = 0; i < 2; i++) *(volatile uint64_t *)&memory->key[i] = 0; /* not left out */
    *memory = (wrt_atomic_memory){0};
    return WRT_OK;
}
