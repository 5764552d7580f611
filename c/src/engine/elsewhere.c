#include "elsewhere.h"

void wrt__elsewhere_init(wrt__elsewhere *elsewhere, uint8_t *base)
{
    elsewhere->memory.base = base;
    elsewhere->memory.declared_maximum = UINT32_MAX;
    elsewhere->execution.trap.function = UINT32_MAX;
    elsewhere->execution.instance = &elsewhere->instance;
    elsewhere->instance.self = &elsewhere->instance;
    elsewhere->instance.module = &elsewhere->module;
    elsewhere->instance.execution = &elsewhere->execution;
    elsewhere->instance.memory = base != NULL ? &elsewhere->memory : NULL;
    elsewhere->instance.state = WRT__RUNNING;
    elsewhere->instance.magic = WRT__INSTANCE_MAGIC;
}

/* A call that is made again is told from a new one by the instructions that the guest has run. */
void wrt__elsewhere_update(wrt__elsewhere *elsewhere, uint32_t page_count)
{
    elsewhere->memory.page_count = page_count;
    elsewhere->memory.bytes = (uint64_t)page_count * WRT_PAGE_SIZE;
    if (elsewhere->memory.peak_pages < page_count) elsewhere->memory.peak_pages = page_count;
    elsewhere->execution.granted++;
    wrt__count(&elsewhere->execution.heartbeat);
}
