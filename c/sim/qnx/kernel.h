/* Internal: the simulated kernel, between two worlds. Its entries (entry_*.c) see QNX's headers,
 * its work (kernel_*.c) sees this machine's; here are only types and names that mean the same to
 * both. No number of QNX stands here: entries translate errors, flags and structures, so that a
 * wrong number can be wrong in one place alone, and a wrong prototype does not compile.
 *
 * Every call here takes the baton, may be told to fail, and gives the baton back. */
#ifndef SIM_QNX_KERNEL_H
#define SIM_QNX_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QK_NEVER UINT64_MAX

/* Errors by name; entry_error.c has their numbers. */
typedef enum qk_error {
    QK_OK,
    QK_E2BIG,
    QK_EACCES,
    QK_EAGAIN,
    QK_EBADF,
    QK_EBUSY,
    QK_ECHILD,
    QK_EDEADLK,
    QK_EDOM,
    QK_EDQUOT,
    QK_EEXIST,
    QK_EFAULT,
    QK_EINTR,
    QK_EINVAL,
    QK_EMFILE,
    QK_ENAMETOOLONG,
    QK_ENOENT,
    QK_ENOMEM,
    QK_ENOSPC,
    QK_ENOSYS,
    QK_ENOTDIR,
    QK_ENOTRECOVERABLE,
    QK_ENOTSUP,
    QK_ENOTTY,
    QK_EOVERFLOW,
    QK_EOWNERDEAD,
    QK_EPERM,
    QK_ERANGE,
    QK_ESRCH,
    QK_ETIMEDOUT,
    QK_ERROR_COUNT,
    QK_ERROR_RAW = 0x10000 /* on top of this: a number of QNX that a test ordered */
} qk_error;

/* The calling thread's errno of QNX. */
int32_t *qk_error_slot(void);

/* Begins a call of that name (static text): takes the lock and the baton, makes the thread known
 * if it is new, and answers with the error that a test has ordered. The end comes with every
 * beginning, and passes the result on:
 *
 *     qk_error error = qk_enter("SyncDestroy");
 *     if (error == QK_OK) error = destroy(address);
 *     return qk_leave(error);
 */
qk_error qk_enter(const char *call);
qk_error qk_leave(qk_error error);

/* The version whose behaviour is simulated: 710 or 800. */
uint32_t qk_version(void);

/* Whether the process may read, or write, all bytes of the range. NULL is never allowed. */
bool qk_may_read(const void *address, size_t size);
bool qk_may_write(const void *address, size_t size);

/* Process and machine. */
int32_t qk_process_id(void);
uint32_t qk_processors(void);

/* Channels and connections. */

typedef struct qk_channel_config {
    bool fixed_priority;
    bool tells_thread_death;
    bool tells_disconnect;
    bool tells_coid_death;
    uint32_t pool; /* pulses of its own; 0: those of all */
} qk_channel_config;

/* What a program would see of a pulse. */
typedef struct qk_pulse {
    int32_t code;
    int64_t value; /* as wide as a pointer, at most */
    int32_t connection;
} qk_pulse;

enum qk_pulse_flag { QK_PULSE_UNIQUE = 1, QK_PULSE_REPLACE = 2 };

/* Codes that the kernel itself sends, by the entries' numbers. */
typedef struct qk_pulse_codes {
    int32_t disconnect;
    int32_t thread_death;
    int32_t coid_death;
} qk_pulse_codes;

qk_error qk_channel_create(const char *call, const qk_channel_config *config,
                           const qk_pulse_codes *codes, int32_t *channel_out);
qk_error qk_channel_destroy(int32_t channel);

/* The connection gets the lowest free number from `first` on. */
qk_error qk_connect(int32_t process, int32_t channel, uint32_t first, int32_t *connection_out);
qk_error qk_disconnect(int32_t connection);

/* priority: of the pulse, or negative for the caller's. */
qk_error qk_pulse_send(const char *call, int32_t connection, int32_t priority, uint32_t flags,
                       int32_t code, int64_t value);

/* Waits for a pulse; `room_ok` says whether the caller's buffer can take one. */
qk_error qk_pulse_receive(int32_t channel, bool room_ok, qk_pulse *pulse_out);

/* Time. */

enum qk_clock { QK_CLOCK_REAL, QK_CLOCK_MONOTONIC, QK_CLOCK_PROCESS, QK_CLOCK_THREAD };

/* States that a time-out can end: bits of a mask. */
enum qk_state {
    QK_STATE_OUTSIDE = 0,
    QK_STATE_RECEIVE = 1,
    QK_STATE_SLEEP = 2,
    QK_STATE_MUTEX = 4,
    QK_STATE_CONDVAR = 8,
    QK_STATE_JOIN = 16,
    QK_STATE_SEMAPHORE = 32
};

typedef struct qk_timeout {
    enum qk_clock clock;
    uint32_t states;
    bool absolute;
    bool immediate;
    uint64_t time; /* nanoseconds */
} qk_timeout;

/* Arms the time-out of this thread's next call. */
qk_error qk_timeout_arm(const char *call, const qk_timeout *timeout);
qk_error qk_sleep(const char *call, const qk_timeout *timeout);
qk_error qk_time(const char *call, enum qk_clock clock, int32_t thread, const uint64_t *set,
                 uint64_t *time_out);

/* Mutexes, condition variables, semaphores. The words are the guest's: the kernel keeps what a
 * thread waits in by their address, and writes owner and count into them. */

typedef struct qk_words {
    uint32_t *count;
    uint32_t *owner;
} qk_words;

enum qk_protocol { QK_PROTOCOL_INHERIT, QK_PROTOCOL_NONE, QK_PROTOCOL_PROTECT };

typedef struct qk_mutex_config {
    enum qk_protocol protocol;
    int32_t ceiling;
    bool recursive;
    bool unchecked; /* locking twice waits for ever */
    bool robust;
    uint32_t count_word; /* what its count says while it is free */
} qk_mutex_config;

enum qk_sync_kind { QK_SYNC_NONE, QK_SYNC_MUTEX, QK_SYNC_CONDVAR, QK_SYNC_SEMAPHORE };

/* Makes one at that address. */
qk_error qk_mutex_create(qk_words words, const qk_mutex_config *config);
qk_error qk_condvar_create(qk_words words, enum qk_clock clock);
qk_error qk_semaphore_create(qk_words words, uint32_t value);

/* Forgets it; `destroyed` goes into its owner's word. */
qk_error qk_sync_destroy(qk_words words, uint32_t destroyed);

/* `config` is what the words' initialiser stands for, should the kernel not know the mutex yet. */
qk_error qk_mutex_lock(const char *call, qk_words words, const qk_mutex_config *config,
                       bool only_try);
qk_error qk_mutex_unlock(const char *call, qk_words words);
qk_error qk_mutex_consistent(qk_words words);
qk_error qk_mutex_ceiling(qk_words words, const int32_t *set, int32_t *ceiling_out);

qk_error qk_condvar_wait(qk_words condition, qk_words mutex, enum qk_clock clock);
qk_error qk_condvar_signal(qk_words words, bool all);

qk_error qk_semaphore_post(const char *call, qk_words words);
qk_error qk_semaphore_wait(const char *call, qk_words words, bool only_try);
qk_error qk_semaphore_value(qk_words words, uint32_t *value_out);

/* Threads. Thread 0 is the calling one. */

enum { QK_THREAD_NAME_MAX = 100, QK_PRIORITY_MIN = 1, QK_PRIORITY_MAX = 255 };

typedef struct qk_thread_config {
    bool explicit_scheduling;
    int32_t policy;
    int32_t priority;
    bool detached;
    size_t stack_size; /* bytes, 0 for the default */
    void *stack;       /* NULL: the kernel's own */
    size_t guard_size;
} qk_thread_config;

qk_error qk_thread_create(const qk_thread_config *config, void *(*start)(void *argument),
                          void *argument, int32_t *thread_out);
qk_error qk_thread_join(int32_t thread, void **result_out);
qk_error qk_thread_detach(int32_t thread);
int32_t qk_thread_self(void);
void qk_thread_exit(void *result) __attribute__((noreturn));

/* The name fits QK_THREAD_NAME_MAX bytes; either may be NULL. */
qk_error qk_thread_name(const char *call, int32_t thread, const char *set, char *name_out);

/* Masks of processors, one word; 0 only asks. `inherit` may be NULL. */
qk_error qk_thread_run_mask(int32_t thread, uint32_t *mask, uint32_t *inherit);

typedef struct qk_scheduling {
    int32_t policy;
    int32_t priority;
    int32_t current; /* with what it inherits */
} qk_scheduling;

qk_error qk_scheduling_get(const char *call, int32_t thread, qk_scheduling *scheduling_out);

/* policy negative: unchanged. */
qk_error qk_scheduling_set(const char *call, int32_t thread, int32_t policy, int32_t priority);
qk_error qk_yield(void);

#endif
