/* A table of what the kernel knows by address. A program may reuse memory without a word, so what
 * nobody holds or waits for makes room for what is made at its address. */
#include "../common/host.h"

#include "../common/census.h"
#include "kernel_sync.h"

enum { ROWS = 1024 };

static struct qk_sync things[QK_SYNC_MAX];
static struct qk_sync *rows[ROWS];

void qk_write_word(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static struct qk_sync **row_of(qk_words words)
{
    return &rows[((uintptr_t)words.owner >> 3) % ROWS];
}

struct qk_sync *qk_sync_find(qk_words words)
{
    struct qk_sync *sync = *row_of(words);

    while (sync != NULL && sync->words.owner != words.owner) sync = sync->next;
    return sync;
}

static void forget(struct qk_sync *sync)
{
    struct qk_sync **link = row_of(sync->words);

    while (*link != sync) link = &(*link)->next;
    *link = sync->next;
    if (sync->counted) sim_census_count("sync", -1);
    sync->kind = QK_SYNC_NONE;
}

static bool in_use(const struct qk_sync *sync)
{
    return sync->owner != NULL || sync->queue.first != NULL;
}

struct qk_sync *qk_sync_new(qk_words words, enum qk_sync_kind kind, bool counted)
{
    static uint32_t last;
    struct qk_sync *sync = qk_sync_find(words);

    if (sync != NULL) forget(sync);
    for (uint32_t tries = 0; tries < QK_SYNC_MAX; tries++) {
        sync = &things[++last % QK_SYNC_MAX];
        if (sync->kind != QK_SYNC_NONE) continue;
        memset(sync, 0, sizeof *sync);
        sync->kind = kind;
        sync->counted = counted;
        sync->words = words;
        sync->next = *row_of(words);
        *row_of(words) = sync;
        if (counted) sim_census_count("sync", 1);
        return sync;
    }
    return NULL;
}

/* Makes room at the address, or says why not. */
static qk_error clear_place(qk_words words)
{
    const struct qk_sync *old = qk_sync_find(words);

    return old != NULL && in_use(old) ? QK_EBUSY : QK_OK;
}

qk_error qk_mutex_create(qk_words words, const qk_mutex_config *config)
{
    struct qk_sync *sync;
    qk_error error = qk_enter("SyncTypeCreate");

    if (error == QK_OK) error = clear_place(words);
    if (error != QK_OK) return qk_leave(error);
    sync = qk_sync_new(words, QK_SYNC_MUTEX, true);
    if (sync == NULL) return qk_leave(QK_EAGAIN);
    sync->mutex = *config;
    qk_write_word(words.count, config->count_word);
    qk_write_word(words.owner, 0);
    return qk_leave(QK_OK);
}

qk_error qk_condvar_create(qk_words words, enum qk_clock clock)
{
    struct qk_sync *sync;
    qk_error error = qk_enter("SyncTypeCreate");

    if (error == QK_OK) error = clear_place(words);
    if (error != QK_OK) return qk_leave(error);
    sync = qk_sync_new(words, QK_SYNC_CONDVAR, true);
    if (sync == NULL) return qk_leave(QK_EAGAIN);
    sync->clock = clock;
    return qk_leave(QK_OK);
}

qk_error qk_semaphore_create(qk_words words, uint32_t value)
{
    struct qk_sync *sync;
    qk_error error = qk_enter("SyncTypeCreate");

    if (error == QK_OK) error = clear_place(words);
    if (error == QK_OK && value > QK_SEMAPHORE_MAX) error = QK_EINVAL;
    if (error != QK_OK) return qk_leave(error);
    sync = qk_sync_new(words, QK_SYNC_SEMAPHORE, true);
    if (sync == NULL) return qk_leave(QK_EAGAIN);
    sync->value = value;
    qk_write_word(words.count, value);
    return qk_leave(QK_OK);
}

qk_error qk_sync_destroy(qk_words words, uint32_t destroyed)
{
    qk_error error = qk_enter("SyncDestroy");
    struct qk_sync *sync = qk_sync_find(words);

    if (error != QK_OK) return qk_leave(error);
    if (sync != NULL && in_use(sync)) return qk_leave(QK_EBUSY);
    if (sync != NULL) forget(sync);
    qk_write_word(words.owner, destroyed);
    return qk_leave(QK_OK);
}

void qk_sync_reset(void)
{
    memset(things, 0, sizeof things);
    memset(rows, 0, sizeof rows);
}
