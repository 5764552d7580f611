/* What runs the checks around memory here: a library beside the simulated kernel, for the tests in
 * Python to load. On a real QNX a main() around check_run() would do. */
#define _GNU_SOURCE

#include "check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static char report[16384];
static size_t used;
static uint32_t failures;

bool check_that(bool holds, const char *condition, const char *file, int line)
{
    const char *name = strrchr(file, '/');

    if (holds) return true;
    failures++;
    if (used < sizeof report) {
        used += (size_t)snprintf(report + used, sizeof report - used, "%s:%d: not so: %s\n",
                                 name != NULL ? name + 1 : file, line, condition);
    }
    return false;
}

bool check_equal(int64_t got, int64_t wanted, const char *what, const char *file, int line)
{
    char text[400];

    snprintf(text, sizeof text, "%s is %lld, not %lld", what, (long long)got, (long long)wanted);
    return check_that(got == wanted, text, file, line);
}

/* The machine's kernel says EFAULT where a touch would be a fault. */
static bool pass(const void *from, void *to)
{
    int ends[2];
    char byte = 0;

    if (pipe(ends) != 0) return false;
    const bool passed = write(ends[1], from != NULL ? from : &byte, 1) == 1 &&
                        read(ends[0], to != NULL ? to : &byte, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return passed;
}

bool can_read(const void *address)
{
    return pass(address, NULL);
}

bool can_write(void *address)
{
    return can_read(address) ? pass(address, address) : pass(NULL, address);
}

/* The name of a check of a table that ends with NULL. */
EXPORT const char *check_name(const struct check *checks, uint32_t index)
{
    return checks[index].name;
}

/* Runs one. How many conditions did not hold; check_report() has them. */
EXPORT uint32_t check_run(const struct check *checks, uint32_t index)
{
    used = 0;
    report[0] = '\0';
    failures = 0;
    checks[index].run();
    return failures;
}

EXPORT const char *check_report(void)
{
    return report;
}
