/* Threads are those of the machine. One that the kernel makes tells it of its end; one that it
 * adopts has a record until it ends by itself. */
#include "../common/host.h"

#include "../common/census.h"
#include "kernel_call.h"
#include "kernel_state.h"

enum { HOST_STACK = 64 * 1024, ALL_PROCESSORS = (1 << QK_PROCESSORS) - 1 };

static struct qk_thread threads[QK_THREAD_MAX];

struct qk_thread *qk_thread_at(uint32_t index)
{
    return index < QK_THREAD_MAX && threads[index].id != 0 ? &threads[index] : NULL;
}

struct qk_thread *qk_thread_find(int32_t id)
{
    if (id == 0) return qk_current();
    if (id < 1 || id > QK_THREAD_MAX) return NULL;
    return threads[id - 1].id == id ? &threads[id - 1] : NULL;
}

static struct qk_thread *new_record(void)
{
    struct qk_thread *thread = threads;

    while (thread < threads + QK_THREAD_MAX && thread->id != 0) thread++;
    if (thread == threads + QK_THREAD_MAX) return NULL;
    memset(thread, 0, sizeof *thread);
    thread->id = (int32_t)(thread - threads) + 1;
    thread->sim.number = thread->id;
    thread->policy = -1;
    thread->priority = QK_PRIORITY_DEFAULT;
    thread->sim.priority = QK_PRIORITY_DEFAULT;
    thread->run_mask = ALL_PROCESSORS;
    thread->inherit_mask = ALL_PROCESSORS;
    return thread;
}

struct qk_thread *qk_thread_adopt(void)
{
    struct qk_thread *thread = new_record();

    if (thread == NULL) return NULL;
    thread->host = pthread_self();
    sim_thread_add(&thread->sim, false);
    return thread;
}

static void free_record(struct qk_thread *thread)
{
    if (thread->made) sim_census_count("thread", -1);
    thread->id = 0;
}

void qk_thread_leave(struct qk_thread *thread)
{
    qk_sync_thread_ended(thread);
    qk_channel_thread_ended(thread);
    thread->ended = true;
    struct qk_thread *joiner = qk_queue_first(&thread->joiner);
    if (joiner != NULL) qk_wake(joiner, QK_OK);
    sim_thread_remove(&thread->sim);
    if (!thread->made || thread->detached) free_record(thread);
}

/* What a thread of the kernel's is given by its maker. */
struct birth {
    struct qk_thread *thread;
    uint64_t epoch;
    void *(*start)(void *argument);
    void *argument;
};

/* Runs at the end, however the thread comes to it. Its world may be gone by then. */
static void end(void *unused)
{
    (void)unused;
    if (!qk_lock()) return;
    if (qk_is_known()) {
        struct qk_thread *self = qk_current();
        if (self->detached) pthread_detach(self->host);
        sim_take(&self->sim);
        qk_thread_leave(self);
        qk_become(NULL, 0);
    }
    sim_unlock();
}

static void *run(void *given)
{
    struct birth birth = *(struct birth *)given;

    free(given);
    if (!qk_lock()) return NULL;
    qk_become(birth.thread, birth.epoch);
    bool alive = qk_is_known();
    if (alive && birth.thread->sim.bracketed) sim_take(&birth.thread->sim);
    sim_unlock();
    if (!alive) return NULL;
    pthread_cleanup_push(end, NULL);
    void *result = birth.start(birth.argument);
    if (qk_is_known()) birth.thread->result = result;
    pthread_cleanup_pop(1);
    return NULL;
}

/* A stack below what this machine's threads need is replaced by a larger one of its own. */
static int set_stack(pthread_attr_t *attributes, const qk_thread_config *config)
{
    if (config->stack != NULL && config->stack_size >= HOST_STACK) {
        return pthread_attr_setstack(attributes, config->stack, config->stack_size);
    }
    if (config->guard_size > 0) pthread_attr_setguardsize(attributes, config->guard_size);
    size_t size = config->stack_size > HOST_STACK ? config->stack_size : 4 * HOST_STACK;
    return pthread_attr_setstacksize(attributes, (size + 4095) & ~(size_t)4095);
}

static int start_host_thread(struct qk_thread *thread, const qk_thread_config *config)
{
    struct birth *birth = malloc(sizeof *birth);
    pthread_attr_t attributes;

    if (birth == NULL) return ENOMEM;
    *birth = (struct birth){thread, qk_epoch(), thread->start, thread->argument};
    pthread_attr_init(&attributes);
    int code = set_stack(&attributes, config);
    if (code == 0) code = pthread_create(&thread->host, &attributes, run, birth);
    pthread_attr_destroy(&attributes);
    if (code != 0) free(birth);
    return code;
}

static void inherit(struct qk_thread *thread, const qk_thread_config *config)
{
    const struct qk_thread *maker = qk_current();
    bool is_explicit = config->explicit_scheduling && !qk_switched(QK_BREAK_EXPLICIT_SCHEDULING);

    thread->policy = is_explicit ? config->policy : maker->policy;
    thread->priority = is_explicit ? config->priority : maker->priority;
    thread->sim.priority = thread->priority;
    if (qk_switched(QK_BREAK_RUN_MASK)) return;
    thread->run_mask = maker->inherit_mask;
    thread->inherit_mask = maker->inherit_mask;
}

static qk_error create(const qk_thread_config *config, void *(*start)(void *argument),
                       void *argument, int32_t *thread_out)
{
    struct qk_thread *thread = new_record();

    if (thread == NULL) return QK_EAGAIN;
    thread->made = true;
    thread->detached = config->detached;
    thread->start = start;
    thread->argument = argument;
    inherit(thread, config);
    *thread_out = thread->id; /* before the thread can look at it */
    if (start_host_thread(thread, config) != 0) {
        thread->id = 0;
        return QK_EAGAIN;
    }
    sim_census_count("thread", 1);
    sim_thread_add(&thread->sim, qk_current()->sim.bracketed);
    return QK_OK;
}

qk_error qk_thread_create(const qk_thread_config *config, void *(*start)(void *argument),
                          void *argument, int32_t *thread_out)
{
    qk_error error = qk_enter("ThreadCreate");

    if (error == QK_OK) error = create(config, start, argument, thread_out);
    return qk_leave(error);
}

static qk_error join(struct qk_thread *thread, pthread_t *host_out, void **result_out)
{
    if (thread == NULL) return QK_ESRCH;
    if (thread == qk_current()) return QK_EDEADLK;
    if (!thread->made || thread->detached) return QK_EINVAL;
    if (thread->joined) return QK_EBUSY;
    if (!thread->ended) {
        thread->joined = true;
        qk_error error = qk_wait(&thread->joiner, QK_STATE_JOIN, (uint64_t)thread->id);
        thread->joined = false;
        if (error != QK_OK) return error;
    }
    *host_out = thread->host;
    if (result_out != NULL) *result_out = thread->result;
    free_record(thread);
    return QK_OK;
}

/* The machine's own join comes last and without the lock, so that the caller's stack is free to be
 * used again. */
qk_error qk_thread_join(int32_t thread, void **result_out)
{
    pthread_t host;
    qk_error error = qk_enter("ThreadJoin");

    if (error == QK_OK && thread == 0) error = QK_ESRCH;
    if (error == QK_OK) error = join(qk_thread_find(thread), &host, result_out);
    qk_leave(error);
    if (error == QK_OK) pthread_join(host, NULL);
    return error;
}

static qk_error detach(struct qk_thread *thread)
{
    if (thread == NULL) return QK_ESRCH;
    if (!thread->made || thread->detached) return QK_EINVAL;
    if (thread->joined) return QK_EBUSY;
    if (thread->ended) {
        pthread_detach(thread->host);
        free_record(thread);
    } else {
        thread->detached = true;
    }
    return QK_OK;
}

qk_error qk_thread_detach(int32_t thread)
{
    qk_error error = qk_enter("ThreadDetach");

    if (error == QK_OK) error = detach(qk_thread_find(thread));
    return qk_leave(error);
}

int32_t qk_thread_self(void)
{
    qk_error error = qk_enter("pthread_self");
    int32_t id = error == QK_OK ? qk_current()->id : 1;

    qk_leave_armed(error);
    return id;
}

void qk_thread_exit(void *result)
{
    if (qk_is_known()) qk_current()->result = result;
    pthread_exit(result);
}

static qk_error name(struct qk_thread *thread, const char *set, char *name_out)
{
    if (thread == NULL) return QK_ESRCH;
    if (name_out != NULL) strcpy(name_out, thread->name);
    if (set == NULL) return QK_OK;
    if (strlen(set) >= QK_THREAD_NAME_MAX) return QK_E2BIG;
    strcpy(thread->name, set);
    return QK_OK;
}

qk_error qk_thread_name(const char *call, int32_t thread, const char *set, char *name_out)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = name(qk_thread_find(thread), set, name_out);
    return qk_leave(error);
}

static qk_error change_mask(uint32_t *mask, uint32_t *word)
{
    uint32_t old = *mask;

    if (*word != 0 && (*word & ALL_PROCESSORS) == 0) return QK_EINVAL;
    if (*word != 0) *mask = *word & ALL_PROCESSORS;
    *word = old;
    return QK_OK;
}

static qk_error run_mask(struct qk_thread *thread, uint32_t *mask, uint32_t *inherit_mask)
{
    if (thread == NULL) return QK_ESRCH;
    uint32_t before = thread->run_mask;
    qk_error error = change_mask(&thread->run_mask, mask);
    if (error != QK_OK || inherit_mask == NULL) return error;
    error = change_mask(&thread->inherit_mask, inherit_mask);
    if (error != QK_OK) thread->run_mask = before;
    return error;
}

qk_error qk_thread_run_mask(int32_t thread, uint32_t *mask, uint32_t *inherit_mask)
{
    qk_error error = qk_enter("ThreadCtl");

    if (error == QK_OK) error = run_mask(qk_thread_find(thread), mask, inherit_mask);
    return qk_leave(error);
}

void qk_thread_reset(void)
{
    for (struct qk_thread *thread = threads; thread < threads + QK_THREAD_MAX; thread++) {
        if (thread->id == 0) continue;
        if (thread->made && thread->ended) pthread_detach(thread->host);
        if (!thread->ended) sim_thread_remove(&thread->sim);
        thread->id = 0;
    }
}
