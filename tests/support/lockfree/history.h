/* What the threads of a test were answered, and whether one after the other could have got it. */
#ifndef HISTORY_H
#define HISTORY_H

#include <stdbool.h>
#include <stdint.h>

enum { HISTORY_CALLS = 12, HISTORY_VALUES = 4, HISTORY_TORN = 0xBAD };

typedef enum call_kind { PUT, GET } call_kind;

typedef struct history_call {
    int thread;
    call_kind kind;
    int begin; /* when, by a clock that ticks with each begin and end */
    int end;
    bool is_busy;     /* the answer was BUSY */
    bool is_new;      /* of a value that was read */
    bool had_company; /* another thread was inside a call at the same time */
    uint32_t wanted;
    uint32_t count;
    uint32_t values[HISTORY_VALUES];
} history_call;

/* What a structure is by its description: a few values, in order. */
typedef struct history_state {
    uint32_t count;
    uint32_t capacity;
    uint32_t values[HISTORY_CALLS];
    bool was_read;
} history_state;

/* Does the call in this state; false if it would not have got this answer. */
typedef bool (*history_rule)(history_state *state, const history_call *call);

void history_clear(void);
history_call *history_begin(int thread, call_kind kind);
void history_end(history_call *call);

/* Whether the calls can be put in an order in which the rule holds for each, and in which a call
 * that ended before another began comes first (linearizability, by trying all orders). */
bool history_is_explained(history_state start, history_rule rule);

void history_print(void);

/* A value fills two words, so that half of one and half of another are noticed. */
void history_encode(uint32_t value, uint32_t words_out[2]);
uint32_t history_decode(const uint32_t words[2]);

#endif
