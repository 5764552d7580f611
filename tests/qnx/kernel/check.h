/* Checks of QNX's own calls, by their real names, so that the same files can be run on a real QNX.
 * What they need beside those calls stands here, and runner.c has it. */
#ifndef TESTS_QNX_CHECK_H
#define TESTS_QNX_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct check {
    const char *name;
    void (*run)(void);
};

/* Notes a condition that does not hold; the check goes on. Returns whether it does. */
bool check_that(bool holds, const char *condition, const char *file, int line);

#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__)

/* The same for two numbers, which are noted as well. */
bool check_equal(int64_t got, int64_t wanted, const char *what, const char *file, int line);

#define CHECK_EQUAL(got, wanted) check_equal((got), (wanted), #got, __FILE__, __LINE__)

/* Whether the byte can be read, or written (with its own value), found out without a fault. */
bool can_read(const void *address);
bool can_write(void *address);

#endif
