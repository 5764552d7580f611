/* What it costs to give rights away: loading a filter that is there, beside libseccomp building and
 * loading one for the same calls; a system call under the filter, beside none; a confined program
 * from start to end, beside bubblewrap. Each in children, in turn; prints the least of many rounds,
 * in nanoseconds. */
#define _GNU_SOURCE
#include "wrt_platform/linux/confined_process.h"
#include <fcntl.h>
#include <seccomp.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 60, STARTS = 150, CALLS = 500, BATCHES = 200, CALL_MAX = 470, SIZE = 512 };

static wrt_seccomp_instruction program[SIZE];
static uint32_t program_size;
static char **environment;

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

/* ---- In a child, which tells how long it took ---- */

static double load_ours(void)
{
    const double begin = now();

    if (wrt_seccomp_load(program, program_size, 0) != WRT_OK) die("wrt_seccomp_load");
    return now() - begin;
}

static double build_ours(void)
{
    wrt_seccomp_config config = {0};
    wrt_seccomp_report report;
    static wrt_seccomp_instruction fresh[SIZE];
    const double begin = now();

    config.struct_size = sizeof config;
    config.profile = WRT_SECCOMP_PROFILE_STRICT;
    if (wrt_seccomp_compile(&config, fresh, SIZE, &report) != WRT_OK ||
        wrt_seccomp_load(fresh, report.instruction_count, 0) != WRT_OK) {
        die("compile and load");
    }
    return now() - begin;
}

/* The calls that the profile allows whatever their arguments are. */
static int is_allowed(uint32_t number)
{
    wrt_seccomp_call call = {0};
    wrt_seccomp_verdict verdict;

    call.number = number;
    for (int argument = 0; argument < 6; argument++) call.arguments[argument] = 0x7777777;
    return wrt_seccomp_simulate(program, program_size, &call, &verdict) == WRT_OK &&
           verdict.action == WRT_SECCOMP_ALLOW;
}

static double load_theirs(int optimize)
{
    static uint32_t calls[CALL_MAX];
    uint32_t count = 0;

    for (uint32_t number = 0; number < CALL_MAX; number++) {
        if (is_allowed(number)) calls[count++] = number;
    }
    const double begin = now();
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(1));
    if (optimize != 0) seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (uint32_t index = 0; index < count; index++) {
        if (seccomp_rule_add(context, SCMP_ACT_ALLOW, (int)calls[index], 0) != 0) die("rule");
    }
    if (seccomp_load(context) != 0) die("seccomp_load");
    return now() - begin;
}

static double load_linear(void)
{
    return load_theirs(0);
}

static double load_tree(void)
{
    return load_theirs(1);
}

/* In batches so short that one of them is left alone by the machine's other work. */
static double call_free(void)
{
    double least = 1e18;

    for (int batch = 0; batch < BATCHES; batch++) {
        const double begin = now();
        for (int i = 0; i < CALLS; i++) syscall(SYS_getppid);
        const double took = (now() - begin) / CALLS;
        if (took < least) least = took;
    }
    return least;
}

static double call_filtered(void)
{
    load_ours();
    return call_free();
}

static double in_child(double (*measure)(void))
{
    int ends[2];
    double took = 0;

    if (pipe(ends) != 0) die("pipe");
    const pid_t child = fork();
    if (child == 0) {
        took = measure();
        if (write(ends[1], &took, sizeof took) != sizeof took) _exit(1);
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], &took, sizeof took) != sizeof took) die("a measurement");
    close(ends[0]);
    waitpid(child, NULL, 0);
    return took;
}

/* ---- Whole programs ---- */

static double start_ours(void)
{
    wrt_confined_process_config config = {0};
    wrt_confined_process process;
    wrt_confined_result result;
    const double begin = now();

    config.struct_size = sizeof config;
    config.executable = "/bin/true";
    config.system_files = true;
    if (wrt_confined_process_start(&process, &config) != WRT_OK ||
        wrt_confined_process_wait(&process, UINT64_MAX, &result) != WRT_OK ||
        wrt_confined_process_deinit(&process) != WRT_OK || result.end != WRT_CONFINED_EXITED ||
        result.code != 0) {
        die("a confined start");
    }
    return now() - begin;
}

static double start_words(char *const *words)
{
    const double begin = now();
    pid_t child;
    int status = 0;

    if (posix_spawnp(&child, words[0], NULL, NULL, words, environment) != 0) die(words[0]);
    if (waitpid(child, &status, 0) != child || status != 0) die(words[0]);
    return now() - begin;
}

static double start_bubblewrap(void)
{
    static char *const words[] = {"bwrap", "--unshare-all", "--ro-bind", "/",
                                  "/",     "/bin/true",     NULL};

    return start_words(words);
}

static double start_plain(void)
{
    static char *const words[] = {"/bin/true", NULL};

    return start_words(words);
}

/* ---- In turn ---- */

typedef struct way {
    const char *name;
    double (*measure)(void);
    int is_whole;
} way;

static void compare(const way *ways, int count, int rounds)
{
    double least[8];

    for (int one = 0; one < count; one++) least[one] = 1e18;
    for (int round = 0; round < rounds; round++) {
        for (int one = 0; one < count; one++) {
            const double took =
                ways[one].is_whole != 0 ? ways[one].measure() : in_child(ways[one].measure);
            if (took < least[one]) least[one] = took;
        }
    }
    for (int one = 0; one < count; one++) printf("%s %.1f\n", ways[one].name, least[one]);
    fflush(stdout);
}

int main(int argument_count, char **arguments, char **variables)
{
    static const way loads[] = {{"prebuilt", load_ours, 0},
                                {"compiled", build_ours, 0},
                                {"libseccomp_linear", load_linear, 0},
                                {"libseccomp_tree", load_tree, 0}};
    static const way calls[] = {{"call_free", call_free, 0}, {"call_strict", call_filtered, 0}};
    /* The kernel takes bubblewrap's network down after its end: beside the row without a goal. */
    static const way starts[] = {
        {"plain", start_plain, 1}, {"strict", start_ours, 1}, {"bubblewrap", start_bubblewrap, 1}};
    wrt_seccomp_config config = {0};
    wrt_seccomp_report report;

    (void)arguments;
    environment = variables;
    config.struct_size = sizeof config;
    config.profile = WRT_SECCOMP_PROFILE_STRICT;
    if (wrt_seccomp_compile(&config, program, SIZE, &report) != WRT_OK) die("compile");
    program_size = report.instruction_count;
    compare(loads, 4, ROUNDS);
    compare(calls, 2, ROUNDS / 3);
    compare(starts, argument_count > 1 ? 3 : 2, STARTS);
    return 0;
}
