/* The calls for page faults that a process serves itself, as the backend makes them; see sys.c. */
#include "sys_userfault.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

#define SCAN_PAGEMAP _IOWR('f', 16, struct wrt__page_scan)

int wrt__sys_userfault(int flags)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_userfaultfd, flags | O_CLOEXEC | O_NONBLOCK);
}

int wrt__sys_userfault_device(void)
{
    if (wrt__sys_fails()) return -1;
    const int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device < 0) return -1;
    const int descriptor = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    const int code = errno;
    (void)close(device);
    errno = code;
    return descriptor;
}

int wrt__sys_userfault_control(int descriptor, unsigned long request, void *argument)
{
    return wrt__sys_fails() ? -1 : ioctl(descriptor, request, argument);
}

int wrt__sys_page_scan(int descriptor, wrt__page_scan *scan)
{
    return wrt__sys_fails() ? -1 : ioctl(descriptor, SCAN_PAGEMAP, scan);
}
