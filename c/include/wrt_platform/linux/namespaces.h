/** Namespaces: views of files, processes, network and users of a process's own.
 *
 *     wrt_enforcement possible;
 *     wrt_status status = wrt_namespace_probe(WRT_NAMESPACE_USER | WRT_NAMESPACE_MOUNT, &possible);
 *     if (status == WRT_OK && possible.state == WRT_ENFORCEMENT_ENFORCED) {
 *         status = wrt_namespace_unshare(WRT_NAMESPACE_USER | WRT_NAMESPACE_MOUNT);
 *     }
 *
 * To start a program in namespaces of its own, use linux/confined_process.h: there it is process 1
 * of its namespace, and a process with threads can do it too.
 *
 * Heap: none.  ISR: no.  Fork and exec: children share what their parent has.
 */
#ifndef WRT_PLATFORM_LINUX_NAMESPACES_H
#define WRT_PLATFORM_LINUX_NAMESPACES_H

#include "wrt_platform/enforcement.h"

WRT_BEGIN_DECLS

/** Kinds of namespaces, as bits. */
enum wrt_namespace {
    WRT_NAMESPACE_USER = 1,    /* users and capabilities; an ordinary user needs it for the rest */
    WRT_NAMESPACE_MOUNT = 2,   /* mounts; what is mounted later stays inside */
    WRT_NAMESPACE_PID = 4,     /* processes; the first child is process 1 */
    WRT_NAMESPACE_NETWORK = 8, /* interfaces, sockets; only a loopback interface, which is up */
    WRT_NAMESPACE_IPC = 16,    /* System V objects, POSIX message queues */
    WRT_NAMESPACE_UTS = 32,    /* host name */
    WRT_NAMESPACE_CGROUP = 64, /* the own control group looks like the root */
    WRT_NAMESPACE_ALL = 127
};

/** Moves the calling process into new namespaces, for good. With USER, its user and group stay the
 * same inside; other users can't be named there, and setgroups is denied. With PID, the process
 * itself stays where it is: its first child is process 1 of the new namespace, and no more
 * children can be made once that one has ended. With MOUNT, all mounts become private.
 * namespaces: bits of wrt_namespace, at least one.
 * Errors: INVALID_ARGUMENT (none, or unknown bits), STATE (the process has several threads: the
 * kernel refuses that for USER, and for the others only the calling thread would move),
 * PERMISSION (with the setting that refuses it), LIMIT (user.max_..._namespaces), UNSUPPORTED (the
 * kernel lacks one), SYSTEM (os_code).
 * When a later step fails, the process may be in the new namespaces already: end it.
 * Cost: some 100 us, 400 us with NETWORK.  Threads: the whole process.
 */
WRT_API WRT_NODISCARD wrt_status wrt_namespace_unshare(uint32_t namespaces);

/** Finds out whether wrt_namespace_unshare() would work, by doing it in a child process, and by
 * using what it gives: a user is mapped, a file system mounted. Some systems refuse only that.
 * ENFORCED: it works; ABSENT: it does not, and the reason names what refuses.
 * Errors: INVALID_ARGUMENT, SYSTEM (no child can be made).
 * Cost: a process, some 500 us.  Threads: any.
 */
WRT_API WRT_NODISCARD wrt_status wrt_namespace_probe(uint32_t namespaces,
                                                     wrt_enforcement *possible_out);

WRT_END_DECLS
#endif
