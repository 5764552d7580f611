/* Executors over instances that exist. Instances that share something form a place; one task at a
 * time has a place, the others stand in its line:
 *
 *     function 100 --> place 0: instance A          busy    first -> turn -> turn
 *     function 101 --> place 1: instances B and C   free
 *     function 102 --> place 1
 *
 * All of it is guarded by one lock of the system, held for a few steps at a time. */
#include "executor.h"

#include "config.h"
#include "fail.h"

typedef struct place {
    wrt_instance *instance; /* the first of them */
    wrt_turn *holder;       /* NULL: free */
    wrt_turn_line line;
    uint32_t group;
    uint32_t is_abandoned; /* the holder's thread was given up */
} place;

typedef struct entry {
    wrt_executor_function of;
    place *place;
} entry;

static wrt_instance_executor *checked(void *self)
{
    wrt_instance_executor *executor = self;
    return executor->self == executor ? executor : NULL;
}

static entry *find(wrt_instance_executor *executor, uint32_t function_id)
{
    entry *entries = executor->functions;

    for (uint32_t i = 0; i < executor->function_count; i++) {
        if (entries[i].of.function_id == function_id) return &entries[i];
    }
    return NULL;
}

static wrt_status fail_to_find(const char *operation, uint32_t function_id)
{
    return wrt_fail_detail(WRT_ERR_NOT_FOUND, operation, "the executor has no function {0}",
                           function_id, 0);
}

/* ---- The interface ---- */

static wrt_status check(void *self, uint32_t function_id, wrt_function_type *type_out)
{
    static const char operation[] = "wrt_instance_executor_check";
    wrt_instance_executor *executor = checked(self);

    if (executor == NULL) return wrt__executor_gone(operation);
    entry *found = find(executor, function_id);
    if (found == NULL) return fail_to_find(operation, function_id);
    return wrt_function_query(found->of.function, type_out);
}

static void hand_out(const entry *found, wrt_turn *turn)
{
    turn->instance = found->of.instance;
    turn->function = found->of.function;
    turn->must_start = false;
}

/* With the lock held. */
static wrt_status enter(wrt_instance_executor *executor, entry *found, wrt_turn *turn)
{
    static const char operation[] = "wrt_instance_executor_acquire";
    place *wanted = found->place;

    if (turn->place != NULL) { /* it has waited, and got the place */
        turn->place = NULL;
        hand_out(found, turn);
        return WRT_OK;
    }
    if (wanted->is_abandoned != 0) {
        return wrt_fail(WRT_ERR_STATE, operation,
                        "the task that has the instance does not come back, and was given up");
    }
    const wrt_status status =
        wrt__executor_serve(operation, &executor->pool, executor->used, turn->pool);
    if (status != WRT_OK) return status;
    if (wanted->holder != NULL && wrt_cancel_is_requested(turn->cancel)) {
        return wrt_fail(WRT_ERR_INTERRUPTED, operation, "the task was cancelled");
    }
    executor->used++;
    if (wanted->holder != NULL) {
        wrt__line_append(&wanted->line, turn);
        return WRT_ERR_BUSY;
    }
    wanted->holder = turn;
    hand_out(found, turn);
    return WRT_OK;
}

static wrt_status acquire(void *self, wrt_turn *turn, wrt_turn **next_out)
{
    static const char operation[] = "wrt_instance_executor_acquire";
    wrt_instance_executor *executor = checked(self);

    *next_out = NULL;
    if (executor == NULL) return wrt__executor_gone(operation);
    entry *found = find(executor, turn->function_id);
    if (found == NULL) return fail_to_find(operation, turn->function_id);
    wrt_status status = executor->system.ops->lock(executor->system.self, &executor->lock);
    if (status != WRT_OK) return status;
    status = enter(executor, found, turn);
    wrt__executor_unlock(&executor->system, &executor->lock);
    return status;
}

static void release(void *self, wrt_turn *turn, wrt_turn **next_out)
{
    wrt_instance_executor *executor = self;
    place *held = find(executor, turn->function_id)->place;

    wrt__executor_lock(&executor->system, &executor->lock);
    executor->used--;
    held->is_abandoned = 0;
    held->holder = wrt__line_take(&held->line);
    if (held->holder != NULL) held->holder->place = held;
    *next_out = held->holder;
    wrt__executor_unlock(&executor->system, &executor->lock);
}

static wrt_status withdraw(void *self, wrt_turn *turn)
{
    static const char operation[] = "wrt_instance_executor_withdraw";
    wrt_instance_executor *executor = checked(self);

    if (executor == NULL) return wrt__executor_gone(operation);
    entry *found = find(executor, turn->function_id);
    if (found == NULL) return fail_to_find(operation, turn->function_id);
    wrt__executor_lock(&executor->system, &executor->lock);
    const bool waited = wrt__line_remove(&found->place->line, turn);
    if (waited) executor->used--;
    wrt__executor_unlock(&executor->system, &executor->lock);
    if (waited) return WRT_OK;
    return wrt_fail(WRT_ERR_NOT_FOUND, operation, "the task does not wait for an instance");
}

static void abandon(void *self, wrt_turn *turn, wrt_turn **waiting_out)
{
    wrt_instance_executor *executor = self;
    place *held = find(executor, turn->function_id)->place;

    wrt__executor_lock(&executor->system, &executor->lock);
    held->is_abandoned = 1;
    executor->used -= held->line.count;
    *waiting_out = wrt__line_take_all(&held->line);
    wrt__executor_unlock(&executor->system, &executor->lock);
}

static const wrt_executor_ops ops = {check, acquire, release, withdraw, abandon};

wrt_executor wrt_instance_executor_interface(wrt_instance_executor *executor)
{
    if (executor == NULL || executor->self != executor) return (wrt_executor){0};
    return (wrt_executor){&ops, executor};
}

/* ---- Init and deinit ---- */

static wrt_status read_config(const char *operation, const wrt_instance_executor_config *given,
                              wrt_instance_executor_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);

    if (status != WRT_OK) return status;
    return wrt__executor_check_count(operation, config->function_count, config->functions);
}

static size_t bytes_needed(const wrt_instance_executor_config *config)
{
    return config->function_count * (sizeof(entry) + sizeof(place));
}

wrt_status wrt_instance_executor_layout(const wrt_instance_executor_config *config,
                                        wrt_layout *layout_out)
{
    wrt_instance_executor_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    const wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) {
        *layout_out = (wrt_layout){bytes_needed(&known), WRT_EXECUTOR_BUFFER_ALIGNMENT};
    }
    return status;
}

static wrt_status check_function(const char *operation, const wrt_executor_function *functions,
                                 uint32_t index)
{
    const wrt_executor_function *function = &functions[index];
    wrt_function_type type;

    for (uint32_t i = 0; i < index; i++) {
        if (functions[i].function_id != function->function_id) continue;
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "functions {0} and {1} of the config have the same function_id", i,
                               index);
    }
    if (function->instance == NULL || function->function == NULL) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "function {0} of the config has no instance or no function", index,
                               0);
    }
    wrt_instance_usage usage;
    const wrt_status status = wrt_instance_query(function->instance, &usage);
    return status == WRT_OK ? wrt_function_query(function->function, &type) : status;
}

static place *place_of(place *places, uint32_t *count, const wrt_executor_function *function)
{
    for (uint32_t i = 0; i < *count; i++) {
        const bool same_group = function->group != 0 && places[i].group == function->group;
        if (places[i].instance == function->instance || same_group) return &places[i];
    }
    places[*count] = (place){.instance = function->instance, .group = function->group};
    return &places[(*count)++];
}

static void fill(wrt_instance_executor *executor, const wrt_executor_function *functions)
{
    entry *entries = executor->functions;

    for (uint32_t i = 0; i < executor->function_count; i++) {
        entries[i] =
            (entry){.of = functions[i],
                    .place = place_of(executor->places, &executor->place_count, &functions[i])};
    }
}

wrt_status wrt_instance_executor_init(wrt_instance_executor *executor,
                                      const wrt_instance_executor_config *config)
{
    wrt_instance_executor_config known;

    if (executor == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "executor is NULL");
    wrt_status status = read_config(__func__, config, &known);
    for (uint32_t i = 0; status == WRT_OK && i < known.function_count; i++) {
        status = check_function(__func__, known.functions, i);
    }
    if (status == WRT_OK) {
        status = wrt__executor_check_buffer(__func__, &known.system, known.buffer,
                                            known.buffer_size, bytes_needed(&known));
    }
    if (status != WRT_OK) return status;

    status = known.system.ops->lock_init(known.system.self, &executor->lock);
    if (status != WRT_OK) return status;
    executor->self = executor;
    executor->system = known.system;
    executor->functions = known.buffer;
    executor->places = (entry *)known.buffer + known.function_count;
    executor->pool = NULL;
    executor->function_count = known.function_count;
    executor->place_count = 0;
    executor->used = 0;
    fill(executor, known.functions);
    return WRT_OK;
}

wrt_status wrt_instance_executor_deinit(wrt_instance_executor *executor)
{
    if (executor == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "executor is NULL");
    if (executor->self == NULL) return WRT_OK;
    wrt_status status =
        wrt__executor_check_end(__func__, executor->self == executor, executor->used);
    if (status != WRT_OK) return status;
    status = executor->system.ops->lock_deinit(executor->system.self, &executor->lock);
    if (status == WRT_OK) *executor = (wrt_instance_executor){0};
    return status;
}
