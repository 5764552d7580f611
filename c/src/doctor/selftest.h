/* Internal: what the parts of the selftest share. A test leans against one wall and returns WRT_OK
 * if it holds; a failure of its own (no process can be made) is a failure of the row. */
#ifndef WRT_DOCTOR_SELFTEST_H
#define WRT_DOCTOR_SELFTEST_H

#include "doctor.h"

#include "../sandbox/state.h"
#include "wrt_platform/linux/selftest.h"

/* A selftest under way. */
typedef struct wrt__selftest {
    wrt_sandbox_config sandbox; /* of every worker */
    wrt_selftest_row *row;      /* the one under way */
} wrt__selftest;

typedef wrt_status (*wrt__selftest_fn)(wrt__selftest *test);

/* Say how it went; WRT_OK, so that a test can end with it. */
wrt_status wrt__passed(wrt__selftest *test, const char *reason);
wrt_status wrt__failed(wrt__selftest *test, const char *reason, const char *word, uint64_t first,
                       uint64_t second);
wrt_status wrt__skipped(wrt__selftest *test, const char *reason);

/* ---- selftest_memory.c ---- */

wrt_status wrt__test_guard_before(wrt__selftest *test);
wrt_status wrt__test_reserved(wrt__selftest *test);
wrt_status wrt__test_guard_behind(wrt__selftest *test);
wrt_status wrt__test_running_memory(wrt__selftest *test);
wrt_status wrt__test_slots(wrt__selftest *test);

/* ---- selftest_worker.c ---- */

wrt_status wrt__test_allowed(wrt__selftest *test);
wrt_status wrt__test_calls(wrt__selftest *test);
wrt_status wrt__test_arguments(wrt__selftest *test);
wrt_status wrt__test_interrupt(wrt__selftest *test);
wrt_status wrt__test_x32(wrt__selftest *test);
wrt_status wrt__test_worker_guards(wrt__selftest *test);
wrt_status wrt__test_read_only(wrt__selftest *test);
wrt_status wrt__test_worker_running(wrt__selftest *test);
wrt_status wrt__test_addresses(wrt__selftest *test);
wrt_status wrt__test_descriptors(wrt__selftest *test);
wrt_status wrt__test_processes(wrt__selftest *test);
wrt_status wrt__test_files(wrt__selftest *test);
wrt_status wrt__test_locks(wrt__selftest *test);

/* ---- selftest_engine.c ---- */

wrt_status wrt__test_bounds(wrt__selftest *test);
wrt_status wrt__test_growth(wrt__selftest *test);
wrt_status wrt__test_fuel(wrt__selftest *test);

#endif
