/* QNX: memory and text. These keep their names, since compilers call them by themselves. */
#ifndef QNX_STRING_H
#define QNX_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *left, const void *right, size_t size);

#endif
