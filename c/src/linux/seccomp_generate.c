/* From rules to instructions. A program is written from its end to its beginning: every jump goes
 * forward, so its target is there already and its distance known, and a label is how many
 * instructions stand behind it. What is not there in `program` is only counted. */
#include "seccomp.h"

#include "bpf.h"

enum {
    NEAR = 250, /* a conditional jump reaches 255, and its own helpers may come between */
    ANSWER_MAX = 32,
    STEP_MAX = 2 * WRT__SECCOMP_ITEM_MAX + 8
};

typedef struct answer {
    uint32_t value;
    uint32_t label;
} answer;

/* All rules of one call, in their order. */
typedef struct group {
    uint32_t number;
    uint32_t rank;
    uint32_t first;
    uint32_t count;
    uint32_t label;
} group;

/* From `start` to the next step, every number goes to `label`. */
typedef struct step {
    uint32_t start;
    uint32_t label;
} step;

typedef struct writer {
    wrt__seccomp_plan *plan;
    wrt_seccomp_instruction *program;
    uint32_t capacity;
    uint32_t count;
    uint32_t answer_count;
    uint32_t group_count;
    uint32_t step_count;
    answer answers[ANSWER_MAX];
    group groups[WRT__SECCOMP_ITEM_MAX];
    step steps[STEP_MAX];
} writer;

/* ---- Instructions ---- */

static uint32_t put(writer *to, uint16_t code, uint32_t value, uint32_t jump_true,
                    uint32_t jump_false)
{
    if (to->count < to->capacity) {
        wrt_seccomp_instruction *place = &to->program[to->capacity - 1 - to->count];

        place->code = code;
        place->jump_true = (uint8_t)jump_true;
        place->jump_false = (uint8_t)jump_false;
        place->value = value;
    }
    return ++to->count;
}

static uint32_t put_load(writer *to, uint32_t offset)
{
    return put(to, BPF_LOAD_WORD, offset, 0, 0);
}

/* The label, or one near by that leads there. */
static uint32_t reach(writer *to, uint32_t label)
{
    if (to->count - label <= NEAR) return label;
    return put(to, BPF_JUMP, to->count - label, 0, 0);
}

static uint32_t put_jump(writer *to, uint16_t code, uint32_t value, uint32_t if_true,
                         uint32_t if_false)
{
    const uint32_t on_true = reach(to, if_true);
    const uint32_t on_false = reach(to, if_false);

    return put(to, code, value, to->count - on_true, to->count - on_false);
}

/* The return with this value. It is written once, and again where the first one is far. */
static uint32_t put_answer(writer *to, uint32_t value)
{
    uint32_t place = 0;

    while (place < to->answer_count && to->answers[place].value != value) place++;
    if (place < to->answer_count && to->count - to->answers[place].label <= NEAR) {
        return to->answers[place].label;
    }
    const uint32_t label = put(to, BPF_RETURN, value, 0, 0);
    if (place < ANSWER_MAX) {
        to->answers[place] = (answer){value, label};
        if (place == to->answer_count) to->answer_count++;
    }
    return label;
}

/* ---- Arguments ---- */

/* The two halves of an argument; filters are little-endian here. */
static uint32_t low_offset(const wrt_seccomp_argument *argument)
{
    return BPF_OFFSET_ARGUMENTS + 8 * argument->index;
}

static uint32_t put_equal_half(writer *to, uint32_t offset, uint32_t mask, uint32_t value,
                               uint32_t if_true, uint32_t if_false)
{
    if (mask == 0) return if_true;
    const uint32_t label = put_jump(to, BPF_JUMP_EQUAL, value, if_true, if_false);
    if (mask != UINT32_MAX) (void)put(to, BPF_AND_WORD, mask, 0, 0);
    (void)label;
    return put_load(to, offset);
}

static uint32_t put_equal(writer *to, const wrt_seccomp_argument *argument, uint64_t mask,
                          uint32_t if_true, uint32_t if_false)
{
    const uint32_t low = put_equal_half(to, low_offset(argument), (uint32_t)mask,
                                        (uint32_t)argument->value, if_true, if_false);

    return put_equal_half(to, low_offset(argument) + 4, (uint32_t)(mask >> 32),
                          (uint32_t)(argument->value >> 32), low, if_false);
}

/* The upper halves decide, unless they are equal. */
static uint32_t put_greater(writer *to, const wrt_seccomp_argument *argument, uint16_t low_code,
                            uint32_t if_true, uint32_t if_false)
{
    const uint32_t high = (uint32_t)(argument->value >> 32);
    uint32_t label = put_jump(to, low_code, (uint32_t)argument->value, if_true, if_false);

    label = put_load(to, low_offset(argument));
    label = put_jump(to, BPF_JUMP_EQUAL, high, label, if_false);
    (void)put_jump(to, BPF_JUMP_GREATER, high, if_true, label);
    return put_load(to, low_offset(argument) + 4);
}

static uint32_t put_compare(writer *to, const wrt_seccomp_argument *argument, uint32_t if_true,
                            uint32_t if_false)
{
    switch (argument->compare) {
    case WRT_SECCOMP_EQUAL:
        return put_equal(to, argument, UINT64_MAX, if_true, if_false);
    case WRT_SECCOMP_NOT_EQUAL:
        return put_equal(to, argument, UINT64_MAX, if_false, if_true);
    case WRT_SECCOMP_LESS:
        return put_greater(to, argument, BPF_JUMP_GREATER_EQUAL, if_false, if_true);
    case WRT_SECCOMP_LESS_EQUAL:
        return put_greater(to, argument, BPF_JUMP_GREATER, if_false, if_true);
    case WRT_SECCOMP_GREATER:
        return put_greater(to, argument, BPF_JUMP_GREATER, if_true, if_false);
    case WRT_SECCOMP_GREATER_EQUAL:
        return put_greater(to, argument, BPF_JUMP_GREATER_EQUAL, if_true, if_false);
    default:
        return put_equal(to, argument, argument->mask, if_true, if_false);
    }
}

static uint32_t put_rule(writer *to, const wrt__seccomp_item *item, uint32_t otherwise)
{
    uint32_t label = put_answer(to, wrt__seccomp_answer(item->action, item->error));

    for (uint32_t index = item->argument_count; index > 0; index--) {
        label = put_compare(to, &item->arguments[index - 1], label, otherwise);
    }
    return label;
}

static void put_group(writer *to, group *of)
{
    uint32_t label = put_answer(to, to->plan->otherwise);

    for (uint32_t index = of->count; index > 0; index--) {
        label = put_rule(to, &to->plan->items[of->first + index - 1], label);
    }
    of->label = label;
}

/* ---- Order ---- */

static bool comes_after(const wrt__seccomp_item *one, const wrt__seccomp_item *other)
{
    if (one->number != other->number) return one->number > other->number;
    return one->rank > other->rank;
}

static void sort_items(wrt__seccomp_item *items, uint32_t count)
{
    for (uint32_t end = 1; end < count; end++) {
        const wrt__seccomp_item item = items[end];
        uint32_t place = end;

        for (; place > 0 && comes_after(&items[place - 1], &item); place--) {
            items[place] = items[place - 1];
        }
        items[place] = item;
    }
}

static void find_groups(writer *to)
{
    const wrt__seccomp_plan *plan = to->plan;

    for (uint32_t index = 0; index < plan->item_count; index++) {
        const wrt__seccomp_item *item = &plan->items[index];

        if (to->group_count == 0 || to->groups[to->group_count - 1].number != item->number) {
            to->groups[to->group_count++] = (group){item->number, item->rank, index, 0, 0};
        }
        to->groups[to->group_count - 1].count++;
    }
}

static void sort_groups_by_rank(group *groups, uint32_t count)
{
    for (uint32_t end = 1; end < count; end++) {
        const group one = groups[end];
        uint32_t place = end;

        for (; place > 0 && groups[place - 1].rank > one.rank; place--) {
            groups[place] = groups[place - 1];
        }
        groups[place] = one;
    }
}

/* ---- The choice of the call ---- */

static uint32_t answer_without_rule(const writer *to, uint32_t number)
{
    const wrt__seccomp_plan *plan = to->plan;

    if (number < wrt__call_end(plan->architecture)) return plan->otherwise;
    if (number < WRT__X32_BIT || plan->architecture != WRT_SECCOMP_X86_64) return plan->unknown;
    return plan->foreign;
}

static void add_step(writer *to, uint32_t start, uint32_t label)
{
    if (to->step_count > 0 && to->steps[to->step_count - 1].label == label) return;
    to->steps[to->step_count++] = (step){start, label};
}

/* Covers the numbers from `start` up to `end` (2^32 at most), which have no rules. */
static void add_gap(writer *to, uint64_t start, uint64_t end)
{
    const uint64_t bounds[] = {wrt__call_end(to->plan->architecture), WRT__X32_BIT, end};

    for (uint32_t index = 0; index < 3 && start < end; index++) {
        const uint64_t stop = bounds[index] < end ? bounds[index] : end;

        if (stop <= start) continue;
        add_step(to, (uint32_t)start, put_answer(to, answer_without_rule(to, (uint32_t)start)));
        start = stop;
    }
}

static uint32_t put_halves(writer *to, uint32_t first, uint32_t end)
{
    if (end - first == 1) return to->steps[first].label;

    const uint32_t middle = first + (end - first) / 2;
    const uint32_t above = put_halves(to, middle, end); /* at most ten deep */
    const uint32_t below = put_halves(to, first, middle);
    return put_jump(to, BPF_JUMP_GREATER_EQUAL, to->steps[middle].start, above, below);
}

static uint32_t put_tree(writer *to)
{
    uint64_t next = 0;

    for (uint32_t index = 0; index < to->group_count; index++) {
        const group *of = &to->groups[index];

        add_gap(to, next, of->number);
        add_step(to, of->number, of->label);
        next = (uint64_t)of->number + 1;
    }
    add_gap(to, next, (uint64_t)1 << 32);
    return put_halves(to, 0, to->step_count);
}

static uint32_t put_chain(writer *to)
{
    const wrt__seccomp_plan *plan = to->plan;
    uint32_t label = put_answer(to, plan->otherwise);

    label = put_jump(to, BPF_JUMP_GREATER_EQUAL, wrt__call_end(plan->architecture),
                     put_answer(to, plan->unknown), label);
    sort_groups_by_rank(to->groups, to->group_count);
    for (uint32_t index = to->group_count; index > 0; index--) {
        const group *of = &to->groups[index - 1];

        label = put_jump(to, BPF_JUMP_EQUAL, of->number, of->label, label);
    }
    if (plan->architecture != WRT_SECCOMP_X86_64) return label;
    return put_jump(to, BPF_JUMP_GREATER_EQUAL, WRT__X32_BIT, put_answer(to, plan->foreign), label);
}

static void put_head(writer *to, uint32_t choice)
{
    const wrt__seccomp_plan *plan = to->plan;
    uint32_t label = choice;

    if (label != to->count) label = put(to, BPF_JUMP, to->count - label, 0, 0);
    label = put_load(to, BPF_OFFSET_NUMBER);
    (void)put_jump(to, BPF_JUMP_EQUAL, wrt__call_audit(plan->architecture), label,
                   put_answer(to, plan->foreign));
    (void)put_load(to, BPF_OFFSET_ARCHITECTURE);
}

static void move_to_front(const writer *to)
{
    if (to->count > to->capacity) return;
    for (uint32_t index = 0; index < to->count; index++) {
        to->program[index] = to->program[to->capacity - to->count + index];
    }
}

uint32_t wrt__seccomp_generate(wrt__seccomp_plan *plan, wrt_seccomp_instruction *program,
                               uint32_t capacity)
{
    writer to;

    to.plan = plan;
    to.program = program;
    to.capacity = capacity;
    to.count = to.answer_count = to.group_count = to.step_count = 0;
    sort_items(plan->items, plan->item_count);
    find_groups(&to);
    plan->call_count = to.group_count;
    for (uint32_t index = to.group_count; index > 0; index--) put_group(&to, &to.groups[index - 1]);
    put_head(&to, plan->form == WRT_SECCOMP_LINEAR ? put_chain(&to) : put_tree(&to));
    move_to_front(&to);
    return to.count;
}
