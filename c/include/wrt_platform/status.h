/** Results and errors, shared by every call of wrt_platform.
 *
 * In every call that returns a wrt_status, an object, config or out parameter that is NULL is
 * INVALID_ARGUMENT. What is said of threads and interrupts stands at the head of each header, and
 * with single calls where it differs.
 */
#ifndef WRT_PLATFORM_STATUS_H
#define WRT_PLATFORM_STATUS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define WRT_NODISCARD __attribute__((warn_unused_result))
#define WRT_API       __attribute__((visibility("default")))
#else
#define WRT_NODISCARD
#define WRT_API
#endif

#ifdef __cplusplus
#define WRT_BEGIN_DECLS extern "C" {
#define WRT_END_DECLS   }
#else
#define WRT_BEGIN_DECLS
#define WRT_END_DECLS
#endif

WRT_BEGIN_DECLS

/** What a call that can fail returns: one of wrt_status_code. */
typedef int32_t wrt_status;

/** How a call ended. */
enum wrt_status_code {
    WRT_OK = 0,
    WRT_ERR_INVALID_ARGUMENT = 1, /* the caller broke a documented rule */
    WRT_ERR_NO_MEMORY = 2,        /* the request is fine, the room is not there */
    WRT_ERR_STATE = 3,            /* right call, wrong moment (released twice, ...) */
    WRT_ERR_UNSUPPORTED = 4,      /* this library or this system cannot do it */
    WRT_ERR_PERMISSION = 5,       /* the system refuses it to this user or process */
    WRT_ERR_BUSY = 6,             /* somebody else holds it now */
    WRT_ERR_TIMED_OUT = 7,        /* the time limit passed first; a call can be resumed */
    WRT_ERR_SYSTEM = 8,           /* a system call failed otherwise; see os_code */
    WRT_ERR_NOT_FOUND = 9,        /* no export, file, ... of that name */
    WRT_ERR_LIMIT = 10,           /* the module asks for more than the config grants */
    WRT_ERR_MALFORMED = 11,       /* the bytes are not a WebAssembly module */
    WRT_ERR_INVALID_MODULE = 12,  /* well-formed, but breaks a validation rule */
    WRT_ERR_LINK = 13,            /* an import is unknown or of another type */
    WRT_ERR_TRAP = 14,            /* the guest trapped; see wrt_instance_trap() */
    WRT_ERR_OUT_OF_FUEL = 15,     /* the fuel is used up; more fuel resumes the call */
    WRT_ERR_INTERRUPTED = 16,     /* wrt_instance_interrupt() was called; can be resumed */
    WRT_ERR_HOST = 17,            /* a host function failed by its own word */
    WRT_ERR_EXIT = 18,            /* the guest ended itself (WASI proc_exit) */
    WRT_ERR_PENDING = 19,         /* from a host function only: not ready, call me again */
    WRT_ERR_CRASHED = 20          /* the sandbox's process died; see wrt_sandbox_query() */
};

/** What went wrong in a failed call. For people to read; programs decide on the status. */
typedef struct wrt_error {
    int32_t status;        /* one of wrt_status_code */
    int32_t os_code;       /* error number of the system call, 0 if none failed */
    const char *operation; /* the call that failed; static text, never NULL */
    const char *reason;    /* static text, never NULL; {0} and {1} stand for `detail` */
    uint64_t detail[2];
} wrt_error;

/** The last failure on the calling thread; status WRT_OK if there was none. Never NULL.
 * The next failure on this thread overwrites it: copy it to keep it.
 * Errors: none, it cannot fail.
 * Threads: any.  ISR: yes, where the port gives interrupts a slot of their own.  Cost: constant.
 */
WRT_API const wrt_error *wrt_error_last(void);

/** Writes `error` as one sentence: "wrt_pool_init: buffer has 64 bytes, the pool needs 96".
 * The system's code appears by its name where the port knows it ("EPERM").
 * At most `text_size` bytes are written, the closing NUL among them; 0 writes nothing.
 * error: borrowed for the call, not NULL. text_out: may be NULL if text_size is 0.
 * Returns the length of the whole sentence: it was cut if that is >= text_size.
 * Errors: none, it cannot fail.
 * Threads: any.  ISR: yes.  Cost: the sentence, plus 1300 steps a number (no division).
 */
WRT_API size_t wrt_error_format(const wrt_error *error, char *text_out, size_t text_size);

/** The library's version, "0.1.0". Static text. Errors: none, it cannot fail. Threads: any.
 * ISR: yes. */
WRT_API const char *wrt_version(void);

WRT_END_DECLS
#endif
