/* Internal: what the calls of WASI ask of the system below. One port per system; it gets checked
 * arguments and answers with errors of WASI, so nothing above it knows the host's numbers.
 *
 * A handle is the system's own descriptor. No call waits, wrt__wasi_port_wait() aside: a stream
 * that is not ready answers WASI_AGAIN. No call raises a signal. */
#ifndef WRT_WASI_PORT_H
#define WRT_WASI_PORT_H

#include "abi.h"
#include <stdbool.h>
#include <stddef.h>

typedef uint32_t wasi_result; /* one of wasi_errno */

enum wasi_port_limit {
    WASI_PATH_SIZE = 4096,      /* bytes of a path, its NUL included */
    WASI_VECTOR_COUNT = 64,     /* pieces of one transfer */
    WASI_WAIT_SCRATCH_SIZE = 8, /* bytes that wait() needs for each entry */
    WASI_LISTING_BYTES = 4096   /* of a folder, read at once */
};

typedef struct wasi_vector {
    uint8_t *bytes;
    size_t size;
} wasi_vector;

/* What a handle turned out to be. */
typedef struct wasi_file {
    int32_t handle;
    uint8_t type; /* one of wasi_file_type */
    bool is_stream;
    bool is_terminal;
    bool can_read;
    bool can_write;
} wasi_file;

typedef struct wasi_file_status {
    uint64_t device;
    uint64_t inode;
    uint64_t links;
    uint64_t size;
    uint64_t accessed; /* nanoseconds since 1970, this and the next two */
    uint64_t modified;
    uint64_t changed;
    uint8_t type;
} wasi_file_status;

typedef struct wasi_times {
    uint64_t accessed; /* nanoseconds since 1970 */
    uint64_t modified;
    uint32_t flags; /* of wasi_time_flag: what is to be set */
} wasi_times;

typedef struct wasi_open_request {
    uint32_t open_flags; /* of wasi_open_flag */
    uint32_t flags;      /* of wasi_descriptor_flag */
    bool follow;
    bool can_read;
    bool can_write;
} wasi_open_request;

enum wasi_ready { WASI_READY_READ = 1, WASI_READY_WRITE = 2, WASI_READY_HANGUP = 4 };

typedef struct wasi_wait {
    int32_t handle;
    uint32_t descriptor; /* the guest's number; for the caller's use */
    uint32_t wanted;     /* of wasi_ready */
    uint32_t ready;      /* answer */
} wasi_wait;

typedef struct wasi_entry {
    uint64_t next; /* where a listing goes on after it */
    uint64_t inode;
    const char *name;
    uint32_t name_size;
    uint8_t type;
} wasi_entry;

/* A listing under way; lives as long as one call. */
typedef struct wasi_listing {
    int32_t handle;
    uint32_t used;     /* bytes read */
    uint32_t position; /* of the next entry in them */
    uint32_t reserved;
    uint64_t bytes[WASI_LISTING_BYTES / 8];
} wasi_listing;

/* Forks since the library was loaded, of this process and its parents. */
uint32_t wrt__wasi_port_generation(void);

/* Clocks in nanoseconds, randomness, the processor. */
wasi_result wrt__wasi_port_time(uint32_t clock, uint64_t *time_out);
wasi_result wrt__wasi_port_resolution(uint32_t clock, uint64_t *time_out);
wasi_result wrt__wasi_port_random(uint8_t *bytes, size_t size);
void wrt__wasi_port_yield(void);

/* Waits until one is ready, for `timeout` nanoseconds or until a signal arrives. */
wasi_result wrt__wasi_port_wait(wasi_wait *waits, uint32_t count, void *scratch, uint64_t timeout);

/* For init: opens a folder anywhere; looks at a handle of the caller. os_code is the system's. */
wasi_result wrt__wasi_port_open_root(const char *path, int32_t *handle_out, int32_t *os_code_out);
wasi_result wrt__wasi_port_probe_beneath(int32_t folder, int32_t *os_code_out);
wasi_result wrt__wasi_port_inspect(int32_t handle, wasi_file *file_out, int32_t *os_code_out);
void wrt__wasi_port_close(int32_t handle);

/* Opens the terminal behind a handle once more, so that it can be written without waiting, which
 * polling does not promise. Not always allowed (*handle_out stays as it is): then the caller's
 * handle has to do. */
wasi_result wrt__wasi_port_reopen_terminal(const wasi_file *file, int32_t *handle_out);

/* Transfers. `offset` below 0: at the handle's own position. *done_out may be less than asked. */
wasi_result wrt__wasi_port_read(const wasi_file *file, const wasi_vector *vectors, uint32_t count,
                                int64_t offset, size_t *done_out);
wasi_result wrt__wasi_port_write(const wasi_file *file, const wasi_vector *vectors, uint32_t count,
                                 int64_t offset, size_t *done_out);
wasi_result wrt__wasi_port_readable_bytes(const wasi_file *file, uint64_t *bytes_out);

wasi_result wrt__wasi_port_seek(int32_t handle, int64_t offset, uint32_t whence,
                                uint64_t *position_out);
wasi_result wrt__wasi_port_status(int32_t handle, wasi_file_status *status_out);
wasi_result wrt__wasi_port_set_times(int32_t handle, const wasi_times *times);
wasi_result wrt__wasi_port_set_size(int32_t handle, int64_t size);
wasi_result wrt__wasi_port_set_append(int32_t handle, bool append);
wasi_result wrt__wasi_port_allocate(int32_t handle, int64_t offset, int64_t size);
wasi_result wrt__wasi_port_advise(int32_t handle, int64_t offset, int64_t size, uint32_t advice);
wasi_result wrt__wasi_port_sync(int32_t handle, bool data_only);

/* Entries of a folder, from a position that an earlier listing gave (0: from the start).
 * next() answers NOENT at the end. */
wasi_result wrt__wasi_port_list(wasi_listing *listing, int32_t handle, uint64_t position);
wasi_result wrt__wasi_port_list_next(wasi_listing *listing, wasi_entry *entry_out);

/* Paths, relative, resolved below `folder`; one that leads out answers NOTCAPABLE, one that
 * cannot be resolved just now, because folders are being renamed, AGAIN. */
wasi_result wrt__wasi_port_open(int32_t folder, const char *path, const wasi_open_request *request,
                                int32_t *handle_out);
wasi_result wrt__wasi_port_path_status(int32_t folder, const char *path, bool follow,
                                       wasi_file_status *status_out);
wasi_result wrt__wasi_port_path_set_times(int32_t folder, const char *path, bool follow,
                                          const wasi_times *times);
wasi_result wrt__wasi_port_read_link(int32_t folder, const char *path, uint8_t *bytes, size_t size,
                                     size_t *used_out);
wasi_result wrt__wasi_port_create_directory(int32_t folder, const char *path);
wasi_result wrt__wasi_port_remove_directory(int32_t folder, const char *path);
wasi_result wrt__wasi_port_unlink(int32_t folder, const char *path);
wasi_result wrt__wasi_port_symlink(const char *target, int32_t folder, const char *path);
wasi_result wrt__wasi_port_link(int32_t old_folder, const char *old_path, int32_t new_folder,
                                const char *new_path);
wasi_result wrt__wasi_port_rename(int32_t old_folder, const char *old_path, int32_t new_folder,
                                  const char *new_path);

#endif
