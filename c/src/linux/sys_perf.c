/* The calls for counters, as the backend makes them; see sys.c. */
#include "sys_perf.h"

int wrt__sys_perf_open(struct perf_event_attr *attributes, int group)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_perf_event_open, attributes, 0, -1, group, PERF_FLAG_FD_CLOEXEC);
}

int wrt__sys_perf_control(int descriptor, unsigned long request, void *argument)
{
    return wrt__sys_fails() ? -1 : ioctl(descriptor, request, argument);
}

ssize_t wrt__sys_perf_read(int descriptor, void *buffer, size_t size)
{
    return wrt__sys_fails() ? -1 : read(descriptor, buffer, size);
}

int32_t wrt__sys_perf_paranoid(void)
{
    char text[16] = {0};
    const int descriptor = open("/proc/sys/kernel/perf_event_paranoid", O_RDONLY | O_CLOEXEC);

    if (descriptor < 0) return INT32_MAX;
    const ssize_t size = read(descriptor, text, sizeof text - 1);
    (void)close(descriptor);
    return size > 0 ? (int32_t)strtol(text, NULL, 10) : INT32_MAX;
}
