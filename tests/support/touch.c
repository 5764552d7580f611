/* Touches one byte in a child process, and says what became of the child. The kernel
 * judges: the child ends by the signal itself, and the address is the kernel's word. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct outcome {
    int32_t signal;    /* that ended the child; 0 if it went on */
    int32_t code;      /* si_code of the fault */
    uintptr_t address; /* si_addr of the fault */
} outcome;

static int report; /* descriptor */

static void on_fault(int number, siginfo_t *info, void *context)
{
    outcome seen = {number, info->si_code, (uintptr_t)info->si_addr};

    (void)context;
    if (write(report, &seen, sizeof seen) != sizeof seen) _exit(2);
    signal(number, SIG_DFL); /* the same access again, and this time it ends the child */
}

static void touch(volatile uint8_t *byte, int is_write)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    if (sigaction(SIGSEGV, &action, NULL) != 0 || sigaction(SIGBUS, &action, NULL) != 0) _exit(2);
    if (is_write) {
        *byte = 1;
    } else {
        (void)*byte;
    }
    _exit(0);
}

/* Returns 0, or -1 if the experiment itself failed. */
int touch_in_child(uint8_t *byte, int is_write, outcome *outcome_out)
{
    int ends[2];
    int ending;

    memset(outcome_out, 0, sizeof *outcome_out);
    if (pipe(ends) != 0) return -1;
    const pid_t child = fork();
    if (child == 0) {
        report = ends[1];
        touch(byte, is_write);
    }
    close(ends[1]);
    const ssize_t size = read(ends[0], outcome_out, sizeof *outcome_out);
    close(ends[0]);
    if (child < 0 || waitpid(child, &ending, 0) != child) return -1;
    if (WIFEXITED(ending)) return WEXITSTATUS(ending) == 0 && size == 0 ? 0 : -1;
    return size == sizeof *outcome_out && WTERMSIG(ending) == outcome_out->signal ? 0 : -1;
}
