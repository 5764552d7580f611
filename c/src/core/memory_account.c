/* Memory accounts. Each account holds from its parent
 *
 *     the larger of `used` and `minimum`
 *
 * and everything follows from that: a charge or refund changes what an account holds by some bytes
 * or by none, and just these go on to its parent. A tree has one lock, its root's. */
#include "memory_account.h"

#include "config.h"
#include "fail.h"
#include "guard.h"
#include "name.h"

static const uint64_t NO_LIMIT = UINT64_MAX;

static wrt_status check_self(const char *operation, const wrt_memory_account *account)
{
    if (account == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "account is NULL");
    if (account->self == account) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    account->self == NULL ? "account is not initialised" : "account was moved");
}

/* Checks an account and takes the lock of its tree. */
static wrt_status enter(const char *operation, wrt_memory_account *account)
{
    const wrt_status status = check_self(operation, account);

    if (status != WRT_OK) return status;
    return wrt__guard_enter(&account->root->system, &account->root->lock);
}

static void leave(wrt_memory_account *account)
{
    wrt__guard_leave(&account->root->system, &account->root->lock);
}

/* What an account with `used` bytes holds from its parent. */
static uint64_t held(const wrt_memory_account *account, uint64_t used)
{
    return used > account->minimum ? used : account->minimum;
}

/* How far `used` may still rise, as far as this account alone says. */
static uint64_t room(const wrt_memory_account *account)
{
    return account->maximum - account->used;
}

static uint64_t saturating_sum(uint64_t left, uint64_t right)
{
    return left > UINT64_MAX - right ? UINT64_MAX : left + right;
}

/* What a charge could have: from the root down, each account has its own reserve and what those
 * above leave it, within its room. */
static uint64_t available(const wrt_memory_account *account)
{
    const wrt_memory_account *path[WRT_MEMORY_ACCOUNT_DEPTH_MAX];
    uint64_t above = NO_LIMIT;
    uint32_t depth = 0;

    for (const wrt_memory_account *at = account; at != NULL; at = at->parent) path[depth++] = at;
    while (depth > 0) {
        const wrt_memory_account *at = path[--depth];
        const uint64_t bytes = saturating_sum(held(at, at->used) - at->used, above);
        above = bytes < room(at) ? bytes : room(at);
    }
    return above;
}

/* The account that refuses `bytes`, on the way from `account` upwards; NULL: all agree. */
static const wrt_memory_account *find_refusal(const wrt_memory_account *account, uint64_t bytes)
{
    for (const wrt_memory_account *at = account; at != NULL && bytes != 0; at = at->parent) {
        if (bytes > room(at)) return at;
        bytes = held(at, at->used + bytes) - held(at, at->used);
    }
    return NULL;
}

static void take(wrt_memory_account *account, uint64_t bytes)
{
    for (wrt_memory_account *at = account; at != NULL && bytes != 0; at = at->parent) {
        const uint64_t before = held(at, at->used);
        at->used += bytes;
        if (at->peak < at->used) at->peak = at->used;
        bytes = held(at, at->used) - before;
    }
}

static void give_back(wrt_memory_account *account, uint64_t bytes)
{
    for (wrt_memory_account *at = account; at != NULL && bytes != 0; at = at->parent) {
        const uint64_t before = held(at, at->used);
        at->used -= bytes;
        bytes = before - held(at, at->used);
    }
}

/* ---- Making and ending ---- */

static wrt_status read_config(const char *operation, const wrt_memory_account_config *given,
                              wrt_memory_account_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->maximum == 0) config->maximum = NO_LIMIT;
    if (config->minimum > config->maximum) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "minimum {0} is above maximum {1}", config->minimum,
                               config->maximum);
    }
    if (config->parent != NULL && config->system.ops != NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "an account with a parent uses its root's thread system, not its own");
    }
    return WRT_OK;
}

static wrt_memory_account account_of(const wrt_memory_account_config *config,
                                     wrt_memory_account *self)
{
    wrt_memory_account account = {.self = self,
                                  .parent = config->parent,
                                  .root = self,
                                  .minimum = config->minimum,
                                  .maximum = config->maximum,
                                  .system = config->system,
                                  .depth = 1};

    if (config->parent != NULL) {
        account.root = config->parent->root;
        account.depth = config->parent->depth + 1;
    }
    wrt__name_copy(account.name, sizeof account.name, config->name);
    return account;
}

static wrt_status init_root(wrt_memory_account *account, const wrt_memory_account_config *config)
{
    const wrt_memory_account before = *account; /* a lock is made in its place */

    *account = account_of(config, account);
    const wrt_status status = wrt__guard_init(&account->system, &account->lock);
    if (status != WRT_OK) *account = before;
    return status;
}

/* The caller holds the lock. */
static wrt_status join_parent(const char *operation, wrt_memory_account *account,
                              const wrt_memory_account_config *config)
{
    wrt_memory_account *parent = config->parent;

    if (parent->depth == WRT_MEMORY_ACCOUNT_DEPTH_MAX) {
        return wrt_fail_detail(WRT_ERR_LIMIT, operation, "the tree is {0} accounts deep already",
                               parent->depth, 0);
    }
    if (find_refusal(parent, config->minimum) != NULL) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "minimum is {0} bytes, the accounts above have {1} left",
                               config->minimum, available(parent));
    }
    take(parent, config->minimum);
    parent->children++;
    *account = account_of(config, account);
    return WRT_OK;
}

wrt_status wrt_memory_account_init(wrt_memory_account *account,
                                   const wrt_memory_account_config *config)
{
    wrt_memory_account_config known;

    if (account == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "account is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    if (known.parent == NULL) return init_root(account, &known);
    status = enter(__func__, known.parent);
    if (status != WRT_OK) return status;
    status = join_parent(__func__, account, &known);
    leave(known.parent);
    return status;
}

static wrt_status check_unused(const char *operation, const wrt_memory_account *account)
{
    if (account->children != 0 || account->views != 0) {
        return wrt_fail_detail(WRT_ERR_BUSY, operation,
                               "{0} accounts are below it, {1} counted allocators charge it",
                               account->children, account->views);
    }
    if (account->used == 0) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_BUSY, operation, "{0} bytes are charged to it", account->used,
                           0);
}

static void leave_parent(wrt_memory_account *account)
{
    wrt_memory_account *parent = account->parent;

    give_back(parent, account->minimum);
    parent->children--;
    *account = (wrt_memory_account){0};
    leave(parent);
}

wrt_status wrt_memory_account_deinit(wrt_memory_account *account)
{
    if (account == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "account is NULL");
    if (wrt__is_zero(account, sizeof *account)) return WRT_OK;
    wrt_status status = enter(__func__, account);
    if (status != WRT_OK) return status;
    status = check_unused(__func__, account);
    if (status == WRT_OK && account->parent != NULL) {
        leave_parent(account);
        return WRT_OK;
    }
    leave(account);
    if (status == WRT_OK) status = wrt__guard_deinit(&account->system, &account->lock);
    if (status == WRT_OK) *account = (wrt_memory_account){0};
    return status;
}

/* ---- Using ---- */

wrt_status wrt__memory_account_charge(const char *operation, wrt_memory_account *account,
                                      uint64_t bytes)
{
    wrt_status status = enter(operation, account);
    if (status != WRT_OK) return status;
    const wrt_memory_account *refusing = find_refusal(account, bytes);
    if (refusing == NULL) {
        take(account, bytes);
        account->charged += bytes;
    } else {
        account->refusals++;
        status = wrt_fail_detail(
            WRT_ERR_NO_MEMORY, operation,
            refusing == account
                ? "{0} bytes are asked for, the account has {1} left"
                : "{0} bytes are asked for, with the accounts above it has {1} left",
            bytes, available(account));
    }
    leave(account);
    return status;
}

wrt_status wrt_memory_account_charge(wrt_memory_account *account, uint64_t bytes)
{
    return wrt__memory_account_charge(__func__, account, bytes);
}

wrt_status wrt_memory_account_refund(wrt_memory_account *account, uint64_t bytes)
{
    wrt_status status = enter(__func__, account);
    if (status != WRT_OK) return status;
    if (bytes <= account->charged) {
        give_back(account, bytes);
        account->charged -= bytes;
    } else {
        status = wrt_fail_detail(WRT_ERR_STATE, __func__,
                                 "{0} bytes are to come back, {1} are charged to the account",
                                 bytes, account->charged);
    }
    leave(account);
    return status;
}

wrt_status wrt_memory_account_query(wrt_memory_account *account,
                                    wrt_memory_account_usage *usage_out)
{
    if (usage_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "usage_out is NULL");
    const wrt_status status = enter(__func__, account);
    if (status != WRT_OK) return status;
    *usage_out =
        (wrt_memory_account_usage){.used = account->used,
                                   .charged = account->charged,
                                   .peak = account->peak,
                                   .minimum = account->minimum,
                                   .maximum = account->maximum != NO_LIMIT ? account->maximum : 0,
                                   .available = available(account),
                                   .refusals = account->refusals,
                                   .children = account->children,
                                   .views = account->views};
    wrt__name_copy(usage_out->name, sizeof usage_out->name, account->name);
    leave(account);
    return WRT_OK;
}

wrt_status wrt_memory_account_reset_peak(wrt_memory_account *account)
{
    const wrt_status status = enter(__func__, account);
    if (status != WRT_OK) return status;
    account->peak = account->used;
    leave(account);
    return WRT_OK;
}

wrt_status wrt__memory_account_add_view(const char *operation, wrt_memory_account *account,
                                        int32_t views)
{
    const wrt_status status = enter(operation, account);
    if (status != WRT_OK) return status;
    account->views += (uint32_t)views;
    leave(account);
    return WRT_OK;
}
