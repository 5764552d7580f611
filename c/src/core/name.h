/* Internal: names that an object keeps a copy of. */
#ifndef WRT_CORE_NAME_H
#define WRT_CORE_NAME_H

#include <stddef.h>

/* Copies `name` (NULL: none) into `size` bytes and closes it. A longer one is cut, not inside of a
 * character of UTF-8: bytes 10xxxxxx go on with one. */
static inline void wrt__name_copy(char *name_out, size_t size, const char *name)
{
    size_t length = 0;

    while (name != NULL && length < size - 1 && name[length] != '\0') {
        name_out[length] = name[length];
        length++;
    }
    if (name != NULL && name[length] != '\0') {
        while (length > 0 && ((unsigned char)name[length] & 0xC0u) == 0x80u) length--;
    }
    name_out[length] = '\0';
}

#endif
