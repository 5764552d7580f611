/* Internal: the calls of io_uring, see sys.h, and what they share with the kernel. The numbers and
 * layouts are the kernel's interface; they stand here because the headers of the machines that
 * wheels are built on are older than io_uring. A test compares them with the kernel's own. */
#ifndef WRT_LINUX_SYS_IO_URING_H
#define WRT_LINUX_SYS_IO_URING_H

#include "sys_files.h"
#include "sys_memory.h"

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup    425
#define SYS_io_uring_enter    426
#define SYS_io_uring_register 427
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

enum wrt__io_uring_setup_flag {
    WRT__SETUP_SQPOLL = 1 << 1,
    WRT__SETUP_SQ_AFF = 1 << 2,
    WRT__SETUP_CQSIZE = 1 << 3
};

enum wrt__io_uring_feature {
    WRT__FEATURE_SINGLE_MMAP = 1 << 0,
    WRT__FEATURE_NODROP = 1 << 1, /* completions that have no place wait for one */
    WRT__FEATURE_EXT_ARG = 1 << 8 /* a wait takes a limit; since 5.11 */
};

enum wrt__io_uring_enter_flag {
    WRT__ENTER_GETEVENTS = 1 << 0,
    WRT__ENTER_SQ_WAKEUP = 1 << 1,
    WRT__ENTER_EXT_ARG = 1 << 3
};

enum wrt__io_uring_sq_flag { WRT__SQ_NEED_WAKEUP = 1 << 0, WRT__SQ_CQ_OVERFLOW = 1 << 1 };

enum wrt__io_uring_sqe_flag { WRT__SQE_IO_LINK = 1 << 2 };

enum wrt__io_uring_register_call {
    WRT__REGISTER_BUFFERS = 0,
    WRT__UNREGISTER_BUFFERS = 1,
    WRT__REGISTER_PROBE = 8
};

enum wrt__io_uring_code {
    WRT__OP_FSYNC = 3,
    WRT__OP_READ_FIXED = 4,
    WRT__OP_WRITE_FIXED = 5,
    WRT__OP_ASYNC_CANCEL = 14,
    WRT__OP_LINK_TIMEOUT = 15,
    WRT__OP_READ = 22,
    WRT__OP_WRITE = 23
};

enum { WRT__FSYNC_DATASYNC = 1, WRT__OP_SUPPORTED = 1, WRT__PROBED_OPERATIONS = 256 };

/* Where the parts of a ring can be mapped. */
#define WRT__OFFSET_RINGS INT64_C(0)
#define WRT__OFFSET_SQES  INT64_C(0x10000000)

typedef struct wrt__io_uring_sqe {
    uint8_t opcode;
    uint8_t flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t off;
    uint64_t addr;
    uint32_t len;
    uint32_t op_flags;
    uint64_t user_data;
    uint16_t buf_index;
    uint16_t personality;
    int32_t splice_fd_in;
    uint64_t addr3;
    uint64_t pad;
} wrt__io_uring_sqe;

typedef struct wrt__io_uring_cqe {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
} wrt__io_uring_cqe;

typedef struct wrt__io_uring_params {
    uint32_t sq_entries;
    uint32_t cq_entries;
    uint32_t flags;
    uint32_t sq_thread_cpu;
    uint32_t sq_thread_idle; /* ms */
    uint32_t features;
    uint32_t wq_fd;
    uint32_t resv[3];
    struct {
        uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
        uint64_t user_addr;
    } sq_off;
    struct {
        uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
        uint64_t user_addr;
    } cq_off;
} wrt__io_uring_params;

typedef struct wrt__io_uring_time {
    int64_t seconds;
    int64_t nanoseconds;
} wrt__io_uring_time;

typedef struct wrt__io_uring_wait_argument {
    uint64_t sigmask;
    uint32_t sigmask_size;
    uint32_t min_wait_usec;
    uint64_t time; /* address of a wrt__io_uring_time */
} wrt__io_uring_wait_argument;

typedef struct wrt__io_uring_probed {
    uint8_t last_op;
    uint8_t ops_len;
    uint16_t resv;
    uint32_t resv2[3];
    struct {
        uint8_t op;
        uint8_t resv;
        uint16_t flags;
        uint32_t resv2;
    } ops[WRT__PROBED_OPERATIONS];
} wrt__io_uring_probed;

/* A ring's descriptor, closed by exec; -1 and errno. */
int wrt__sys_io_uring_setup(uint32_t entries, wrt__io_uring_params *parameters);
/* Hands `count` requests in; and waits for `minimum` completions, if `flags` says so, for no longer
 * than `limit`. How many were taken; -1 and errno. */
int wrt__sys_io_uring_enter(int descriptor, uint32_t count, uint32_t minimum, uint32_t flags,
                            const wrt__io_uring_time *limit);
int wrt__sys_io_uring_register(int descriptor, uint32_t call, const void *argument, uint32_t count);
/* A part of a ring; MAP_FAILED and errno. */
void *wrt__sys_io_uring_map(int descriptor, size_t size, int64_t offset);

/* ---- What the threads call; -1 and errno ---- */

/* At the file's own position; EAGAIN instead of waiting, EOPNOTSUPP where the file can't tell. */
ssize_t wrt__sys_read_now(int descriptor, void *bytes, size_t size);
ssize_t wrt__sys_write_now(int descriptor, const void *bytes, size_t size);
int wrt__sys_fsync(int descriptor);
int wrt__sys_fdatasync(int descriptor);
int wrt__sys_status_flags(int descriptor);

#endif
