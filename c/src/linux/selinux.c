/* SELinux, by its library where that is installed and by the kernel's files where it is not. */
#include "sys_security.h"

#include "wrt_platform/linux/selinux.h"

#include "../core/fail.h"

#define CURRENT "/proc/thread-self/attr/current"

typedef int (*ask_function)(void);
typedef int (*set_function)(const char *context);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static ask_function ask_enabled; /* NULL without the library */
static set_function set_current;

/* It stays loaded: it is small, and unloading it would race with those who use it. */
static void load_library(void)
{
    void *library = dlopen("libselinux.so.1", RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) return;
    void *ask = dlsym(library, "is_selinux_enabled"), *set = dlsym(library, "setcon");
    if (ask == NULL || set == NULL) return;
    memcpy(&ask_enabled, &ask, sizeof ask);
    memcpy(&set_current, &set, sizeof set);
}

/* Where SELinux is switched off, its file system is not there; without a policy, there is none of
 * its classes. */
static bool kernel_has_policy(void)
{
    char text[64];

    return wrt__read_text("/sys/fs/selinux/policyvers", text, sizeof text) > 0 &&
           access("/sys/fs/selinux/class/process", F_OK) == 0;
}

bool wrt__selinux_is_there(void)
{
    pthread_once(&once, load_library);
    if (ask_enabled != NULL && ask_enabled() == 1) return true;
    return kernel_has_policy();
}

static wrt_status require(const char *operation, bool is_there)
{
    if (is_there) return WRT_OK;
    return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                    "SELinux is not there: the kernel is built or started without it (selinux=1, "
                    "lsm=...,selinux), or has no policy");
}

wrt_status wrt_selinux_is_enabled(bool *enabled_out)
{
    if (enabled_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "enabled_out is NULL");
    }
    *enabled_out = wrt__selinux_is_there();
    return WRT_OK;
}

wrt_status wrt_selinux_is_enforcing(bool *enforcing_out)
{
    char text[16];

    if (enforcing_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "enforcing_out is NULL");
    }
    const wrt_status status = require(__func__, wrt__selinux_is_there());
    if (status != WRT_OK) return status;
    *enforcing_out =
        wrt__read_text("/sys/fs/selinux/enforce", text, sizeof text) > 0 && text[0] == '1';
    return WRT_OK;
}

static wrt_status read_context(const char *operation, char *text_out, size_t text_size)
{
    char text[WRT_SELINUX_CONTEXT_SIZE];
    ssize_t length = wrt__read_text(CURRENT, text, sizeof text);

    if (length < 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, CURRENT " can't be read", errno, 0, 0);
    }
    while (length > 0 && (text[length - 1] == '\0' || text[length - 1] == '\n')) length--;
    if ((size_t)length >= text_size) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "the context has {0} bytes, there is room for {1}",
                               (uint64_t)length + 1, text_size);
    }
    memcpy(text_out, text, (size_t)length);
    text_out[length] = '\0';
    return WRT_OK;
}

wrt_status wrt_selinux_context(char *text_out, size_t text_size)
{
    if (text_out == NULL || text_size == 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "text_out is NULL, or text_size 0");
    }
    const wrt_status status = require(__func__, wrt__selinux_is_there());
    return status == WRT_OK ? read_context(__func__, text_out, text_size) : status;
}

static wrt_status fail_for_context(const char *operation, int code)
{
    switch (code) {
    case EINVAL:
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation,
                               "the policy has no such context", code, 0, 0);
    case EACCES:
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "the policy does not let this context go to that one (allow ... "
                               "process { setcurrent dyntransition })",
                               code, 0, 0);
    case EPERM:
        return wrt_fail_system(WRT_ERR_STATE, operation,
                               "the process has several threads, and the new type is not bounded "
                               "by the old one (typebounds)",
                               code, 0, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "the context can't be set", code, 0, 0);
    }
}

wrt_status wrt__selinux_start(const char *operation, const char *context, bool is_there)
{
    const wrt_status status = require(operation, is_there);

    if (status != WRT_OK) return status;
    return wrt__write_text(CURRENT, context) == 0 ? WRT_OK : fail_for_context(operation, errno);
}

static wrt_status set_context(const char *operation, const char *context)
{
    const int result =
        set_current != NULL ? set_current(context) : wrt__write_text(CURRENT, context);

    return result == 0 ? WRT_OK : fail_for_context(operation, errno);
}

wrt_status wrt_selinux_set_context(const char *context)
{
    if (context == NULL || context[0] == '\0' || strlen(context) >= WRT_SELINUX_CONTEXT_SIZE) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "context is NULL, empty, or longer than 4095 characters");
    }
    const wrt_status status = require(__func__, wrt__selinux_is_there());
    return status == WRT_OK ? set_context(__func__, context) : status;
}
