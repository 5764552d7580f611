/** Reads, writes and fsyncs that go on while the caller does something else (io_uring).
 *
 *     wrt_io_uring_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.entries = 256;
 *     wrt_io_uring ring;
 *     wrt_status status = wrt_io_uring_init(&ring, &config);
 *     status = wrt_io_uring_submit_read(&ring, descriptor, buffer, sizeof buffer, 0, 42);
 *     do_other_work();
 *     wrt_io_uring_completion completion;
 *     status = wrt_io_uring_wait_completion(&ring, &completion, UINT64_MAX);
 *     status = wrt_io_uring_deinit(&ring);
 *
 * There are two backends with one behaviour. KERNEL is a ring shared with the kernel: a batch of
 * requests is one system call, and none with an SQ thread. THREADS is a small pool of threads with
 * pread, pwrite and fsync; it stands in where the kernel has no io_uring that can wait with a limit
 * (before 5.11), or refuses it, as Docker's default filter does. The report says which one it is,
 * why, and what helps; a config may insist on one of them.
 *
 * A buffer is borrowed from the call that submits it until its completion has been taken, or
 * wrt_io_uring_deinit() has returned WRT_OK: until then it must stay where it is, and be touched by
 * nobody. The same holds for the descriptor, which must stay open.
 *
 * Completions come in any order. `result` is what the system call of that name would return, or the
 * negated number of its error; what was interrupted, or came short of a file that has more, is
 * taken up again by the ring itself. So a short read of a file means its end; one of a pipe or
 * socket does not. O_NONBLOCK makes no difference, but for what the kernel can't wait for: -EAGAIN.
 *
 * Where requests to a pipe or socket have to wait, THREADS goes on with them inside of the wait
 * calls only.
 *
 * Heap: none but what the C library takes to make a thread; the kernel lends some 150 bytes an
 * entry.  Threads: one caller at a time for a ring.  ISR: no.  Fork: the child can't use it
 * (STATE).  Source: io_uring_setup(2), io_uring_enter(2), io_uring_register(2).
 */
#ifndef WRT_PLATFORM_LINUX_IO_URING_H
#define WRT_PLATFORM_LINUX_IO_URING_H

#include "wrt_platform/enforcement.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** Who does the work. */
enum wrt_io_uring_backend {
    WRT_IO_URING_AUTO = 0,   /* in a config: the kernel, else threads */
    WRT_IO_URING_KERNEL = 1, /* in a config: nothing else will do */
    WRT_IO_URING_THREADS = 2 /* in a config: the kernel's io_uring is not to be used */
};

/** What can be asked for. */
enum wrt_io_uring_operation {
    WRT_IO_URING_READ = 1,
    WRT_IO_URING_WRITE = 2,
    WRT_IO_URING_READ_FIXED = 3,  /* into a registered buffer */
    WRT_IO_URING_WRITE_FIXED = 4, /* out of a registered buffer */
    WRT_IO_URING_FSYNC = 5,
    WRT_IO_URING_FDATASYNC = 6 /* without what only tells when the file was changed */
};

/** Counts and sizes. */
enum wrt_io_uring_limit {
    WRT_IO_URING_ENTRIES_DEFAULT = 128,
    WRT_IO_URING_ENTRIES_MIN = 2,
    WRT_IO_URING_ENTRIES_MAX = 32768,
    WRT_IO_URING_CQ_SIZE_MAX = 65536,
    WRT_IO_URING_THREADS_DEFAULT = 2,
    WRT_IO_URING_THREADS_MAX = 16,
    WRT_IO_URING_BUFFERS_MAX = 1024,        /* registered ones */
    WRT_IO_URING_SIZE_MAX = 2147479552,     /* bytes of a request, as of read(2) */
    WRT_IO_URING_SQ_IDLE_DEFAULT = 50000000 /* ns */
};

typedef struct wrt_io_uring wrt_io_uring;

/** What a ring is made of. */
typedef struct wrt_io_uring_config {
    uint32_t struct_size;   /* sizeof(wrt_io_uring_config); 0 is refused */
    uint32_t entries;       /* go to the kernel at once, 2 to 32768, rounded up to a power of two;
                               0: 128 */
    uint32_t cq_size;       /* may be under way, a request with a time-out counting twice; from
                               entries to 65536, rounded up to a power of two; 0: twice entries */
    uint32_t backend;       /* one of wrt_io_uring_backend */
    uint32_t thread_count;  /* of THREADS, 1 to 16; 0: 2 */
    uint32_t sq_thread_cpu; /* that the SQ thread is to stay on, with has_sq_thread_cpu */
    uint64_t sq_idle_ns;    /* without work, after which the SQ thread sleeps, rounded up to whole
                               milliseconds; until then it keeps a CPU busy; 0: 50 ms */
    bool sq_thread;         /* a thread of the kernel takes what is submitted: no system calls, and
                               for a single CPU or two as a rule slower */
    bool has_sq_thread_cpu; /* sq_thread_cpu is set */
    uint8_t reserved[6];    /* zero */
} wrt_io_uring_config;

/** Memory that many requests will use. */
typedef struct wrt_io_uring_buffer {
    void *start;
    uint64_t size; /* bytes, 1 to 2147479552 (the kernel takes at most 1 GiB) */
} wrt_io_uring_buffer;

/** What is to be done. */
typedef struct wrt_io_uring_request {
    void *buffer;          /* borrowed; of a WRITE it is only read; NULL for FSYNC */
    uint64_t size;         /* bytes, at most 2147479552; 0 for FSYNC */
    uint64_t offset;       /* in the file; UINT64_MAX: at its own position, which then moves. Pipes
                              and sockets have none and take any; 0 for FSYNC */
    uint64_t user_data;    /* the caller's own, comes back with the completion */
    uint64_t timeout_ns;   /* after so long it is ended, with -ETIME; 0: none */
    int32_t descriptor;    /* of what is read or written; open until the completion */
    uint32_t operation;    /* one of wrt_io_uring_operation */
    uint32_t buffer_index; /* with READ_FIXED, WRITE_FIXED: where `buffer` lies; else 0 */
    uint32_t reserved;     /* zero */
} wrt_io_uring_request;

/** What has been done. */
typedef struct wrt_io_uring_completion {
    uint64_t user_data; /* of the request */
    int32_t result;     /* bytes, 0 for FSYNC, or a negated error number: -ECANCELED (125)
                           after wrt_io_uring_cancel(), -ETIME (62) after its time-out */
    uint32_t operation; /* of the request */
} wrt_io_uring_completion;

/** What a ring is, and has under way. */
typedef struct wrt_io_uring_report {
    uint32_t backend;          /* KERNEL or THREADS */
    uint32_t entries;          /* there are */
    uint32_t cq_size;          /* there is */
    uint32_t thread_count;     /* of THREADS; 0 */
    uint32_t under_way;        /* requests whose completion was not taken yet */
    uint32_t buffer_count;     /* registered */
    uint32_t operations;       /* bit 1 << n: operation n is there */
    int32_t descriptor;        /* of the kernel's ring, as /proc/self/fdinfo has it; -1: THREADS */
    wrt_enforcement kernel;    /* ABSENT: why it is not used, and what helps */
    wrt_enforcement sq_thread; /* ABSENT: asked for, and THREADS has none */
} wrt_io_uring_report;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
struct wrt_io_uring {
    wrt_io_uring *self;
    void *state;
    uint64_t state_bytes;
    wrt_enforcement kernel;
    wrt_enforcement sq_thread;
    uint32_t fork_generation;
    uint32_t backend;
    uint64_t spare[4];
};

/** Tries whether this process can use the kernel's io_uring, by making a ring and closing it again.
 * kernel_out: ENFORCED, or ABSENT with the reason and what helps.
 * Errors: INVALID_ARGUMENT (NULL), NO_MEMORY (descriptors; os_code), SYSTEM. A refusal is none.
 * Threads: any.  Cost: some 100 us.
 */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_probe(wrt_enforcement *kernel_out);

/** Makes a ring. On error `ring` is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken, or the SQ thread's CPU is not one that
 * this process may use), UNSUPPORTED (KERNEL is demanded, and there is none; reserved fields),
 * PERMISSION (KERNEL is demanded, and refused; the reason says by what), NO_MEMORY, SYSTEM
 * (os_code).
 * Cost: some 100 us.
 */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_init(wrt_io_uring *ring,
                                                   const wrt_io_uring_config *config);

/** Ends all that is under way, and waits until nothing writes to a buffer any more; then closes the
 * ring. What waits (a pipe) is cancelled; what is at work (a disk) is waited for, without limit. A
 * zeroed one is accepted, so twice is harmless.
 * Errors: STATE (moved, or after fork), SYSTEM (os_code: the ring stays as it is, and the buffers
 * are still borrowed; again later).
 */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_deinit(wrt_io_uring *ring);

/** Hands in requests, in one system call for each `entries` of them. *accepted_out: the first so
 * many are under way; fewer than `count` if the ring is full then, or the system took no more.
 * Errors: (nothing is under way then) INVALID_ARGUMENT (a rule of a request is broken, the reason
 * names which), UNSUPPORTED (an operation that this kernel has not; reserved), BUSY (the ring is
 * full: take completions first), STATE (not initialised, moved, or after fork), SYSTEM (os_code).
 * An error of the request itself, a bad descriptor for instance, is its completion's `result`.
 * Cost: linear in `count`; no system call with an SQ thread that is awake.
 */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_submit(wrt_io_uring *ring,
                                                     const wrt_io_uring_request *requests,
                                                     uint32_t count, uint32_t *accepted_out);

/** Hands in one READ of `size` bytes. Errors: as wrt_io_uring_submit(). */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_submit_read(wrt_io_uring *ring, int32_t descriptor,
                                                          void *buffer, uint64_t size,
                                                          uint64_t offset, uint64_t user_data);

/** Hands in one WRITE of `size` bytes. Errors: as wrt_io_uring_submit(). */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_submit_write(wrt_io_uring *ring, int32_t descriptor,
                                                           const void *buffer, uint64_t size,
                                                           uint64_t offset, uint64_t user_data);

/** Hands in one FSYNC. It does not wait for writes that are under way: take their completions
 * first. Errors: as wrt_io_uring_submit(). */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_submit_fsync(wrt_io_uring *ring, int32_t descriptor,
                                                           uint64_t user_data);

/** Takes completions: waits until there are `minimum` of them, or all that are under way if they
 * are fewer, and takes up to `capacity`. timeout_ns: 0 looks without waiting, UINT64_MAX waits
 * without limit. *count_out is how many were taken; with `minimum` 0 that may be none.
 * Errors: INVALID_ARGUMENT (NULL, capacity 0 or below minimum), TIMED_OUT (there is none yet; fewer
 * than `minimum` are no error), STATE (nothing is under way, so none will come; not initialised,
 * moved, or after fork), SYSTEM (os_code).
 * Cost: no system call if enough are there.
 */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_wait(wrt_io_uring *ring,
                                                   wrt_io_uring_completion *completions_out,
                                                   uint32_t capacity, uint32_t minimum,
                                                   uint64_t timeout_ns, uint32_t *count_out);

/** Waits for one completion. Errors: as wrt_io_uring_wait(). */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_wait_completion(
    wrt_io_uring *ring, wrt_io_uring_completion *completion_out, uint64_t timeout_ns);

/** Asks for the end of all requests with that user_data. Each still has its completion: with
 * -ECANCELED, or with what it came to if it was too late.
 * Errors: NOT_FOUND (none is under way), BUSY (the kernel takes no more: take completions first),
 * STATE (not initialised, moved, or after fork), SYSTEM (os_code).
 * Cost: linear in cq_size.
 */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_cancel(wrt_io_uring *ring, uint64_t user_data);

/** Registers buffers for READ_FIXED and WRITE_FIXED, in place of none: the kernel looks them up
 * once instead of with each request. They are borrowed until they are unregistered, or deinit.
 * Errors: INVALID_ARGUMENT (NULL, no size, more than 1024, or memory that can't be had), STATE
 * (some are registered, or requests are under way; not initialised, moved, or after fork),
 * NO_MEMORY (RLIMIT_MEMLOCK, `ulimit -l`), SYSTEM (os_code).
 * Cost: linear in their pages.
 */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_register_buffers(wrt_io_uring *ring,
                                                               const wrt_io_uring_buffer *buffers,
                                                               uint32_t count);

/** Gives the registered buffers back. Errors: STATE (none are registered, or requests are under
 * way; not initialised, moved, or after fork), SYSTEM (os_code). */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_unregister_buffers(wrt_io_uring *ring);

/** What the ring is, and has under way. Errors: INVALID_ARGUMENT (NULL), STATE (not initialised,
 * moved, or after fork). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_io_uring_query(const wrt_io_uring *ring,
                                                    wrt_io_uring_report *report_out);

/** The backend's name, "kernel" or "threads"; "unknown" for a number that is none. Static text.
 * Errors: none, it cannot fail.  ISR: yes. */
WRT_API const char *wrt_io_uring_backend_name(uint32_t backend);

WRT_END_DECLS
#endif
