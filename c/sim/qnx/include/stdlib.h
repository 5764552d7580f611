/* QNX: the allocator's part of <stdlib.h>, and the environment that it reads at the process's
 * start. */
#ifndef QNX_STDLIB_H
#define QNX_STDLIB_H

#include <stddef.h>
#include <sys/platform.h>

#define EXIT_SUCCESS 0
#define EXIT_FAILURE 1

void *malloc(size_t size) __QNX_SYMBOL(malloc);
void *calloc(size_t n, size_t size) __QNX_SYMBOL(calloc);
void *realloc(void *ptr, size_t size) __QNX_SYMBOL(realloc);
void free(void *ptr) __QNX_SYMBOL(free);
int posix_memalign(void **memptr, size_t alignment, size_t size) __QNX_SYMBOL(posix_memalign);
char *getenv(const char *name) __QNX_SYMBOL(getenv);

#endif
