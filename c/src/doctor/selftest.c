/* The walls, one after the other, and what is said of each. */
#include "selftest.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "../linux/times.h"

_Static_assert(WRT_SELFTEST_TEXT_SIZE == (int)WRT_DOCTOR_TEXT_SIZE, "one writer for both");

typedef struct wall {
    const char *id;
    const char *name;
    wrt__selftest_fn lean;
} wall;

static const wall walls[] = {
    {"memory.guard_before", "guard before a memory", wrt__test_guard_before},
    {"memory.reserved", "pages that are only reserved", wrt__test_reserved},
    {"memory.guard_behind", "guard behind a memory", wrt__test_guard_behind},
    {"memory.running", "memory that is run", wrt__test_running_memory},
    {"slots.guards", "guards between kept slots", wrt__test_slots},
    {"worker.allowed", "calls that a worker needs", wrt__test_allowed},
    {"worker.calls", "every other system call", wrt__test_calls},
    {"worker.arguments", "its own calls, otherwise", wrt__test_arguments},
    {"worker.int80", "calls of 32-bit programs", wrt__test_interrupt},
    {"worker.x32", "calls of x32 programs", wrt__test_x32},
    {"worker.guards", "guards inside a worker", wrt__test_worker_guards},
    {"worker.read_only", "the module's bytes", wrt__test_read_only},
    {"worker.running", "a worker's memory that is run", wrt__test_worker_running},
    {"worker.addresses", "limit of addresses", wrt__test_addresses},
    {"worker.descriptors", "limit of descriptors", wrt__test_descriptors},
    {"worker.processes", "limit of processes", wrt__test_processes},
    {"worker.files", "limit of written files", wrt__test_files},
    {"worker.locks", "limit of locked memory", wrt__test_locks},
    {"engine.bounds", "bounds of a guest's memory", wrt__test_bounds},
    {"engine.growth", "maximum of a guest's memory", wrt__test_growth},
    {"engine.fuel", "fuel of a guest", wrt__test_fuel},
};

_Static_assert(sizeof walls / sizeof *walls == WRT_SELFTEST_ROWS, "as documented");

/* ---- Saying how it went ---- */

static wrt_status tell(wrt__selftest *test, uint32_t state, const char *reason,
                       const wrt__words *words)
{
    test->row->state = state;
    wrt__doctor_write(test->row->reason, reason, words);
    return WRT_OK;
}

wrt_status wrt__passed(wrt__selftest *test, const char *reason)
{
    const wrt__words words = {{test->row->attempts, 0}, NULL};

    return tell(test, WRT_SELFTEST_PASSED, reason, &words);
}

wrt_status wrt__failed(wrt__selftest *test, const char *reason, const char *word, uint64_t first,
                       uint64_t second)
{
    const wrt__words words = {{first, second}, word};

    return tell(test, WRT_SELFTEST_FAILED, reason, &words);
}

wrt_status wrt__skipped(wrt__selftest *test, const char *reason)
{
    const wrt__words words = {{0, 0}, NULL};

    return tell(test, WRT_SELFTEST_SKIPPED, reason, &words);
}

/* ---- One after the other ---- */

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return wrt__nanoseconds(&time);
}

static void lean(wrt__selftest *test, const wall *against, wrt_selftest_row *row)
{
    const uint64_t start = now();

    *row = (wrt_selftest_row){.id = against->id, .name = against->name};
    test->row = row;
    if (against->lean(test) != WRT_OK) {
        const wrt_error error = *wrt_error_last();
        row->state = WRT_SELFTEST_FAILED;
        (void)wrt_error_format(&error, row->reason, sizeof row->reason);
    }
    row->elapsed_ns = now() - start;
}

static wrt_status verdict(const char *operation, const wrt_selftest_row *rows)
{
    uint32_t failed = 0, first = 0;

    for (uint32_t i = WRT_SELFTEST_ROWS; i-- > 0;) {
        if (rows[i].state != WRT_SELFTEST_FAILED) continue;
        failed++;
        first = i;
    }
    if (failed == 0) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_UNSUPPORTED, operation,
                           "walls that do not hold on this system: {0}; the first is row {1}",
                           failed, first);
}

static wrt_status prepare(const char *operation, const wrt_selftest_config *given,
                          wrt__selftest *test)
{
    wrt_selftest_config config = {.struct_size = sizeof config};

    if (given != NULL) {
        const wrt_status status = wrt__config_read(operation, given, &config, sizeof config);
        if (status != WRT_OK) return status;
    }
    if (!wrt__is_zero(config.reserved, sizeof config.reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    test->sandbox = (wrt_sandbox_config){.struct_size = sizeof test->sandbox,
                                         .maximum_pages = 2,
                                         .maximum_module_bytes = WRT_PAGE_SIZE,
                                         .working_bytes = 16 * WRT_PAGE_SIZE,
                                         .program_path = config.program_path};
    return WRT_OK;
}

wrt_status wrt_selftest(const wrt_selftest_config *config, wrt_selftest_row *rows_out,
                        uint32_t capacity, uint32_t *count_out)
{
    wrt__selftest test;

    if (rows_out == NULL || count_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "rows_out or count_out is NULL");
    }
    *count_out = 0;
    if (capacity < WRT_SELFTEST_ROWS) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "there is room for {0} rows, {1} are needed", capacity,
                               WRT_SELFTEST_ROWS);
    }
    const wrt_status status = prepare(__func__, config, &test);
    if (status != WRT_OK) return status;
    for (uint32_t i = 0; i < WRT_SELFTEST_ROWS; i++) lean(&test, &walls[i], &rows_out[i]);
    *count_out = WRT_SELFTEST_ROWS;
    return verdict(__func__, rows_out);
}
