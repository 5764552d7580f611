/* Executors over modules: an instance a task, in a slot of the buffer.
 *
 *     exports | slot: header, instance, its buffer | slot | ...
 *
 * Free slots form a list. With none left, turns stand in line, and a slot goes from one task right
 * to the next. Instances are made and ended outside of the lock, by the worker that has the slot.
 */
#include "executor.h"

#include "config.h"
#include "fail.h"

typedef struct slot {
    struct slot *next; /* free */
    wrt_turn *holder;
    uint32_t is_abandoned;
    uint32_t reserved;
    wrt_instance instance;
    /* the instance's buffer follows */
} slot;

typedef struct entry {
    wrt_executor_export of;
    wrt_function_type type;
} entry;

enum { EIGHT = WRT_EXECUTOR_BUFFER_ALIGNMENT };

static wrt_module_executor *checked(void *self)
{
    wrt_module_executor *executor = self;
    return executor->self == executor ? executor : NULL;
}

static entry *find(const wrt_module_executor *executor, uint32_t function_id)
{
    entry *entries = executor->exports;

    for (uint32_t i = 0; i < executor->export_count; i++) {
        if (entries[i].of.function_id == function_id) return &entries[i];
    }
    return NULL;
}

static wrt_status fail_to_find(const char *operation, uint32_t function_id)
{
    return wrt_fail_detail(WRT_ERR_NOT_FOUND, operation, "the executor has no function {0}",
                           function_id, 0);
}

static wrt_status check(void *self, uint32_t function_id, wrt_function_type *type_out)
{
    static const char operation[] = "wrt_module_executor_check";
    const wrt_module_executor *executor = checked(self);

    if (executor == NULL) return wrt__executor_gone(operation);
    const entry *found = find(executor, function_id);
    if (found == NULL) return fail_to_find(operation, function_id);
    *type_out = found->type;
    return WRT_OK;
}

/* ---- Slots; with the lock held ---- */

static wrt_status take_slot(wrt_module_executor *executor, wrt_turn *turn)
{
    static const char operation[] = "wrt_module_executor_acquire";
    slot *free_slot = executor->free_slots;

    if (executor->abandoned == executor->slot_count) {
        return wrt_fail(WRT_ERR_STATE, operation,
                        "the tasks that have the slots do not come back, and were given up");
    }
    const wrt_status status =
        wrt__executor_serve(operation, &executor->pool, executor->used, turn->pool);
    if (status != WRT_OK) return status;
    if (free_slot == NULL && wrt_cancel_is_requested(turn->cancel)) {
        return wrt_fail(WRT_ERR_INTERRUPTED, operation, "the task was cancelled");
    }
    executor->used++;
    if (free_slot == NULL) {
        wrt__line_append(&executor->line, turn);
        return WRT_ERR_BUSY;
    }
    executor->free_slots = free_slot->next;
    turn->place = free_slot;
    return WRT_OK;
}

static wrt_turn *pass_on(wrt_module_executor *executor, slot *used)
{
    wrt_turn *next = wrt__line_take(&executor->line);

    executor->used--;
    executor->abandoned -= used->is_abandoned;
    used->is_abandoned = 0;
    if (next != NULL) {
        next->place = used;
        return next;
    }
    used->next = executor->free_slots;
    executor->free_slots = used;
    return NULL;
}

/* ---- Instances ---- */

static wrt_status make_instance(const wrt_module_executor *executor, const entry *found,
                                wrt_turn *turn)
{
    slot *own = turn->place;
    wrt_instance_config config = *found->of.instance;
    wrt_extern value;

    config.allocator = turn->pages;
    config.buffer = own + 1;
    config.buffer_size = executor->slot_bytes - sizeof *own;
    own->instance = (wrt_instance){0};
    wrt_status status = wrt_instance_init(&own->instance, &config);
    if (status == WRT_OK) {
        status = wrt_instance_export(&own->instance, found->of.name, found->of.name_size, &value);
    }
    if (status != WRT_OK) return status;
    turn->instance = &own->instance;
    turn->function = value.of.function;
    turn->must_start = true;
    return WRT_OK;
}

/* Also one whose initialisation trapped. */
static void end_instance(slot *own)
{
    const wrt_status ended = wrt_instance_deinit(&own->instance);
    (void)ended; /* no call is under way */
}

static wrt_status acquire(void *self, wrt_turn *turn, wrt_turn **next_out)
{
    static const char operation[] = "wrt_module_executor_acquire";
    wrt_module_executor *executor = checked(self);
    wrt_status status = WRT_OK;

    *next_out = NULL;
    if (executor == NULL) return wrt__executor_gone(operation);
    const entry *found = find(executor, turn->function_id);
    if (found == NULL) return fail_to_find(operation, turn->function_id);
    if (turn->place == NULL) {
        wrt__executor_lock(&executor->system, &executor->lock);
        status = take_slot(executor, turn);
        wrt__executor_unlock(&executor->system, &executor->lock);
    }
    if (status != WRT_OK) return status;
    status = make_instance(executor, found, turn);
    if (status == WRT_OK) return WRT_OK;
    end_instance(turn->place);
    wrt__executor_lock(&executor->system, &executor->lock);
    *next_out = pass_on(executor, turn->place);
    wrt__executor_unlock(&executor->system, &executor->lock);
    return status;
}

static void release(void *self, wrt_turn *turn, wrt_turn **next_out)
{
    wrt_module_executor *executor = self;

    end_instance(turn->place);
    wrt__executor_lock(&executor->system, &executor->lock);
    *next_out = pass_on(executor, turn->place);
    wrt__executor_unlock(&executor->system, &executor->lock);
    turn->place = NULL;
}

static wrt_status withdraw(void *self, wrt_turn *turn)
{
    static const char operation[] = "wrt_module_executor_withdraw";
    wrt_module_executor *executor = checked(self);

    if (executor == NULL) return wrt__executor_gone(operation);
    wrt__executor_lock(&executor->system, &executor->lock);
    const bool waited = wrt__line_remove(&executor->line, turn);
    if (waited) executor->used--;
    wrt__executor_unlock(&executor->system, &executor->lock);
    if (waited) return WRT_OK;
    return wrt_fail(WRT_ERR_NOT_FOUND, operation, "the task does not wait for an instance");
}

static void abandon(void *self, wrt_turn *turn, wrt_turn **waiting_out)
{
    wrt_module_executor *executor = self;
    slot *held = turn->place;

    *waiting_out = NULL;
    wrt__executor_lock(&executor->system, &executor->lock);
    held->is_abandoned = 1;
    if (++executor->abandoned == executor->slot_count) {
        executor->used -= executor->line.count;
        *waiting_out = wrt__line_take_all(&executor->line);
    }
    wrt__executor_unlock(&executor->system, &executor->lock);
}

static const wrt_executor_ops ops = {check, acquire, release, withdraw, abandon};

wrt_executor wrt_module_executor_interface(wrt_module_executor *executor)
{
    if (executor == NULL || executor->self != executor) return (wrt_executor){0};
    return (wrt_executor){&ops, executor};
}

/* ---- Config ---- */

static wrt_status read_config(const char *operation, const wrt_module_executor_config *given,
                              wrt_module_executor_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);

    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->slots < 1 || config->slots > WRT_EXECUTOR_SLOT_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "slots is {0}, not 1 to {1}",
                               config->slots, WRT_EXECUTOR_SLOT_MAX);
    }
    return wrt__executor_check_count(operation, config->export_count, config->exports);
}

/* Header, instance and the largest of the buffers. */
static wrt_status measure_slot(const char *operation, const wrt_module_executor_config *config,
                               size_t *bytes_out)
{
    size_t most = 0;

    for (uint32_t i = 0; i < config->export_count; i++) {
        const wrt_executor_export *export = &config->exports[i];
        wrt_layout layout;
        if (export->instance == NULL || export->name == NULL) {
            return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                                   "export {0} of the config has no instance or no name", i, 0);
        }
        const wrt_status status = wrt_instance_layout(export->instance, &layout);
        if (status != WRT_OK) return status;
        if (layout.bytes > most) most = layout.bytes;
    }
    *bytes_out = sizeof(slot) + ((most + EIGHT - 1) & ~(size_t)(EIGHT - 1));
    return WRT_OK;
}

static wrt_status measure(const char *operation, const wrt_module_executor_config *config,
                          size_t *slot_bytes_out, size_t *bytes_out)
{
    const wrt_status status = measure_slot(operation, config, slot_bytes_out);

    if (status != WRT_OK) return status;
    const size_t exports = config->export_count * sizeof(entry);
    if (*slot_bytes_out > (SIZE_MAX - exports) / config->slots) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "{0} slots of {1} bytes are more than can be addressed",
                               config->slots, *slot_bytes_out);
    }
    *bytes_out = exports + config->slots * *slot_bytes_out;
    return WRT_OK;
}

wrt_status wrt_module_executor_layout(const wrt_module_executor_config *config,
                                      wrt_layout *layout_out)
{
    wrt_module_executor_config known;
    size_t slot_bytes;
    size_t bytes;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = measure(__func__, &known, &slot_bytes, &bytes);
    if (status == WRT_OK) *layout_out = (wrt_layout){bytes, WRT_EXECUTOR_BUFFER_ALIGNMENT};
    return status;
}

/* ---- Init and deinit ---- */

static bool is_named(const wrt_executor_export *wanted, const wrt_name *name)
{
    if (wanted->name_size != name->size) return false;
    for (uint32_t i = 0; i < name->size; i++) {
        if (wanted->name[i] != name->text[i]) return false;
    }
    return true;
}

static wrt_status find_type(const char *operation, const wrt_executor_export *wanted,
                            wrt_function_type *type_out)
{
    wrt_extern_type type;
    wrt_name name;

    for (uint32_t i = 0;; i++) {
        if (wrt_module_export(wanted->instance->module, i, &name, &type) != WRT_OK) break;
        if (type.kind != WRT_EXTERN_FUNCTION || !is_named(wanted, &name)) continue;
        *type_out = type.function;
        return WRT_OK;
    }
    return wrt_fail_detail(WRT_ERR_NOT_FOUND, operation,
                           "the module exports no function of the name that function {0} has",
                           wanted->function_id, 0);
}

static wrt_status fill_entries(const char *operation, const wrt_module_executor_config *config)
{
    entry *entries = config->buffer;
    wrt_status status = WRT_OK;

    for (uint32_t i = 0; i < config->export_count && status == WRT_OK; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (config->exports[j].function_id != config->exports[i].function_id) continue;
            return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                                   "exports {0} and {1} of the config have the same function_id", j,
                                   i);
        }
        entries[i] = (entry){.of = config->exports[i]};
        status = find_type(operation, &config->exports[i], &entries[i].type);
    }
    return status;
}

static void make_slots(wrt_module_executor *executor)
{
    for (uint32_t i = executor->slot_count; i-- > 0;) {
        slot *made = (slot *)(void *)(executor->slots + i * executor->slot_bytes);
        *made = (slot){.next = executor->free_slots};
        executor->free_slots = made;
    }
}

wrt_status wrt_module_executor_init(wrt_module_executor *executor,
                                    const wrt_module_executor_config *config)
{
    wrt_module_executor_config known;
    size_t slot_bytes;
    size_t bytes;

    if (executor == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "executor is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = measure(__func__, &known, &slot_bytes, &bytes);
    if (status == WRT_OK) {
        status = wrt__executor_check_buffer(__func__, &known.system, known.buffer,
                                            known.buffer_size, bytes);
    }
    if (status == WRT_OK) status = fill_entries(__func__, &known);
    if (status != WRT_OK) return status;
    status = known.system.ops->lock_init(known.system.self, &executor->lock);
    if (status != WRT_OK) return status;
    executor->self = executor;
    executor->system = known.system;
    executor->exports = known.buffer;
    executor->slots = (uint8_t *)known.buffer + known.export_count * sizeof(entry);
    executor->slot_bytes = slot_bytes;
    executor->export_count = known.export_count;
    executor->slot_count = known.slots;
    executor->free_slots = NULL;
    executor->line = (wrt_turn_line){0};
    executor->pool = NULL;
    executor->used = 0;
    executor->abandoned = 0;
    make_slots(executor);
    return WRT_OK;
}

wrt_status wrt_module_executor_deinit(wrt_module_executor *executor)
{
    if (executor == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "executor is NULL");
    if (executor->self == NULL) return WRT_OK;
    wrt_status status =
        wrt__executor_check_end(__func__, executor->self == executor, executor->used);
    if (status != WRT_OK) return status;
    status = executor->system.ops->lock_deinit(executor->system.self, &executor->lock);
    if (status == WRT_OK) *executor = (wrt_module_executor){0};
    return status;
}
