/* What the parts that give rights away share. */
#include "sys_security.h"

#include "../core/fail.h"

#ifndef CLONE_THREAD
#define CLONE_THREAD 0x00010000
#endif

ssize_t wrt__read_text(const char *path, char *text_out, size_t size)
{
    const int descriptor = wrt__sys_open(path, O_RDONLY);
    if (descriptor < 0) return -1;

    const ssize_t length = wrt__sys_read(descriptor, text_out, size - 1);
    const int code = errno;
    (void)wrt__sys_close(descriptor);
    errno = code;
    if (length >= 0) text_out[length] = '\0';
    return length;
}

int wrt__write_text(const char *path, const char *text)
{
    const int descriptor = wrt__sys_open(path, O_WRONLY);
    if (descriptor < 0) return -1;

    const ssize_t length = wrt__sys_write(descriptor, text, strlen(text));
    const int code = errno;
    (void)wrt__sys_close(descriptor);
    errno = code;
    return length < 0 ? -1 : 0;
}

/* The number of threads is the 18th word behind the name, which may hold anything. */
static uint32_t count_in_stat(char *text)
{
    char *place = strrchr(text, ')');
    unsigned long count = 0;

    for (int word = 0; place != NULL && word < 18; word++) place = strchr(place + 1, ' ');
    if (place == NULL) return 0;
    for (place++; *place >= '0' && *place <= '9'; place++) {
        count = 10 * count + (unsigned long)(*place - '0');
    }
    return (uint32_t)count;
}

/* Without /proc, a call that has an effect for nobody, and is refused to processes with threads. */
uint32_t wrt__thread_count(void)
{
    char text[1024];

    if (wrt__read_text("/proc/self/stat", text, sizeof text) > 0) return count_in_stat(text);
    if (wrt__sys_unshare(CLONE_THREAD) == 0) return 1;
    return errno == EINVAL ? 2 : 0;
}

wrt_status wrt__refuse_threads(const char *operation, const char *reason)
{
    const uint32_t count = wrt__thread_count();

    return count == 1 ? WRT_OK : wrt_fail_detail(WRT_ERR_STATE, operation, reason, count, 0);
}
