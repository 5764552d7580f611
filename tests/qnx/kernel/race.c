/* A plain counter that many threads count up, guarded by nothing but the baton: race [bracket].
 * Without the bracket nobody guards it at all, and the thread sanitizer has to say so. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "wrt_platform/sim/qnx.h"

enum { THREADS = 4, ROUNDS = 3000 };

int sim_qnx_SchedYield(void);

static long counter;
static bool guarded;

static void *count(void *unused)
{
    if (guarded && wrt_sim_qnx_enter(10) != WRT_OK) return NULL;
    for (int i = 0; i < ROUNDS; i++) {
        counter++;
        sim_qnx_SchedYield();
    }
    if (guarded && wrt_sim_qnx_leave() != WRT_OK) return NULL;
    return unused;
}

int main(int argument_count, char **arguments)
{
    pthread_t threads[THREADS];

    guarded = argument_count > 1 && strcmp(arguments[1], "bracket") == 0;
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, count, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    printf("%ld\n", counter);
    return 0;
}
