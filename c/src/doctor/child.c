/* Children in which an attempt can do what it likes. A child begins on this process's memory and
 * shares nothing else with it: not its descriptors, its signals' handlers, its user. Other threads
 * may run on and hold any lock, since the child takes none. */
#include "doctor.h"

#include "../core/fail.h"

enum { STACK_BYTES = 131072 };

/* Of the address sanitizer, where there is one: a child that ends leaves its frames marked in
 * memory, and what is mapped there next would be taken for them. */
extern void __asan_unpoison_memory_region(const volatile void *start, size_t size)
    __attribute__((weak));

typedef struct started {
    int (*work)(void *context);
    void *context;
} started;

static int run(void *context)
{
    const started *what = context;

    wrt__sys_reset_signals(); /* a handler of this process would run on its memory */
    syscall(SYS_exit_group, what->work(what->context));
    return 0;
}

/* Handlers of this process must not run in the new one before it has let go of them. */
static pid_t start(started *what, char *stack, int *descriptor_out)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const pid_t process = wrt__sys_start(run, what, stack + STACK_BYTES, 0, descriptor_out);
    const int code = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = code;
    return process;
}

static void note_end(const siginfo_t *info, wrt__child_end *end)
{
    if (info->si_code == CLD_EXITED) {
        end->code = info->si_status;
    } else {
        end->signal_number = info->si_status;
    }
}

/* It has ended already, or is about to: the thread that started it ran on. */
static void finish(int descriptor, wrt__child_end *end)
{
    siginfo_t info = {0};
    int status = 0;
    int result;

    do result = waitid((idtype_t)P_PIDFD, (id_t)descriptor, &info, WEXITED);
    while (result != 0 && errno == EINTR);
    if (result == 0) {
        note_end(&info, end);
    } else if (wrt__sys_exit_info(descriptor, &status) == 0) {
        if (WIFEXITED(status)) end->code = WEXITSTATUS(status);
        if (WIFSIGNALED(status)) end->signal_number = WTERMSIG(status);
    }
    close(descriptor);
}

wrt_status wrt__in_child(int (*work)(void *context), void *context, wrt__child_end *end_out)
{
    started what = {work, context};
    int descriptor = -1;
    char *stack = wrt__sys_mmap(STACK_BYTES, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);

    *end_out = (wrt__child_end){WRT__CHILD_LOST, 0};
    if (stack == MAP_FAILED) return wrt__refused("mmap of a child's stack");
    const pid_t process = start(&what, stack, &descriptor);
    const int code = errno;
    if (process >= 0) finish(descriptor, end_out);
    if (__asan_unpoison_memory_region != NULL) __asan_unpoison_memory_region(stack, STACK_BYTES);
    (void)munmap(stack, STACK_BYTES);
    errno = code;
    return process < 0 ? wrt__refused("clone") : WRT_OK;
}
