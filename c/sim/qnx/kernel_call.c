/* The frame of every call: who is calling, whether it is to fail, who runs afterwards. A thread's
 * record is found by a thread-local pointer that is believed only together with its epoch: threads
 * of the machine end later than Python's join says, when a reset may have given the record away. */
#include "../common/host.h"

#include "../common/census.h"
#include "../common/clock.h"
#include "../common/faults.h"
#include "../common/trace.h"
#include "kernel_call.h"
#include "kernel_state.h"

static uint64_t epoch = 1;
static uint32_t version = 710;
static pthread_key_t end_of_thread;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static _Thread_local struct {
    struct qk_thread *thread;
    uint64_t epoch;
    bool inside;
} self;

struct qk_thread *qk_current(void)
{
    return self.thread;
}

bool qk_is_known(void)
{
    return self.thread != NULL && self.epoch == epoch;
}

bool qk_is_inside(void)
{
    return self.inside;
}

void qk_become(struct qk_thread *thread, uint64_t of_epoch)
{
    self.thread = thread;
    self.epoch = of_epoch;
}

uint64_t qk_epoch(void)
{
    return epoch;
}

void qk_next_epoch(void)
{
    epoch++;
}

uint32_t qk_version(void)
{
    return version;
}

void qk_set_version(uint32_t number)
{
    version = number;
}

/* Runs when an adopted thread ends. */
static void forget_thread(void *unused)
{
    (void)unused;
    if (!sim_lock()) return;
    if (qk_is_known()) qk_thread_leave(self.thread);
    sim_unlock();
}

static void make_key(void)
{
    pthread_key_create(&end_of_thread, forget_thread);
    sim_clock_reset();
}

/* A thread that the kernel didn't make: a test's, or Python's. */
bool qk_adopt(void)
{
    if (qk_is_known()) return true;
    struct qk_thread *thread = qk_thread_adopt();
    if (thread == NULL) return false;
    qk_become(thread, epoch);
    pthread_setspecific(end_of_thread, thread);
    return true;
}

bool qk_lock(void)
{
    pthread_once(&once, make_key);
    return sim_lock();
}

qk_error qk_enter(const char *call)
{
    int host_errno = errno;

    self.inside = qk_lock();
    if (!self.inside) return QK_ENOSYS;
    if (!qk_adopt()) {
        sim_unlock();
        self.inside = false;
        return QK_EAGAIN;
    }
    self.thread->host_errno = host_errno;
    self.thread->call = call;
    sim_take(&self.thread->sim);
    sim_trace(SIM_TRACE_CALL, self.thread->id, call, 0, 0);
    int32_t code = sim_fault_due(call);
    if (code == 0) return QK_OK;
    sim_trace(SIM_TRACE_FAULT, self.thread->id, call, (uint64_t)code, 0);
    return (qk_error)(QK_ERROR_RAW + code);
}

static void leave(bool keeps_timeout)
{
    struct qk_thread *thread = self.thread;

    if (!keeps_timeout && !qk_switched(QK_BREAK_TIMEOUT_ONCE)) thread->timeout_armed = false;
    if (thread->sim.bracketed) {
        sim_let_higher_go(&thread->sim);
    } else {
        sim_give(&thread->sim);
    }
    self.inside = false;
    errno = thread->host_errno;
    sim_unlock();
}

qk_error qk_leave(qk_error error)
{
    if (self.inside) leave(false);
    return error;
}

qk_error qk_leave_armed(qk_error error)
{
    if (self.inside) leave(true);
    return error;
}

int32_t *qk_error_slot(void)
{
    static _Thread_local int32_t slot;

    return &slot;
}
