/* Touches one byte in this very process, and says what the kernel had against it: for memory that
 * a forked child does not have. The access is given up by a jump; the handlers of before are put
 * back. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

typedef struct outcome {
    int32_t signal;    /* 0: the byte could be touched */
    int32_t code;      /* si_code of the fault */
    uintptr_t address; /* si_addr of the fault */
} outcome;

static sigjmp_buf back;
static outcome seen;

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    seen.signal = number;
    seen.code = info->si_code;
    seen.address = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

static void touch(volatile uint8_t *byte, int is_write)
{
    if (is_write) {
        *byte = *byte;
    } else {
        (void)*byte;
    }
}

/* Returns 0, or -1 if the experiment itself failed. A write puts the same byte there again, so that
 * a byte that may be read and not written faults by its write. */
int touch_here(uint8_t *byte, int is_write, outcome *outcome_out)
{
    struct sigaction action, before[2];

    memset(&action, 0, sizeof action);
    memset(&seen, 0, sizeof seen);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    if (sigaction(SIGSEGV, &action, &before[0]) != 0) return -1;
    if (sigaction(SIGBUS, &action, &before[1]) != 0) return -1;
    if (sigsetjmp(back, 1) == 0) touch(byte, is_write);
    if (sigaction(SIGSEGV, &before[0], NULL) != 0) return -1;
    if (sigaction(SIGBUS, &before[1], NULL) != 0) return -1;
    *outcome_out = seen;
    return 0;
}
