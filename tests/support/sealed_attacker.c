/* What native code could try that has taken over a sealed worker: it stands where the engine stood.
 * It is linked with the worker's own way into the seal, so it is sealed like the real one; what it
 * is to try comes as the "module". */
#include "worker.h"

#include "../core/atomic.h"

#include <string.h>

enum attack {
    SYSTEM_CALL = 1,    /* words: number, six arguments; its result becomes the trap's offset */
    INTERRUPT_80 = 2,   /* words: number and first argument of a 32-bit call */
    TOUCH_ALL = 3,      /* all memory that is mapped, and then the guard behind it */
    HANG = 4,           /* for ever, with a processor */
    RUN_DATA = 5,       /* code that was written into memory */
    LIE = 6,            /* words: the message's kind, status, import, text and frame counts */
    RING = 7,           /* the doorbell, a number of times, and then ends well */
    ASK_AND_CHANGE = 8, /* asks for a function, and changes the memory while it is answered */
    ASK_TWICE = 9,      /* gives itself the turn while it is answered, and asks for more */
    SLEEP = 10          /* never answers */
};

typedef struct plan {
    uint64_t attack;
    uint64_t words[8];
} plan;

static void finish(wrt__worker *worker, long result)
{
    wrt__control *const control = worker->control;

    control->message = (wrt__message){.kind = WRT__MESSAGE_DONE, .status = WRT_ERR_TRAP};
    control->message.trap_code = WRT_TRAP_UNREACHABLE;
    control->message.frame_count = 1;
    control->message.frames[0].offset = (uint32_t)(result < 0 ? -result : result);
    control->message.frames[0].function = result < 0;
    wrt__worker_hand_over(worker);
}

#if defined(__x86_64__)
static long interrupt_80(uint64_t number, uint64_t first)
{
    long result;

    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "0"(number), "b"(first), "c"(0L), "d"(0L)
                     : "memory");
    return result;
}
#else
static long interrupt_80(uint64_t number, uint64_t first)
{
    (void)number;
    (void)first;
    return 0;
}
#endif

static void touch_all(wrt__worker *worker)
{
    volatile uint8_t *next = worker->memory;

    for (;;) {
        *next = 1;
        next += 4096;
    }
}

static void run_data(wrt__worker *worker)
{
    static const uint8_t code[] = {0xC3}; /* ret */
    void (*function)(void);

    memcpy(worker->memory, code, sizeof code);
    memcpy(&function, &worker->memory, sizeof function);
    function();
}

static void lie(wrt__worker *worker, const uint64_t *words)
{
    wrt__control *const control = worker->control;

    control->message = (wrt__message){.kind = (uint32_t)words[0],
                                      .status = (int32_t)words[1],
                                      .import = (uint32_t)words[2],
                                      .text_size = (uint32_t)words[3],
                                      .frame_count = (uint32_t)words[4],
                                      .trap_code = (uint32_t)words[4],
                                      .parameter_count = (uint32_t)words[5],
                                      .result_count = (uint32_t)words[5]};
    control->usage.memory_pages = 0xFFFFFFFF;
    memset(control->text, 0x1B, sizeof control->text);
    wrt__worker_hand_over(worker);
}

static void ring(wrt__worker *worker, uint64_t times)
{
    static const char bytes[4096];

    while (times-- > 0) {
        (void)wrt__call3(__NR_write, WRT__WORKER_OUT, (long)(uintptr_t)bytes, sizeof bytes);
    }
    finish(worker, 0);
}

/* Words: import, then the values; the last two: an address, and a word that is put there in turn
 * with what the parent has put. */
static void ask_and_change(wrt__worker *worker, const uint64_t *words)
{
    wrt__control *const control = worker->control;
    volatile uint64_t *const place = (uint64_t *)(void *)(worker->memory + words[6]);
    const uint64_t given = *place;

    for (uint32_t i = 0; i < 5; i++) control->values[i].i64 = words[1 + i];
    control->message = (wrt__message){.kind = WRT__MESSAGE_ASK, .import = (uint32_t)words[0]};
    wrt__worker_hand_over(worker);
    while (wrt__load_ordered(&control->turn) != WRT__TURN_WORKER) {
        *place = words[7];
        *place = given;
    }
    *place = given;
}

static void ask_twice(wrt__worker *worker, const uint64_t *words)
{
    wrt__control *const control = worker->control;

    control->message = (wrt__message){.kind = WRT__MESSAGE_ASK, .import = (uint32_t)words[0]};
    for (uint32_t i = 0; i < 5; i++) control->values[i].i64 = words[1 + i];
    for (uint32_t i = 0; i < 1000; i++) {
        wrt__worker_hand_over(worker);
        wrt__store_ordered(&control->turn, WRT__TURN_WORKER);
    }
    wrt__worker_hand_over(worker);
    wrt__worker_await(worker, false);
}

static void attack(wrt__worker *worker, const plan *what)
{
    const uint64_t *const w = what->words;

    switch (what->attack) {
    case SYSTEM_CALL:
        finish(worker, wrt__call6((long)w[0], (long)w[1], (long)w[2], (long)w[3], (long)w[4],
                                  (long)w[5], (long)w[6]));
        break;
    case INTERRUPT_80:
        finish(worker, interrupt_80(w[0], w[1]));
        break;
    case TOUCH_ALL:
        touch_all(worker);
        break;
    case HANG:
        for (;;) wrt__spin_hint();
    case RUN_DATA:
        run_data(worker);
        finish(worker, 0);
        break;
    case LIE:
        lie(worker, w);
        break;
    case RING:
        ring(worker, w[0]);
        break;
    case ASK_AND_CHANGE:
        for (uint32_t i = 0; i < 2000; i++) ask_and_change(worker, w);
        finish(worker, 0);
        break;
    case ASK_TWICE:
        ask_twice(worker, w);
        finish(worker, 0);
        break;
    default:
        wrt__worker_await(worker, false);
        break;
    }
}

/* The first order loads the plan and is taken; a plan follows with each call: as its values, and
 * the first of them says so. The memory can be written by the parent in between. */
void wrt__worker_serve(wrt__worker *worker)
{
    plan what;

    for (;;) {
        wrt__worker_await(worker, false);
        const wrt__order order = worker->control->order;
        worker->control->usage.memory_pages = 1;
        worker->control->message = (wrt__message){.kind = WRT__MESSAGE_DONE};
        if (order.kind == WRT__ORDER_CALL) {
            memcpy(&what, worker->control->values, sizeof what);
            attack(worker, &what);
        } else {
            wrt__worker_hand_over(worker);
        }
    }
}
