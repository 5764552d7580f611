"""What a stretch of work cost the processor and the kernel."""

import sys

from wrt_platform import WrtError
from wrt_platform.linux.perf import PerfProfileBuilder


def work() -> bytearray:
    return bytearray(4 << 20)  # a thousand pages that nobody has touched yet


try:
    print(PerfProfileBuilder().with_include_kernel().run(work))
except WrtError as error:
    sys.exit(f"perf: {error}")
