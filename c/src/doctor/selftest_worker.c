/* Walls round a sealed worker. Each attempt that has to end one takes a new one, started as those
 * of guests are; what it was about to do is written into the memory that both share, so that its
 * end can be put down to that and to nothing else. */
#include "selftest.h"

#include "../core/fail.h"
#include "wrt_platform/linux/capabilities.h"
#include "wrt_platform/linux/seccomp.h"

#define OPERATION "wrt_selftest"
#define PATIENCE  UINT64_C(1000000000) /* nanoseconds for one attempt */

enum {
    NUMBERS = 1024,      /* system calls are below */
    X32 = 0x40000000,    /* the bit that makes a number x32's */
    FOREIGN_CLOCK = 8,   /* clocks from here on are refused */
    GUARD_BYTES = 65536, /* as seal.c has them */
    ACCESS_REFUSED = 2   /* SEGV_ACCERR */
};

/* ---- One attempt ---- */

/* How a worker ended that was told to lean against a wall. */
typedef struct outcome {
    wrt__proof proof;
    uint32_t end; /* one of wrt_sandbox_end */
    int32_t end_number;
} outcome;

static void tell(wrt__sandbox *state, const wrt__proof *what)
{
    const wrt__order order = {.kind = WRT__ORDER_PROVE};
    wrt__proof *const proof = &state->control->proof;

    proof->kind = what->kind;
    proof->area = what->area;
    proof->number = what->number;
    proof->offset = what->offset;
    proof->stage = WRT__PROOF_NOT_BEGUN;
    memcpy(proof->arguments, what->arguments, sizeof proof->arguments);
    wrt__sandbox_order(state, &order);
}

/* A worker that goes on, or hangs, is left as it is; the caller ends it. */
static void watch(wrt__sandbox *state, outcome *out)
{
    const enum wrt__sandbox_news news = wrt__sandbox_await(state, wrt__sandbox_after(PATIENCE));

    if (news != WRT__NEWS_TURN) wrt__sandbox_finish(state, news == WRT__NEWS_TIME);
    out->end = state->end;
    out->end_number = state->end_number;
    out->proof = state->control->proof;
}

static wrt_status attempt(wrt__selftest *test, const wrt__proof *what, outcome *out)
{
    wrt_sandbox sandbox;

    const wrt_status status = wrt__sandbox_init(OPERATION, &sandbox, &test->sandbox, true);
    if (status != WRT_OK) return status;
    tell(sandbox.state, what);
    watch(sandbox.state, out);
    test->row->attempts++;
    return wrt_sandbox_deinit(&sandbox);
}

/* ---- System calls ---- */

static wrt_status fail_call(wrt__selftest *test, const outcome *out)
{
    const char *const name = wrt_seccomp_call_name(WRT_SECCOMP_HOST, (uint32_t)out->proof.number);

    if (out->proof.stage == WRT__PROOF_CAME_BACK) {
        return wrt__failed(test, "call {0} ({w}) was let through the filter",
                           name != NULL ? name : "without a name", out->proof.number, 0);
    }
    return wrt__failed(test, "at call {0} the worker ended otherwise than by SIGSYS: {w} {1}",
                       out->end == WRT_SANDBOX_EXITED ? "exit code" : "signal", out->proof.number,
                       (uint64_t)out->end_number);
}

static bool was_killed_by_filter(const outcome *out)
{
    return out->proof.stage == WRT__PROOF_BEGUN && out->end == WRT_SANDBOX_SIGNALLED &&
           out->end_number == SIGSYS;
}

/* The kernel's own way back from a probe (Linux 6.11) is not filtered; whoever makes it otherwise
 * than the kernel has arranged is ended by SIGILL. */
static bool was_killed_by_probe(const outcome *out)
{
    const char *const name = wrt_seccomp_call_name(WRT_SECCOMP_HOST, (uint32_t)out->proof.number);

    return name != NULL && (strcmp(name, "uretprobe") == 0 || strcmp(name, "uprobe") == 0) &&
           out->proof.stage == WRT__PROOF_BEGUN && out->end == WRT_SANDBOX_SIGNALLED &&
           out->end_number == SIGILL;
}

/* Whether the call ended the worker as it has to; a row that failed says which did not. */
static wrt_status refuse_call(wrt__selftest *test, uint64_t number, uint64_t first, bool *held_out)
{
    const wrt__proof what = {
        .kind = WRT__PROOF_CALL, .number = number, .arguments = {first, 0, 0, 0, 0, 0}};
    outcome out;

    const wrt_status status = attempt(test, &what, &out);
    if (status != WRT_OK) return status;
    *held_out = was_killed_by_filter(&out) || was_killed_by_probe(&out);
    return *held_out ? WRT_OK : fail_call(test, &out);
}

static bool is_allowed(uint64_t number)
{
    return number == SYS_read || number == SYS_write || number == SYS_clock_gettime ||
           number == SYS_exit_group;
}

wrt_status wrt__test_calls(wrt__selftest *test)
{
    const uint64_t beyond[] = {NUMBERS, 0x3FFFFFFF, 0xFFFFFFFF};
    wrt_status status = WRT_OK;
    bool held = true;

    for (uint32_t number = 0; number < NUMBERS && status == WRT_OK && held; number++) {
        if (is_allowed(number)) continue;
        if (wrt_seccomp_call_name(WRT_SECCOMP_HOST, number) == NULL) continue;
        status = refuse_call(test, number, 0, &held);
    }
    for (uint32_t i = 0; i < sizeof beyond / sizeof *beyond && status == WRT_OK && held; i++) {
        status = refuse_call(test, beyond[i], 0, &held);
    }
    if (status != WRT_OK || !held) return status;
    return wrt__passed(test, "{0} calls, each made by a worker that died by SIGSYS in it");
}

wrt_status wrt__test_arguments(wrt__selftest *test)
{
    const struct {
        uint64_t number, first;
    } calls[] = {{SYS_read, WRT__WORKER_OUT},        {SYS_read, WRT__WORKER_LIFE},
                 {SYS_write, WRT__WORKER_IN},        {SYS_write, WRT__WORKER_LIFE},
                 {SYS_clock_gettime, FOREIGN_CLOCK}, {SYS_clock_gettime, 0xFFFFFFFF}};
    wrt_status status = WRT_OK;
    bool held = true;

    for (uint32_t i = 0; i < sizeof calls / sizeof *calls && status == WRT_OK && held; i++) {
        status = refuse_call(test, calls[i].number, calls[i].first, &held);
    }
    if (status != WRT_OK || !held) return status;
    return wrt__passed(test, "{0} calls on other descriptors and clocks, each ended by SIGSYS");
}

/* Numbers of 32-bit programs, and those of 64-bit ones that the filter allows. */
wrt_status wrt__test_interrupt(wrt__selftest *test)
{
    static const uint64_t numbers[] = {0, 1, 3, 4, 5, 20, 228, 231, 252, 265};
    outcome out;

    for (uint32_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const wrt__proof what = {.kind = WRT__PROOF_INTERRUPT, .number = numbers[i]};
        const wrt_status status = attempt(test, &what, &out);
        if (status != WRT_OK) return status;
        if (out.proof.stage == WRT__PROOF_CAME_BACK && out.proof.result == -ENOSYS) {
            return wrt__skipped(test, "this processor, or its kernel, has no such calls");
        }
        if (out.proof.signal_number == SIGSEGV) {
            return wrt__skipped(test, "this kernel runs no 32-bit programs: int 0x80 is a fault");
        }
        if (!was_killed_by_filter(&out)) return fail_call(test, &out);
    }
    return wrt__passed(test, "{0} calls by int 0x80, each ended by SIGSYS");
}

#if defined(__x86_64__)
enum { HAS_X32_NUMBERS = 1 };
#else
enum { HAS_X32_NUMBERS = 0 };
#endif

wrt_status wrt__test_x32(wrt__selftest *test)
{
    static const uint32_t numbers[] = {SYS_read,       SYS_write, SYS_clock_gettime,
                                       SYS_exit_group, SYS_dup,   SYS_getpid};
    wrt_status status = WRT_OK;
    bool held = true;

    if (HAS_X32_NUMBERS == 0) return wrt__skipped(test, "numbers of x86-64 alone");
    for (uint32_t i = 0; i < sizeof numbers / sizeof *numbers && status == WRT_OK && held; i++) {
        status = refuse_call(test, X32 | numbers[i], 0, &held);
    }
    if (status != WRT_OK || !held) return status;
    return wrt__passed(test, "{0} calls with x32's numbers, each ended by SIGSYS");
}

/* That the others are refused would mean nothing if no call got through. */
wrt_status wrt__test_allowed(wrt__selftest *test)
{
    const wrt__proof calls[] = {
        {.kind = WRT__PROOF_CALL, .number = SYS_read, .arguments = {WRT__WORKER_IN, 0, 0}},
        {.kind = WRT__PROOF_CALL, .number = SYS_write, .arguments = {WRT__WORKER_OUT, 0, 0}},
        {.kind = WRT__PROOF_CALL, .number = SYS_clock_gettime, .arguments = {CLOCK_MONOTONIC, 0}}};
    const wrt__proof last = {
        .kind = WRT__PROOF_CALL, .number = SYS_exit_group, .arguments = {77, 0, 0}};
    outcome out;

    for (uint32_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        const wrt_status status = attempt(test, &calls[i], &out);
        if (status != WRT_OK) return status;
        const bool came_back = out.proof.stage == WRT__PROOF_CAME_BACK;
        const int64_t faulty = i == 2 ? -EFAULT : 0; /* a clock that is read to address 0 */
        if (!came_back || out.end != WRT_SANDBOX_RUNS || out.proof.result != faulty) {
            return wrt__failed(test, "call {0}, which a worker needs, did not get through", NULL,
                               calls[i].number, 0);
        }
    }
    const wrt_status status = attempt(test, &last, &out);
    if (status != WRT_OK) return status;
    if (out.end != WRT_SANDBOX_EXITED || out.end_number != 77) {
        return wrt__failed(test, "a worker could not end itself", NULL, 0, 0);
    }
    return wrt__passed(test, "read, write, clock_gettime and exit_group got through");
}

/* ---- Memory ---- */

static wrt_status refuse_touch(wrt__selftest *test, const wrt__proof *what, bool *held_out)
{
    outcome out;

    const wrt_status status = attempt(test, what, &out);
    if (status != WRT_OK) return status;
    *held_out = out.proof.stage == WRT__PROOF_BEGUN && out.proof.signal_number == SIGSEGV &&
                out.proof.code == ACCESS_REFUSED && out.proof.fault == out.proof.address;
    if (*held_out) return WRT_OK;
    return wrt__failed(test,
                       "area {0} of a worker: a touch of it ended in signal {1}, not in SIGSEGV "
                       "for want of a right at that address",
                       NULL, what->area, (uint64_t)out.proof.signal_number);
}

static wrt_status refuse_all(wrt__selftest *test, const wrt__proof *touches, uint32_t count,
                             const char *reason)
{
    wrt_status status = WRT_OK;
    bool held = true;

    for (uint32_t i = 0; i < count && status == WRT_OK && held; i++) {
        status = refuse_touch(test, &touches[i], &held);
    }
    return status == WRT_OK && held ? wrt__passed(test, reason) : status;
}

static uint64_t bytes_of(const wrt__selftest *test, uint32_t area)
{
    if (area == WRT__AREA_PROGRAM) return test->sandbox.maximum_module_bytes;
    if (area == WRT__AREA_ARENA) return test->sandbox.working_bytes;
    return (uint64_t)test->sandbox.maximum_pages * WRT_PAGE_SIZE;
}

wrt_status wrt__test_worker_guards(wrt__selftest *test)
{
    enum { AREAS = 3, SIDES = 4, WAYS = 2 };
    wrt__proof touches[AREAS * SIDES * WAYS];
    uint32_t count = 0;

    for (uint32_t area = 0; area < AREAS; area++) {
        const int64_t end = (int64_t)bytes_of(test, area);
        const int64_t offsets[SIDES] = {-GUARD_BYTES, -1, end, end + GUARD_BYTES - 1};
        for (uint32_t side = 0; side < SIDES; side++) {
            for (uint32_t way = 0; way < WAYS; way++) {
                touches[count++] = (wrt__proof){
                    .kind = WRT__PROOF_READ + way, .area = area, .offset = offsets[side]};
            }
        }
    }
    return refuse_all(test, touches, count,
                      "{0} touches of the first and last bytes of guards, each SIGSEGV "
                      "(SEGV_ACCERR) at its address");
}

wrt_status wrt__test_read_only(wrt__selftest *test)
{
    const int64_t last = (int64_t)bytes_of(test, WRT__AREA_PROGRAM) - 1;
    const wrt__proof touches[] = {
        {.kind = WRT__PROOF_WRITE, .area = WRT__AREA_PROGRAM, .offset = 0},
        {.kind = WRT__PROOF_WRITE, .area = WRT__AREA_PROGRAM, .offset = last}};

    return refuse_all(test, touches, 2,
                      "{0} writes to them, each SIGSEGV (SEGV_ACCERR) at its address");
}

wrt_status wrt__test_worker_running(wrt__selftest *test)
{
    const wrt__proof touches[] = {{.kind = WRT__PROOF_RUN, .area = WRT__AREA_PROGRAM},
                                  {.kind = WRT__PROOF_RUN, .area = WRT__AREA_MEMORY},
                                  {.kind = WRT__PROOF_RUN, .area = WRT__AREA_ARENA}};

    return refuse_all(test, touches, 3,
                      "{0} jumps into its areas, each SIGSEGV (SEGV_ACCERR) at its address");
}

/* ---- Limits of resources ---- */

static bool has(uint32_t capability)
{
    wrt_capabilities own;

    return wrt_capabilities_current(&own) == WRT_OK && (own.effective >> capability & 1) != 0;
}

/* What the worker met when it exceeded one, before it sealed itself. */
static wrt_status exceed(wrt__selftest *test, uint32_t limit, int32_t code, int32_t other_code)
{
    const wrt__proof what = {
        .kind = WRT__PROOF_CALL, .number = SYS_read, .arguments = {WRT__WORKER_IN, 0, 0}};
    outcome out;

    const wrt_status status = attempt(test, &what, &out);
    if (status != WRT_OK) return status;
    const int64_t met = out.proof.limits[limit];
    if (met == -code || met == -other_code) {
        return wrt__passed(test, "exceeded before the seal, and refused with the limit's error");
    }
    if (met < 0) {
        return wrt__failed(test, "exceeding it ended in error {0}, not in {1}", NULL,
                           (uint64_t)-met, (uint64_t)code);
    }
    return wrt__failed(test, "it was exceeded, and nothing refused that", NULL, 0, 0);
}

/* Some limits are not for root: there the filter alone is in the way, and has its own rows. */
static wrt_status exceed_unless(wrt__selftest *test, uint32_t limit, int32_t code,
                                int32_t other_code, bool is_free)
{
    if (is_free) {
        return wrt__skipped(test, "the kernel lets root exceed it; the filter leaves no call that "
                                  "could");
    }
    return exceed(test, limit, code, other_code);
}

wrt_status wrt__test_addresses(wrt__selftest *test)
{
    return exceed(test, WRT__PROOF_ADDRESSES, ENOMEM, ENOMEM);
}

wrt_status wrt__test_descriptors(wrt__selftest *test)
{
    return exceed(test, WRT__PROOF_DESCRIPTORS, EMFILE, EMFILE);
}

wrt_status wrt__test_processes(wrt__selftest *test)
{
    const bool is_free =
        getuid() == 0 || has(WRT_CAPABILITY_SYS_RESOURCE) || has(WRT_CAPABILITY_SYS_ADMIN);

    return exceed_unless(test, WRT__PROOF_PROCESSES, EAGAIN, EAGAIN, is_free);
}

wrt_status wrt__test_files(wrt__selftest *test)
{
    return exceed(test, WRT__PROOF_FILES, EFBIG, EFBIG);
}

wrt_status wrt__test_locks(wrt__selftest *test)
{
    return exceed_unless(test, WRT__PROOF_LOCKS, EPERM, ENOMEM, has(WRT_CAPABILITY_IPC_LOCK));
}
