/* The memory map: an array of runs in the order of their addresses. The bytes of a mapping lie in
 * a file without a name that is mapped twice: the guest's alias carries the protection, the
 * host's stays readable, so Python can look at a guard page without falling into it. A bit a page
 * says whether there is memory behind it that counts; it does from the moment the page may be
 * touched, and if the mapping is lazy, from the moment it was.
 *
 * The guest's addresses lie in a window of their own, which is kept from this machine's allocator:
 * what was unmapped stays out of reach, and a fixed mapping meets nobody else's memory. */
#include "../common/host.h"

#include "../common/census.h"
#include "kernel_memory.h"
#include "kernel_partition.h"
#include "kernel_spawn.h"
#include "kernel_switch.h"

/* The bytes of one call of mmap(). Runs that it was split into share it. */
struct backing {
    uint8_t *host;
    size_t size;
    uint64_t *paid; /* a bit a page */
    size_t runs;
    bool of_heap; /* libc's, so nothing that a program has to give back */
};

struct run {
    uint8_t *base;
    size_t size;
    struct backing *backing;
    size_t offset; /* in the backing, bytes */
    uint32_t protection;
    uint32_t flags;
};

struct limit {
    uint64_t soft, hard;
};

static struct run *runs;
static size_t run_count, run_room;
static struct limit limits[QK_LIMIT_COUNT] = {
    {QK_UNLIMITED, QK_UNLIMITED}, {QK_UNLIMITED, QK_UNLIMITED}, {QK_UNLIMITED, QK_UNLIMITED}};
static qk_memory_usage usage;

/* As large as a process of QNX can be on 64 bits; NULL where this machine has not as much to give,
 * and then mappings lie where it likes. */
#define WINDOW_SIZE ((size_t)512 << 30)
static uint8_t *window;
static bool window_tried;
static size_t window_next; /* places are given out in a circle, so that old ones are missed */

/* Pages and bits. */

static size_t round_to_pages(size_t size)
{
    return (size + (QK_PAGE - 1)) & ~(size_t)(QK_PAGE - 1);
}

static bool is_aligned(const void *address)
{
    return ((uintptr_t)address & (QK_PAGE - 1)) == 0;
}

static bool is_paid(const struct backing *backing, size_t page)
{
    return (backing->paid[page / 64] >> page % 64 & 1) != 0;
}

static size_t paid_bytes(const struct run *run)
{
    size_t pages = 0;

    for (size_t at = 0; at < run->size; at += QK_PAGE) {
        pages += is_paid(run->backing, (run->offset + at) / QK_PAGE);
    }
    return pages * QK_PAGE;
}

static void set_paid(struct run *run, bool paid)
{
    for (size_t at = 0; at < run->size; at += QK_PAGE) {
        const size_t page = (run->offset + at) / QK_PAGE;
        const uint64_t bit = UINT64_C(1) << page % 64;
        if (paid) {
            run->backing->paid[page / 64] |= bit;
        } else {
            run->backing->paid[page / 64] &= ~bit;
        }
    }
}

static int host_protection(uint32_t protection)
{
    return ((protection & QK_READ) != 0 ? PROT_READ : PROT_NONE) |
           ((protection & QK_WRITE) != 0 ? PROT_WRITE : PROT_NONE) |
           ((protection & QK_EXECUTE) != 0 ? PROT_EXEC : PROT_NONE);
}

/* The window. */

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

static bool in_window(const void *address)
{
    return window != NULL && (uintptr_t)address - (uintptr_t)window < WINDOW_SIZE;
}

/* Takes the pages away; in the window, the place is kept. */
static void vacate(void *address, size_t size)
{
    if (!in_window(address) || keep(address, size, MAP_FIXED) != address) munmap(address, size);
}

/* The array of runs. */

/* The first run that ends behind `address`. */
static size_t find_run(const void *address)
{
    size_t low = 0, high = run_count;

    while (low < high) {
        const size_t middle = (low + high) / 2;
        if ((uintptr_t)runs[middle].base + runs[middle].size <= (uintptr_t)address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool make_room(size_t more)
{
    if (run_count + more <= run_room) return true;
    const size_t room = (run_count + more) * 2;
    struct run *moved = realloc(runs, room * sizeof *runs);
    if (moved == NULL) return false;
    runs = moved;
    run_room = room;
    return true;
}

static void insert_run(size_t index, struct run run)
{
    memmove(runs + index + 1, runs + index, (run_count - index) * sizeof *runs);
    runs[index] = run;
    run.backing->runs++;
    run_count++;
}

static void drop_run(size_t index)
{
    struct backing *backing = runs[index].backing;

    memmove(runs + index, runs + index + 1, (run_count - index - 1) * sizeof *runs);
    run_count--;
    if (--backing->runs > 0) return;
    if (!backing->of_heap) sim_census_count("mapping", -1);
    munmap(backing->host, backing->size);
    free(backing->paid);
    free(backing);
}

/* Makes `address` the start of a run, if it lies inside of one. There is room for one more. */
static void split_at(const uint8_t *address)
{
    const size_t index = find_run(address);

    if (index == run_count || (uintptr_t)runs[index].base >= (uintptr_t)address) return;
    struct run behind = runs[index];
    const size_t before = (size_t)((uintptr_t)address - (uintptr_t)behind.base);
    runs[index].size = before;
    behind.base += before;
    behind.offset += before;
    behind.size -= before;
    insert_run(index + 1, behind);
}

static bool continues(const struct run *run, const struct run *next)
{
    return run->base + run->size == next->base && run->backing == next->backing &&
           run->offset + run->size == next->offset && run->protection == next->protection &&
           run->flags == next->flags;
}

/* Puts runs together again that differ in nothing, from the one at `first` on. */
static void join_runs(size_t first, size_t end)
{
    size_t index = first > 0 ? first - 1 : 0;

    while (index + 1 < run_count && index < end) {
        if (continues(&runs[index], &runs[index + 1])) {
            runs[index].size += runs[index + 1].size;
            drop_run(index + 1);
        } else {
            index++;
        }
    }
}

/* What counts. */

/* Counts lazy pages that were touched since the last look. Those that the partition has no room for
 * are owed: nothing more is to be had until they are paid. */
static void settle_run(struct run *run)
{
    unsigned char touched[256];

    for (size_t at = 0; at < run->size; at += sizeof touched * QK_PAGE) {
        size_t size = run->size - at;
        if (size > sizeof touched * QK_PAGE) size = sizeof touched * QK_PAGE;
        if (mincore(run->backing->host + run->offset + at, size, touched) != 0) return;
        for (size_t i = 0; i < size / QK_PAGE; i++) {
            struct run page = *run;
            page.offset += at + i * QK_PAGE;
            page.size = QK_PAGE;
            if ((touched[i] & 1) == 0 || is_paid(run->backing, page.offset / QK_PAGE)) continue;
            if (qk_process_charge(QK_PAGE) != QK_OK) {
                usage.owed += QK_PAGE;
                continue;
            }
            set_paid(&page, true);
            usage.paid += QK_PAGE;
        }
    }
}

static void settle(void)
{
    usage.owed = 0;
    for (size_t i = 0; i < run_count; i++) {
        if ((runs[i].flags & QK_MAP_LAZY) != 0 && runs[i].protection != 0) settle_run(&runs[i]);
    }
}

static bool is_private(uint32_t flags)
{
    return (flags & (QK_MAP_SHARED | QK_MAP_STACK)) == 0;
}

static bool exceeds(enum qk_limit limit, uint64_t bytes)
{
    return !qk_switched(QK_BREAK_LIMITS) && bytes > limits[limit].soft;
}

/* Pays for `bytes` more memory. */
static qk_error pay(uint64_t bytes)
{
    if (bytes == 0) return QK_OK;
    settle();
    if (usage.owed > 0) return QK_ENOMEM;
    const uint64_t least = limits[QK_LIMIT_FREE_MEMORY].soft;
    if (least != QK_UNLIMITED && !qk_switched(QK_BREAK_LIMITS)) {
        const uint64_t kept = qk_partition_total() / 1000 * least;
        const uint64_t left = qk_partition_free();
        if (left < bytes || left - bytes < kept) return QK_ENOMEM;
    }
    const qk_error error = qk_process_charge(bytes);
    if (error == QK_OK) usage.paid += bytes;
    return error;
}

static void give_back(uint64_t bytes)
{
    if (bytes == 0) return;
    qk_process_release(bytes);
    usage.paid -= bytes;
}

static bool commits(uint32_t protection, uint32_t flags)
{
    const bool lazy = (flags & QK_MAP_LAZY) != 0 && !qk_switched(QK_BREAK_LAZY);

    return protection != 0 && !lazy;
}

/* Mapping. */

static struct backing *new_backing(size_t size)
{
    struct backing *backing = calloc(1, sizeof *backing);

    if (backing == NULL) return NULL;
    backing->size = size;
    backing->paid = calloc(size / QK_PAGE / 64 + 1, sizeof *backing->paid);
    if (backing->paid != NULL) return backing;
    free(backing);
    return NULL;
}

static void drop_backing(struct backing *backing)
{
    free(backing->paid);
    free(backing);
}

/* The next part of the range, from `*at` on, that is not the guest's: its start and its size. */
static bool next_gap(uint8_t **at, const uint8_t *end, size_t *size_out)
{
    for (size_t i = find_run(*at); *at < end; i++) {
        const uint8_t *gap_end = i < run_count && runs[i].base < end ? runs[i].base : end;
        if (gap_end > *at) {
            *size_out = (size_t)(gap_end - *at);
            return true;
        }
        *at = runs[i].base + runs[i].size;
    }
    return false;
}

static void free_gaps(uint8_t *address, const uint8_t *end)
{
    size_t size;

    for (uint8_t *at = address; next_gap(&at, end, &size); at += size) vacate(at, size);
}

/* Takes those parts of the range that are not the guest's, so that a fixed mapping can't land on
 * something of this machine's. False, and nothing is taken, if one of them is in use. */
static bool claim_gaps(uint8_t *address, size_t size)
{
    size_t gap_size;

    if (in_window(address) != in_window(address + size - 1)) return false;
    if (in_window(address)) return true;

    for (uint8_t *at = address; next_gap(&at, address + size, &gap_size); at += gap_size) {
        void *gap = keep(at, gap_size, MAP_FIXED_NOREPLACE);
        if (gap == at) continue;
        if (gap != MAP_FAILED) munmap(gap, gap_size);
        free_gaps(address, at);
        return false;
    }
    return true;
}

/* The first free place in a part of the window; NULL if there is none. */
static uint8_t *place_between(uint8_t *start, const uint8_t *end, size_t size)
{
    uint8_t *at = start;

    for (size_t i = find_run(at); (size_t)(end - at) >= size; i++) {
        if (i == run_count || runs[i].base >= end) return at;
        if (runs[i].base > at && (size_t)(runs[i].base - at) >= size) return at;
        at = runs[i].base + runs[i].size;
        if (at > end) return NULL;
    }
    return NULL;
}

static uint8_t *find_place(size_t size)
{
    open_window();
    if (window == NULL || size > WINDOW_SIZE) return NULL;
    uint8_t *place = place_between(window + window_next, window + WINDOW_SIZE, size);
    if (place == NULL) place = place_between(window, window + WINDOW_SIZE, size);
    if (place != NULL) window_next = (size_t)(place - window) + size;
    return place;
}

/* Maps the bytes for both sides. The file needs no descriptor once it is mapped. */
static bool map_twice(struct backing *backing, void *hint, uint32_t protection, bool fixed,
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
        guest = mmap(hint, backing->size, host_protection(protection), MAP_SHARED | place, file, 0);
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

/* How many bytes of the range are mapped, and how many of those are private. */
static size_t mapped_in(const uint8_t *address, size_t size, size_t *private_out)
{
    const uintptr_t start = (uintptr_t)address, end = start + size;
    size_t mapped = 0;

    *private_out = 0;
    for (size_t i = find_run(address); i < run_count && (uintptr_t)runs[i].base < end; i++) {
        const uintptr_t base = (uintptr_t)runs[i].base, run_end = base + runs[i].size;
        const size_t common = (run_end < end ? run_end : end) - (base > start ? base : start);
        mapped += common;
        if (is_private(runs[i].flags)) *private_out += common;
    }
    return mapped;
}

/* Takes the runs of the range out of the table, and their bytes off the account. */
static void forget_range(uint8_t *address, size_t size)
{
    split_at(address);
    split_at(address + size);
    const size_t index = find_run(address);
    while (index < run_count && runs[index].base < address + size) {
        struct run *run = &runs[index];
        if (!qk_switched(QK_BREAK_UNMAP)) give_back(paid_bytes(run));
        set_paid(run, false);
        usage.mapped -= run->size;
        if (is_private(run->flags)) usage.data -= run->size;
        madvise(run->backing->host + run->offset, run->size, MADV_REMOVE);
        drop_run(index);
    }
}

qk_error qk_memory_map(void *hint, size_t size, uint32_t protection, uint32_t flags,
                       void **address_out)
{
    const bool fixed = (flags & QK_MAP_FIXED) != 0;
    size_t replaced = 0, replaced_private = 0;

    if (size == 0 || size > SIZE_MAX - QK_PAGE || (fixed && !is_aligned(hint))) return QK_EINVAL;
    size = round_to_pages(size);
    if (fixed) {
        if (hint == NULL || (uintptr_t)hint > UINTPTR_MAX - size) return QK_ENOMEM;
        replaced = mapped_in(hint, size, &replaced_private);
    }
    if (exceeds(QK_LIMIT_ADDRESS_SPACE, usage.mapped - replaced + size)) return QK_ENOMEM;
    if (is_private(flags) && exceeds(QK_LIMIT_DATA, usage.data - replaced_private + size)) {
        return QK_ENOMEM;
    }
    struct backing *backing = make_room(3) ? new_backing(size) : NULL;
    if (backing == NULL) return QK_ENOMEM;
    const uint64_t price = commits(protection, flags) ? size : 0;
    const qk_error error = pay(price);
    if (error != QK_OK) {
        drop_backing(backing);
        return error;
    }
    void *place = fixed ? hint : find_place(size);
    const bool claimed = !fixed || claim_gaps(hint, size);
    if (!claimed || !map_twice(backing, place, protection, place != NULL, address_out)) {
        if (claimed && fixed) free_gaps(hint, (uint8_t *)hint + size);
        give_back(price);
        drop_backing(backing);
        return QK_ENOMEM;
    }
    if (fixed) forget_range(hint, size);
    const size_t index = find_run(*address_out);
    insert_run(index, (struct run){*address_out, size, backing, 0, protection,
                                   flags & (uint32_t)~QK_MAP_FIXED});
    if (price > 0) set_paid(&runs[index], true);
    backing->of_heap = (flags & QK_MAP_HEAP) != 0;
    if (!backing->of_heap) sim_census_count("mapping", 1);
    usage.mapped += size;
    if (is_private(flags)) usage.data += size;
    return QK_OK;
}

qk_error qk_memory_find(const void *address, size_t size)
{
    size_t unused;

    if (size > SIZE_MAX - QK_PAGE || (uintptr_t)address > UINTPTR_MAX - size) return QK_ENOMEM;
    return mapped_in(address, size, &unused) == size ? QK_OK : QK_ENOMEM;
}

/* What the range would cost under `protection`, over what is paid already. */
static uint64_t price_of(uint8_t *address, size_t size, uint32_t protection)
{
    uint64_t price = 0;

    for (size_t i = find_run(address); i < run_count && runs[i].base < address + size; i++) {
        struct run part = runs[i];
        if (!commits(protection, part.flags)) continue;
        if (part.base < address) {
            const size_t before = (size_t)(address - part.base);
            part.offset += before;
            part.size -= before;
            part.base = address;
        }
        if (part.base + part.size > address + size)
            part.size = (size_t)(address + size - part.base);
        price += part.size - paid_bytes(&part);
    }
    return price;
}

static void protect_runs(uint8_t *address, size_t size, uint32_t protection)
{
    split_at(address);
    split_at(address + size);
    const size_t first = find_run(address);
    size_t index = first;
    for (; index < run_count && runs[index].base < address + size; index++) {
        runs[index].protection = protection;
        if (commits(protection, runs[index].flags)) set_paid(&runs[index], true);
    }
    join_runs(first, index);
}

qk_error qk_memory_protect(void *address, size_t size, uint32_t protection)
{
    if (!is_aligned(address)) return QK_EINVAL;
    size = round_to_pages(size);
    if (size == 0) return QK_OK;
    if (!qk_switched(QK_BREAK_WHOLE_RANGE) && qk_memory_find(address, size) != QK_OK) {
        return QK_ENOMEM;
    }
    if (!make_room(2)) return QK_ENOMEM;
    const uint64_t price = price_of(address, size, protection);
    const qk_error error = pay(price);
    if (error != QK_OK) return error;
    if (!qk_switched(QK_BREAK_PROTECTION) &&
        mprotect(address, size, host_protection(protection)) != 0) {
        give_back(price);
        return QK_ENOMEM;
    }
    protect_runs(address, size, protection);
    return QK_OK;
}

qk_error qk_memory_unmap(void *address, size_t size)
{
    if (size == 0 || size > SIZE_MAX - QK_PAGE || !is_aligned(address)) return QK_EINVAL;
    size = round_to_pages(size);
    if ((uintptr_t)address > UINTPTR_MAX - size) return QK_EINVAL;
    if (!make_room(2)) return QK_ENOMEM;
    uint8_t *const start = address, *const end = start + size;
    for (size_t i = find_run(start); i < run_count && runs[i].base < end; i++) {
        uint8_t *base = runs[i].base > start ? runs[i].base : start;
        uint8_t *run_end = runs[i].base + runs[i].size;
        vacate(base, (size_t)((run_end < end ? run_end : end) - base));
    }
    forget_range(start, size);
    return QK_OK;
}

/* Questions. */

/* Whether this machine has something mapped at all pages of the range. */
static bool host_has(uintptr_t start, uintptr_t end)
{
    unsigned char resident[64];

    start &= ~(uintptr_t)(QK_PAGE - 1);
    while (start < end) {
        size_t size = round_to_pages(end - start);
        if (size > sizeof resident * QK_PAGE) size = sizeof resident * QK_PAGE;
        if (mincore((void *)start, size, resident) != 0) return false;
        start += size;
    }
    return true;
}

bool qk_memory_may(const void *address, size_t size, uint32_t access)
{
    uintptr_t at = (uintptr_t)address;
    const uintptr_t end = at + size;

    if (at < QK_PAGE || end < at) return false;
    for (size_t i = find_run(address); at < end; i++) {
        const uintptr_t base = i < run_count ? (uintptr_t)runs[i].base : end;
        if (at < base) {
            if (in_window((void *)at) || !host_has(at, base < end ? base : end)) return false;
            at = base;
        }
        if (at >= end) return true;
        if ((runs[i].protection & access) != access) return false;
        at = base + runs[i].size;
    }
    return true;
}

void *qk_memory_host(const void *address, size_t size)
{
    const size_t index = find_run(address);

    if (index == run_count || (uintptr_t)runs[index].base > (uintptr_t)address) return NULL;
    const struct run *run = &runs[index];
    const size_t offset = run->offset + (size_t)((uintptr_t)address - (uintptr_t)run->base);
    if (size > run->backing->size - offset || qk_memory_find(address, size) != QK_OK) return NULL;
    size_t end_index = index; /* the range may span runs, but they have to be of one mapping */
    while (end_index < run_count && (uintptr_t)runs[end_index].base < (uintptr_t)address + size) {
        if (runs[end_index++].backing != run->backing) return NULL;
    }
    return run->backing->host + offset;
}

qk_error qk_memory_limit(enum qk_limit limit, uint64_t *soft_out, uint64_t *hard_out)
{
    *soft_out = limits[limit].soft;
    *hard_out = limits[limit].hard;
    return QK_OK;
}

qk_error qk_memory_set_limit(enum qk_limit limit, uint64_t soft, uint64_t hard)
{
    if (soft > hard) return QK_EINVAL;
    if (hard > limits[limit].hard) return QK_EPERM;
    limits[limit] = (struct limit){soft, hard};
    return QK_OK;
}

qk_memory_usage qk_memory_usage_now(void)
{
    settle();
    usage.mappings = (uint32_t)run_count;
    return usage;
}

bool qk_memory_mapping(uint32_t index, qk_mapping *mapping_out)
{
    if (index >= run_count) return false;
    const struct run *run = &runs[index];
    *mapping_out = (qk_mapping){.address = run->base,
                                .host = run->backing->host + run->offset,
                                .size = run->size,
                                .paid = paid_bytes(run),
                                .protection = run->protection,
                                .flags = run->flags};
    return true;
}

static void clear_table(void)
{
    while (run_count > 0) drop_run(run_count - 1);
    free(runs);
    runs = NULL;
    run_room = 0;
    usage = (qk_memory_usage){0};
    for (size_t i = 0; i < QK_LIMIT_COUNT; i++) {
        limits[i] = (struct limit){QK_UNLIMITED, QK_UNLIMITED};
    }
}

void qk_memory_reset(void)
{
    for (size_t i = 0; i < run_count; i++) vacate(runs[i].base, runs[i].size);
    clear_table();
}
