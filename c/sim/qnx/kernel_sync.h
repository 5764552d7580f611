/* Internal: mutexes, condition variables and semaphores, found by the address of their words. All
 * of it under the lock. */
#ifndef SIM_QNX_KERNEL_SYNC_H
#define SIM_QNX_KERNEL_SYNC_H

#include "kernel_state.h"

struct qk_sync {
    struct qk_sync *next; /* in its row of the table */
    enum qk_sync_kind kind;
    bool counted; /* made by a call, so that the census misses it if it stays */
    qk_words words;
    struct qk_queue queue;

    qk_mutex_config mutex;
    struct qk_thread *owner;
    struct qk_sync *next_owned;
    uint32_t depth;
    bool owner_died;    /* and what it guards may be half done */
    bool unrecoverable; /* and it was let go so */
    bool orphaned;      /* locked for ever by a thread that is no more */

    enum qk_clock clock;         /* of a condition variable */
    struct qk_sync *bound_mutex; /* what its waiters hold */
    uint32_t value;              /* of a semaphore */
};

enum { QK_SYNC_MAX = 8192, QK_SEMAPHORE_MAX = 0x7fffffff, QK_RECURSION_MAX = 0x00ffffff };

/* The one at that address, NULL if the kernel knows none. */
struct qk_sync *qk_sync_find(qk_words words);

/* A new one, in the place of one that nobody waits for; NULL if there are QK_SYNC_MAX. */
struct qk_sync *qk_sync_new(qk_words words, enum qk_sync_kind kind, bool counted);

/* Writes a word of the guest's, which looks at it whenever it likes. */
void qk_write_word(uint32_t *word, uint32_t value);

/* Locks and unlocks for the present thread, as calls and condition variables want it. */
qk_error qk_mutex_acquire(struct qk_sync *mutex, bool only_try);
void qk_mutex_let_go(struct qk_sync *mutex);

/* The priority that the owner has by this mutex. */
int32_t qk_mutex_lends(const struct qk_sync *mutex);

#endif
