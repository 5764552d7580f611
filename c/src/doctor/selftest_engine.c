/* Walls that the engine puts round a guest: a module in a sealed worker does what it must not, and
 * has to trap, or to be told no. */
#include "selftest.h"

#include "../core/fail.h"

#define TIME_LIMIT UINT64_C(1000000000) /* nanoseconds */
#define FUEL       100000

/* (module (memory 1 2)
 *   (func (export "l") (param i32) (result i32) (i32.load8_u (local.get 0)))
 *   (func (export "s") (param i32) (i32.store8 (local.get 0) (i32.const 1)))
 *   (func (export "g") (param i32) (result i32) (memory.grow (local.get 0)))
 *   (func (export "r") (loop (br 0)))) */
static const uint8_t module[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x0d, 0x03, 0x60, 0x01, 0x7f, 0x01, 0x7f,
    0x60, 0x01, 0x7f, 0x00, 0x60, 0x00, 0x00, 0x03, 0x05, 0x04, 0x00, 0x01, 0x00, 0x02, 0x05, 0x04,
    0x01, 0x01, 0x01, 0x02, 0x07, 0x11, 0x04, 0x01, 0x6c, 0x00, 0x00, 0x01, 0x73, 0x00, 0x01, 0x01,
    0x67, 0x00, 0x02, 0x01, 0x72, 0x00, 0x03, 0x0a, 0x22, 0x04, 0x07, 0x00, 0x20, 0x00, 0x2d, 0x00,
    0x00, 0x0b, 0x09, 0x00, 0x20, 0x00, 0x41, 0x01, 0x3a, 0x00, 0x00, 0x0b, 0x06, 0x00, 0x20, 0x00,
    0x40, 0x00, 0x0b, 0x07, 0x00, 0x03, 0x40, 0x0c, 0x00, 0x0b, 0x0b};

typedef wrt_status (*guest_fn)(wrt__selftest *test, wrt_sandbox *sandbox);

static wrt_status with_guest(wrt__selftest *test, guest_fn lean_on)
{
    const wrt_sandbox_guest guest = {.struct_size = sizeof guest,
                                     .bytes = module,
                                     .bytes_size = sizeof module,
                                     .has_fuel = true,
                                     .fuel = FUEL};
    wrt_sandbox sandbox;

    wrt_status status = wrt_sandbox_init(&sandbox, &test->sandbox);
    if (status != WRT_OK) return status;
    status = wrt_sandbox_load(&sandbox, &guest, TIME_LIMIT);
    if (status == WRT_OK) status = lean_on(test, &sandbox);
    const wrt_error first = *wrt_error_last();
    const wrt_status ended = wrt_sandbox_deinit(&sandbox);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}

/* What a call of the guest comes to; *number_out: its result, if it has one. */
static wrt_status call(wrt__selftest *test, wrt_sandbox *sandbox, char name, uint32_t argument,
                       int32_t *number_out)
{
    const bool has_argument = name != 'r', has_result = name == 'l' || name == 'g';
    wrt_value value = {.i32 = argument}, result = {.i32 = 0};
    const wrt_sandbox_call of = {.struct_size = sizeof of,
                                 .name = &name,
                                 .name_size = 1,
                                 .arguments = &value,
                                 .argument_count = has_argument,
                                 .results = &result,
                                 .result_count = has_result,
                                 .timeout_ns = TIME_LIMIT};

    test->row->attempts++;
    const wrt_status status = wrt_sandbox_run(sandbox, &of);
    if (number_out != NULL) *number_out = (int32_t)result.i32;
    return status;
}

static bool trapped_out_of_bounds(wrt_sandbox *sandbox)
{
    wrt_sandbox_report report;

    return wrt_sandbox_query(sandbox, &report) == WRT_OK &&
           report.trap_code == WRT_TRAP_MEMORY_OUT_OF_BOUNDS;
}

static wrt_status lean_on_bounds(wrt__selftest *test, wrt_sandbox *sandbox)
{
    static const uint32_t beyond[] = {WRT_PAGE_SIZE, 2 * WRT_PAGE_SIZE, 0x7FFFFFFF, 0xFFFFFFFF};

    if (call(test, sandbox, 'l', WRT_PAGE_SIZE - 1, NULL) != WRT_OK ||
        call(test, sandbox, 's', WRT_PAGE_SIZE - 1, NULL) != WRT_OK) {
        return wrt__failed(test, "the last byte of a guest's memory can't be used", NULL, 0, 0);
    }
    for (uint32_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        const bool held = call(test, sandbox, 'l', beyond[i], NULL) == WRT_ERR_TRAP &&
                          trapped_out_of_bounds(sandbox) &&
                          call(test, sandbox, 's', beyond[i], NULL) == WRT_ERR_TRAP &&
                          trapped_out_of_bounds(sandbox);
        if (held) continue;
        return wrt__failed(test, "a guest reached byte {0} of a memory of {1}", NULL, beyond[i],
                           WRT_PAGE_SIZE);
    }
    return wrt__passed(test, "{0} loads and stores: those beyond the last byte trapped");
}

static wrt_status lean_on_growth(wrt__selftest *test, wrt_sandbox *sandbox)
{
    int32_t before = 0, after = 0, beyond = 0;

    wrt_status status = call(test, sandbox, 'g', 1, &before);
    if (status == WRT_OK) status = call(test, sandbox, 'g', 1, &beyond);
    if (status == WRT_OK) status = call(test, sandbox, 'g', 0, &after);
    if (status != WRT_OK) return status;
    if (before != 1 || after != 2 || beyond != -1) {
        return wrt__failed(test, "a memory of at most 2 pages grew beyond them", NULL, 0, 0);
    }
    return wrt__passed(test, "a memory grew to its maximum, and was refused one page more");
}

static wrt_status lean_on_fuel(wrt__selftest *test, wrt_sandbox *sandbox)
{
    wrt_sandbox_report report;

    if (call(test, sandbox, 'r', 0, NULL) != WRT_ERR_OUT_OF_FUEL) {
        return wrt__failed(test, "an endless loop did not end for want of fuel", NULL, 0, 0);
    }
    const wrt_status status = wrt_sandbox_query(sandbox, &report);
    if (status != WRT_OK) return status;
    if (report.fuel_used != FUEL) {
        return wrt__failed(test, "a loop took {0} instructions of {1}", NULL, report.fuel_used,
                           FUEL);
    }
    return wrt__passed(test, "an endless loop ended after just the instructions that it was given");
}

wrt_status wrt__test_bounds(wrt__selftest *test)
{
    return with_guest(test, lean_on_bounds);
}

wrt_status wrt__test_growth(wrt__selftest *test)
{
    return with_guest(test, lean_on_growth);
}

wrt_status wrt__test_fuel(wrt__selftest *test)
{
    return with_guest(test, lean_on_fuel);
}
