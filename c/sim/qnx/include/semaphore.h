/* QNX: counting semaphores, thin calls over SyncSem*. */
#ifndef QNX_SEMAPHORE_H
#define QNX_SEMAPHORE_H

#include <sys/types.h>
#include <time.h>

int sem_init(sem_t *semaphore, int shared, unsigned int value) __QNX_SYMBOL(sem_init);
int sem_destroy(sem_t *semaphore) __QNX_SYMBOL(sem_destroy);
int sem_post(sem_t *semaphore) __QNX_SYMBOL(sem_post);
int sem_wait(sem_t *semaphore) __QNX_SYMBOL(sem_wait);
int sem_trywait(sem_t *semaphore) __QNX_SYMBOL(sem_trywait);
int sem_timedwait(sem_t *semaphore, const struct timespec *until) __QNX_SYMBOL(sem_timedwait);
int sem_getvalue(sem_t *semaphore, int *value) __QNX_SYMBOL(sem_getvalue);

#endif
