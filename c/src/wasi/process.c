/* Arguments, environment, clocks, randomness, and the end. */
#include "state.h"

enum { RANDOM_PIECE = 65536 }; /* bytes between two looks at the clock */

/* Writes texts that lie in a row, each with its NUL, and an array of pointers to them. */
static wasi_answer put_texts(const wasi_guest *guest, uint32_t pointers, uint32_t texts,
                             const char *bytes, uint32_t count, uint32_t size)
{
    uint32_t offset = 0;

    if (!wrt__guest_has(guest, pointers, (uint64_t)count * 4)) return WASI_FAULT;
    if (!wrt__guest_has(guest, texts, size)) return WASI_FAULT;
    wrt__guest_put(guest, texts, bytes, size);
    for (uint32_t i = 0; i < count; i++) {
        wrt__guest_put32(guest, pointers + i * 4, texts + offset);
        offset += (uint32_t)strlen(bytes + offset) + 1;
    }
    return WASI_SUCCESS;
}

static wasi_answer put_sizes(const wasi_guest *guest, uint32_t count_address, uint32_t size_address,
                             uint32_t count, uint32_t size)
{
    if (!wrt__guest_has(guest, count_address, 4)) return WASI_FAULT;
    if (!wrt__guest_has(guest, size_address, 4)) return WASI_FAULT;
    wrt__guest_put32(guest, count_address, count);
    wrt__guest_put32(guest, size_address, size);
    return WASI_SUCCESS;
}

WASI_CALL(args_get)
{
    return put_texts(guest, arguments[0].i32, arguments[1].i32, wasi->arguments,
                     wasi->argument_count, wasi->argument_bytes);
}

WASI_CALL(args_sizes_get)
{
    return put_sizes(guest, arguments[0].i32, arguments[1].i32, wasi->argument_count,
                     wasi->argument_bytes);
}

WASI_CALL(environ_get)
{
    return put_texts(guest, arguments[0].i32, arguments[1].i32, wasi->environment,
                     wasi->environment_count, wasi->environment_bytes);
}

WASI_CALL(environ_sizes_get)
{
    return put_sizes(guest, arguments[0].i32, arguments[1].i32, wasi->environment_count,
                     wasi->environment_bytes);
}

WASI_CALL(clock_res_get)
{
    uint64_t resolution = 0;

    (void)wasi;
    if (!wrt__guest_has(guest, arguments[1].i32, 8)) return WASI_FAULT;
    const wasi_result result = wrt__wasi_port_resolution(arguments[0].i32, &resolution);
    if (result == WASI_SUCCESS) wrt__guest_put64(guest, arguments[1].i32, resolution);
    return result;
}

WASI_CALL(clock_time_get)
{
    uint64_t now = 0;

    (void)wasi;
    if (!wrt__guest_has(guest, arguments[2].i32, 8)) return WASI_FAULT;
    const wasi_result result = wrt__wasi_port_time(arguments[0].i32, &now);
    if (result == WASI_SUCCESS) wrt__guest_put64(guest, arguments[2].i32, now);
    return result;
}

/* A gigabyte takes seconds: it comes in pieces, and the call pauses between them. */
WASI_CALL(random_get)
{
    const uint32_t address = arguments[0].i32;
    const uint64_t size = arguments[1].i32;
    const uint64_t start = wrt__wasi_now();

    if (!wrt__guest_has(guest, address, size)) return WASI_FAULT;
    uint64_t done = wrt__wasi_resumed(wasi, guest, 0);
    while (done < size) {
        const uint64_t piece = size - done < RANDOM_PIECE ? size - done : RANDOM_PIECE;
        const wasi_result result =
            wrt__wasi_port_random(guest->base + address + done, (size_t)piece);
        if (result != WASI_SUCCESS) return result;
        done += piece;
        if (done < size && wrt__wasi_now() - start > WASI_TRANSFER_TIME) {
            return wrt__wasi_pause(wasi, guest, done);
        }
    }
    return WASI_SUCCESS;
}

WASI_CALL(sched_yield)
{
    (void)wasi;
    (void)guest;
    (void)arguments;
    wrt__wasi_port_yield();
    return WASI_SUCCESS;
}

WASI_CALL(proc_exit)
{
    (void)guest;
    wasi->exit_code = arguments[0].i32;
    wasi->has_exited = 1;
    return WASI_OUTCOME_EXIT;
}

/* Calls of preview 1 that are not there; wasi.h and the documentation list them. */
WASI_CALL(no_call)
{
    (void)wasi;
    (void)guest;
    (void)arguments;
    return WASI_NOSYS;
}
