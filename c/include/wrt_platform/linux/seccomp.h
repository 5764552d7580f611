/** Filters for system calls: compiled here, tried without being loaded, loaded for good.
 *
 *     wrt_seccomp_rule rules[1] = {{0}};
 *     wrt_seccomp_call_number(WRT_SECCOMP_HOST, "getpid", &rules[0].call);
 *     rules[0].action = WRT_SECCOMP_ALLOW;
 *     wrt_seccomp_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.profile = WRT_SECCOMP_PROFILE_STRICT;
 *     config.rules = rules;
 *     config.rule_count = 1;
 *     wrt_seccomp_instruction program[400];
 *     wrt_seccomp_report report;
 *     wrt_status status = wrt_seccomp_compile(&config, program, 400, &report);
 *
 * A program answers each system call with an action. It looks at the architecture first, so that
 * the numbers of another one (int 0x80, x32) can't pass for its own. Then the rules of the call
 * decide, in their order; the first whose compares all hold. Where none does, the call gets
 * `default_action`; a number that this library has no name for, and the config no rule, gets
 * `unknown_action`: ENOSYS as a rule, since only then programs fall back to an older call.
 *
 * Nothing is added in silence: `exact` adds nothing, and otherwise the report lists what was.
 *
 * Heap: none.  OS calls: only wrt_seccomp_load().  Stack: up to 32 KiB.  ISR: no.
 * Threads: any; a call is over what its caller hands in.
 * Fork and exec: a loaded filter stays, in all children; that is its use.
 */
#ifndef WRT_PLATFORM_LINUX_SECCOMP_H
#define WRT_PLATFORM_LINUX_SECCOMP_H

#include "wrt_platform/enforcement.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** Sizes. */
enum wrt_seccomp_limit {
    WRT_SECCOMP_RULE_MAX = 256,     /* rules of a config */
    WRT_SECCOMP_ARGUMENT_MAX = 6,   /* compares of a rule; arguments of a call */
    WRT_SECCOMP_PROGRAM_MAX = 4096, /* instructions that the kernel takes */
    WRT_SECCOMP_ADDED_MAX = 4,      /* rules that a report can list */
    WRT_SECCOMP_ERROR_MAX = 4095    /* error numbers, WRT_SECCOMP_ERRNO */
};

/** Whose numbers of system calls. */
enum wrt_seccomp_architecture {
    WRT_SECCOMP_HOST = 0, /* that of this library */
    WRT_SECCOMP_X86_64 = 1,
    WRT_SECCOMP_AARCH64 = 2
};

/** What happens to a call. */
enum wrt_seccomp_action {
    WRT_SECCOMP_DEFAULT = 0, /* in a config: as the profile has it */
    WRT_SECCOMP_ALLOW = 1,
    WRT_SECCOMP_LOG = 2,    /* allowed, and written to the audit log */
    WRT_SECCOMP_ERRNO = 3,  /* it fails with `error`, and has no effect */
    WRT_SECCOMP_TRAP = 4,   /* the thread gets SIGSYS, which it can handle */
    WRT_SECCOMP_KILL = 5,   /* the whole process dies by SIGSYS */
    WRT_SECCOMP_FOREIGN = 6 /* from wrt_seccomp_simulate() only: one this library does not use */
};

/** How an argument is compared, as an unsigned 64-bit number. */
enum wrt_seccomp_compare {
    WRT_SECCOMP_EQUAL = 0,
    WRT_SECCOMP_NOT_EQUAL = 1,
    WRT_SECCOMP_LESS = 2,
    WRT_SECCOMP_LESS_EQUAL = 3,
    WRT_SECCOMP_GREATER = 4,
    WRT_SECCOMP_GREATER_EQUAL = 5,
    WRT_SECCOMP_MASKED_EQUAL = 6 /* (argument & mask) == value */
};

/** Rules that come ready made. They are meant for what they say and no more. */
enum wrt_seccomp_profile {
    WRT_SECCOMP_PROFILE_NONE = 0, /* the config's rules alone; else EPERM */
    /** read, write, mmap, munmap, mprotect, futex, clock_gettime, exit_group; else kill. Too few
     * for a program with a C library. */
    WRT_SECCOMP_PROFILE_MINIMAL = 1,
    /** read from 0, write to 1, futex WAIT and WAKE, clock_gettime, exit_group; else kill, numbers
     * without a name too. */
    WRT_SECCOMP_PROFILE_SEALED = 2,
    /** What an ordinary program with the GNU C library and threads needs: it reads and writes
     * files, but makes no process, no socket, and nothing of the system's; else EPERM. */
    WRT_SECCOMP_PROFILE_STRICT = 3,
    /** All but what container runtimes take away: mounts, namespaces, modules, tracing, clocks,
     * keys, io_uring, BPF; those get EPERM, clone3 ENOSYS. */
    WRT_SECCOMP_PROFILE_CONTAINER = 4
};

/** The order in which a program looks for a call. */
enum wrt_seccomp_form {
    WRT_SECCOMP_TREE = 0,  /* by halving: some 7 steps for 100 calls */
    WRT_SECCOMP_LINEAR = 1 /* rule by rule: best where few calls come often and stand first */
};

/** For wrt_seccomp_load(). */
enum wrt_seccomp_option {
    WRT_SECCOMP_ALL_THREADS = 1, /* on every thread of the process, or on none (TSYNC) */
    WRT_SECCOMP_LOG_FAILURES = 2 /* what is not allowed goes to the audit log, as far as
                                    /proc/sys/kernel/seccomp/actions_logged has it */
};

/** One argument of a call, compared. Pointers can't be followed: the text behind one may change
 * after the filter has looked. */
typedef struct wrt_seccomp_argument {
    uint32_t index;   /* 0 to 5 */
    uint32_t compare; /* one of wrt_seccomp_compare */
    uint64_t value;
    uint64_t mask; /* of MASKED_EQUAL, else 0; `value` has no bit outside of it */
} wrt_seccomp_argument;

/** What happens to a call whose compares all hold. */
typedef struct wrt_seccomp_rule {
    uint32_t call;           /* its number; below 0x40000000 */
    uint32_t action;         /* one of wrt_seccomp_action */
    uint32_t error;          /* of ERRNO: 1 to 4095 */
    uint32_t argument_count; /* 0: whatever the arguments are */
    wrt_seccomp_argument arguments[WRT_SECCOMP_ARGUMENT_MAX];
} wrt_seccomp_rule;

/** What a program is made of. */
typedef struct wrt_seccomp_config {
    uint32_t struct_size;    /* sizeof(wrt_seccomp_config); 0 is refused */
    uint32_t architecture;   /* one of wrt_seccomp_architecture */
    uint32_t profile;        /* one of wrt_seccomp_profile */
    uint32_t form;           /* one of wrt_seccomp_form */
    uint32_t default_action; /* of calls without a rule; 0: the profile's */
    uint32_t default_error;  /* of ERRNO; 0: EPERM */
    uint32_t unknown_action; /* of numbers without a name; 0: ENOSYS */
    uint32_t unknown_error;  /* of ERRNO; 0: ENOSYS */
    uint32_t foreign_action; /* of other architectures; 0: kill; ERRNO means ENOSYS */
    uint32_t rule_count;     /* 0 to WRT_SECCOMP_RULE_MAX */
    /** Borrowed for the call. Rules for a call replace all that the profile has for it. After one
     * without compares, another one for the same call is refused: it could never decide. */
    const wrt_seccomp_rule *rules;
    bool exact;        /* adds nothing to the rules */
    bool all_threads;  /* asked of wrt_seccomp_load(), by the report */
    bool log_failures; /* asked of wrt_seccomp_load(), by the report */
    uint8_t reserved[5];
} wrt_seccomp_config;

/** One instruction, as the kernel's struct sock_filter. */
typedef struct wrt_seccomp_instruction {
    uint16_t code;
    uint8_t jump_true;
    uint8_t jump_false;
    uint32_t value;
} wrt_seccomp_instruction;

/** What became of a config. */
typedef struct wrt_seccomp_report {
    uint32_t instruction_count;
    uint32_t call_count;   /* calls with rules of their own */
    uint32_t architecture; /* WRT_SECCOMP_X86_64 or _AARCH64 */
    uint32_t load_options; /* bits of wrt_seccomp_option, for wrt_seccomp_load() */
    uint32_t added_count;
    uint32_t reserved;
    wrt_seccomp_rule added[WRT_SECCOMP_ADDED_MAX]; /* beside the config's and the profile's */
} wrt_seccomp_report;

/** A system call, as a filter sees it. */
typedef struct wrt_seccomp_call {
    uint32_t number;
    uint32_t architecture; /* as the kernel writes it: AUDIT_ARCH_...; 0: that of this library */
    uint64_t instruction_pointer;
    uint64_t arguments[WRT_SECCOMP_ARGUMENT_MAX];
} wrt_seccomp_call;

/** What a filter answers. */
typedef struct wrt_seccomp_verdict {
    uint32_t action; /* one of wrt_seccomp_action */
    uint32_t error;  /* of ERRNO, and what comes along with TRAP */
    uint32_t raw;    /* the answer itself, SECCOMP_RET_... */
    uint32_t steps;  /* instructions that it took */
} wrt_seccomp_verdict;

/** Compiles `config`. The program belongs to the caller; it is plain data and may be copied, kept
 * and loaded by another process.
 * program_out: room for `capacity` instructions; NULL with 0: only the report is wanted, whose
 * instruction_count says how much room is needed.
 * Errors: INVALID_ARGUMENT (a rule above is broken; {0} is the rule's index), UNSUPPORTED
 * (reserved bytes), NO_MEMORY (capacity; {0} are needed), LIMIT (more than 4096 instructions).
 * Cost: rules * log(rules) for the tree; some 10 us for 50 rules.
 */
WRT_API WRT_NODISCARD wrt_status wrt_seccomp_compile(const wrt_seccomp_config *config,
                                                     wrt_seccomp_instruction *program_out,
                                                     uint32_t capacity,
                                                     wrt_seccomp_report *report_out);

/** Says what a program answers to a call, without loading it. It takes the programs of others
 * too, as far as they use what filters use: load of a word, AND, jumps, return.
 * Errors: INVALID_ARGUMENT (a jump or a load leaves the program or the call), UNSUPPORTED (an
 * instruction that this library does not know; {0} is its index).
 * Cost: the instructions that the answer takes, at most `count`.
 */
WRT_API WRT_NODISCARD wrt_status wrt_seccomp_simulate(const wrt_seccomp_instruction *program,
                                                      uint32_t count, const wrt_seccomp_call *call,
                                                      wrt_seccomp_verdict *verdict_out);

/** Loads a program for good, after PR_SET_NO_NEW_PRIVS, which holds for good too. It can't be
 * taken back, not even by exec.
 * options: bits of wrt_seccomp_option.
 * Errors: INVALID_ARGUMENT (the kernel does not take the program), STATE (the process has more
 * than one thread, and ALL_THREADS is not asked for: the other threads would go on without the
 * filter; or thread {0} has other filters than this one), UNSUPPORTED (a kernel without seccomp,
 * or a container that refuses it), SYSTEM (os_code).
 * Cost: some 10 us, more under memory pressure.
 */
WRT_API WRT_NODISCARD wrt_status wrt_seccomp_load(const wrt_seccomp_instruction *program,
                                                  uint32_t count, uint32_t options);

/** Says what is logged of what `log_failures` asks: nothing, all, or not the calls that only get an
 * error number. Errors: INVALID_ARGUMENT (NULL). Cost: reads a file of /proc. */
WRT_API WRT_NODISCARD wrt_status wrt_seccomp_logging(wrt_enforcement *logging_out);

/** Finds the number of the call of this name.
 * architecture: one of wrt_seccomp_architecture. name: "read".
 * Errors: INVALID_ARGUMENT (architecture), NOT_FOUND (this architecture has no such call, or this
 * library does not know it yet; give the number itself then). Cost: linear in the 390 names.
 */
WRT_API WRT_NODISCARD wrt_status wrt_seccomp_call_number(uint32_t architecture, const char *name,
                                                         uint32_t *number_out);

/** The name of a call; static text, NULL if it has none here. Errors: none, it cannot fail.
 * Cost: linear in the 390 names. */
WRT_API const char *wrt_seccomp_call_name(uint32_t architecture, uint32_t number);

WRT_END_DECLS
#endif
