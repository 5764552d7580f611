/* Internal: what the calls of WASI share. A call gets the wrt_wasi, the guest's memory and its
 * arguments; it answers with an error of WASI, or with one of wasi_outcome. */
#ifndef WRT_WASI_STATE_H
#define WRT_WASI_STATE_H

#include "guest.h"
#include "port.h"
#include "wrt_platform/wasi.h"

typedef uint32_t wasi_answer; /* one of wasi_errno, or of wasi_outcome */

enum wasi_outcome {
    WASI_OUTCOME_PENDING = 0x10000, /* call again with the same arguments */
    WASI_OUTCOME_EXIT = 0x10001     /* the guest has ended itself */
};

/* How long a call may hold the thread. */
#define WASI_WAIT_TIME     UINT64_C(20000000) /* nanoseconds, for what is not ready */
#define WASI_TRANSFER_TIME UINT64_C(50000000) /* nanoseconds, for what is long */

enum { WASI_NULL_HANDLE = -1 }; /* a device of our own: reads nothing, takes everything */

enum wasi_descriptor_state { WASI_DESCRIPTOR_FREE = 0, WASI_DESCRIPTOR_OPEN = 1 };

/* What stands behind one of the guest's file descriptors. */
typedef struct wasi_descriptor {
    wasi_file file;
    uint16_t flags; /* of wasi_descriptor_flag */
    uint8_t state;
    bool is_owned;     /* closed with the descriptor */
    bool is_read_only; /* by the folder's grant, and inherited from it */
    uint8_t reserved[3];
    uint64_t rights;
    uint64_t inheriting;
    const char *preopen_path; /* NULL if it is not preopened */
    uint32_t preopen_size;    /* bytes, without NUL */
    uint32_t wait_index;      /* its place among the waits of a poll, plus 1 */
} wasi_descriptor;

typedef wasi_answer (*wasi_run)(wrt_wasi *wasi, const wasi_guest *guest,
                                const wrt_value *arguments);

typedef struct wasi_call {
    const char *name;
    const char *parameters; /* bytes of wrt_value_type */
    const char *results;
    wasi_run run;
} wasi_call;

/* The 46 calls, in the order of the import array. */
extern const wasi_call wrt__wasi_calls[WRT_WASI_CALL_COUNT];

/* Descriptors (descriptors.c). */

/* Rights that files and folders can have at all, and those that change something. */
extern const uint64_t wrt__wasi_file_rights;
extern const uint64_t wrt__wasi_folder_rights;
extern const uint64_t wrt__wasi_changing_rights;

/* The open descriptor `number`, with `rights` or NOTCAPABLE (BADF if it is not open, or is not
 * open for reading or writing). */
wasi_result wrt__wasi_find(wrt_wasi *wasi, uint32_t number, uint64_t rights,
                           wasi_descriptor **descriptor_out);

/* The same for a call that changes a file or folder: ROFS if it is lent for reading. */
wasi_result wrt__wasi_find_changeable(wrt_wasi *wasi, uint32_t number, uint64_t rights,
                                      wasi_descriptor **descriptor_out);

/* The lowest free number. Error: MFILE. */
wasi_result wrt__wasi_find_free(wrt_wasi *wasi, uint32_t *number_out);

wasi_descriptor *wrt__wasi_descriptor(const wrt_wasi *wasi, uint32_t number);

/* Closes what the descriptor owns and frees its number. */
void wrt__wasi_release(wasi_descriptor *descriptor);

/* Shared by descriptors and paths (files.c). */

/* Writes a filestat to a place that wrt__guest_has() has seen. */
void wrt__wasi_put_status(const wasi_guest *guest, uint32_t address,
                          const wasi_file_status *status);

/* Known flags only, and no time that is to be both given and now. */
bool wrt__wasi_times_are_valid(const wasi_times *times);

/* Shared by all calls that take a path (paths.c). */

/* Copies a path, relative and with its NUL, to `text` of WASI_PATH_SIZE bytes. */
wasi_result wrt__wasi_copy_path(const wasi_guest *guest, uint32_t address, uint32_t size,
                                char *text);

/* While folders above are being renamed the kernel may give up on a path: try again later. */
wasi_answer wrt__wasi_settle(wasi_result result);

/* Calls that pause (pause.c): what they must remember lasts until just this call is made again. */

/* What this very call remembered when it paused, or `otherwise`; forgets it. */
uint64_t wrt__wasi_resumed(wrt_wasi *wasi, const wasi_guest *guest, uint64_t otherwise);

/* Remembers `value` and answers PENDING. */
wasi_answer wrt__wasi_pause(wrt_wasi *wasi, const wasi_guest *guest, uint64_t value);

/* Monotonic time in nanoseconds. */
uint64_t wrt__wasi_now(void);

/* The calls (process.c, files.c, transfer.c, folders.c, paths.c, open.c, poll.c). */
#define WASI_CALL(name)                                                                            \
    wasi_answer wrt__wasi_##name(wrt_wasi *wasi, const wasi_guest *guest,                          \
                                 const wrt_value *arguments)

WASI_CALL(args_get);
WASI_CALL(args_sizes_get);
WASI_CALL(environ_get);
WASI_CALL(environ_sizes_get);
WASI_CALL(clock_res_get);
WASI_CALL(clock_time_get);
WASI_CALL(random_get);
WASI_CALL(sched_yield);
WASI_CALL(proc_exit);
WASI_CALL(no_call);
WASI_CALL(fd_advise);
WASI_CALL(fd_allocate);
WASI_CALL(fd_close);
WASI_CALL(fd_datasync);
WASI_CALL(fd_fdstat_get);
WASI_CALL(fd_fdstat_set_flags);
WASI_CALL(fd_fdstat_set_rights);
WASI_CALL(fd_filestat_get);
WASI_CALL(fd_filestat_set_size);
WASI_CALL(fd_filestat_set_times);
WASI_CALL(fd_prestat_get);
WASI_CALL(fd_prestat_dir_name);
WASI_CALL(fd_renumber);
WASI_CALL(fd_seek);
WASI_CALL(fd_sync);
WASI_CALL(fd_tell);
WASI_CALL(fd_pread);
WASI_CALL(fd_pwrite);
WASI_CALL(fd_read);
WASI_CALL(fd_write);
WASI_CALL(fd_readdir);
WASI_CALL(path_create_directory);
WASI_CALL(path_filestat_get);
WASI_CALL(path_filestat_set_times);
WASI_CALL(path_link);
WASI_CALL(path_open);
WASI_CALL(path_readlink);
WASI_CALL(path_remove_directory);
WASI_CALL(path_rename);
WASI_CALL(path_symlink);
WASI_CALL(path_unlink_file);
WASI_CALL(poll_oneoff);

#endif
