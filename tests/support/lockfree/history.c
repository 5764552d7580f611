/* The judge of the explorer's executions: it knows nothing of how a structure is made. */
#include "history.h"

#include "explorer.h"
#include <stdio.h>
#include <string.h>

static history_call calls[HISTORY_CALLS];
static int call_count;
static int now;

void history_clear(void)
{
    call_count = 0;
    now = 0;
}

/* The clock is shared memory, too: so the order of beginnings and ends is explored. */
static int tick(void)
{
    explorer_access(&now, sizeof now, &now, sizeof now);
    return now++;
}

history_call *history_begin(int thread, call_kind kind)
{
    const int begin = tick();
    history_call *call = &calls[call_count++];

    *call = (history_call){.thread = thread, .kind = kind, .begin = begin};
    return call;
}

void history_end(history_call *call)
{
    call->end = tick();
}

static void find_company(void)
{
    for (int i = 0; i < call_count; i++) {
        for (int other = 0; other < call_count; other++) {
            if (calls[other].thread != calls[i].thread && calls[other].begin < calls[i].end &&
                calls[i].begin < calls[other].end) {
                calls[i].had_company = true;
            }
        }
    }
}

/* A call may be next if no other one that is left ended before it began. */
static bool may_be_next(int index, uint32_t done)
{
    for (int i = 0; i < call_count; i++) {
        if ((done >> i & 1) == 0 && calls[i].end < calls[index].begin) return false;
    }
    return true;
}

static bool explain(const history_state *state, history_rule rule, uint32_t done)
{
    if (done == (UINT32_C(1) << call_count) - 1) return true;
    for (int i = 0; i < call_count; i++) {
        history_state next = *state;
        if ((done >> i & 1) != 0 || !may_be_next(i, done)) continue;
        if (rule(&next, &calls[i]) && explain(&next, rule, done | UINT32_C(1) << i)) return true;
    }
    return false;
}

bool history_is_explained(history_state start, history_rule rule)
{
    find_company();
    return explain(&start, rule, 0);
}

void history_print(void)
{
    const uint8_t *trace;
    const int steps = explorer_trace(&trace);

    for (int i = 0; i < call_count; i++) {
        const history_call *call = &calls[i];
        printf("thread %d, %d to %d: %s", call->thread, call->begin, call->end,
               call->kind == PUT ? "put" : "get");
        for (uint32_t j = 0; j < call->count; j++) printf(" %u", call->values[j]);
        printf("%s%s\n", call->is_busy ? " busy" : "", call->is_new ? " new" : "");
    }
    printf("steps:");
    for (int i = 0; i < steps; i++) printf(" %u", trace[i]);
    printf("\n");
}

void history_encode(uint32_t value, uint32_t words_out[2])
{
    words_out[0] = value;
    words_out[1] = ~value;
}

uint32_t history_decode(const uint32_t words[2])
{
    return words[0] == ~words[1] ? words[0] : HISTORY_TORN;
}
