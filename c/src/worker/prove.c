/* Leaning against the walls: the very program that runs guests, behind the very filter, does what a
 * guest must not. Only a worker that was started for that does it; it never gets a guest. */
#include "worker.h"

#include "../core/atomic.h"

enum {
    SEGMENTATION = 11,
    BUS = 7,
    FILE_TOO_LARGE = 25,
    WITH_INFO = 4,
    WITH_RESTORER = 0x04000000,
    CHILD_ENDED = 17, /* SIGCHLD */
    DESCRIPTOR_TRIES = 8
};

#define MORE_ADDRESSES ((uint64_t)64 << 30)

static wrt__proof *under_way;

/* ---- Faults ---- */

/* The kernel's own structures, on both processors. */
typedef struct fault_info {
    int32_t signal_number;
    int32_t error;
    int32_t code;
    int32_t padding;
    uint64_t address;
} fault_info;

typedef struct fault_action {
    void (*handler)(int, fault_info *, void *);
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
} fault_action;

/* It can't return: that takes a system call. */
static void note_fault(int signal_number, fault_info *info, void *context)
{
    (void)context;
    under_way->code = info->code;
    under_way->fault = info->address;
    under_way->signal_number = signal_number;
    wrt__worker_exit(0);
}

static void leave(void)
{
    wrt__worker_exit(1);
}

static void catch_faults(void)
{
    const fault_action action = {note_fault, WITH_INFO | WITH_RESTORER, leave, 0};
    const int numbers[] = {SEGMENTATION, BUS};

    for (uint32_t i = 0; i < 2; i++) {
        (void)wrt__call6(__NR_rt_sigaction, numbers[i], (long)(uintptr_t)&action, 0,
                         sizeof action.mask, 0, 0);
    }
}

/* ---- Limits ---- */

static long exceed_addresses(void)
{
    return wrt__call6(__NR_mmap, 0, (long)MORE_ADDRESSES, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static long exceed_descriptors(void)
{
    long result = 0;

    for (uint32_t i = 0; i < DESCRIPTOR_TRIES && result >= 0; i++) {
        result = wrt__call3(__NR_dup, WRT__WORKER_IN, 0, 0);
    }
    return result; /* what was made is closed with the rest */
}

static long exceed_processes(void)
{
    const long child = wrt__call6(__NR_clone, CHILD_ENDED, 0, 0, 0, 0, 0);

    if (child == 0) wrt__worker_exit(0);
    return child;
}

/* One byte, the same that is there. Beyond the limit there is a signal too, which is ignored. */
static long exceed_files(const wrt__worker *worker)
{
    const fault_action ignored = {(void (*)(int, fault_info *, void *))(uintptr_t)1, 0, 0, 0};

    (void)wrt__call6(__NR_rt_sigaction, FILE_TOO_LARGE, (long)(uintptr_t)&ignored, 0,
                     sizeof ignored.mask, 0, 0);
    return wrt__call6(__NR_pwrite64, WRT__WORKER_SHARED, (long)(uintptr_t)worker->control, 1, 0, 0,
                      0);
}

static long exceed_locks(const wrt__worker *worker)
{
    return wrt__call3(__NR_mlock, (long)(uintptr_t)worker->arena, 1, 0);
}

void wrt__worker_prepare_proof(wrt__worker *worker)
{
    under_way = &worker->control->proof;
    under_way->limits[WRT__PROOF_ADDRESSES] = exceed_addresses();
    under_way->limits[WRT__PROOF_DESCRIPTORS] = exceed_descriptors();
    under_way->limits[WRT__PROOF_PROCESSES] = exceed_processes();
    under_way->limits[WRT__PROOF_FILES] = exceed_files(worker);
    under_way->limits[WRT__PROOF_LOCKS] = exceed_locks(worker);
    catch_faults();
}

/* ---- Behind the seal ---- */

static const uint8_t *area_of(const wrt__worker *worker, uint32_t area)
{
    if (area == WRT__AREA_PROGRAM) return worker->program;
    return area == WRT__AREA_MEMORY ? worker->memory : worker->arena;
}

/* What is there may be of the parent's choice: a function that returns. */
static void run_at(uintptr_t address)
{
    void (*function)(void);

    __builtin_memcpy(&function, &address, sizeof function);
    function();
}

static void touch(uint32_t kind, uintptr_t address)
{
    volatile uint8_t *const byte = (volatile uint8_t *)address;

    if (kind == WRT__PROOF_READ) (void)*byte;
    if (kind == WRT__PROOF_WRITE) *byte = 0;
    if (kind == WRT__PROOF_RUN) run_at(address);
}

void wrt__worker_prove(wrt__worker *worker)
{
    wrt__proof *const proof = under_way;
    const uint64_t *const a = proof->arguments;

    proof->address = (uintptr_t)area_of(worker, proof->area) + (uintptr_t)(uint64_t)proof->offset;
    proof->signal_number = 0;
    wrt__store_ordered(&proof->stage, WRT__PROOF_BEGUN);
    if (proof->kind == WRT__PROOF_CALL) {
        proof->result = wrt__call6((long)proof->number, (long)a[0], (long)a[1], (long)a[2],
                                   (long)a[3], (long)a[4], (long)a[5]);
    } else if (proof->kind == WRT__PROOF_INTERRUPT) {
        proof->result = wrt__call_by_interrupt((long)proof->number, (long)a[0]);
    } else {
        touch(proof->kind, proof->address);
    }
    wrt__store_ordered(&proof->stage, WRT__PROOF_CAME_BACK);
}
