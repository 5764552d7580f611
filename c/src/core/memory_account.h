/* Internal: what counted allocators ask of a memory account. */
#ifndef WRT_CORE_MEMORY_ACCOUNT_H
#define WRT_CORE_MEMORY_ACCOUNT_H

#include "wrt_platform/memory_account.h"

/* As wrt_memory_account_charge(), in the name of `operation`. */
wrt_status wrt__memory_account_charge(const char *operation, wrt_memory_account *account,
                                      uint64_t bytes);

/* Counts a view more (1) or less (-1). Errors: STATE. */
wrt_status wrt__memory_account_add_view(const char *operation, wrt_memory_account *account,
                                        int32_t views);

#endif
