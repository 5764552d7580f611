/* Reading a folder. A cookie is where the kernel says that its listing goes on, so nothing is
 * kept between calls, and a cookie that the guest invents can only list oddly. */
#include "state.h"

typedef struct output {
    const wasi_guest *guest;
    uint32_t address;
    uint32_t size;
    uint32_t used;
} output;

/* Puts what fits: a cut entry tells the guest that its buffer was full. */
static void put(output *out, const void *bytes, uint32_t size)
{
    const uint32_t room = out->size - out->used;
    const uint32_t taken = size < room ? size : room;

    wrt__guest_put(out->guest, out->address + out->used, bytes, taken);
    out->used += taken;
}

static bool is_parent(const wasi_entry *entry)
{
    return entry->name_size == 2 && memcmp(entry->name, "..", 2) == 0;
}

/* The inode of `..` is not told: it may lie outside of what the guest can see. */
static void put_entry(output *out, const wasi_entry *entry)
{
    uint8_t header[WASI_DIRENT_SIZE] = {0};

    wrt__store(header, 8, entry->next);
    wrt__store(header + 8, 8, is_parent(entry) ? 0 : entry->inode);
    wrt__store(header + 16, 4, entry->name_size);
    header[20] = entry->type;
    put(out, header, sizeof header);
    put(out, entry->name, entry->name_size);
}

static wasi_result list(output *out, int32_t handle, uint64_t cookie)
{
    wasi_listing listing;
    wasi_entry entry;
    wasi_result result = wrt__wasi_port_list(&listing, handle, cookie);

    while (result == WASI_SUCCESS && out->used < out->size) {
        result = wrt__wasi_port_list_next(&listing, &entry);
        if (result == WASI_SUCCESS) put_entry(out, &entry);
    }
    return result == WASI_NOENT || out->used > 0 ? WASI_SUCCESS : result;
}

WASI_CALL(fd_readdir)
{
    wasi_descriptor *descriptor;
    output out = {guest, arguments[1].i32, arguments[2].i32, 0};
    wasi_result result = wrt__wasi_find(wasi, arguments[0].i32, WASI_RIGHT_FD_READDIR, &descriptor);

    if (result != WASI_SUCCESS) return result;
    if (!wrt__guest_has(guest, out.address, out.size)) return WASI_FAULT;
    if (!wrt__guest_has(guest, arguments[4].i32, 4)) return WASI_FAULT;
    if (descriptor->file.type != WASI_TYPE_DIRECTORY) return WASI_NOTDIR;
    if (arguments[3].i64 > INT64_MAX) return WASI_INVAL;
    result = list(&out, descriptor->file.handle, arguments[3].i64);
    if (result == WASI_SUCCESS) wrt__guest_put32(guest, arguments[4].i32, out.used);
    return result;
}
