/* Each touch has a child of its own: a handler that returned would have to know how long the
 * instruction is, and one that jumps away leaves the C library's calls half done. The child records
 * the fault and ends. */
#include "touch.h"

static _Thread_local wrt__touch *under_way;

static void note(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    under_way->signal_number = signal_number;
    under_way->code = info->si_code;
    under_way->fault = (uintptr_t)info->si_addr;
    syscall(SYS_exit_group, 0);
}

static void run_at(const volatile uint8_t *address)
{
    const uintptr_t place = (uintptr_t)address;
    void (*function)(void);

    memcpy(&function, &place, sizeof function);
    function();
}

static int touch_it(void *context)
{
    wrt__touch *const touch = context;
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_sigaction = note;
    action.sa_flags = SA_SIGINFO;
    under_way = touch;
    if (sigaction(SIGSEGV, &action, NULL) != 0 || sigaction(SIGBUS, &action, NULL) != 0 ||
        sigaction(SIGILL, &action, NULL) != 0) {
        return 1;
    }
    if (touch->kind == WRT__TOUCH_RUN) {
        run_at(touch->address);
    } else if (touch->kind == WRT__TOUCH_WRITE) {
        volatile uint8_t *const place = (volatile uint8_t *)(uintptr_t)touch->address;
        *place = 0;
    } else {
        (void)*touch->address;
    }
    return 0;
}

wrt_status wrt__touch_in_child(wrt__touch *touch)
{
    wrt__child_end end;

    touch->signal_number = touch->code = 0;
    touch->fault = 0;
    const wrt_status status = wrt__in_child(touch_it, touch, &end);
    if (status != WRT_OK || end.code == 0 || touch->signal_number != 0) return status;
    if (end.code == WRT__CHILD_LOST && end.signal_number == 0) return WRT_OK;
    errno = EINVAL;
    return wrt__refused("sigaction in a child");
}

bool wrt__touch_is_refused(const wrt__touch *touch)
{
    return touch->signal_number == SIGSEGV && touch->code == SEGV_ACCERR &&
           touch->fault == (uintptr_t)touch->address;
}
