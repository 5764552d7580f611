/* Internal: how many there are of each kind of thing that a program has to give back. Under the
 * lock. */
#ifndef SIM_COMMON_CENSUS_H
#define SIM_COMMON_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

enum { SIM_CENSUS_KINDS = 24 };

/* Counts `change` more of a kind; `kind` is static text. */
void sim_census_count(const char *kind, int64_t change);

/* The kinds in the order in which they were first seen; false beyond the last. */
bool sim_census_read(uint32_t index, const char **kind_out, int64_t *count_out);

void sim_census_reset(void);

#endif
