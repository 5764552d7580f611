// Walls that are leant against before there is a guest.
#include "wrt_platform/linux/selftest.h"
#include <stdio.h>

int main(void)
{
    static wrt_selftest_row rows[WRT_SELFTEST_ROWS];
    uint32_t count = 0;
    const wrt_status status = wrt_selftest(NULL, rows, WRT_SELFTEST_ROWS, &count);

    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].state == WRT_SELFTEST_FAILED) printf("%s: %s\n", rows[i].id, rows[i].reason);
    }
    if (status != WRT_OK) return 1; // a program that counts on its walls ends here
    printf("%u walls were leant against, and hold\n", count);
    return 0;
}
