/* The rules of a config, of its profile, and what is added, checked and put into one list, from
 * which seccomp_generate.c makes a program. */
#include "seccomp.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "bpf.h"

#define OPERATION "wrt_seccomp_compile"

/* The work of one compilation. */
typedef struct work {
    wrt_seccomp_config config;
    const wrt__seccomp_profile *profile;
    wrt_seccomp_report report;
    uint32_t item_count;
    wrt__seccomp_item items[WRT__SECCOMP_ITEM_MAX];
} work;

uint32_t wrt__seccomp_answer(uint32_t action, uint32_t error)
{
    switch (action) {
    case WRT_SECCOMP_ALLOW:
        return BPF_ANSWER_ALLOW;
    case WRT_SECCOMP_LOG:
        return BPF_ANSWER_LOG;
    case WRT_SECCOMP_ERRNO:
        return BPF_ANSWER_ERRNO | error;
    case WRT_SECCOMP_TRAP:
        return BPF_ANSWER_TRAP | error;
    default:
        return BPF_ANSWER_KILL;
    }
}

static wrt_status refuse(const char *reason, uint32_t index)
{
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, OPERATION, reason, index, 0);
}

/* ---- Checks ---- */

static bool is_action(uint32_t action)
{
    return action >= WRT_SECCOMP_ALLOW && action <= WRT_SECCOMP_KILL;
}

static wrt_status check_argument(const wrt_seccomp_argument *argument, uint32_t index)
{
    const bool masked = argument->compare == WRT_SECCOMP_MASKED_EQUAL;

    if (argument->index >= WRT_SECCOMP_ARGUMENT_MAX) {
        return refuse("rule {0} compares an argument beyond 5", index);
    }
    if (argument->compare > WRT_SECCOMP_MASKED_EQUAL) {
        return refuse("rule {0} has a compare that is none of wrt_seccomp_compare", index);
    }
    if (masked && (argument->value & ~argument->mask) != 0) {
        return refuse("rule {0} asks for bits outside of its mask: it could never hold", index);
    }
    if (!masked && argument->mask != 0) {
        return refuse("rule {0} has a mask, which only MASKED_EQUAL takes", index);
    }
    return WRT_OK;
}

static wrt_status check_rule(const wrt_seccomp_rule *rule, uint32_t index)
{
    if (rule->call >= WRT__X32_BIT) {
        return refuse("rule {0} is for a number beyond 0x3fffffff, where no call of this "
                      "architecture is",
                      index);
    }
    if (!is_action(rule->action)) {
        return refuse("rule {0} has an action that is none of wrt_seccomp_action", index);
    }
    if (rule->error > WRT_SECCOMP_ERROR_MAX ||
        (rule->action == WRT_SECCOMP_ERRNO) != (rule->error != 0)) {
        return refuse("rule {0}: `error` is 1 to 4095 with ERRNO, else 0", index);
    }
    if (rule->argument_count > WRT_SECCOMP_ARGUMENT_MAX) {
        return refuse("rule {0} has more than 6 compares", index);
    }
    for (uint32_t place = 0; place < rule->argument_count; place++) {
        const wrt_status status = check_argument(&rule->arguments[place], index);
        if (status != WRT_OK) return status;
    }
    return WRT_OK;
}

static wrt_status check_actions(const wrt_seccomp_config *config)
{
    const uint32_t actions[] = {config->default_action, config->unknown_action,
                                config->foreign_action};

    for (uint32_t index = 0; index < 3; index++) {
        if (actions[index] > WRT_SECCOMP_KILL) {
            return refuse("default_action, unknown_action or foreign_action is none of "
                          "wrt_seccomp_action",
                          0);
        }
    }
    if (config->default_error > WRT_SECCOMP_ERROR_MAX ||
        config->unknown_error > WRT_SECCOMP_ERROR_MAX) {
        return refuse("default_error or unknown_error is beyond 4095", 0);
    }
    return WRT_OK;
}

static wrt_status check_config(work *of)
{
    wrt_seccomp_config *config = &of->config;

    config->architecture = wrt__call_architecture(config->architecture);
    if (config->architecture == 0) {
        return refuse("architecture is none that filters are made for: x86-64 or 64-bit Arm", 0);
    }
    of->profile = wrt__seccomp_profile_of(config->profile);
    if (of->profile == NULL) return refuse("profile is none of wrt_seccomp_profile", 0);
    if (config->form > WRT_SECCOMP_LINEAR) return refuse("form is none of wrt_seccomp_form", 0);
    if (config->rule_count > WRT_SECCOMP_RULE_MAX)
        return refuse("there are more than 256 rules", 0);
    if (config->rule_count > 0 && config->rules == NULL) return refuse("rules is NULL", 0);
    return check_actions(config);
}

/* ---- The list ---- */

static void add_item(work *of, uint32_t number, uint32_t action, uint32_t error,
                     const wrt_seccomp_argument *arguments, uint32_t argument_count)
{
    wrt__seccomp_item *item = &of->items[of->item_count];

    item->number = number;
    item->action = (uint16_t)action;
    item->error = (uint16_t)error;
    item->arguments = arguments;
    item->argument_count = argument_count;
    item->rank = of->item_count++;
}

static bool has_final_rule(const work *of, uint32_t number)
{
    for (uint32_t index = 0; index < of->item_count; index++) {
        const wrt__seccomp_item *item = &of->items[index];
        if (item->number == number && item->argument_count == 0) return true;
    }
    return false;
}

static bool has_rule(const work *of, uint32_t number)
{
    for (uint32_t index = 0; index < of->item_count; index++) {
        if (of->items[index].number == number) return true;
    }
    return false;
}

static wrt_status add_own_rules(work *of)
{
    for (uint32_t index = 0; index < of->config.rule_count; index++) {
        const wrt_seccomp_rule *rule = &of->config.rules[index];
        const wrt_status status = check_rule(rule, index);

        if (status != WRT_OK) return status;
        if (has_final_rule(of, rule->call)) {
            return refuse("rule {0} can never decide: one before it takes the call whatever its "
                          "arguments are",
                          index);
        }
        add_item(of, rule->call, rule->action, rule->error, rule->arguments, rule->argument_count);
    }
    return WRT_OK;
}

static bool is_own(const work *of, uint32_t number)
{
    for (uint32_t index = 0; index < of->config.rule_count; index++) {
        if (of->config.rules[index].call == number) return true;
    }
    return false;
}

static void add_profile(work *of)
{
    for (uint32_t index = 0; index < of->profile->entry_count; index++) {
        const wrt__seccomp_entry *entry = &of->profile->entries[index];
        const uint32_t number = wrt__call_number(of->config.architecture, entry->call);

        if (number == WRT__CALL_NONE || is_own(of, number)) continue;
        add_item(of, number, entry->action, entry->error, wrt__seccomp_profile_arguments(entry),
                 entry->argument_count);
    }
}

/* The arguments of clone3 lie behind a pointer, where no filter sees them; with ENOSYS, programs
 * fall back to clone. With any other refusal they give up. */
static void add_missing(work *of)
{
    const uint32_t clone = wrt__call_number(of->config.architecture, WRT__CALL_clone);
    const uint32_t clone3 = wrt__call_number(of->config.architecture, WRT__CALL_clone3);

    if (of->config.exact || !has_rule(of, clone) || has_rule(of, clone3)) return;
    wrt_seccomp_rule *added = &of->report.added[of->report.added_count++];
    added->call = clone3;
    added->action = WRT_SECCOMP_ERRNO;
    added->error = WRT__ERROR_NO_CALL;
    add_item(of, clone3, added->action, added->error, NULL, 0);
}

/* ---- The program ---- */

static uint32_t answer_or(uint32_t action, uint32_t error, uint32_t standard,
                          uint32_t standard_error)
{
    const uint32_t chosen = action == WRT_SECCOMP_DEFAULT ? standard : action;
    const uint32_t number = error == 0 ? standard_error : error;

    return wrt__seccomp_answer(chosen, chosen == WRT_SECCOMP_ERRNO ? number : 0);
}

static wrt_status generate(work *of, wrt_seccomp_instruction *program, uint32_t capacity)
{
    const wrt_seccomp_config *config = &of->config;
    wrt__seccomp_plan plan = {
        of->items,
        of->item_count,
        config->architecture,
        config->form,
        answer_or(config->default_action, config->default_error, of->profile->default_action,
                  WRT__ERROR_PERMISSION),
        answer_or(config->unknown_action, config->unknown_error, of->profile->unknown_action,
                  WRT__ERROR_NO_CALL),
        answer_or(config->foreign_action, 0, WRT_SECCOMP_KILL, WRT__ERROR_NO_CALL),
        0};

    of->report.instruction_count = wrt__seccomp_generate(&plan, program, capacity);
    of->report.call_count = plan.call_count;
    if (of->report.instruction_count > WRT_SECCOMP_PROGRAM_MAX) {
        return wrt_fail_detail(WRT_ERR_LIMIT, OPERATION,
                               "the program has {0} instructions, the kernel takes 4096",
                               of->report.instruction_count, 0);
    }
    if (program != NULL && of->report.instruction_count > capacity) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, OPERATION,
                               "the program has {0} instructions, there is room for {1}",
                               of->report.instruction_count, capacity);
    }
    return WRT_OK;
}

static wrt_status compile(work *of, wrt_seccomp_instruction *program, uint32_t capacity)
{
    wrt_status status = check_config(of);
    if (status == WRT_OK) status = add_own_rules(of);
    if (status != WRT_OK) return status;

    add_profile(of);
    add_missing(of);
    of->report.architecture = of->config.architecture;
    of->report.load_options = (of->config.all_threads ? (uint32_t)WRT_SECCOMP_ALL_THREADS : 0) |
                              (of->config.log_failures ? (uint32_t)WRT_SECCOMP_LOG_FAILURES : 0);
    return generate(of, program, capacity);
}

wrt_status wrt_seccomp_compile(const wrt_seccomp_config *config,
                               wrt_seccomp_instruction *program_out, uint32_t capacity,
                               wrt_seccomp_report *report_out)
{
    const wrt_seccomp_report nothing = {0};
    work of;

    if (report_out == NULL) return refuse("report_out is NULL", 0);
    if (program_out == NULL && capacity != 0) return refuse("program_out is NULL", 0);
    wrt_status status = wrt__config_read(__func__, config, &of.config, sizeof of.config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(of.config.reserved, sizeof of.config.reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__, "reserved bytes are not zero");
    }

    of.report = nothing;
    of.item_count = 0;
    status = compile(&of, program_out, capacity);
    if (status == WRT_OK) *report_out = of.report;
    return status;
}
