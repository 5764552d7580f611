/* The clock, by the page of code that the kernel maps into every program (vDSO): no system call as
 * a rule, and clock_gettime, which the filter lets through, where there is no such page. */
#include "worker.h"

#include <string.h>

#if defined(__x86_64__)
#define CLOCK_NAME "__vdso_clock_gettime"
#else
#define CLOCK_NAME "__kernel_clock_gettime"
#endif

typedef int (*clock_fn)(int clock, struct __kernel_timespec *time);

static clock_fn fast_clock;

/* The table that the dynamic section names by `tag`; NULL if there is none. */
static const void *table_of(uintptr_t base, const Elf64_Dyn *dynamic, int64_t tag)
{
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == tag) return (const void *)(base + dynamic->d_un.d_ptr);
    }
    return NULL;
}

static const Elf64_Dyn *dynamic_of(uintptr_t base)
{
    const Elf64_Ehdr *const header = (const void *)base;
    const Elf64_Phdr *const parts = (const void *)(base + header->e_phoff);

    for (uint32_t i = 0; i < header->e_phnum; i++) {
        if (parts[i].p_type == PT_DYNAMIC) return (const void *)(base + parts[i].p_offset);
    }
    return NULL;
}

/* Symbols are as many as lie before the texts: in every kernel's page the two are neighbours; the
 * name decides, and a symbol is looked at only while it lies there. */
void wrt__worker_find_clock(uintptr_t vdso)
{
    if (vdso == 0) return;
    const Elf64_Dyn *const dynamic = dynamic_of(vdso);
    if (dynamic == NULL) return;
    const Elf64_Sym *symbol = table_of(vdso, dynamic, DT_SYMTAB);
    const char *const texts = table_of(vdso, dynamic, DT_STRTAB);
    if (symbol == NULL || texts == NULL) return;

    for (; (uintptr_t)(symbol + 1) <= (uintptr_t)texts; symbol++) {
        if (symbol->st_shndx == 0 || strcmp(texts + symbol->st_name, CLOCK_NAME) != 0) continue;
        fast_clock = (clock_fn)(vdso + symbol->st_value);
        return;
    }
}

long wrt__worker_clock(int clock, uint64_t *nanoseconds_out)
{
    struct __kernel_timespec now = {0};
    const long result = fast_clock != NULL
                            ? fast_clock(clock, &now)
                            : wrt__call3(__NR_clock_gettime, clock, (long)(uintptr_t)&now, 0);

    *nanoseconds_out = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return result;
}
