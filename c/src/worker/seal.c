/* The way into the seal. Before it the program maps all that it will ever have; behind it there
 * are four system calls, with arguments that are checked:
 *
 *     read(0, ...)   write(1, ...)   clock_gettime(a clock of its own)   exit_group
 *
 * The processor's name is checked first, since the same numbers mean other calls to a 32-bit
 * caller; the list is of equal numbers, so that x32's, which have a bit more, are not in it.
 * Everything else ends the process at once. */
#include "worker.h"

enum {
    GUARD_BYTES = 65536, /* without access, round each area */
    CLOCK_COUNT = 8,     /* clocks below have no process's or file's number in them */
    FEW_DESCRIPTORS = 64,
    ALL = -1
};

#define OFFSET_OF_ARGUMENT(index) (offsetof(struct seccomp_data, args) + (index) * sizeof(uint64_t))

#define LOAD(offset)              BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define KILL                      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define ALLOW                     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define SKIP_IF(value, count)     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (count), 0)
#define SKIP_UNLESS(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (count))
/* Allows a call whose first argument, a descriptor, is `descriptor`; the kernel reads 32 bits. */
#define ALLOW_ON(number, descriptor)                                                               \
    SKIP_UNLESS(number, 4), LOAD(OFFSET_OF_ARGUMENT(0)), SKIP_UNLESS(descriptor, 1), ALLOW, KILL

#if defined(__x86_64__)
#define OWN_PROCESSOR AUDIT_ARCH_X86_64
#else
#define OWN_PROCESSOR AUDIT_ARCH_AARCH64
#endif

static const struct sock_filter filter[] = {
    LOAD(offsetof(struct seccomp_data, arch)),
    SKIP_IF(OWN_PROCESSOR, 1),
    KILL,
    LOAD(offsetof(struct seccomp_data, nr)),
    ALLOW_ON(__NR_read, WRT__WORKER_IN),
    ALLOW_ON(__NR_write, WRT__WORKER_OUT),
    SKIP_UNLESS(__NR_clock_gettime, 4),
    LOAD(OFFSET_OF_ARGUMENT(0)),
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, CLOCK_COUNT, 1, 0),
    ALLOW,
    KILL,
    SKIP_UNLESS(__NR_exit_group, 1),
    ALLOW,
    KILL,
};

static bool failed(long result)
{
    return result < 0 && result > -4096;
}

__attribute__((noreturn)) void wrt__worker_exit(int code)
{
    for (;;) (void)wrt__call3(__NR_exit_group, code, 0, 0);
}

/* Tells the parent, if there is a page to tell it on. */
static void require(wrt__worker *worker, enum wrt__worker_step step, long result)
{
    if (!failed(result)) return;
    if (worker->control != NULL) {
        worker->control->failed_step = step;
        worker->control->failed_code = (uint32_t)-result;
    }
    wrt__worker_exit(WRT__WORKER_EXIT_STEP + (int)step);
}

static long map(uintptr_t place, uint64_t size, int protection, int flags, uint64_t offset)
{
    const int descriptor = (flags & MAP_ANONYMOUS) != 0 ? ALL : WRT__WORKER_SHARED;

    if (size == 0) return 0;
    return wrt__call6(__NR_mmap, (long)place, (long)size, protection, flags, descriptor,
                      (long)offset);
}

/* Into a reservation without access, so that a guard stands round each area. */
static void map_areas(wrt__worker *worker)
{
    const int shared = MAP_SHARED | MAP_FIXED;
    const long control = map(0, WRT__CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    require(worker, WRT__STEP_MAP, control);
    worker->control = (wrt__control *)control;
    const wrt__control *const wanted = worker->control;

    const uint64_t room = wanted->program_bytes + wanted->memory_bytes + wanted->arena_bytes;
    const long start = map(0, room + 4 * (uint64_t)GUARD_BYTES, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
    require(worker, WRT__STEP_MAP, start);
    uintptr_t next = (uintptr_t)start + GUARD_BYTES;
    worker->program = (const uint8_t *)next;
    require(worker, WRT__STEP_MAP,
            map(next, wanted->program_bytes, PROT_READ, shared, WRT__CONTROL_BYTES));
    next += wanted->program_bytes + GUARD_BYTES;
    worker->memory = (uint8_t *)next;
    require(worker, WRT__STEP_MAP,
            map(next, wanted->memory_bytes, PROT_READ | PROT_WRITE, shared | MAP_NORESERVE,
                WRT__CONTROL_BYTES + wanted->program_bytes));
    next += wanted->memory_bytes + GUARD_BYTES;
    worker->arena = (uint8_t *)next;
    require(worker, WRT__STEP_MAP,
            map(next, wanted->arena_bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, 0));
}

/* Before Linux 5.9 one by one; the parent has left no more than a few. */
static long close_descriptors(void)
{
    const long result = wrt__call3(__NR_close_range, WRT__WORKER_SHARED, 0xFFFFFFFF, 0);

    if (result != -ENOSYS && result != -EPERM) return result;
    for (int i = WRT__WORKER_SHARED; i < FEW_DESCRIPTORS; i++) {
        (void)wrt__call3(__NR_close, i, 0, 0);
    }
    return 0;
}

void wrt__worker_seal(wrt__worker *worker)
{
    static const char sealed = WRT__WORKER_SEALED;
    const struct sock_fprog program = {sizeof filter / sizeof *filter,
                                       (struct sock_filter *)(uintptr_t)filter};

    map_areas(worker);
    if (worker->control->proves != 0) wrt__worker_prepare_proof(worker);
    require(worker, WRT__STEP_CLOSE, close_descriptors());
    require(worker, WRT__STEP_DUMPABLE, wrt__call3(__NR_prctl, PR_SET_DUMPABLE, 0, 0));
    require(worker, WRT__STEP_PRIVILEGES, wrt__call3(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0));
    require(worker, WRT__STEP_FILTER,
            wrt__call3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)(uintptr_t)&program));
    if (wrt__call3(__NR_write, WRT__WORKER_OUT, (long)(uintptr_t)&sealed, 1) != 1) {
        wrt__worker_exit(0);
    }
}
