/* The calls for files, descriptors and children, as the backend makes them; see sys.c. */
#include "sys_files.h"

#include "times.h"

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000u /* Linux 5.7; headers may be older than the kernel */
#endif

/* struct clone_args, as far as Linux 5.7 has it. */
typedef struct clone_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    uint64_t set_tid, set_tid_size, cgroup;
} clone_arguments;

int wrt__sys_openat(int directory, const char *path, int flags)
{
    return wrt__sys_fails() ? -1 : openat(directory, path, flags | O_CLOEXEC);
}

ssize_t wrt__sys_pread(int descriptor, void *bytes, size_t size, off_t offset)
{
    return wrt__sys_fails() ? -1 : pread(descriptor, bytes, size, offset);
}

/* What getdents64 fills in. */
typedef struct folder_entry {
    uint64_t inode;
    int64_t next; /* where the entry behind it is */
    uint16_t size;
    uint8_t kind;
    char name[];
} folder_entry;

enum { KIND_FOLDER = 4, ENTRIES_SIZE = 1024 };

/* Whether this is a folder, and neither "." nor "..". */
static bool is_below(const folder_entry *entry)
{
    return entry->kind == KIND_FOLDER && strcmp(entry->name, ".") != 0 &&
           strcmp(entry->name, "..") != 0;
}

int wrt__sys_next_folder(int directory, char name_out[256])
{
    _Alignas(folder_entry) char entries[ENTRIES_SIZE];

    if (wrt__sys_fails()) return -1;
    for (;;) {
        const long length = syscall(SYS_getdents64, directory, entries, sizeof entries);
        if (length <= 0) return (int)length;
        for (long at = 0; at < length;) {
            const folder_entry *entry = (const folder_entry *)(const void *)(entries + at);

            at += entry->size;
            if (!is_below(entry)) continue;
            (void)snprintf(name_out, 256, "%s", entry->name);
            return lseek(directory, entry->next, SEEK_SET) < 0 ? -1 : 1;
        }
    }
}

int wrt__sys_mkdir(const char *path)
{
    return wrt__sys_fails() ? -1 : mkdir(path, 0755);
}

int wrt__sys_rmdir(const char *path)
{
    return wrt__sys_fails() ? -1 : rmdir(path);
}

int wrt__sys_may_write(const char *path)
{
    return wrt__sys_fails() ? -1 : faccessat(AT_FDCWD, path, W_OK, AT_EACCESS);
}

int wrt__sys_poll(struct pollfd *descriptors, uint32_t count, const struct timespec *timeout)
{
    return wrt__sys_fails() ? -1 : ppoll(descriptors, count, timeout, NULL);
}

int wrt__sys_kill(pid_t process, int number)
{
    return wrt__sys_fails() ? -1 : kill(process, number);
}

int wrt__sys_pipe(int descriptors[2])
{
    return wrt__sys_fails() ? -1 : pipe2(descriptors, O_CLOEXEC);
}

pid_t wrt__sys_clone_into(int directory)
{
    const clone_arguments arguments = {
        .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)directory};

    return wrt__sys_fails() ? -1 : (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
}

pid_t wrt__sys_fork(void)
{
    return wrt__sys_fails() ? -1 : fork();
}
