/* Settings of the kernel that guides name. To try them would change the machine for everybody, so
 * they are read; the remedy is the command that changes them, and says what it costs. */
#include "doctor.h"

#include "../core/fail.h"

#define HUGE_POOL  "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define THP_FOLDER "/sys/kernel/mm/transparent_hugepage/"

enum { TEXT_SIZE = 256 };

/* The word in brackets: the chosen one of several. */
static bool chosen(const char *path, char *word_out, size_t size)
{
    char text[TEXT_SIZE];

    if (wrt__read_text(path, text, sizeof text) <= 0) return false;
    const char *const start = strchr(text, '[');
    const char *const end = start == NULL ? NULL : strchr(start, ']');
    if (end == NULL || (size_t)(end - start) > size) return false;
    memcpy(word_out, start + 1, (size_t)(end - start) - 1);
    word_out[end - start - 1] = '\0';
    return true;
}

static wrt_status missing(wrt_doctor_row *row, const char *path)
{
    return wrt__found_word(row, WRT_DOCTOR_ABSENT, "{w} is not there, or can't be read", path);
}

static wrt_status look_overcommit(wrt_doctor_row *row)
{
    static const char path[] = "/proc/sys/vm/overcommit_memory";
    enum { GUESS = 0, ALWAYS = 1 };
    const uint64_t mode = wrt__setting(path, UINT64_MAX);

    if (mode == UINT64_MAX) return missing(row, path);
    if (mode == GUESS || mode == ALWAYS) {
        return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE,
                                  "vm.overcommit_memory is {0}: reservations cost nothing", mode,
                                  0);
    }
    return wrt__found_numbers(row, WRT_DOCTOR_PARTIAL,
                              "vm.overcommit_memory is {0}: what is made accessible counts against "
                              "a fixed limit, and growth can fail early",
                              mode, 0);
}

static wrt_status look_map_count(wrt_doctor_row *row)
{
    static const char path[] = "/proc/sys/vm/max_map_count";
    enum { KERNELS_OWN = 65530, A_MEMORY_TAKES = 4 };
    const uint64_t count = wrt__setting(path, 0);

    if (count == 0) return missing(row, path);
    return wrt__found_numbers(row, count >= KERNELS_OWN ? WRT_DOCTOR_AVAILABLE : WRT_DOCTOR_PARTIAL,
                              "vm.max_map_count is {0}: some {1} memories of guests", count,
                              count / A_MEMORY_TAKES);
}

static wrt_status look_huge_pool(wrt_doctor_row *row)
{
    const uint64_t none = UINT64_MAX;
    const uint64_t count = wrt__setting(HUGE_POOL "nr_hugepages", none);
    const uint64_t left = wrt__setting(HUGE_POOL "free_hugepages", none);

    if (count == none || left == none) return missing(row, HUGE_POOL);
    return wrt__found_numbers(row, count > 0 ? WRT_DOCTOR_AVAILABLE : WRT_DOCTOR_ABSENT,
                              "the pool has {0} pages of 2 MiB, {1} of them free", count, left);
}

static wrt_status look_transparent(wrt_doctor_row *row)
{
    static const char path[] = THP_FOLDER "enabled";
    char word[TEXT_SIZE];

    if (!chosen(path, word, sizeof word)) return missing(row, path);
    return wrt__found_word(row,
                           strcmp(word, "never") == 0 ? WRT_DOCTOR_ABSENT : WRT_DOCTOR_AVAILABLE,
                           "transparent_hugepage/enabled is `{w}`", word);
}

static wrt_status look_defrag(wrt_doctor_row *row)
{
    static const char path[] = THP_FOLDER "defrag";
    char word[TEXT_SIZE];

    if (!chosen(path, word, sizeof word)) return missing(row, path);
    return wrt__found_word(row,
                           strcmp(word, "always") == 0 ? WRT_DOCTOR_PARTIAL : WRT_DOCTOR_AVAILABLE,
                           "transparent_hugepage/defrag is `{w}`", word);
}

static wrt_status look_futex_hash(wrt_doctor_row *row)
{
    static const char path[] = "/proc/sys/kernel/futex_hashsize";

    if (wrt__setting(path, UINT64_MAX) != UINT64_MAX) {
        return wrt__found(row, WRT_DOCTOR_AVAILABLE, "this kernel has it, against expectation");
    }
    return wrt__found_word(row, WRT_DOCTOR_ABSENT,
                           "{w}, which guides name, is in no kernel: the table has 256 places a "
                           "CPU, fixed at boot",
                           path);
}

static wrt_status look_real_time_share(wrt_doctor_row *row)
{
    enum { SECOND_US = 1000000 };
    const uint64_t period = wrt__setting("/proc/sys/kernel/sched_rt_period_us", SECOND_US);
    char text[32];

    if (wrt__read_text("/proc/sys/kernel/sched_rt_runtime_us", text, sizeof text) <= 0) {
        return missing(row, "/proc/sys/kernel/sched_rt_runtime_us");
    }
    if (text[0] == '-') {
        return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                          "real-time threads are never held back; one in a loop keeps its CPU");
    }
    const uint64_t share = wrt__setting("/proc/sys/kernel/sched_rt_runtime_us", 0);
    return wrt__found_numbers(row, WRT_DOCTOR_PARTIAL,
                              "real-time threads are held back after {0} us of each {1} us", share,
                              period);
}

static wrt_status look_quiet_processors(wrt_doctor_row *row)
{
    char text[TEXT_SIZE] = "";
    const ssize_t size = wrt__read_text("/sys/devices/system/cpu/nohz_full", text, sizeof text);

    if (size > 0) text[strcspn(text, "\n")] = '\0';
    if (size <= 0 || text[0] == '\0' || text[0] == '(') {
        return wrt__found(row, WRT_DOCTOR_ABSENT, "the timer interrupts every CPU");
    }
    return wrt__found_word(row, WRT_DOCTOR_AVAILABLE, "without a timer while one thread runs: {w}",
                           text);
}

static wrt_status look_executable_memory(wrt_doctor_row *row)
{
    enum { ALL_REFUSED = 2 };
    const uint64_t mode = wrt__setting("/proc/sys/vm/memfd_noexec", 0);

    return wrt__found_numbers(row, mode == ALL_REFUSED ? WRT_DOCTOR_ABSENT : WRT_DOCTOR_AVAILABLE,
                              "vm.memfd_noexec is {0}", mode, 0);
}

static wrt_status look_grsecurity(wrt_doctor_row *row)
{
    const int folder = wrt__sys_open("/proc/sys/kernel/grsecurity", O_RDONLY | O_DIRECTORY);

    if (folder < 0) return wrt__found(row, WRT_DOCTOR_ABSENT, "this kernel has no such patches");
    close(folder);
    return wrt__found(row, WRT_DOCTOR_AVAILABLE, "this kernel has them");
}

static const wrt__attempt attempts[] = {
    {"kernel.overcommit", "overcommit", "LM-5", look_overcommit,
     "as root: sysctl vm.overcommit_memory=0, or raise vm.overcommit_ratio"},
    {"kernel.max_map_count", "mappings of a process", "LM-6", look_map_count,
     "as root: sysctl vm.max_map_count=262144"},
    {"kernel.huge_pool", "pool of huge pages", "LM-1", look_huge_pool,
     "as root: echo 1024 > " HUGE_POOL "nr_hugepages (2 GiB of RAM that nothing else gets)"},
    {"kernel.transparent_hugepage", "transparent huge pages", "LM-3", look_transparent,
     "as root: echo madvise > " THP_FOLDER "enabled"},
    {"kernel.transparent_hugepage_defrag", "waiting for huge pages", "LM-3", look_defrag,
     "as root: echo madvise > " THP_FOLDER "defrag (or never): with `always` a page fault can wait "
     "for memory to be moved"},
    {"kernel.futex_hashsize", "table of futexes", "LS-1", look_futex_hash,
     "nothing: there is nothing to be set"},
    {"kernel.sched_rt_runtime", "share of real-time threads", "TH-1", look_real_time_share,
     "leave it, as a rule; as root, sysctl kernel.sched_rt_runtime_us=-1 lets a real-time thread "
     "in a loop keep its CPU for good"},
    {"kernel.nohz_full", "CPUs without a timer", "TH-1", look_quiet_processors,
     "boot with nohz_full=2-3 isolcpus=2-3 (a kernel with CONFIG_NO_HZ_FULL), and bind threads to "
     "those CPUs"},
    {"kernel.memfd_noexec", "programs started from memory", "SC-5", look_executable_memory,
     "as root: sysctl vm.memfd_noexec=1; or a file of the program as program_path"},
    {"kernel.grsecurity", "grsecurity", "SC-4", look_grsecurity,
     "nothing: the patches are sold apart, and no wall here depends on them"},
};

const wrt__topic wrt__topic_kernel = {attempts, sizeof attempts / sizeof *attempts};
