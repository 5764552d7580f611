/* A few orders in a fixed table: each counts down the uses of its call. */
#include "host.h"

#include "faults.h"

struct order {
    char name[SIM_FAULT_NAME_MAX]; /* empty: any call */
    uint32_t uses_left;            /* 0: the order is done, its place is free */
    int32_t code;
};

static struct order orders[SIM_FAULT_MAX];
static uint64_t calls;
static uint64_t failures;

bool sim_fault_order(const char *name, uint32_t use, int32_t code)
{
    struct order *order = orders;

    if (name == NULL) name = "";
    if (use == 0 || strlen(name) >= SIM_FAULT_NAME_MAX) return false;
    while (order < orders + SIM_FAULT_MAX && order->uses_left > 0) order++;
    if (order == orders + SIM_FAULT_MAX) return false;
    strcpy(order->name, name);
    order->uses_left = use;
    order->code = code;
    return true;
}

static bool concerns(const struct order *order, const char *name)
{
    return order->uses_left > 0 && (order->name[0] == '\0' || strcmp(order->name, name) == 0);
}

int32_t sim_fault_due(const char *name)
{
    int32_t code = 0;

    calls++;
    for (struct order *order = orders; order < orders + SIM_FAULT_MAX; order++) {
        if (concerns(order, name) && --order->uses_left == 0 && code == 0) code = order->code;
    }
    if (code != 0) failures++;
    return code;
}

uint64_t sim_fault_calls(void)
{
    return calls;
}

uint64_t sim_fault_failures(void)
{
    return failures;
}

void sim_fault_reset(void)
{
    memset(orders, 0, sizeof orders);
    calls = 0;
    failures = 0;
}
