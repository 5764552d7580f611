/* Internal: the instance that host functions see whose guest runs in another process. They reach
 * its memory and its cancel token; to them a call is always under way, so it cannot be called. */
#ifndef WRT_ENGINE_ELSEWHERE_H
#define WRT_ENGINE_ELSEWHERE_H

#include "execution.h"

typedef struct wrt__elsewhere {
    wrt_instance instance;
    wrt_module module; /* holds nothing */
    wrt_memory memory;
    wrt__execution execution;
} wrt__elsewhere;

/* Prepares it, on storage that is zero and stays where it is; `base` is the memory's first byte,
 * NULL if there is none. Nothing is to be deinitialised. */
void wrt__elsewhere_init(wrt__elsewhere *elsewhere, uint8_t *base);

/* Says how much memory the guest has now, and that it has got on since the last time. */
void wrt__elsewhere_update(wrt__elsewhere *elsewhere, uint32_t page_count);

#endif
