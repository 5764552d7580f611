/* A flag for each line of the list. */
#include "../common/host.h"

#include "../common/baton.h"
#include "kernel_switch.h"

static bool broken[QK_SWITCH_COUNT];

static const struct {
    const char *name;
    const char *meaning;
} texts[QK_SWITCH_COUNT] = {
#define SWITCH(constant, name, meaning) {name, meaning},
#include "kernel_switches.inc"
#undef SWITCH
};

bool qk_switched(enum qk_switch which)
{
    return broken[which];
}

bool qk_switch_set(const char *name, bool is_broken)
{
    for (uint32_t index = 0; index < QK_SWITCH_COUNT; index++) {
        if (strcmp(texts[index].name, name) != 0) continue;
        broken[index] = is_broken;
        sim_ignore_priorities(broken[QK_BREAK_RUN_ORDER]);
        return true;
    }
    return false;
}

const char *qk_switch_name(uint32_t index)
{
    return index < QK_SWITCH_COUNT ? texts[index].name : NULL;
}

const char *qk_switch_meaning(uint32_t index)
{
    return index < QK_SWITCH_COUNT ? texts[index].meaning : NULL;
}

void qk_switch_reset(void)
{
    memset(broken, 0, sizeof broken);
    sim_ignore_priorities(false);
}
