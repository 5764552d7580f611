/* Objects that several processes have in common. Nobody comes first by agreement, so the memory
 * says how far it is: whoever finds it fresh claims and prepares it, the others wait for that. */
#include "sys.h"

#include "shared.h"

#include "../core/atomic.h"
#include "../core/fail.h"

enum stage { FRESH = 0, PREPARING = 1, READY = 2 };
enum { LOOKS = 1000, PAUSE_NS = 1000000 };

wrt_status wrt__shared_check(const char *operation, bool is_shared, const wrt_linux_shared *memory)
{
    if (memory != NULL && !is_shared) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "memory goes with shared");
    }
    if ((uintptr_t)memory % _Alignof(wrt_linux_shared) == 0) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "memory lies at {0}, not at a multiple of {1}", (uintptr_t)memory,
                           _Alignof(wrt_linux_shared));
}

static wrt_status map(const char *operation, wrt__shared_use *use)
{
    if (use->memory != NULL) return WRT_OK;
    void *start =
        wrt__sys_mmap(sizeof *use->memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    if (start == MAP_FAILED) {
        return wrt_fail_system(errno == ENOMEM ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM, operation,
                               "mmap of shared memory failed", errno, 0, 0);
    }
    use->memory = start;
    use->is_mapped = true;
    return WRT_OK;
}

void wrt__shared_unmap(wrt_linux_shared *memory)
{
    (void)munmap(memory, sizeof *memory);
}

static wrt_status join(const char *operation, const wrt__shared_use *use)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};

    for (int looks = 0; wrt__load_acquire(&use->memory->stage) == PREPARING; looks++) {
        if (looks == LOOKS) {
            return wrt_fail(WRT_ERR_STATE, operation,
                            "who began to prepare the shared memory did not finish within a "
                            "second; take fresh memory, all zero");
        }
        (void)nanosleep(&pause, NULL);
    }
    if (wrt__load_acquire(&use->memory->stage) == READY && use->memory->kind == use->kind) {
        return WRT_OK;
    }
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "the shared memory is of kind {0}, asked for is {1}: it is another "
                           "object's, made of other settings, or was not zero",
                           use->memory->kind, use->kind);
}

static wrt_status begin(const char *operation, const wrt__shared_use *use,
                        wrt__shared_prepare_fn prepare, const void *context)
{
    uint32_t seen = FRESH;

    if (!wrt__compare_exchange(&use->memory->stage, &seen, PREPARING)) return join(operation, use);
    use->memory->kind = use->kind;
    const wrt_status status = prepare(operation, use->memory, context);
    wrt__store_release(&use->memory->stage, status == WRT_OK ? READY : FRESH);
    return status;
}

wrt_status wrt__shared_attach(const char *operation, wrt__shared_use *use,
                              wrt__shared_prepare_fn prepare, const void *context)
{
    wrt_status status = map(operation, use);
    if (status != WRT_OK) return status;
    status = begin(operation, use, prepare, context);
    if (status != WRT_OK && use->is_mapped) wrt__shared_unmap(use->memory);
    return status;
}
