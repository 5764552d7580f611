/* Internal, for entries: the words of mutexes and their like, as QNX's numbers say what they are.
 */
#ifndef SIM_QNX_ENTRY_SYNC_H
#define SIM_QNX_ENTRY_SYNC_H

#include <stdbool.h>
#include <sys/types.h>

#include "kernel.h"

/* Attributes of a mutex: bits of their flags, which no program sees. */
enum { PTHREAD_RECURSIVE_ENABLE = 0x02, PTHREAD_ERRORCHECK_DISABLE = 0x04 };

/* Whether it is there and has not been destroyed. */
qk_error sim_check_sync(const sync_t *sync);

qk_words sim_words(sync_t *sync);

qk_error sim_lock_mutex(const char *call, sync_t *sync, bool only_try);
qk_error sim_unlock_mutex(const char *call, sync_t *sync);
qk_error sim_wait_condition(sync_t *condition, sync_t *mutex);
qk_error sim_signal_condition(sync_t *condition, bool all);
qk_error sim_create_sync(unsigned int type, sync_t *sync, const struct _sync_attr *attributes);
qk_error sim_destroy_sync(sync_t *sync);
qk_error sim_control_sync(int command, sync_t *sync, void *data);

#endif
