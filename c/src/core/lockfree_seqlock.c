/* The sequence lock: one writer, many readers, the latest value.
 *
 *     buffer   | sequence, word, word, ... |
 *
 * The sequence is odd while a write is under way. A reader copies the words between two looks at
 * it: two equal, even numbers mean that no write came in between. Words are read while they may be
 * written, so both sides access them as atomics, 32 bits at a time: what a reader throws away may
 * be half of one value and half of another, but no data race in the sense of C. */
#include "wrt_platform/lockfree.h"

#include "atomic.h"
#include "config.h"
#include "fail.h"
#include "lockfree_parts.h"

enum { WORD_BYTES = sizeof(uint32_t) };

static const char NULL_ARGUMENT[] = "lock or value is NULL";
static const char NOT_INITIALISED[] = "lock is not initialised";

static uint32_t whole_words(uint32_t value_size)
{
    return value_size / WORD_BYTES;
}

/* Reads a caller's config of any age, with its defaults filled in. */
static wrt_status read_config(const char *operation, const wrt_seqlock_config *given,
                              wrt_seqlock_config *config, wrt_layout *layout_out)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    status = wrt__check_value(operation, config->value_size);
    if (status != WRT_OK) return status;
    if (config->attempts == 0) config->attempts = WRT_SEQLOCK_ATTEMPTS_DEFAULT;
    return wrt__describe_buffer(operation, WORD_BYTES, 1,
                                wrt__round_up(config->value_size, WORD_BYTES), layout_out);
}

wrt_status wrt_seqlock_layout(const wrt_seqlock_config *config, wrt_layout *layout_out)
{
    wrt_seqlock_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    return read_config(__func__, config, &known, layout_out);
}

wrt_status wrt_seqlock_init(wrt_seqlock *lock, const wrt_seqlock_config *config)
{
    wrt_seqlock_config known;
    wrt_layout layout;

    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "lock is NULL");
    wrt_status status = read_config(__func__, config, &known, &layout);
    if (status != WRT_OK) return status;
    status = wrt__check_buffer(__func__, known.buffer, known.buffer_size, &layout);
    if (status != WRT_OK) return status;

    memset(known.buffer, 0, layout.bytes);
    *lock = (wrt_seqlock){known.buffer, known.value_size, known.attempts};
    return WRT_OK;
}

static void store_value(uint32_t *words, const uint8_t *value, uint32_t size)
{
    const uint32_t count = whole_words(size);
    uint32_t word;

    for (uint32_t i = 0; i < count; i++) {
        memcpy(&word, value + (size_t)i * WORD_BYTES, WORD_BYTES);
        wrt__store(&words[i], word);
    }
    if (size % WORD_BYTES != 0) {
        word = 0;
        memcpy(&word, value + (size_t)count * WORD_BYTES, size % WORD_BYTES);
        wrt__store(&words[count], word);
    }
}

static void load_value(uint8_t *value_out, const uint32_t *words, uint32_t size)
{
    const uint32_t count = whole_words(size);
    uint32_t word;

    for (uint32_t i = 0; i < count; i++) {
        word = wrt__load(&words[i]);
        memcpy(value_out + (size_t)i * WORD_BYTES, &word, WORD_BYTES);
    }
    if (size % WORD_BYTES != 0) {
        word = wrt__load(&words[count]);
        memcpy(value_out + (size_t)count * WORD_BYTES, &word, size % WORD_BYTES);
    }
}

wrt_status wrt_seqlock_write(wrt_seqlock *lock, const void *value)
{
    if (lock == NULL || value == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    if (lock->sequence == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);

    const uint32_t sequence = wrt__load(lock->sequence);
    if ((sequence & 1) != 0) return WRT_ERR_BUSY;
    wrt__store(lock->sequence, sequence + 1);
    wrt__fence_release(); /* who sees one of the words below sees the odd number, too */
    store_value(lock->sequence + 1, value, lock->value_size);
    wrt__store_release(lock->sequence, sequence + 2);
    return WRT_OK;
}

wrt_status wrt_seqlock_read(const wrt_seqlock *lock, void *value_out)
{
    if (lock == NULL || value_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    if (lock->sequence == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);

    for (uint32_t attempt = 0; attempt < lock->attempts; attempt++) {
        const uint32_t before = wrt__load_acquire(lock->sequence);
        if ((before & 1) != 0) {
            wrt__spin_hint();
            continue;
        }
        load_value(value_out, lock->sequence + 1, lock->value_size);
        wrt__fence_acquire(); /* the words are read before the second look */
        if (wrt__load(lock->sequence) == before) return WRT_OK;
    }
    return WRT_ERR_BUSY;
}

wrt_status wrt_seqlock_deinit(wrt_seqlock *lock)
{
    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "lock is NULL");
    *lock = (wrt_seqlock){0};
    return WRT_OK;
}
