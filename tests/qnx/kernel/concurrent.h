/* What tests of threads by QNX's own calls share. A test file uses real names alone, so it can run
 * on a real system as well; what differs there is behind this header: who runs the tests, how a
 * thread works, how one waits until others wait. */
#ifndef TESTS_QNX_CONCURRENT_H
#define TESTS_QNX_CONCURRENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A test; the array of a file ends with one without a name. */
struct kernel_test {
    const char *name;
    void (*run)(void);
};

extern const struct kernel_test kernel_tests[];

enum { TICK = 1000000, MAIN_PRIORITY = 10 }; /* TICK: nanoseconds */

/* Says that the test has failed; it goes on. */
void check_failed(const char *file, int line, const char *text, long long seen);

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, 0))
#define CHECK_IS(value, expected)                                                                  \
    ((long long)(value) == (long long)(expected)                                                   \
         ? (void)0                                                                                 \
         : check_failed(__FILE__, __LINE__, #value " is " #expected, (long long)(value)))

/* Notes a number; the numbers so far must be those of the list, in this order. */
void note(int number);
void check_notes(const char *file, int line, const int *expected, int count);

#define CHECK_NOTES(...)                                                                           \
    check_notes(__FILE__, __LINE__, (const int[]){__VA_ARGS__},                                    \
                (int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)))

/* Starts a thread of a priority of its own, SCHED_FIFO. */
pthread_t start(int priority, void *(*run)(void *argument), void *argument);
void finish(pthread_t thread);

/* Uses the processor for so many ticks; the number of ticks since the test began. */
void work(int ticks);
int now(void);

/* The priority that the calling thread has at the moment. */
int current_priority(void);
int priority_of(pthread_t thread);

/* Lets the next wait of this kind (_NTO_TIMEOUT_...) end after so many ticks; 0 at once. */
void limit_next(int states, int ticks);

#endif
