// A lock in memory of two processes. One ends while it holds the lock; the other one is told.
#include "wrt_platform/linux/sync.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "shared: %s\n", sentence);
    exit(1);
}

// Each process makes an object of its own over what they share.
static wrt_lock lock_over(wrt_linux_futex *futex, void *memory)
{
    wrt_linux_futex_config config = {0};

    config.struct_size = sizeof config;
    config.robust = true;
    config.shared = true;
    config.memory = memory;
    must(wrt_linux_futex_init(futex, &config));
    return wrt_linux_futex_lock_interface(futex);
}

int main(void)
{
    void *memory = mmap(NULL, sizeof(wrt_linux_shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;

    wrt_linux_futex futex = {0};
    bool owner_died = false;
    if (fork() == 0) {
        const wrt_lock theirs = lock_over(&futex, memory);
        must(wrt_lock_lock(&theirs, UINT64_MAX, NULL, &owner_died));
        _exit(0); // as its owner
    }
    wait(NULL);

    const wrt_lock ours = lock_over(&futex, memory);
    must(wrt_lock_lock(&ours, UINT64_MAX, NULL, &owner_died));
    printf("owner died: %s\n", owner_died ? "yes" : "no");
    if (owner_died) must(wrt_lock_recover(&ours)); // what it guards is whole again
    must(wrt_lock_unlock(&ours));
    must(wrt_linux_futex_deinit(&futex));
    munmap(memory, sizeof(wrt_linux_shared));
    return 0;
}
