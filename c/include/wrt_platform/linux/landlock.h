/** Landlock: a process lets go of files, TCP ports and signals that it does not name.
 *
 *     wrt_landlock_rule rules[1] = {{"/usr", WRT_LANDLOCK_READ | WRT_LANDLOCK_EXECUTE, 0}};
 *     wrt_landlock_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.rules = rules;
 *     config.rule_count = 1;
 *     wrt_landlock_report report;
 *     wrt_status status = wrt_landlock_restrict(&config, &report);
 *
 * No right is needed for that, and nothing takes it back. What a kernel can restrict has grown
 * with its versions; the report says what this one can't. Descriptors that are open stay usable,
 * and pseudo file systems (pipes, sockets, /proc/<pid>/fd) are not covered by paths.
 *
 * Heap: none.  ISR: no.
 * Threads: Landlock holds for the calling thread and its children. A process with threads is
 * refused, unless `this_thread` says that just that is meant.
 * Fork and exec: children have what their parent has left.
 */
#ifndef WRT_PLATFORM_LINUX_LANDLOCK_H
#define WRT_PLATFORM_LINUX_LANDLOCK_H

#include "wrt_platform/enforcement.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** Sizes. */
enum wrt_landlock_limit {
    WRT_LANDLOCK_RULE_MAX = 1024, /* rules and ports of a config */
    WRT_LANDLOCK_ABI_MAX = 7      /* the newest one that this library uses */
};

/** What may be done beneath a path, as bits. */
enum wrt_landlock_access {
    WRT_LANDLOCK_READ = 1,    /* read files, list folders */
    WRT_LANDLOCK_WRITE = 2,   /* write and truncate files */
    WRT_LANDLOCK_EXECUTE = 4, /* execute files */
    WRT_LANDLOCK_CREATE = 8,  /* make, remove, rename and link files, folders, symbolic links,
                                 FIFOs and sockets */
    WRT_LANDLOCK_DEVICE = 16, /* make devices; ioctl of those that are there */
    WRT_LANDLOCK_ALL = 31
};

/** What may be done with a TCP port, as bits. */
enum wrt_landlock_port_access {
    WRT_LANDLOCK_BIND = 1,   /* take connections at it */
    WRT_LANDLOCK_CONNECT = 2 /* connect to it, wherever */
};

/** A path that stays usable, and all beneath it. */
typedef struct wrt_landlock_rule {
    const char *path; /* borrowed for the call; a symbolic link is followed now */
    uint32_t access;  /* bits of wrt_landlock_access; for a file, what only folders have is
                         left out */
    uint32_t reserved;
} wrt_landlock_rule;

/** A TCP port that stays usable. */
typedef struct wrt_landlock_port {
    uint32_t port;   /* 0 to 65535; 0 for BIND: one that the system picks */
    uint32_t access; /* bits of wrt_landlock_port_access */
} wrt_landlock_port;

/** What stays, and what else is restricted. Files always are. */
typedef struct wrt_landlock_config {
    uint32_t struct_size; /* sizeof(wrt_landlock_config); 0 is refused */
    uint32_t rule_count;
    const wrt_landlock_rule *rules; /* borrowed for the call */
    uint32_t port_count;
    uint8_t reserved_for_ports[4];  /* zero */
    const wrt_landlock_port *ports; /* borrowed for the call; any port restricts TCP */
    bool network;                   /* TCP is restricted, to `ports` */
    bool scope;          /* no signals to, and no abstract sockets of, processes outside */
    bool this_thread;    /* although there are others, which stay free */
    uint8_t reserved[5]; /* zero */
} wrt_landlock_config;

/** What became of it. */
typedef struct wrt_landlock_report {
    uint32_t abi; /* of this kernel, as Landlock counts; 1 is Linux 5.13, 7 is 6.15 */
    uint32_t reserved;
    wrt_enforcement files;
    wrt_enforcement network;
    wrt_enforcement scope;
} wrt_landlock_report;

/** Asks which version this kernel has.
 * Errors: INVALID_ARGUMENT (NULL), UNSUPPORTED (none: built without it, switched off at boot, or
 * hidden by a container's filter; the text says which), SYSTEM (os_code).
 * Cost: a system call.  Threads: any.
 */
WRT_API WRT_NODISCARD wrt_status wrt_landlock_abi(uint32_t *abi_out);

/** Restricts the calling thread, for good, after PR_SET_NO_NEW_PRIVS, which holds for good too.
 * On error nothing is restricted.
 * Errors: INVALID_ARGUMENT (a rule above is broken), UNSUPPORTED (as wrt_landlock_abi; reserved
 * bytes), STATE (the process has several threads), NOT_FOUND and PERMISSION (path {0} can't be
 * opened), LIMIT (16 layers are there already), SYSTEM (os_code).
 * Cost: three system calls, and three a rule.
 */
WRT_API WRT_NODISCARD wrt_status wrt_landlock_restrict(const wrt_landlock_config *config,
                                                       wrt_landlock_report *report_out);

WRT_END_DECLS
#endif
