/** WASI preview 1: what a program built for wasm32-wasi imports from "wasi_snapshot_preview1".
 *
 *     const wrt_wasi_preopen folder = {"/srv/data", "/data", WRT_WASI_PREOPEN_READ_ONLY, 0};
 *     wrt_wasi_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.arguments = arguments; // {"program", "--count", "7"}
 *     config.argument_count = 3;
 *     config.preopens = &folder;
 *     config.preopen_count = 1;
 *     config.has_standard_output = true;
 *     config.standard_output = 1;
 *     // config.buffer as wrt_wasi_layout() asks
 *     wrt_status status = wrt_wasi_init(&wasi, &config);
 *     status = wrt_wasi_imports(&wasi, &instance_config.imports, &instance_config.import_count);
 *     // ... the instance, and in it the export "_start"
 *     status = wrt_instance_call(&instance, &start); // ERR_EXIT: the program ended itself
 *     status = wrt_wasi_exit_code(&wasi, &exit_code);
 *
 * A guest reaches what the config names and nothing else. Its file descriptors are numbers of a
 * table of its own, never the host's; paths are resolved by the kernel below a preopened folder,
 * so that no `..`, absolute path, symbolic link or rename in between leads out of it.
 *
 * No call holds the thread for long: one that has to wait (a clock, a pipe, a terminal) waits
 * 20 ms at most and then answers PENDING, the engine pauses, and time-outs and interrupts land.
 * Large transfers are cut after 50 ms. What the kernel itself does not cut (fsync on a slow
 * disk, a network file system) takes its time.
 *
 * All 46 calls of preview 1 are there. These answer ENOSYS: proc_raise, sock_accept, sock_recv,
 * sock_send, sock_shutdown. The older module name "wasi_unstable" is not answered, because its
 * structures differ: such a module is refused at linking.
 *
 * Source: WASI preview 1 ("wasi_snapshot_preview1"), as wasi-libc's header wasi/api.h has it.
 *
 * Heap: none.  Threads: one caller at a time per wrt_wasi, and so per set of instances that
 * import from it; a second one is refused (STATE).  ISR: no.  Fork: the child's copy can be
 * deinitialised, not used (STATE).
 */
#ifndef WRT_PLATFORM_WASI_H
#define WRT_PLATFORM_WASI_H

#include "wrt_platform/instance.h"
#include "wrt_platform/layout.h"
#include "wrt_platform/status.h"

WRT_BEGIN_DECLS

/** Sizes and defaults. */
enum wrt_wasi_limit {
    WRT_WASI_CALL_COUNT = 46,           /* calls of preview 1, and so imports */
    WRT_WASI_DESCRIPTORS_DEFAULT = 256, /* descriptors that a guest may have open */
    WRT_WASI_DESCRIPTORS_MAX = 65536,
    WRT_WASI_TEXT_MAX = 67108864, /* bytes of all arguments, or of the environment: 64 MiB */
    WRT_WASI_BUFFER_ALIGNMENT = 8 /* bytes */
};

/** How a folder is lent; flags. */
enum wrt_wasi_preopen_flag {
    WRT_WASI_PREOPEN_READ_ONLY = 1 /* whatever changes it, or a file in it, answers EROFS */
};

/** A folder of the host that the guest finds open when it starts. Two that overlap are two ways
 * to the same files: the wider grant counts. */
typedef struct wrt_wasi_preopen {
    const char *host_path;  /* opened by init; links in it are followed */
    const char *guest_path; /* how the guest calls it: "/", "/data", "." */
    uint32_t flags;         /* of wrt_wasi_preopen_flag */
    uint32_t reserved;      /* zero */
} wrt_wasi_preopen;

/** Arrays and texts (NUL-terminated) are borrowed for the call only. */
typedef struct wrt_wasi_config {
    uint32_t struct_size;             /* sizeof(wrt_wasi_config); 0 is refused */
    uint32_t argument_count;          /* of `arguments` */
    const char *const *arguments;     /* the program's name first */
    const char *const *environment;   /* "NAME=value" each */
    const wrt_wasi_preopen *preopens; /* folders that the guest may use */
    uint32_t environment_count;       /* of `environment` */
    uint32_t preopen_count;           /* of `preopens` */
    /** Host descriptors that serve as the guest's 0, 1 and 2; never closed, their modes never
     * changed; must stay open until deinit. One that is not given reads as an empty file and
     * takes whatever is written. */
    int32_t standard_input;
    int32_t standard_output;      /* the same, as 1 */
    int32_t standard_error;       /* the same, as 2 */
    uint32_t maximum_descriptors; /* open at once, 0 to 2 and preopens included; 0: 256 */
    bool has_standard_input;      /* standard_input is given */
    bool has_standard_output;     /* standard_output is given */
    bool has_standard_error;      /* standard_error is given */
    uint8_t reserved[5];          /* zero */
    void *buffer;                 /* 8-byte aligned; borrowed until wrt_wasi_deinit */
    size_t buffer_size;           /* bytes, at least what wrt_wasi_layout() asks */
} wrt_wasi_config;

/** Caller-provided storage. Fields are private. It must not be moved (STATE). */
typedef struct wrt_wasi {
    struct wrt_wasi *self;
    void *descriptors; /* in the buffer, as are those that follow */
    void *waits;
    void *wait_scratch;
    void *bindings;
    wrt_import *imports;
    const char *arguments;   /* each with its NUL, in a row */
    const char *environment; /* the same */
    uint32_t argument_count;
    uint32_t argument_bytes;
    uint32_t environment_count;
    uint32_t environment_bytes;
    uint32_t descriptor_count; /* entries of the table */
    uint32_t exit_code;
    uint32_t has_exited;
    uint32_t generation; /* of the process: forks since the library was loaded */
    void *paused_caller; /* a call that answered PENDING and must remember something */
    uint64_t paused_moment;
    uint64_t paused_value;
    uint32_t paused_call;
    uint32_t current_call;
    uint32_t busy; /* atomic: a call is under way */
    uint32_t reserved[15];
} wrt_wasi;

/** Says what buffer `config` needs; exact. Its buffer and its host paths are not looked at.
 * Errors: INVALID_ARGUMENT (a NULL text, a variable without "=", no room for the descriptors
 * that the config itself opens; all zero in *layout_out), UNSUPPORTED (reserved bytes, unknown
 * flags), LIMIT (more text than WRT_WASI_TEXT_MAX). Cost: linear in the texts.
 */
WRT_API WRT_NODISCARD wrt_status wrt_wasi_layout(const wrt_wasi_config *config,
                                                 wrt_layout *layout_out);

/** Opens the preopened folders and prepares the imports; on error `wasi` is left as it was and
 * nothing stays open. detail[0] is the index of the folder that could not be opened.
 * Errors: as wrt_wasi_layout; NOT_FOUND, PERMISSION, SYSTEM (a folder; os_code),
 * INVALID_ARGUMENT (not a folder, a standard descriptor that is not open, buffer), NO_MEMORY
 * (buffer too small), UNSUPPORTED (folders need openat2: Linux 5.6, not filtered).
 */
WRT_API WRT_NODISCARD wrt_status wrt_wasi_init(wrt_wasi *wasi, const wrt_wasi_config *config);

/** What goes into wrt_instance_config: WRT_WASI_CALL_COUNT functions of "wasi_snapshot_preview1".
 * They live until deinit. To be asked for each instance, so that nothing of an earlier one's
 * paused call is left. Errors: STATE, INVALID_ARGUMENT.
 */
WRT_API WRT_NODISCARD wrt_status wrt_wasi_imports(wrt_wasi *wasi, const wrt_import **imports_out,
                                                  uint32_t *import_count_out);

/** What the guest gave to proc_exit, last. Errors: NOT_FOUND (it has not called it: a `_start`
 * that simply returns ends with 0), STATE, INVALID_ARGUMENT.
 */
WRT_API WRT_NODISCARD wrt_status wrt_wasi_exit_code(const wrt_wasi *wasi, uint32_t *exit_code_out);

/** Closes what init and the guest opened, and nothing else; lets go of the buffer. A zeroed object
 * is accepted, so twice is harmless. No instance may be running on it.
 * Errors: STATE (moved, or a call of the guest is under way on another thread).
 */
WRT_API WRT_NODISCARD wrt_status wrt_wasi_deinit(wrt_wasi *wasi);

WRT_END_DECLS
#endif
