/* Counts the instructions of one call, by letting a child take them one at a time. The
 * child works on its own copy of memory, so the caller's objects stay as they are. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int32_t (*call)(uintptr_t, uintptr_t, uintptr_t);

static int32_t nothing(uintptr_t first, uintptr_t second, uintptr_t third)
{
    (void)first, (void)second, (void)third;
    return 0;
}

/* Between two stops lies the call, and what it takes to make it. */
static void child(call function, const uintptr_t *arguments, int32_t expected)
{
    int32_t status;

    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(2);
    kill(getpid(), SIGSTOP);
    kill(getpid(), SIGSTOP); /* not counted: the first time, names are bound */
    status = function(arguments[0], arguments[1], arguments[2]);
    kill(getpid(), SIGSTOP);
    _exit(status == expected ? 0 : 2);
}

/* Runs to the next SIGSTOP, a step at a time; returns the steps, -1 if the child ended. */
static long steps_to_stop(pid_t process)
{
    long steps = 0;
    int ending;

    for (;;) {
        if (ptrace(PTRACE_SINGLESTEP, process, NULL, NULL) != 0) return -1;
        if (waitpid(process, &ending, 0) != process || !WIFSTOPPED(ending)) return -1;
        if (WSTOPSIG(ending) == SIGSTOP) return steps;
        steps++;
    }
}

static long count(call function, const uintptr_t *arguments, int32_t expected)
{
    int ending;
    long steps;
    const pid_t process = fork();

    if (process == 0) child(function, arguments, expected);
    if (process < 0 || waitpid(process, &ending, 0) != process || !WIFSTOPPED(ending)) return -1;
    steps = steps_to_stop(process) < 0 ? -1 : steps_to_stop(process);
    if (ptrace(PTRACE_CONT, process, NULL, NULL) != 0 || waitpid(process, &ending, 0) != process) {
        return -1;
    }
    return WIFEXITED(ending) && WEXITSTATUS(ending) == 0 ? steps : -1;
}

/* Instructions of `function` with these arguments; -1 if it does not return `expected`. */
long count_instructions(call function, uintptr_t first, uintptr_t second, uintptr_t third,
                        int32_t expected)
{
    const uintptr_t arguments[] = {first, second, third};
    const long with = count(function, arguments, expected);
    const long without = count(nothing, arguments, 0);

    return with < 0 || without < 0 ? -1 : with - without;
}
