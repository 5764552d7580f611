/* What all thread systems check and remember in one way. A thread is joined or detached once:
 * whoever claims it first does it, and gives it back if that fails. */
#include "thread_system.h"

#include "atomic.h"
#include "config.h"
#include "fail.h"

enum { STACK_ALIGNMENT = 16 };

/* ---- Configs ---- */

wrt_status wrt__thread_priority_read(const char *operation, uint32_t *priority)
{
    if (*priority > WRT_THREAD_PRIORITY_REALTIME) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "priority is {0}, not one of wrt_thread_priority", *priority, 0);
    }
    if (*priority == WRT_THREAD_PRIORITY_DEFAULT) *priority = WRT_THREAD_PRIORITY_NORMAL;
    return WRT_OK;
}

static wrt_status check_stack(const char *operation, const wrt_thread_config *config)
{
    if ((uintptr_t)config->stack % STACK_ALIGNMENT != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "stack is not 16-byte aligned");
    }
    if (config->stack_size > SIZE_MAX || (config->stack != NULL && config->stack_size == 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "stack_size is 0 although there is a stack, or beyond the addresses");
    }
    return WRT_OK;
}

wrt_status wrt__thread_config_read(const char *operation, const wrt_thread_config *given,
                                   wrt_thread_config *config_out)
{
    wrt_status status = wrt__config_read(operation, given, config_out, sizeof *config_out);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config_out->reserved, sizeof config_out->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config_out->entry == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "entry is NULL");
    }
    status = wrt__thread_priority_read(operation, &config_out->priority);
    return status == WRT_OK ? check_stack(operation, config_out) : status;
}

bool wrt__cpus_are_any(const wrt_cpu_set *cpus)
{
    return wrt__is_zero(cpus, sizeof *cpus);
}

/* ---- Whose a thread is ---- */

static wrt_status fail_as_gone(const char *operation)
{
    return wrt_fail(WRT_ERR_STATE, operation,
                    "the thread is joined or detached already, or was never started here");
}

wrt_status wrt__thread_find(const char *operation, const void *system,
                            const wrt__thread_record *thread)
{
    const bool is_known =
        thread->system == system && wrt__load_acquire(&thread->state) != WRT__THREAD_GONE;

    return is_known ? WRT_OK : fail_as_gone(operation);
}

wrt_status wrt__thread_claim(const char *operation, const void *system, wrt__thread_record *thread)
{
    uint32_t out = WRT__THREAD_OUT;

    if (thread == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "thread is NULL");
    const bool is_mine = thread->system == system &&
                         wrt__compare_exchange(&thread->state, &out, WRT__THREAD_CLAIMED);
    return is_mine ? WRT_OK : fail_as_gone(operation);
}

wrt_status wrt__thread_settle(wrt__thread_record *thread, uint32_t *thread_count,
                              wrt_status outcome)
{
    if (outcome == WRT_OK) (void)wrt__subtract(thread_count, 1);
    wrt__store_release(&thread->state, outcome == WRT_OK ? WRT__THREAD_GONE : WRT__THREAD_OUT);
    return outcome;
}
