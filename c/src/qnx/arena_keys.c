/* The keys of mallopt(). They are one for the whole process, so this table is one as well: how many
 * live allocators hold a key, at which value, and what it was before the first of them.
 *
 * MALLOC_ARENA_SIZE can be read (value 0); the two limits of the cache answer only with the value
 * that a new one replaces; MALLOC_MEMORY_HOLD sets both limits to "everything", or to nothing, so
 * it excludes them, and their values are kept aside while it is held. */
#include "arena.h"

#include "../core/fail.h"
#include "error.h"
#include "process_lock.h"
#include "sys.h"

typedef struct key {
    int command;
    uint32_t holders;
    intptr_t value;     /* while somebody holds it */
    intptr_t before[2]; /* the value before; of MEMORY_HOLD, those of the limits of the cache */
    bool has_before;    /* it has to be set back */
    const char *refused;
    const char *taken;
    const char *stuck;
} key;

#define REFUSED(name)                                                                              \
    "mallopt(" name ") is refused: this system's malloc has no arenas (QNX 8.0), or the value is " \
    "out of its range; leave it at 0"
#define TAKEN(name)                                                                                \
    "a live arena allocator has set " name " to {0}, here it is {1}: it is one setting for the "   \
    "whole process"
#define STUCK(name) "mallopt(" name ") can't be set back to {0}; try again"

static key keys[WRT_QNX_ARENA_KEYS] = {
    [WRT__QNX_KEY_ARENA_SIZE] = {.command = MALLOC_ARENA_SIZE,
                                 .refused = REFUSED("MALLOC_ARENA_SIZE"),
                                 .taken = TAKEN("MALLOC_ARENA_SIZE"),
                                 .stuck = STUCK("MALLOC_ARENA_SIZE")},
    [WRT__QNX_KEY_CACHE_BLOCKS] = {.command = MALLOC_ARENA_CACHE_MAXBLK,
                                   .refused = REFUSED("MALLOC_ARENA_CACHE_MAXBLK"),
                                   .taken = TAKEN("MALLOC_ARENA_CACHE_MAXBLK"),
                                   .stuck = STUCK("MALLOC_ARENA_CACHE_MAXBLK")},
    [WRT__QNX_KEY_CACHE_SIZE] = {.command = MALLOC_ARENA_CACHE_MAXSZ,
                                 .refused = REFUSED("MALLOC_ARENA_CACHE_MAXSZ"),
                                 .taken = TAKEN("MALLOC_ARENA_CACHE_MAXSZ"),
                                 .stuck = STUCK("MALLOC_ARENA_CACHE_MAXSZ")},
    [WRT__QNX_KEY_MEMORY_HOLD] = {.command = MALLOC_MEMORY_HOLD,
                                  .refused = REFUSED("MALLOC_MEMORY_HOLD"),
                                  .taken = TAKEN("MALLOC_MEMORY_HOLD"),
                                  .stuck = STUCK("MALLOC_MEMORY_HOLD")}};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int32_t owner_process; /* a forked child's allocators are not its own */

/* ---- mallopt ---- */

/* The answer may be -1 and no failure: a limit that is none. */
static bool set(int command, intptr_t value, intptr_t *before_out)
{
    errno = EOK;
    const intptr_t answer = mallopt(command, value);

    if (answer == -1 && errno != EOK) return false;
    *before_out = answer >= 0 ? answer : INT_MAX;
    return true;
}

/* Sets a key and sees that it took. */
static bool set_and_look(int command, intptr_t value, intptr_t *before_out)
{
    const bool can_be_read = command == MALLOC_ARENA_SIZE;
    intptr_t seen;

    if (!set(command, value, before_out)) return false;
    if (set(command, can_be_read ? 0 : value, &seen) && seen == value) return true;
    (void)set(command, *before_out, &seen);
    if (errno == EOK) errno = ENOTSUP;
    return false;
}

static bool set_limits(const intptr_t *limits)
{
    intptr_t unused;

    return set(MALLOC_ARENA_CACHE_MAXBLK, limits[0], &unused) &&
           set(MALLOC_ARENA_CACHE_MAXSZ, limits[1], &unused);
}

/* Holding has no answer: it is seen at the limits that it takes away. */
static bool hold(intptr_t *before)
{
    intptr_t unused;

    if (!set(MALLOC_ARENA_CACHE_MAXBLK, INT_MAX, &before[0])) return false;
    if (set(MALLOC_ARENA_CACHE_MAXSZ, INT_MAX, &before[1])) {
        if (set(MALLOC_MEMORY_HOLD, 1, &unused)) return true;
        const int code = errno;
        (void)set(MALLOC_ARENA_CACHE_MAXSZ, before[1], &unused);
        errno = code;
    }
    const int code = errno;
    (void)set(MALLOC_ARENA_CACHE_MAXBLK, before[0], &unused);
    errno = code;
    return false;
}

static bool set_key(uint32_t index, intptr_t value, intptr_t *before)
{
    if (index == WRT__QNX_KEY_MEMORY_HOLD) return hold(before);
    return set_and_look(keys[index].command, value, before);
}

static bool set_back(uint32_t index)
{
    const key *of = &keys[index];
    intptr_t unused;

    if (index == WRT__QNX_KEY_MEMORY_HOLD) {
        return set(MALLOC_MEMORY_HOLD, 0, &unused) && set_limits(of->before);
    }
    return set(of->command, of->before[0], &unused);
}

/* ---- The table ---- */

/* The key that keeps `index` from being set, though it has no holder itself; NULL: none. */
static const key *excluding(uint32_t index)
{
    const bool is_limit = index == WRT__QNX_KEY_CACHE_BLOCKS || index == WRT__QNX_KEY_CACHE_SIZE;

    if (is_limit && keys[WRT__QNX_KEY_MEMORY_HOLD].holders != 0) {
        return &keys[WRT__QNX_KEY_MEMORY_HOLD];
    }
    if (index != WRT__QNX_KEY_MEMORY_HOLD) return NULL;
    if (keys[WRT__QNX_KEY_CACHE_BLOCKS].holders != 0) return &keys[WRT__QNX_KEY_CACHE_BLOCKS];
    return keys[WRT__QNX_KEY_CACHE_SIZE].holders != 0 ? &keys[WRT__QNX_KEY_CACHE_SIZE] : NULL;
}

static wrt_status fail_taken(const char *operation, const key *of, intptr_t wanted)
{
    return wrt_fail_detail(WRT_ERR_BUSY, operation, of->taken, (uint64_t)of->value,
                           (uint64_t)wanted);
}

static wrt_status take(const char *operation, uint32_t index, intptr_t value)
{
    key *of = &keys[index];
    intptr_t before[2] = {0, 0};

    if (excluding(index) != NULL) return fail_taken(operation, excluding(index), 0);
    if (of->holders != 0 && of->value != value) return fail_taken(operation, of, value);
    if (of->holders == 0) {
        if (!set_key(index, value, before)) {
            const int code = errno;
            const wrt_status status = code == EINVAL ? WRT_ERR_UNSUPPORTED : wrt__qnx_status(code);
            return wrt_fail_system(status, operation, of->refused, code, 0, 0);
        }
        if (!of->has_before) memcpy(of->before, before, sizeof before);
        of->has_before = true;
        of->value = value;
    }
    of->holders++;
    return WRT_OK;
}

/* A key that can't be set back stays held, so that it can be tried again. */
static wrt_status give_back(const char *operation, uint32_t index)
{
    key *of = &keys[index];

    if (of->holders == 1) {
        if (!set_back(index)) {
            return wrt_fail_system(WRT_ERR_SYSTEM, operation, of->stuck, errno,
                                   (uint64_t)of->before[0], 0);
        }
        of->has_before = false;
    }
    of->holders--;
    return WRT_OK;
}

/* ---- For allocators ---- */

static wrt_status enter(const char *operation)
{
    const wrt_status status = wrt__qnx_process_lock(operation, &lock);

    if (status != WRT_OK) return status;
    if (owner_process != getpid()) {
        for (uint32_t i = 0; i < WRT_QNX_ARENA_KEYS; i++) keys[i].holders = 0;
        owner_process = getpid();
    }
    return WRT_OK;
}

static wrt_status give_back_all(const char *operation, uint32_t *held)
{
    for (uint32_t i = 0; i < WRT_QNX_ARENA_KEYS; i++) {
        if ((*held & 1u << i) == 0) continue;
        const wrt_status status = give_back(operation, i);
        if (status != WRT_OK) return status;
        *held &= ~(1u << i);
    }
    return WRT_OK;
}

static void values_of(const wrt_qnx_arena_allocator_config *config, intptr_t *values)
{
    values[WRT__QNX_KEY_ARENA_SIZE] = (intptr_t)config->arena_size;
    values[WRT__QNX_KEY_CACHE_BLOCKS] = (intptr_t)config->arena_cache_max_blocks;
    values[WRT__QNX_KEY_CACHE_SIZE] = (intptr_t)config->arena_cache_max_size;
    values[WRT__QNX_KEY_MEMORY_HOLD] = config->memory_hold ? 1 : 0;
}

wrt_status wrt__qnx_keys_take(const char *operation, const wrt_qnx_arena_allocator_config *config,
                              uint32_t *keys_out)
{
    intptr_t values[WRT_QNX_ARENA_KEYS];
    uint32_t held = 0;
    wrt_status status = enter(operation);

    if (status != WRT_OK) return status;
    values_of(config, values);
    for (uint32_t i = 0; i < WRT_QNX_ARENA_KEYS && status == WRT_OK; i++) {
        if (values[i] == 0) continue;
        status = take(operation, i, values[i]);
        if (status == WRT_OK) held |= 1u << i;
    }
    if (status != WRT_OK) {
        const wrt_error error = *wrt_error_last();
        if (give_back_all(operation, &held) != WRT_OK) {
            status = wrt_fail_system(status, operation, error.reason, error.os_code,
                                     error.detail[0], error.detail[1]);
            for (uint32_t i = 0; i < WRT_QNX_ARENA_KEYS; i++) keys[i].holders -= held >> i & 1u;
        }
    } else {
        *keys_out = held;
    }
    wrt__qnx_process_unlock(&lock);
    return status;
}

wrt_status wrt__qnx_keys_give_back(const char *operation, uint32_t *held)
{
    if (*held == 0) return WRT_OK;
    wrt_status status = enter(operation);
    if (status != WRT_OK) return status;
    status = give_back_all(operation, held);
    wrt__qnx_process_unlock(&lock);
    return status;
}

uint64_t wrt__qnx_arena_size(void)
{
    const int size = mallopt(MALLOC_ARENA_SIZE, 0);

    return size > 0 ? (uint64_t)size : 0;
}

/* 8.0 knows neither the variable nor the arenas. */
bool wrt__qnx_frees_lifo(void)
{
    return wrt__qnx_arena_size() != 0 && getenv("MALLOC_FREE_LIFO") != NULL;
}
