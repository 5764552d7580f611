/* The C library's functions that the engine and compilers call, since there is no C library here.
 * The interpreter's own copies are the compiler's, so speed counts for bulk copies alone. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Compilers turn loops like those below into calls of the very functions that they are in. */
#define STAY_A_LOOP __asm__ volatile("")

#if defined(__x86_64__)

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    void *const start = to;

    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return start;
}

void *memset(void *to, int value, size_t size)
{
    void *const start = to;

    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
    return start;
}

#else

typedef uint64_t word __attribute__((aligned(1), may_alias));

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    uint8_t *next = to;
    const uint8_t *source = from;

    for (; size >= sizeof(word); size -= sizeof(word)) {
        *(word *)(void *)next = *(const word *)(const void *)source;
        next += sizeof(word);
        source += sizeof(word);
        STAY_A_LOOP;
    }
    for (; size > 0; size--) {
        *next++ = *source++;
        STAY_A_LOOP;
    }
    return to;
}

void *memset(void *to, int value, size_t size)
{
    const word pattern = UINT64_C(0x0101010101010101) * (uint8_t)value;
    uint8_t *next = to;

    for (; size >= sizeof(word); size -= sizeof(word)) {
        *(word *)(void *)next = pattern;
        next += sizeof(word);
        STAY_A_LOOP;
    }
    for (; size > 0; size--) {
        *next++ = (uint8_t)value;
        STAY_A_LOOP;
    }
    return to;
}

#endif

void *memmove(void *to, const void *from, size_t size)
{
    uint8_t *next = to;
    const uint8_t *source = from;

    if ((uintptr_t)next - (uintptr_t)source >= size) return memcpy(to, from, size);
    while (size-- > 0) {
        next[size] = source[size];
        STAY_A_LOOP;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t size)
{
    const uint8_t *a = left;
    const uint8_t *b = right;

    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    }
    return 0;
}

/* What clang makes of a memcmp() that asks for equality alone. */
int bcmp(const void *left, const void *right, size_t size)
{
    return memcmp(left, right, size);
}

size_t strlen(const char *text)
{
    size_t size = 0;

    while (text[size] != '\0') {
        size++;
        STAY_A_LOOP;
    }
    return size;
}

int strcmp(const char *left, const char *right)
{
    while (*left != '\0' && *left == *right) {
        left++;
        right++;
    }
    return (uint8_t)*left - (uint8_t)*right;
}
