/* Internal: the parts of the worker program. */
#ifndef WRT_WORKER_WORKER_H
#define WRT_WORKER_WORKER_H

#include "sys.h"

#include "protocol.h"

/* What the program has; one for its whole life. */
typedef struct wrt__worker {
    wrt__control *control;
    const uint8_t *program; /* read only */
    uint8_t *memory;        /* the guest's, all that it may ever have */
    uint8_t *arena;         /* zero; for the engine's tables and the guest's stack */
    size_t arena_used;
    bool ran;                  /* the last order ran code of the guest */
    wrt__patience patience[2]; /* with orders, with answers */
} wrt__worker;

/* Where start_*.c leads; `stack` is the kernel's. It does not return. */
__attribute__((noreturn)) void wrt__worker_start(const uintptr_t *stack);

/* Ends the program. */
__attribute__((noreturn)) void wrt__worker_exit(int code);

/* ---- seal.c ---- */

/* Maps what is shared, closes what is not needed, and gives up everything but the calls of the
 * filter. No byte of a guest has been looked at when it returns; a step that fails ends the
 * program, and is told. */
void wrt__worker_seal(wrt__worker *worker);

/* ---- prove.c ---- */

/* Before the seal: exceeds the limits of resources, and sets up the handler of faults. */
void wrt__worker_prepare_proof(wrt__worker *worker);

/* Does what control->proof says; returns if nothing stops it. */
void wrt__worker_prove(wrt__worker *worker);

/* ---- start_*.c ---- */

/* A system call by the way of 32-bit programs; -ENOSYS where the processor has none. */
long wrt__call_by_interrupt(long number, long first);

/* ---- serve.c ---- */

/* Does what the parent orders, until it closes the socket. */
__attribute__((noreturn)) void wrt__worker_serve(wrt__worker *worker);

/* ---- talk.c ---- */

/* Waits until the parent gives the turn, with an order or an answer; ends the program if the parent
 * is gone. */
void wrt__worker_await(wrt__worker *worker, bool is_answer);

/* Gives the turn to the parent. */
void wrt__worker_hand_over(wrt__worker *worker);

/* ---- clock.c ---- */

/* Finds the clock that needs no system call, in the kernel's auxiliary vector. */
void wrt__worker_find_clock(uintptr_t vdso);

/* 0, or an error number below 0. */
long wrt__worker_clock(int clock, uint64_t *nanoseconds_out);

#endif
