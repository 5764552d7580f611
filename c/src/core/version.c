/* The one place that holds the version: CMake and the wheel read it here, and a
 * test compares the Rust crates. */
#include "wrt_platform/status.h"

const char *wrt_version(void)
{
    return "0.1.0";
}
