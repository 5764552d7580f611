/** Capabilities: the pieces of root's power, and giving them up.
 *
 *     wrt_capabilities_report report;
 *     const uint64_t kept = (uint64_t)1 << WRT_CAPABILITY_SYS_RESOURCE;
 *     wrt_status status = wrt_capabilities_drop_all_except(kept, 0, &report);
 *
 * Sets are 64-bit masks: bit WRT_CAPABILITY_X stands for the capability X.
 *
 * The kernel keeps capabilities for each thread. A process with threads is refused, since the
 * others would go on with theirs, and any of them could act for the one that has dropped them.
 *
 * Heap: none.  Threads: each call is about the calling thread.  ISR: no.
 * Fork and exec: children have what their parent has left; what exec gives is bounded.
 */
#ifndef WRT_PLATFORM_LINUX_CAPABILITIES_H
#define WRT_PLATFORM_LINUX_CAPABILITIES_H

#include "wrt_platform/enforcement.h"

WRT_BEGIN_DECLS

/** Capabilities, by the kernel's numbers; capabilities(7) says what each allows. */
enum wrt_capability {
    WRT_CAPABILITY_CHOWN = 0,
    WRT_CAPABILITY_DAC_OVERRIDE = 1,
    WRT_CAPABILITY_DAC_READ_SEARCH = 2,
    WRT_CAPABILITY_FOWNER = 3,
    WRT_CAPABILITY_FSETID = 4,
    WRT_CAPABILITY_KILL = 5,
    WRT_CAPABILITY_SETGID = 6,
    WRT_CAPABILITY_SETUID = 7,
    WRT_CAPABILITY_SETPCAP = 8,
    WRT_CAPABILITY_LINUX_IMMUTABLE = 9,
    WRT_CAPABILITY_NET_BIND_SERVICE = 10,
    WRT_CAPABILITY_NET_BROADCAST = 11,
    WRT_CAPABILITY_NET_ADMIN = 12,
    WRT_CAPABILITY_NET_RAW = 13,
    WRT_CAPABILITY_IPC_LOCK = 14,
    WRT_CAPABILITY_IPC_OWNER = 15,
    WRT_CAPABILITY_SYS_MODULE = 16,
    WRT_CAPABILITY_SYS_RAWIO = 17,
    WRT_CAPABILITY_SYS_CHROOT = 18,
    WRT_CAPABILITY_SYS_PTRACE = 19,
    WRT_CAPABILITY_SYS_PACCT = 20,
    WRT_CAPABILITY_SYS_ADMIN = 21,
    WRT_CAPABILITY_SYS_BOOT = 22,
    WRT_CAPABILITY_SYS_NICE = 23,
    WRT_CAPABILITY_SYS_RESOURCE = 24,
    WRT_CAPABILITY_SYS_TIME = 25,
    WRT_CAPABILITY_SYS_TTY_CONFIG = 26,
    WRT_CAPABILITY_MKNOD = 27,
    WRT_CAPABILITY_LEASE = 28,
    WRT_CAPABILITY_AUDIT_WRITE = 29,
    WRT_CAPABILITY_AUDIT_CONTROL = 30,
    WRT_CAPABILITY_SETFCAP = 31,
    WRT_CAPABILITY_MAC_OVERRIDE = 32,
    WRT_CAPABILITY_MAC_ADMIN = 33,
    WRT_CAPABILITY_SYSLOG = 34,
    WRT_CAPABILITY_WAKE_ALARM = 35,
    WRT_CAPABILITY_BLOCK_SUSPEND = 36,
    WRT_CAPABILITY_AUDIT_READ = 37,
    WRT_CAPABILITY_PERFMON = 38,
    WRT_CAPABILITY_BPF = 39,
    WRT_CAPABILITY_CHECKPOINT_RESTORE = 40
};

/** For wrt_capabilities_drop_all_except(). */
enum wrt_capability_option {
    WRT_CAPABILITIES_THIS_THREAD = 1, /* although there are others, which keep theirs */
    WRT_CAPABILITIES_AMBIENT = 2      /* programs that are executed get what is kept: without, they
                                         get nothing of it */
};

/** What the calling thread has. */
typedef struct wrt_capabilities {
    uint64_t effective;   /* counts now */
    uint64_t permitted;   /* can be made effective */
    uint64_t inheritable; /* can pass exec */
    uint64_t bounding;    /* no exec gives more */
    uint64_t ambient;     /* pass exec of an ordinary program */
    uint32_t securebits;  /* as prctl(PR_GET_SECUREBITS) has them */
    uint32_t last;        /* the highest one that this kernel knows */
} wrt_capabilities;

/** What became of a drop. */
typedef struct wrt_capabilities_report {
    wrt_enforcement sets;       /* effective, permitted, inheritable */
    wrt_enforcement bounding;   /* so that no exec gives them back; takes SETPCAP */
    wrt_enforcement ambient;    /* so that none passes exec unasked */
    wrt_enforcement securebits; /* so that user 0 is no reason to get any; takes SETPCAP */
} wrt_capabilities_report;

/** Reads what the calling thread has. Errors: INVALID_ARGUMENT (NULL), SYSTEM (os_code).
 * Cost: two system calls a capability. */
WRT_API WRT_NODISCARD wrt_status wrt_capabilities_current(wrt_capabilities *capabilities_out);

/** Gives up, for good, all capabilities but those in `kept`, in all sets. Those of `kept` that the
 * thread does not have stay away: none is gained. Without SETPCAP the bounding set and the
 * securebits can't be changed; then the report says so, and names what closes the gap.
 * kept: mask. options: bits of wrt_capability_option.
 * Errors: INVALID_ARGUMENT (NULL, unknown option), STATE (the process has several threads), SYSTEM
 * (a call failed; what was dropped before stays dropped).
 * Cost: two system calls a capability, and some.
 */
WRT_API WRT_NODISCARD wrt_status wrt_capabilities_drop_all_except(
    uint64_t kept, uint32_t options, wrt_capabilities_report *report_out);

/** The name of a capability, "SYS_ADMIN"; static text, NULL if there is none of that number.
 * Errors: none, it cannot fail. Cost: constant. */
WRT_API const char *wrt_capability_name(uint32_t capability);

WRT_END_DECLS
#endif
