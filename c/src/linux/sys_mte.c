/* The instructions and calls of tagged memory. The assembler is told of the extension here; the
 * processor is asked before. */
#include "sys_mte.h"

#ifndef PR_SET_TAGGED_ADDR_CTRL
#define PR_SET_TAGGED_ADDR_CTRL 55
#define PR_GET_TAGGED_ADDR_CTRL 56
#define PR_TAGGED_ADDR_ENABLE   (1UL << 0)
#endif

/* By the kernel's interface; headers may be older, or of another processor. */
enum { GRANULE = 16, TAG_SHIFT = 56, MODE_SHIFT = 1, MODE_BITS = 3, MASK_SHIFT = 3 };
enum { MEMORY_HAS_TAGS = 0x20 };               /* PROT_MTE */
#define PROCESSOR_HAS_TAGS (UINT64_C(1) << 18) /* HWCAP2_MTE */

int wrt__sys_mte_get(void)
{
    return wrt__sys_fails() ? -1 : prctl(PR_GET_TAGGED_ADDR_CTRL, 0, 0, 0, 0);
}

int wrt__sys_mte_set(uint32_t modes, uint32_t tag_mask)
{
    const unsigned long control = PR_TAGGED_ADDR_ENABLE | ((unsigned long)modes << MODE_SHIFT) |
                                  ((unsigned long)tag_mask << MASK_SHIFT);

    return wrt__sys_fails() ? -1 : prctl(PR_SET_TAGGED_ADDR_CTRL, control, 0, 0, 0);
}

uint32_t wrt__mte_modes_of(int control)
{
    return ((uint32_t)control >> MODE_SHIFT) & MODE_BITS;
}

void *wrt__sys_mte_mmap(size_t size)
{
    return wrt__sys_mmap(size, PROT_READ | PROT_WRITE | MEMORY_HAS_TAGS,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

#if defined(__aarch64__)

enum wrt__mte_support wrt__mte_support(void)
{
    return (getauxval(AT_HWCAP2) & PROCESSOR_HAS_TAGS) != 0 ? WRT__MTE_IS_THERE
                                                            : WRT__MTE_NOT_ON_THIS_ONE;
}

void wrt__mte_clear(void *pointer, size_t size)
{
    for (size_t offset = 0; offset < size; offset += GRANULE) {
        __asm__ volatile(".arch armv8.5-a+memtag\n\tstzg %0, [%0]"
                         :
                         : "r"((uintptr_t)pointer + offset)
                         : "memory");
    }
}

void wrt__mte_tag(void *pointer, size_t size)
{
    for (size_t offset = 0; offset < size; offset += GRANULE) {
        __asm__ volatile(".arch armv8.5-a+memtag\n\tstg %0, [%0]"
                         :
                         : "r"((uintptr_t)pointer + offset)
                         : "memory");
    }
}

uint32_t wrt__mte_tag_at(const void *pointer)
{
    uintptr_t tagged = (uintptr_t)pointer;

    __asm__ volatile(".arch armv8.5-a+memtag\n\tldg %0, [%0]" : "+r"(tagged) : : "memory");
    return (uint32_t)(tagged >> TAG_SHIFT) & 15u;
}

#else

enum wrt__mte_support wrt__mte_support(void)
{
    return WRT__MTE_OTHER_PROCESSOR;
}

void wrt__mte_clear(void *pointer, size_t size)
{
    memset(pointer, 0, size);
}

void wrt__mte_tag(void *pointer, size_t size)
{
    (void)pointer;
    (void)size;
}

uint32_t wrt__mte_tag_at(const void *pointer)
{
    (void)pointer;
    return 0;
}

#endif
