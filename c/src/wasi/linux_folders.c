/* Listing a folder: Linux. getdents64 tells after each entry where the listing goes on, and
 * lseek takes it back there. */
#include "sys.h"

#include <stddef.h>
#include <string.h>

/* As the kernel has it; the C library keeps it to itself. */
typedef struct record {
    uint64_t inode;
    int64_t next;
    uint16_t size; /* of the whole record */
    uint8_t type;
    char name[];
} record;

wasi_result wrt__wasi_port_list(wasi_listing *listing, int32_t handle, uint64_t position)
{
    listing->handle = handle;
    listing->used = 0;
    listing->position = 0;
    if (lseek(handle, (off_t)position, SEEK_SET) < 0) return wrt__wasi_linux_failed();
    return WASI_SUCCESS;
}

static uint8_t type_of(uint8_t type)
{
    return wrt__wasi_linux_file_type(DTTOIF((uint32_t)type));
}

static wasi_result refill(wasi_listing *listing)
{
    const long used =
        syscall(SYS_getdents64, listing->handle, listing->bytes, sizeof listing->bytes);

    if (used < 0) return wrt__wasi_linux_failed();
    listing->used = (uint32_t)used;
    listing->position = 0;
    return used == 0 ? WASI_NOENT : WASI_SUCCESS;
}

wasi_result wrt__wasi_port_list_next(wasi_listing *listing, wasi_entry *entry_out)
{
    if (listing->position >= listing->used) {
        const wasi_result result = refill(listing);
        if (result != WASI_SUCCESS) return result;
    }
    const record *found =
        (const record *)(const void *)((const uint8_t *)listing->bytes + listing->position);
    *entry_out = (wasi_entry){.next = (uint64_t)found->next,
                              .inode = found->inode,
                              .name = found->name,
                              .name_size = (uint32_t)strlen(found->name),
                              .type = type_of(found->type)};
    listing->position += found->size;
    return WASI_SUCCESS;
}
