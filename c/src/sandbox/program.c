/* The program that is sealed. The build links it by itself and names its file here, and it is
 * carried as bytes; for a processor that it is not written for there is none. To be executed it
 * goes into a file in memory, once for the whole process, which nobody can write any more and only
 * the kernel can read (mode 0111), so that no other process looks inside what runs it. */
#include "state.h"

#include "../core/fail.h"

enum {
    LEAST_DESCRIPTOR = 64,
    EXECUTABLE_ONLY = 0111,
    ALL_SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL
};

#if defined(WRT_WORKER_FILE)

__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        "wrt_worker_bytes: .incbin \"" WRT_WORKER_FILE "\"\n"
        "wrt_worker_end: .byte 0\n"
        ".popsection\n");

extern const uint8_t first_byte[] __asm__("wrt_worker_bytes");
extern const uint8_t end_of_bytes[] __asm__("wrt_worker_end");

#else

static const uint8_t first_byte[1];
static const uint8_t *const end_of_bytes = first_byte;

#endif

wrt_status wrt_sandbox_program(const uint8_t **bytes_out, size_t *size_out)
{
    if (bytes_out == NULL || size_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "an output is NULL");
    }
    *bytes_out = first_byte;
    *size_out = (size_t)(end_of_bytes - first_byte);
    if (*size_out != 0) return WRT_OK;
    return wrt_fail(WRT_ERR_UNSUPPORTED, __func__,
                    "the sealed program is built for x86-64 and 64-bit Arm only");
}

static wrt_status fail_program(const char *operation, int code)
{
    const wrt_status status = code == EMFILE || code == ENFILE   ? WRT_ERR_LIMIT
                              : code == ENOMEM                   ? WRT_ERR_NO_MEMORY
                              : code == EACCES || code == ENOSYS ? WRT_ERR_UNSUPPORTED
                                                                 : WRT_ERR_SYSTEM;

    return wrt_fail_system(status, operation,
                           "the program cannot be put into a file in memory; where "
                           "vm.memfd_noexec is 2, write it to a file and name that as "
                           "program_path",
                           code, 0, 0);
}

/* Kernels before 6.3 do not know that a file in memory can be one that is not executed. */
static int make_file(void)
{
    const int descriptor = wrt__process_sealable("wrt-worker", MFD_EXEC);

    return descriptor >= 0 || errno != EINVAL ? descriptor : wrt__process_sealable("wrt-worker", 0);
}

static bool fill(int descriptor, const uint8_t *bytes, size_t size)
{
    return wrt__process_write_all(descriptor, bytes, size) == 0 &&
           wrt__process_chmod(descriptor, EXECUTABLE_ONLY) == 0 &&
           wrt__process_seal(descriptor, ALL_SEALS) == 0;
}

static wrt_status make_program(const char *operation, int *descriptor_out)
{
    const uint8_t *bytes;
    size_t size;

    const wrt_status status = wrt_sandbox_program(&bytes, &size);
    if (status != WRT_OK) return status;
    int low = make_file();
    const bool is_full = low >= 0 && fill(low, bytes, size);
    const int descriptor = is_full ? wrt__process_duplicate(low, LEAST_DESCRIPTOR) : -1;
    const int code = errno;
    wrt__process_close(&low);
    if (descriptor < 0) return fail_program(operation, code);
    *descriptor_out = descriptor;
    return WRT_OK;
}

static wrt_status open_file(const char *operation, const char *path, int *descriptor_out)
{
    *descriptor_out = wrt__process_open(path);
    if (*descriptor_out >= 0) return WRT_OK;
    const int code = errno;
    const wrt_status status = code == ENOENT                     ? WRT_ERR_NOT_FOUND
                              : code == EACCES || code == EPERM  ? WRT_ERR_PERMISSION
                              : code == EMFILE || code == ENFILE ? WRT_ERR_LIMIT
                                                                 : WRT_ERR_SYSTEM;
    return wrt_fail_system(status, operation, "program_path cannot be opened", code, 0, 0);
}

/* A program that closes all descriptors closes ours, and the number may be another file's now. */
static bool is_ours(int descriptor)
{
    struct stat status;

    return descriptor >= 0 && fstat(descriptor, &status) == 0 &&
           status.st_size == end_of_bytes - first_byte &&
           (status.st_mode & 07777) == EXECUTABLE_ONLY &&
           fcntl(descriptor, F_GET_SEALS) == ALL_SEALS;
}

wrt_status wrt__sandbox_open_program(const char *operation, const char *path, int *descriptor_out,
                                     bool *is_own_out)
{
    static uint32_t kept; /* atomic; plus 1; 0: not made yet */
    uint32_t seen = wrt__load_acquire(&kept);
    int made = -1;

    *is_own_out = path != NULL;
    if (path != NULL) return open_file(operation, path, descriptor_out);
    *descriptor_out = (int)seen - 1;
    if (is_ours(*descriptor_out)) return WRT_OK;

    const wrt_status status = make_program(operation, &made);
    if (status != WRT_OK) return status;
    if (!wrt__compare_exchange(&kept, &seen, (uint32_t)made + 1)) {
        wrt__process_close(&made); /* another thread was first */
        made = (int)seen - 1;
    }
    *descriptor_out = made;
    return WRT_OK;
}
