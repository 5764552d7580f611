/** SELinux: whether it is there, and the context that this process runs in.
 *
 *     bool enabled;
 *     wrt_status status = wrt_selinux_is_enabled(&enabled);
 *     if (status == WRT_OK && enabled) {
 *         status = wrt_selinux_set_context("system_u:system_r:wasm_runtime_t:s0");
 *     }
 *
 * Where libselinux.so.1 is installed it is asked, else the kernel's files are; the library does not
 * depend on it.
 *
 * Heap: none of this library.  ISR: no.  Threads: any; a context belongs to the calling thread.
 * Fork and exec: children have the context of their parent, as far as the policy has it so.
 */
#ifndef WRT_PLATFORM_LINUX_SELINUX_H
#define WRT_PLATFORM_LINUX_SELINUX_H

#include "wrt_platform/status.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** Sizes. */
enum wrt_selinux_limit {
    WRT_SELINUX_CONTEXT_SIZE = 4096 /* bytes of a context, the closing NUL included */
};

/** Whether SELinux is there with a policy loaded. Enforcing or permissive is another question.
 * Errors: INVALID_ARGUMENT (NULL). Cost: reads a few files; the first time, loads libselinux.
 */
WRT_API WRT_NODISCARD wrt_status wrt_selinux_is_enabled(bool *enabled_out);

/** Whether what the policy forbids is refused, and not only noted.
 * Errors: INVALID_ARGUMENT (NULL), UNSUPPORTED (no SELinux here). Cost: reads a file.
 */
WRT_API WRT_NODISCARD wrt_status wrt_selinux_is_enforcing(bool *enforcing_out);

/** Writes the calling thread's context, "user:role:type:level".
 * text_out: room for `text_size` bytes, the closing NUL included; at most WRT_SELINUX_CONTEXT_SIZE
 * are needed.
 * Errors: INVALID_ARGUMENT (NULL, 0), UNSUPPORTED (no SELinux here), NO_MEMORY (no room), SYSTEM.
 * Cost: reads a file.
 */
WRT_API WRT_NODISCARD wrt_status wrt_selinux_context(char *text_out, size_t text_size);

/** Moves the calling thread into another context, for good as far as the policy has it so. Do it
 * before Landlock and a filter, which may forbid the file that it writes to.
 * context: 1 to 4095 characters.
 * Errors: INVALID_ARGUMENT (NULL; the policy has no such context), UNSUPPORTED (no SELinux here),
 * PERMISSION (the policy does not let this context go to that one), STATE (the process has several
 * threads, and the new type is not bounded by the old one), SYSTEM (os_code).
 * Cost: writes a file.
 */
WRT_API WRT_NODISCARD wrt_status wrt_selinux_set_context(const char *context);

WRT_END_DECLS
#endif
