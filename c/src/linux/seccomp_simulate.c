/* What a filter answers, worked out step by step as the kernel does, without loading it. */
#include "seccomp.h"

#include "../core/fail.h"
#include "bpf.h"

typedef struct machine {
    const wrt_seccomp_instruction *program;
    uint32_t count;
    uint32_t next;
    uint32_t accumulator;
    uint32_t words[BPF_DATA_SIZE / 4]; /* the call, as the kernel lays it out */
} machine;

static void lay_out(const wrt_seccomp_call *call, uint32_t *words)
{
    uint32_t audit = call->architecture;

    if (audit == 0) audit = wrt__call_audit(wrt__call_architecture(WRT_SECCOMP_HOST));
    words[BPF_OFFSET_NUMBER / 4] = call->number;
    words[BPF_OFFSET_ARCHITECTURE / 4] = audit;
    words[BPF_OFFSET_POINTER / 4] = (uint32_t)call->instruction_pointer;
    words[BPF_OFFSET_POINTER / 4 + 1] = (uint32_t)(call->instruction_pointer >> 32);
    for (uint32_t index = 0; index < WRT_SECCOMP_ARGUMENT_MAX; index++) {
        words[BPF_OFFSET_ARGUMENTS / 4 + 2 * index] = (uint32_t)call->arguments[index];
        words[BPF_OFFSET_ARGUMENTS / 4 + 2 * index + 1] = (uint32_t)(call->arguments[index] >> 32);
    }
}

static wrt_status refuse(const char *reason, uint32_t index)
{
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, "wrt_seccomp_simulate", reason, index, 0);
}

static wrt_status load(machine *of, const wrt_seccomp_instruction *instruction)
{
    if (instruction->value >= BPF_DATA_SIZE || instruction->value % 4 != 0) {
        return refuse("instruction {0} loads from beyond the call", of->next - 1);
    }
    of->accumulator = of->words[instruction->value / 4];
    return WRT_OK;
}

static bool holds(const machine *of, const wrt_seccomp_instruction *instruction)
{
    switch (instruction->code) {
    case BPF_JUMP_EQUAL:
        return of->accumulator == instruction->value;
    case BPF_JUMP_GREATER:
        return of->accumulator > instruction->value;
    case BPF_JUMP_GREATER_EQUAL:
        return of->accumulator >= instruction->value;
    default:
        return (of->accumulator & instruction->value) != 0;
    }
}

static wrt_status jump(machine *of, uint32_t distance)
{
    if (distance >= of->count - of->next) {
        return refuse("instruction {0} jumps out of the program", of->next - 1);
    }
    of->next += distance;
    return WRT_OK;
}

static wrt_status step(machine *of, const wrt_seccomp_instruction *instruction)
{
    switch (instruction->code) {
    case BPF_LOAD_WORD:
        return load(of, instruction);
    case BPF_AND_WORD:
        of->accumulator &= instruction->value;
        return WRT_OK;
    case BPF_JUMP:
        return jump(of, instruction->value);
    case BPF_JUMP_EQUAL:
    case BPF_JUMP_GREATER:
    case BPF_JUMP_GREATER_EQUAL:
    case BPF_JUMP_BITS:
        return jump(of, holds(of, instruction) ? instruction->jump_true : instruction->jump_false);
    default:
        return wrt_fail_detail(WRT_ERR_UNSUPPORTED, "wrt_seccomp_simulate",
                               "instruction {0} has code {1}, which filters for system calls "
                               "don't use as a rule",
                               of->next - 1, instruction->code);
    }
}

static uint32_t action_of(uint32_t answer)
{
    switch (answer & BPF_ANSWER_ACTION) {
    case BPF_ANSWER_ALLOW:
        return WRT_SECCOMP_ALLOW;
    case BPF_ANSWER_LOG:
        return WRT_SECCOMP_LOG;
    case BPF_ANSWER_ERRNO:
        return WRT_SECCOMP_ERRNO;
    case BPF_ANSWER_TRAP:
        return WRT_SECCOMP_TRAP;
    case BPF_ANSWER_KILL:
        return WRT_SECCOMP_KILL;
    default:
        return WRT_SECCOMP_FOREIGN;
    }
}

static wrt_status run(machine *of, wrt_seccomp_verdict *verdict_out)
{
    for (uint32_t steps = 1; of->next < of->count; steps++) {
        const wrt_seccomp_instruction *instruction = &of->program[of->next++];

        if (instruction->code == BPF_RETURN) {
            const uint32_t action = action_of(instruction->value);
            const bool has_data = action == WRT_SECCOMP_ERRNO || action == WRT_SECCOMP_TRAP;
            const uint32_t data = instruction->value & BPF_ANSWER_DATA;

            *verdict_out =
                (wrt_seccomp_verdict){action, has_data ? data : 0, instruction->value, steps};
            return WRT_OK;
        }
        const wrt_status status = step(of, instruction);
        if (status != WRT_OK) return status;
    }
    return refuse("the program ends without an answer, after instruction {0}", of->count);
}

wrt_status wrt_seccomp_simulate(const wrt_seccomp_instruction *program, uint32_t count,
                                const wrt_seccomp_call *call, wrt_seccomp_verdict *verdict_out)
{
    machine of = {program, count, 0, 0, {0}};

    if (program == NULL || call == NULL || verdict_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "an argument is NULL");
    }
    lay_out(call, of.words);
    return run(&of, verdict_out);
}
