/* A reset goes from what uses to what is used: processes hold partitions, mappings are paid for by
 * them, and the heap starts on an empty map. */
#include "../common/host.h"

#include "kernel_arena.h"
#include "kernel_budget.h"
#include "kernel_environment.h"
#include "kernel_memory.h"
#include "kernel_partition.h"
#include "kernel_resources.h"
#include "kernel_spawn.h"

static uint32_t world = 1;

void qk_resources_reset(void)
{
    qk_process_reset();
    qk_memory_reset();
    qk_partition_reset();
    qk_budget_reset();
    qk_environment_reset();
    qk_arena_reset();
    world++;
}

uint32_t qk_world(void)
{
    return world;
}
