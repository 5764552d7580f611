/* A short table of names and counts. */
#include "host.h"

#include "census.h"

static struct {
    const char *kind;
    int64_t count;
} table[SIM_CENSUS_KINDS];

void sim_census_count(const char *kind, int64_t change)
{
    for (uint32_t index = 0; index < SIM_CENSUS_KINDS; index++) {
        if (table[index].kind == NULL) table[index].kind = kind;
        if (strcmp(table[index].kind, kind) == 0) {
            table[index].count += change;
            return;
        }
    }
}

bool sim_census_read(uint32_t index, const char **kind_out, int64_t *count_out)
{
    if (index >= SIM_CENSUS_KINDS || table[index].kind == NULL) return false;
    *kind_out = table[index].kind;
    *count_out = table[index].count;
    return true;
}

void sim_census_reset(void)
{
    memset(table, 0, sizeof table);
}
