/* One mutex, a condition variable a thread, and a choice among few: lists are short, so they are
 * walked. The virtual clock moves by itself only when nobody could do anything at the old time. */
#include "host.h"

#include "baton.h"
#include "clock.h"
#include "trace.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool forked;

static struct sim_thread *threads;
static struct sim_thread *holder;
static int64_t last_arrival;
static int64_t first_arrival;
static int32_t closed_with; /* the outcome of all waits, if not 0 */
static bool in_order_of_arrival;
static uint64_t worked_by_all; /* by threads that are no more, too */

/* The child of a fork has one thread and a copy of everybody's state: no world to go on with. */
static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static void in_child(void)
{
    pthread_mutex_unlock(&lock);
    forked = true;
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, in_child);
}

bool sim_lock(void)
{
    pthread_once(&once, watch_forks);
    if (forked) return false;
    pthread_mutex_lock(&lock);
    return true;
}

bool sim_is_forked(void)
{
    return forked;
}

void sim_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

static void move(struct sim_thread *thread, enum sim_place place)
{
    thread->place = place;
    pthread_cond_broadcast(&change);
}

/* Whether `one` has its turn before `other`, which may be NULL. */
static bool goes_first(const struct sim_thread *one, const struct sim_thread *other)
{
    if (other == NULL) return true;
    if (one->priority != other->priority && !in_order_of_arrival) {
        return one->priority > other->priority;
    }
    return one->arrival < other->arrival;
}

static struct sim_thread *first_ready(void)
{
    struct sim_thread *best = NULL;

    for (struct sim_thread *thread = threads; thread != NULL; thread = thread->next) {
        if (thread->place == SIM_READY && goes_first(thread, best)) best = thread;
    }
    return best;
}

/* Gives the free baton to whom it is due. */
static void dispatch(void)
{
    struct sim_thread *thread = holder == NULL ? first_ready() : NULL;

    if (thread == NULL) return;
    holder = thread;
    move(thread, SIM_RUNNING);
    sim_trace(SIM_TRACE_RUN, thread->number, NULL, (uint64_t)thread->priority, 0);
    pthread_cond_signal(&thread->turn);
}

static void make_ready(struct sim_thread *thread, int64_t arrival)
{
    thread->arrival = arrival;
    move(thread, SIM_READY);
    dispatch();
}

/* Real time passes while one waits; of the virtual kind somebody else takes care. */
static void await_turn(struct sim_thread *self)
{
    while (holder != self) {
        if (self->place != SIM_BLOCKED || self->deadline == SIM_NEVER || sim_clock_is_virtual()) {
            pthread_cond_wait(&self->turn, &lock);
        } else if (sim_now() >= self->deadline) {
            self->abandon(self, self->late);
        } else {
            struct timespec until = sim_clock_host_time(self->deadline);
            pthread_cond_timedwait(&self->turn, &lock, &until);
        }
    }
}

static void let_go(struct sim_thread *self)
{
    if (holder == self) holder = NULL;
    dispatch();
    if (holder == NULL) sim_advance_if_idle();
}

void sim_thread_add(struct sim_thread *thread, bool bracketed)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&thread->turn, &attributes);
    pthread_condattr_destroy(&attributes);
    thread->bracketed = bracketed;
    thread->deadline = SIM_NEVER;
    thread->worked = 0;
    thread->next = threads;
    threads = thread;
    move(thread, SIM_OUTSIDE);
    if (bracketed) make_ready(thread, ++last_arrival);
}

void sim_thread_remove(struct sim_thread *thread)
{
    struct sim_thread **link = &threads;

    while (*link != NULL && *link != thread) link = &(*link)->next;
    if (*link != NULL) *link = thread->next;
    move(thread, SIM_ABSENT);
    let_go(thread);
    pthread_cond_destroy(&thread->turn);
}

void sim_take(struct sim_thread *self)
{
    if (holder == self) return;
    if (self->place != SIM_READY) make_ready(self, ++last_arrival);
    await_turn(self);
}

void sim_give(struct sim_thread *self)
{
    move(self, SIM_OUTSIDE);
    let_go(self);
}

static void step_back(struct sim_thread *self, int64_t arrival)
{
    holder = NULL;
    make_ready(self, arrival);
    await_turn(self);
}

void sim_let_higher_go(struct sim_thread *self)
{
    const struct sim_thread *other = first_ready();

    if (other != NULL && other->priority > self->priority) step_back(self, --first_arrival);
}

void sim_go_behind_equals(struct sim_thread *self)
{
    step_back(self, ++last_arrival);
}

int32_t sim_block(struct sim_thread *self, uint64_t deadline, int32_t late, sim_abandon_fn abandon)
{
    self->deadline = deadline;
    self->late = late;
    self->abandon = abandon;
    self->arrival = ++last_arrival;
    move(self, SIM_BLOCKED);
    if (closed_with != 0) abandon(self, closed_with);
    let_go(self);
    await_turn(self);
    self->deadline = SIM_NEVER;
    return self->outcome;
}

void sim_wake(struct sim_thread *thread, int32_t outcome)
{
    thread->outcome = outcome;
    sim_trace(SIM_TRACE_WAKE, thread->number, NULL, (uint64_t)thread->priority,
              (uint64_t)(int64_t)outcome);
    make_ready(thread, ++last_arrival);
}

uint64_t sim_next_deadline(void)
{
    uint64_t next = SIM_NEVER;

    for (struct sim_thread *thread = threads; thread != NULL; thread = thread->next) {
        if (thread->place == SIM_BLOCKED && thread->deadline < next) next = thread->deadline;
    }
    return next;
}

void sim_expire(uint64_t now)
{
    struct sim_thread *late;

    do {
        late = NULL;
        for (struct sim_thread *thread = threads; thread != NULL; thread = thread->next) {
            if (thread->place != SIM_BLOCKED || thread->deadline > now) continue;
            if (late == NULL || thread->deadline < late->deadline ||
                (thread->deadline == late->deadline && goes_first(thread, late))) {
                late = thread;
            }
        }
        if (late != NULL) late->abandon(late, late->late);
    } while (late != NULL);
}

void sim_clock_changed(void)
{
    for (struct sim_thread *thread = threads; thread != NULL; thread = thread->next) {
        pthread_cond_signal(&thread->turn);
    }
    sim_advance_if_idle();
}

bool sim_all_blocked(void)
{
    for (struct sim_thread *thread = threads; thread != NULL; thread = thread->next) {
        if (thread->place != SIM_BLOCKED) return false;
    }
    return threads != NULL;
}

void sim_advance_if_idle(void)
{
    while (sim_clock_is_virtual() && sim_all_blocked() && sim_next_deadline() != SIM_NEVER) {
        sim_clock_set_virtual_now(sim_next_deadline());
        sim_expire(sim_now());
    }
}

void sim_work(struct sim_thread *self, uint64_t nanoseconds)
{
    sim_let_higher_go(self);
    while (nanoseconds > 0) {
        uint64_t until = sim_next_deadline() > sim_now() ? sim_next_deadline() - sim_now() : 0;
        uint64_t slice = until < nanoseconds ? until : nanoseconds;

        self->worked += slice;
        worked_by_all += slice;
        nanoseconds -= slice;
        sim_clock_set_virtual_now(sim_now() + slice);
        sim_expire(sim_now());
        sim_let_higher_go(self);
    }
    sim_trace(SIM_TRACE_WORK, self->number, NULL, nanoseconds, self->worked);
}

uint64_t sim_work_of_all(void)
{
    return worked_by_all;
}

void sim_forget_order(void)
{
    last_arrival = 0;
    first_arrival = 0;
    worked_by_all = 0;
}

uint32_t sim_count(enum sim_place place)
{
    uint32_t count = 0;

    for (struct sim_thread *thread = threads; thread != NULL; thread = thread->next) {
        count += thread->place == place;
    }
    return count;
}

struct sim_thread *sim_first_thread(void)
{
    return threads;
}

void sim_await_change(uint32_t milliseconds)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
    until.tv_sec += milliseconds / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&change, &lock, &until);
}

void sim_close(int32_t code)
{
    closed_with = code;
    for (struct sim_thread *thread = threads; thread != NULL; thread = thread->next) {
        if (thread->place == SIM_BLOCKED) thread->abandon(thread, code);
    }
}

void sim_ignore_priorities(bool ignore)
{
    in_order_of_arrival = ignore;
}

void sim_reopen(void)
{
    closed_with = 0;
}
