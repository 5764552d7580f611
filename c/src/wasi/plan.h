/* Internal: a config that has been read and found right, and where everything that it asks for
 * lies in the caller's buffer: the descriptor table, what a poll waits for, a binding and an import
 * for each call, and copies of all texts. */
#ifndef WRT_WASI_PLAN_H
#define WRT_WASI_PLAN_H

#include "state.h"

enum { WASI_STANDARD_COUNT = 3 }; /* input, output, error: the guest's 0 to 2 */

/* What a host function needs to find its way back. */
typedef struct wasi_binding {
    wrt_host_function function;
    wrt_wasi *wasi;
    uint32_t call;
    uint32_t reserved;
} wasi_binding;

/* Offsets in the buffer, and how long the texts are with their NULs. */
typedef struct wasi_plan {
    wrt_wasi_config config;
    uint32_t descriptor_count;
    uint32_t argument_bytes;
    uint32_t environment_bytes;
    uint32_t preopen_bytes;
    size_t waits;
    size_t wait_scratch;
    size_t bindings;
    size_t imports;
    size_t arguments;
    size_t environment;
    size_t preopens;
    size_t bytes;
} wasi_plan;

/* Reads a caller's config of any age and says where everything goes. The buffer and what the host
 * paths name are not looked at. */
wrt_status wrt__wasi_make_plan(const char *operation, const wrt_wasi_config *given,
                               wasi_plan *plan_out);

#endif
