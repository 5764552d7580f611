/* Internal: the calls for page faults that a process serves itself, and for written pages, see
 * sys.h. Numbers that older headers lack are part of the kernel's interface. */
#ifndef WRT_LINUX_SYS_USERFAULT_H
#define WRT_LINUX_SYS_USERFAULT_H

#include "sys_memory.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1 /* Linux 5.11 */
#endif
#ifndef UFFDIO_COPY_MODE_WP
#define UFFDIO_COPY_MODE_WP (UINT64_C(1) << 1) /* Linux 5.7 */
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12) /* Linux 5.19 */
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13) /* Linux 6.4 */
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15) /* Linux 6.7 */
#endif

/* A page in an answer of PAGEMAP_SCAN, and the question. */
typedef struct wrt__page_range {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
} wrt__page_range;

typedef struct wrt__page_scan {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end; /* out: where it came to */
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
} wrt__page_scan;

enum { WRT__SCAN_PROTECTS = 1 }; /* flags */
enum {                           /* categories */
       WRT__PAGE_IS_WRITTEN = 1 << 1,
       WRT__PAGE_IS_PRESENT = 1 << 3,
       WRT__PAGE_IS_SWAPPED = 1 << 4,
       WRT__PAGE_IS_ZERO_PAGE = 1 << 5
};

/* A descriptor for page faults, closed by exec, that does not block; -1 and errno. */
int wrt__sys_userfault(int flags);
/* The same by way of /dev/userfaultfd, for whoever may open it; Linux 6.1. */
int wrt__sys_userfault_device(void);

/* As ioctl(); -1 and errno. */
int wrt__sys_userfault_control(int descriptor, unsigned long request, void *argument);
/* How many ranges there are; -1 and errno. */
int wrt__sys_page_scan(int descriptor, wrt__page_scan *scan);

#endif
