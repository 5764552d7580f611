/* Where mappings lie. The guest's addresses are in a window of their own, which is kept from this
 * machine's allocator: what was unmapped stays out of reach, and a fixed mapping meets nobody
 * else's memory. The bytes are mapped twice, from a file without a name: the guest's alias carries
 * the protection, the host's stays readable, so Python can look at a guard page without falling
 * into it. */
#include "../common/host.h"

#include "kernel_memory.h"
#include "kernel_place.h"

/* As large as a process of QNX can be on 64 bits; NULL where this machine has not as much to give,
 * and then mappings lie where it likes. */
#define WINDOW_SIZE ((size_t)512 << 30)
static uint8_t *window;
static bool window_tried;
static size_t window_next; /* places are given out in a circle, so that old ones are missed */

int qk_host_protection(uint32_t protection)
{
    return ((protection & QK_READ) != 0 ? PROT_READ : PROT_NONE) |
           ((protection & QK_WRITE) != 0 ? PROT_WRITE : PROT_NONE) |
           ((protection & QK_EXECUTE) != 0 ? PROT_EXEC : PROT_NONE);
}

static void *keep(void *address, size_t size, int more)
{
    return mmap(address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | more, -1,
                0);
}

static void open_window(void)
{
    if (window_tried) return;
    window_tried = true;
    void *place = keep(NULL, WINDOW_SIZE, 0);
    if (place != MAP_FAILED) window = place;
}

bool qk_place_is_kept(const void *address)
{
    return window != NULL && (uintptr_t)address - (uintptr_t)window < WINDOW_SIZE;
}

/* Takes the pages away; in the window, the place is kept. */
void qk_place_vacate(void *address, size_t size)
{
    if (!qk_place_is_kept(address) || keep(address, size, MAP_FIXED) != address)
        munmap(address, size);
}

/* The next part of the range, from `*at` on, that is not the guest's: its start and its size. */
static bool next_gap(uint8_t **at, const uint8_t *end, size_t *size_out)
{
    for (size_t i = qk_run_find(*at); *at < end; i++) {
        const uint8_t *gap_end = i < qk_run_count && qk_runs[i].base < end ? qk_runs[i].base : end;
        if (gap_end > *at) {
            *size_out = (size_t)(gap_end - *at);
            return true;
        }
        *at = qk_runs[i].base + qk_runs[i].size;
    }
    return false;
}

void qk_place_unclaim(uint8_t *address, const uint8_t *end)
{
    size_t size;

    for (uint8_t *at = address; next_gap(&at, end, &size); at += size) qk_place_vacate(at, size);
}

/* Takes those parts of the range that are not the guest's, so that a fixed mapping can't land on
 * something of this machine's. False, and nothing is taken, if one of them is in use. */
bool qk_place_claim(uint8_t *address, size_t size)
{
    size_t gap_size;

    if (qk_place_is_kept(address) != qk_place_is_kept(address + size - 1)) return false;
    if (qk_place_is_kept(address)) return true;

    for (uint8_t *at = address; next_gap(&at, address + size, &gap_size); at += gap_size) {
        void *gap = keep(at, gap_size, MAP_FIXED_NOREPLACE);
        if (gap == at) continue;
        if (gap != MAP_FAILED) munmap(gap, gap_size);
        qk_place_unclaim(address, at);
        return false;
    }
    return true;
}

/* The first free place in a part of the window; NULL if there is none. */
static uint8_t *place_between(uint8_t *start, const uint8_t *end, size_t size)
{
    uint8_t *at = start;

    for (size_t i = qk_run_find(at); (size_t)(end - at) >= size; i++) {
        if (i == qk_run_count || qk_runs[i].base >= end) return at;
        if (qk_runs[i].base > at && (size_t)(qk_runs[i].base - at) >= size) return at;
        at = qk_runs[i].base + qk_runs[i].size;
        if (at > end) return NULL;
    }
    return NULL;
}

uint8_t *qk_place_find(size_t size)
{
    open_window();
    if (window == NULL || size > WINDOW_SIZE) return NULL;
    uint8_t *place = place_between(window + window_next, window + WINDOW_SIZE, size);
    if (place == NULL) place = place_between(window, window + WINDOW_SIZE, size);
    if (place != NULL) window_next = (size_t)(place - window) + size;
    return place;
}

/* Maps the bytes for both sides. The file needs no descriptor once it is mapped. */
bool qk_place_map(struct qk_backing *backing, void *hint, uint32_t protection, bool fixed,
                  void **address_out)
{
    const int file = memfd_create("qnx", MFD_CLOEXEC);
    const int place = fixed ? MAP_FIXED : 0;

    if (file < 0) return false;
    void *host = MAP_FAILED, *guest = MAP_FAILED;
    if (ftruncate(file, (off_t)backing->size) == 0) {
        host = mmap(NULL, backing->size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    if (host != MAP_FAILED) {
        guest =
            mmap(hint, backing->size, qk_host_protection(protection), MAP_SHARED | place, file, 0);
    }
    close(file);
    if (guest == MAP_FAILED) {
        if (host != MAP_FAILED) munmap(host, backing->size);
        return false;
    }
    madvise(host, backing->size, MADV_DONTFORK);
    madvise(guest, backing->size, MADV_DONTFORK);
    backing->host = host;
    *address_out = guest;
    return true;
}
