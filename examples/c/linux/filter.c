// A filter of system calls is compiled and asked what it would answer; nothing is loaded.
#include "wrt_platform/linux/seccomp.h"
#include <stdio.h>
#include <stdlib.h>

enum { ROOM = 1024, CALL_COUNT = 8 };

static const char *const calls[CALL_COUNT] = {"read",     "write", "mmap",          "munmap",
                                              "mprotect", "futex", "clock_gettime", "exit_group"};

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "filter: %s\n", sentence);
    exit(1);
}

static void ask(const wrt_seccomp_instruction *program, uint32_t count, const char *name)
{
    static const char *const actions[] = {"", "ALLOW", "LOG", "ERRNO", "TRAP", "KILL", "FOREIGN"};
    wrt_seccomp_call call = {0};
    wrt_seccomp_verdict verdict;

    must(wrt_seccomp_call_number(WRT_SECCOMP_HOST, name, &call.number));
    must(wrt_seccomp_simulate(program, count, &call, &verdict));
    printf("%s: %s\n", name, actions[verdict.action]);
}

int main(void)
{
    static wrt_seccomp_instruction program[ROOM];
    wrt_seccomp_rule rules[CALL_COUNT] = {0};
    wrt_seccomp_config config = {0};
    wrt_seccomp_report report;

    config.struct_size = sizeof config;
    config.profile = WRT_SECCOMP_PROFILE_STRICT;
    must(wrt_seccomp_compile(&config, program, ROOM, &report));
    ask(program, report.instruction_count, "openat");
    ask(program, report.instruction_count, "socket");

    for (int i = 0; i < CALL_COUNT; i++) {
        must(wrt_seccomp_call_number(WRT_SECCOMP_HOST, calls[i], &rules[i].call));
        rules[i].action = WRT_SECCOMP_ALLOW;
    }
    config.profile = WRT_SECCOMP_PROFILE_NONE;
    config.default_action = WRT_SECCOMP_KILL;
    config.rules = rules;
    config.rule_count = CALL_COUNT;
    must(wrt_seccomp_compile(&config, program, ROOM, &report));
    ask(program, report.instruction_count, "read");
    ask(program, report.instruction_count, "openat");
    printf("added in silence: %u\n", report.added_count);
    return 0;
}
