/* The names of system calls and their numbers, for the architectures that filters are made for. */
#include "seccomp.h"

#include "../core/fail.h"

typedef struct call_entry {
    const char *name;
    uint32_t numbers[2];
} call_entry;

enum { NONE = WRT__CALL_NONE };

#define CALL(name, x86_64, aarch64) {#name, {x86_64, aarch64}},
static const call_entry calls[WRT__CALL_COUNT] = {
#include "seccomp_calls.inc"
};
#undef CALL

#define AUDIT_X86_64  0xc000003eU
#define AUDIT_AARCH64 0xc00000b7U

enum { END_OF_NAMES = 470 };

#if defined(__x86_64__)
#define HOST_ARCHITECTURE WRT_SECCOMP_X86_64
#elif defined(__aarch64__)
#define HOST_ARCHITECTURE WRT_SECCOMP_AARCH64
#else
#define HOST_ARCHITECTURE WRT_SECCOMP_HOST
#endif

uint32_t wrt__call_architecture(uint32_t architecture)
{
    if (architecture == WRT_SECCOMP_HOST) return HOST_ARCHITECTURE;
    return architecture <= WRT_SECCOMP_AARCH64 ? architecture : 0;
}

uint32_t wrt__call_audit(uint32_t architecture)
{
    return architecture == WRT_SECCOMP_X86_64 ? AUDIT_X86_64 : AUDIT_AARCH64;
}

uint32_t wrt__call_end(uint32_t architecture)
{
    (void)architecture; /* the two share their newest calls */
    return END_OF_NAMES;
}

uint32_t wrt__call_number(uint32_t architecture, uint32_t call)
{
    return calls[call].numbers[architecture - WRT_SECCOMP_X86_64];
}

static bool is_same(const char *one, const char *other)
{
    while (*one != '\0' && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

wrt_status wrt_seccomp_call_number(uint32_t architecture, const char *name, uint32_t *number_out)
{
    const uint32_t machine = wrt__call_architecture(architecture);

    if (name == NULL || number_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "name or number_out is NULL");
    }
    if (machine == 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "architecture is none of wrt_seccomp_architecture");
    }
    for (uint32_t call = 0; call < WRT__CALL_COUNT; call++) {
        if (!is_same(calls[call].name, name)) continue;
        if (wrt__call_number(machine, call) == WRT__CALL_NONE) break;
        *number_out = wrt__call_number(machine, call);
        return WRT_OK;
    }
    return wrt_fail(WRT_ERR_NOT_FOUND, __func__,
                    "this architecture has no system call of that name, or it is newer than this "
                    "library: then give its number");
}

const char *wrt_seccomp_call_name(uint32_t architecture, uint32_t number)
{
    const uint32_t machine = wrt__call_architecture(architecture);

    if (machine == 0 || number == WRT__CALL_NONE) return NULL;
    for (uint32_t call = 0; call < WRT__CALL_COUNT; call++) {
        if (wrt__call_number(machine, call) == number) return calls[call].name;
    }
    return NULL;
}
