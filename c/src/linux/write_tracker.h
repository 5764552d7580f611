/* Internal: the methods of a tracker. `begin` leaves nothing behind when it fails; `read` sets the
 * bits of written pages in a bitmap of zeros. */
#ifndef WRT_LINUX_WRITE_TRACKER_H
#define WRT_LINUX_WRITE_TRACKER_H

#include "lazy_memory.h"

#include "wrt_platform/linux/write_tracker.h"

/* A failed call of the system: NO_MEMORY or SYSTEM by errno; {0} is `bytes`. */
wrt_status wrt__tracker_fail(const char *operation, const char *reason, uint64_t bytes);

/* Pages that the kernel protects, and opens at the first write. */
wrt_status wrt__protected_begin(const char *operation, wrt_linux_write_tracker *tracker);
wrt_status wrt__protected_mark(const char *operation, wrt_linux_write_tracker *tracker);
wrt_status wrt__protected_read(const char *operation, wrt_linux_write_tracker *tracker,
                               uint32_t *bitmap_out, bool marks);
void wrt__protected_end(wrt_linux_write_tracker *tracker);

/* Soft-dirty bits. */
wrt_status wrt__bits_begin(const char *operation, wrt_linux_write_tracker *tracker);
wrt_status wrt__bits_mark(const char *operation, wrt_linux_write_tracker *tracker);
wrt_status wrt__bits_read(const char *operation, wrt_linux_write_tracker *tracker,
                          uint32_t *bitmap_out, bool marks);

/* A copy. */
wrt_status wrt__copy_begin(const char *operation, wrt_linux_write_tracker *tracker);
wrt_status wrt__copy_mark(const char *operation, wrt_linux_write_tracker *tracker);
wrt_status wrt__copy_read(const char *operation, wrt_linux_write_tracker *tracker,
                          uint32_t *bitmap_out, bool marks);
void wrt__copy_end(wrt_linux_write_tracker *tracker);

#endif
