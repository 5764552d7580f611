/* Internal: tags as the processor and the kernel have them. The instructions may be executed only
 * where wrt__mte_support() says so: elsewhere they are SIGILL. */
#ifndef WRT_LINUX_SYS_MTE_H
#define WRT_LINUX_SYS_MTE_H

#include "sys_memory.h"

enum wrt__mte_support { WRT__MTE_IS_THERE, WRT__MTE_OTHER_PROCESSOR, WRT__MTE_NOT_ON_THIS_ONE };

enum wrt__mte_support wrt__mte_support(void);

/* How the calling thread is checked, as PR_GET_TAGGED_ADDR_CTRL has it; -1 and errno. */
int wrt__sys_mte_get(void);
/* `modes`: bit i is wrt_linux_mte_mode 0 or 1. */
int wrt__sys_mte_set(uint32_t modes, uint32_t tag_mask);
/* The modes of what wrt__sys_mte_get() has said. */
uint32_t wrt__mte_modes_of(int control);
/* Memory that can be tagged; MAP_FAILED and errno. */
void *wrt__sys_mte_mmap(size_t size);

/* Sets the tag of whole granules, and their bytes to 0. The pointer carries the tag. */
void wrt__mte_clear(void *pointer, size_t size);
/* Sets the tag alone. */
void wrt__mte_tag(void *pointer, size_t size);
/* The tag of a granule, 0 to 15. */
uint32_t wrt__mte_tag_at(const void *pointer);

#endif
