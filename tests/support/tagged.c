/* Runs on 64-bit Arm: what is tagged, what faults, and how. Each fault happens in a child, whose
 * handler writes down what the kernel says. The first argument chooses the part. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wrt_platform/linux/mte.h"

static wrt_linux_mte_allocator allocator;
static int failures;

static void check(int ok, const char *what, int line)
{
    if (ok) return;
    char text[300];
    wrt_error_format(wrt_error_last(), text, sizeof text);
    printf("line %d: %s; last error: %s\n", line, what, text);
    failures++;
}
#define CHECK(what) check((what), #what, __LINE__)

static wrt_status begin(uint32_t mode, uint32_t mask)
{
    wrt_linux_mte_allocator_config config = {0};

    config.struct_size = sizeof config;
    config.maximum_pages = 16;
    config.mte_mode = mode;
    config.tag_mask = mask;
    config.tag_check_on_free = true;
    memset(&allocator, 0, sizeof allocator);
    return wrt_linux_mte_allocator_init(&allocator, &config);
}

static char *block(size_t size, uint32_t tag)
{
    void *pointer = NULL;
    size_t got = 0;
    const wrt_status status =
        tag > 15 ? wrt_linux_mte_allocator_allocate(&allocator, size, &pointer, &got)
                 : wrt_linux_mte_allocator_allocate_tagged(&allocator, size, tag, &pointer, &got);

    CHECK(status == WRT_OK);
    CHECK(got == (size + 15) / 16 * 16);
    return pointer;
}

/* ---- Faults ---- */

struct outcome {
    int signal, code;
    uint64_t address;
};

static int report_pipe[2];

static void note(int number, siginfo_t *info, void *context)
{
    struct outcome outcome = {number, info->si_code, (uint64_t)(uintptr_t)info->si_addr};

    (void)context;
    (void)!write(report_pipe[1], &outcome, sizeof outcome);
    _exit(1);
}

__attribute__((noinline)) static void touch(volatile char *place, int writes)
{
    if (writes) {
        *place = 1;
    } else {
        (void)*place;
    }
}

static struct outcome after(char *place, int writes)
{
    struct outcome outcome = {0, 0, 0};
    struct sigaction action = {0};

    if (pipe(report_pipe) != 0) abort();
    const pid_t child = fork();
    if (child == 0) {
        action.sa_sigaction = note;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGSEGV, &action, NULL);
        touch(place, writes);
        for (int i = 0; i < 100; i++) (void)getppid(); /* where an asynchronous one arrives */
        _exit(0);
    }
    waitpid(child, NULL, 0);
    close(report_pipe[1]);
    if (read(report_pipe[0], &outcome, sizeof outcome) != (ssize_t)sizeof outcome) {
        outcome = (struct outcome){0, 0, 0};
    }
    close(report_pipe[0]);
    return outcome;
}

enum { ASYNCHRONOUS = 8, SYNCHRONOUS = 9 }; /* SEGV_MTEAERR, SEGV_MTESERR */

static int faults(char *place, int code)
{
    for (int writes = 0; writes < 2; writes++) {
        const struct outcome outcome = after(place, writes);
        if (outcome.signal != SIGSEGV || outcome.code != code) {
            printf("signal %d, code %d\n", outcome.signal, outcome.code);
            return 0;
        }
        if (code == SYNCHRONOUS && (outcome.address << 8) != ((uint64_t)(uintptr_t)place << 8))
            return 0;
    }
    return 1;
}

static int is_fine(char *place)
{
    return after(place, 0).signal == 0 && after(place, 1).signal == 0;
}

static char *with(char *pointer, uint32_t tag)
{
    return wrt_linux_mte_with_tag(pointer, tag);
}

/* ---- Parts ---- */

static void part_faults(void)
{
    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0) == WRT_OK);
    char *ten = block(16, 0xA);
    CHECK(wrt_linux_mte_tag_of(ten) == 0xA);
    *ten = 42;
    CHECK(is_fine(ten) && is_fine(ten + 15));
    CHECK(faults(with(ten, 0xB), SYNCHRONOUS));
    CHECK(faults(with(ten, 0), SYNCHRONOUS)); /* a pointer that lost its tag */
    CHECK(faults(ten + 16, SYNCHRONOUS));     /* the byte behind */
    for (uint32_t tag = 0; tag < 16; tag++) {
        CHECK(tag == 0xA ? is_fine(with(ten, tag)) : faults(with(ten, tag), SYNCHRONOUS));
    }
    char *odd = block(40, 16); /* 48 of the 64 bytes that it takes */
    CHECK(is_fine(odd + 47) && faults(odd + 48, SYNCHRONOUS));
    CHECK(wrt_linux_mte_allocator_free(&allocator, ten) == WRT_OK);
    CHECK(faults(ten, SYNCHRONOUS)); /* use after it was freed */
    CHECK(wrt_linux_mte_allocator_free(&allocator, odd) == WRT_OK);
    CHECK(wrt_linux_mte_allocator_deinit(&allocator) == WRT_OK);
}

static void part_free(void)
{
    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0) == WRT_OK);
    for (int round = 0; round < 400; round++) {
        char *pointer = block(16 + (size_t)(round % 7) * 16, round % 3 == 0 ? 5 : 16);
        const uint32_t before = wrt_linux_mte_tag_of(pointer);
        uint32_t now = 99;
        CHECK(wrt_linux_mte_allocator_tag_at(&allocator, pointer, &now) == WRT_OK && now == before);
        CHECK(wrt_linux_mte_allocator_free(&allocator, with(pointer, before ^ 1)) == WRT_ERR_STATE);
        CHECK(wrt_linux_mte_allocator_free(&allocator, pointer) == WRT_OK);
        CHECK(wrt_linux_mte_allocator_tag_at(&allocator, pointer, &now) == WRT_OK);
        CHECK(now != before); /* always, not in 14 of 15 cases */
        CHECK(wrt_linux_mte_allocator_free(&allocator, pointer) == WRT_ERR_STATE);
        CHECK(wrt_linux_mte_allocator_free(&allocator, with(pointer, now)) == WRT_ERR_STATE);
    }
    char *one = block(64, 16);
    CHECK(wrt_linux_mte_allocator_free(&allocator, one + 16) == WRT_ERR_INVALID_ARGUMENT);
    CHECK(wrt_linux_mte_allocator_free(&allocator, (char *)&failures) == WRT_ERR_INVALID_ARGUMENT);
    CHECK(wrt_linux_mte_allocator_deinit(&allocator) == WRT_ERR_STATE);
    memset(one, 7, 64);
    CHECK(wrt_linux_mte_allocator_free(&allocator, one) == WRT_OK);
    char *again = block(64, 16);
    for (int i = 0; i < 64; i++) CHECK(again[i] == 0);
    CHECK(wrt_linux_mte_allocator_free(&allocator, again) == WRT_OK);
    CHECK(wrt_linux_mte_allocator_deinit(&allocator) == WRT_OK);
    CHECK(wrt_linux_mte_allocator_deinit(&allocator) == WRT_OK);
}

enum { MANY = 2048 };

static int equal_neighbours(char **pointers)
{
    int count = 0;

    for (int i = 1; i < MANY; i++) {
        if (with(pointers[i], 0) - with(pointers[i - 1], 0) != 16) continue;
        count += wrt_linux_mte_tag_of(pointers[i]) == wrt_linux_mte_tag_of(pointers[i - 1]);
    }
    return count;
}

/* Of many tags drawn: which came. What was never used has tag 0, which leaves it out for the blocks
 * beside; so the memory is used twice. */
static uint32_t drawn(uint32_t mask)
{
    static char *pointers[MANY];
    uint32_t seen = 0;

    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, mask) == WRT_OK);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            pointers[i] = block(16, 16);
            seen |= 1u << wrt_linux_mte_tag_of(pointers[i]);
        }
        CHECK(equal_neighbours(pointers) == 0 || mask == 0x40);
        for (int i = 0; i < MANY; i++) {
            CHECK(wrt_linux_mte_allocator_free(&allocator, pointers[i]) == WRT_OK);
        }
    }
    CHECK(wrt_linux_mte_allocator_deinit(&allocator) == WRT_OK);
    return seen;
}

static void part_mask(void)
{
    CHECK(drawn(0) == 0xFFFE);
    CHECK(drawn(0xFF) == 0xFF); /* tags 0 to 7, not all */
    CHECK(drawn(0xFFFF) == 0xFFFF);
    CHECK(drawn(0x8420) == 0x8420);
    CHECK(drawn(0x40) == 0x40);
    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0x10000) == WRT_ERR_INVALID_ARGUMENT);
    CHECK(begin(3, 0) == WRT_ERR_INVALID_ARGUMENT);
    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0xFF) == WRT_OK);
    char *pointer = block(16, 0xA); /* outside of the mask, by the caller's own choice */
    CHECK(wrt_linux_mte_tag_of(pointer) == 0xA && is_fine(pointer));
    void *none;
    size_t size;
    CHECK(wrt_linux_mte_allocator_allocate_tagged(&allocator, 16, 16, &none, &size) ==
          WRT_ERR_INVALID_ARGUMENT);
    CHECK(wrt_linux_mte_allocator_allocate(&allocator, 0, &none, &size) ==
          WRT_ERR_INVALID_ARGUMENT);
    CHECK(wrt_linux_mte_allocator_allocate(&allocator, 16 * 65536, &none, &size) ==
          WRT_ERR_NO_MEMORY);
}

static void part_asynchronous(void)
{
    CHECK(begin(WRT_LINUX_MTE_ASYNCHRONOUS, 0) == WRT_OK);
    char *pointer = block(16, 3);
    CHECK(is_fine(pointer));
    CHECK(faults(with(pointer, 4), ASYNCHRONOUS));
}

static uint32_t mode_here(void)
{
    wrt_linux_mte_allocator_report report;

    CHECK(wrt_linux_mte_allocator_query(&allocator, &report) == WRT_OK);
    return report.thread_mode;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *before_and_after(void *context)
{
    char **place = context;

    pthread_mutex_lock(&gate); /* made before init: nothing is inherited */
    CHECK(mode_here() == 0);
    CHECK(is_fine(*place)); /* a wrong tag, and nobody checks it */
    CHECK(wrt_linux_mte_allocator_enter(&allocator) == WRT_OK);
    CHECK(mode_here() == 1);
    CHECK(faults(*place, SYNCHRONOUS));
    pthread_mutex_unlock(&gate);
    return NULL;
}

static void *made_later(void *context)
{
    char **place = context;

    CHECK(mode_here() == 1);
    CHECK(faults(*place, SYNCHRONOUS));
    return NULL;
}

static void part_threads(void)
{
    pthread_t early, late;
    char *wrong = NULL;

    pthread_mutex_lock(&gate);
    CHECK(pthread_create(&early, NULL, before_and_after, &wrong) == 0);
    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0) == WRT_OK);
    wrong = with(block(16, 3), 4);
    CHECK(pthread_create(&late, NULL, made_later, &wrong) == 0);
    CHECK(pthread_join(late, NULL) == 0);
    pthread_mutex_unlock(&gate);
    CHECK(pthread_join(early, NULL) == 0);
}

/* Any order of sizes: blocks never overlap, and all comes back together. */
static void part_blocks(void)
{
    enum { COUNT = 300 };
    static char *pointers[COUNT];
    static size_t sizes[COUNT];
    wrt_linux_mte_allocator_report report;
    uint32_t random = 12345;

    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0) == WRT_OK);
    for (int round = 0; round < 6000; round++) {
        random = random * 1103515245u + 12345u;
        const int at = (int)(random >> 8) % COUNT;
        if (pointers[at] != NULL) {
            for (size_t i = 0; i < sizes[at]; i++) {
                if (pointers[at][i] != (char)at) CHECK(!"overlap");
            }
            CHECK(wrt_linux_mte_allocator_free(&allocator, pointers[at]) == WRT_OK);
            pointers[at] = NULL;
        } else {
            sizes[at] = 1 + (random >> 16) % 900;
            pointers[at] = block(sizes[at], 16);
            memset(pointers[at], at, sizes[at]);
        }
    }
    for (int at = 0; at < COUNT; at++) {
        if (pointers[at] != NULL) {
            CHECK(wrt_linux_mte_allocator_free(&allocator, pointers[at]) == WRT_OK);
        }
    }
    CHECK(wrt_linux_mte_allocator_query(&allocator, &report) == WRT_OK);
    CHECK(report.used_bytes == 0 && report.allocation_count == 0);
    CHECK(report.capacity_bytes == 16 * 65536);
    char *all = block(16 * 65536, 1);
    memset(all, 1, 16 * 65536);
    CHECK(wrt_linux_mte_allocator_free(&allocator, all) == WRT_OK);
    CHECK(wrt_linux_mte_allocator_deinit(&allocator) == WRT_OK);
}

void wrt__sys_fail_at(uint32_t call, int32_t os_code);
uint64_t wrt__sys_call_count(void);

/* The first call of a start fails, then the second, and so on: nothing is half made. */
static void part_failures(void)
{
    static const wrt_linux_mte_allocator none;
    const uint64_t before = wrt__sys_call_count();

    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0) == WRT_OK);
    const uint32_t calls = (uint32_t)(wrt__sys_call_count() - before);
    CHECK(calls == 3);
    CHECK(wrt_linux_mte_allocator_deinit(&allocator) == WRT_OK);
    for (uint32_t call = 1; call <= calls; call++) {
        wrt__sys_fail_at(call, ENOMEM);
        CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0) ==
              (call == 1 ? WRT_ERR_SYSTEM : WRT_ERR_NO_MEMORY));
        CHECK(memcmp(&allocator, &none, sizeof none) == 0);
        CHECK(wrt_error_last()->os_code == ENOMEM);
    }
    wrt__sys_fail_at(1, EINVAL);
    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0) == WRT_ERR_UNSUPPORTED);
    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0) == WRT_OK);
    wrt_linux_mte_allocator_report report;
    wrt__sys_fail_at(1, EPERM);
    CHECK(wrt_linux_mte_allocator_query(&allocator, &report) == WRT_OK && report.thread_mode == 0);
    wrt__sys_fail_at(1, ENOMEM);
    CHECK(wrt_linux_mte_allocator_deinit(&allocator) == WRT_ERR_SYSTEM);
    CHECK(wrt_linux_mte_allocator_deinit(&allocator) == WRT_OK);
}

/* Where there is none: said, with the reason, and no tag instruction is executed. */
static void part_absent(void)
{
    char text[300];

    CHECK(wrt_linux_mte_is_available() == WRT_ERR_UNSUPPORTED);
    CHECK(begin(WRT_LINUX_MTE_SYNCHRONOUS, 0) == WRT_ERR_UNSUPPORTED);
    wrt_error_format(wrt_error_last(), text, sizeof text);
    CHECK(strstr(text, "HWCAP2") != NULL);
    CHECK(wrt_linux_mte_tag_of(with(text, 7)) == 7);
    printf("%s\n", text);
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = {{"faults", part_faults},     {"free", part_free},
                 {"mask", part_mask},         {"asynchronous", part_asynchronous},
                 {"threads", part_threads},   {"blocks", part_blocks},
                 {"failures", part_failures}, {"absent", part_absent}};

    for (size_t i = 0; count == 2 && i < sizeof parts / sizeof parts[0]; i++) {
        if (strcmp(parts[i].name, arguments[1]) != 0) continue;
        parts[i].run();
        puts(failures == 0 ? "well" : "failed");
        return failures != 0;
    }
    return 2;
}
