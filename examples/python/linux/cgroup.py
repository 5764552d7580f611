"""A program within limits of memory, processor and processes that the kernel keeps."""

import os
import sys

from wrt_platform import WrtError
from wrt_platform.linux.cgroups import CgroupBuilder, CgroupController, ResourceLimits

NEEDED = CgroupController.MEMORY | CgroupController.CPU | CgroupController.PIDS


def main() -> None:
    builder = CgroupBuilder("wasm_runtime").with_controllers(NEEDED)
    # Processes that are in the way, this one for instance, are moved.
    with builder.with_move_to_leaf().build() as cgroup:
        limits = ResourceLimits(memory_max=64 << 20, cpu_max=(50_000, 100_000), pids_max=16)
        applied = cgroup.set_limits(limits)
        print(f"at most {applied.memory_max} bytes, {applied.pids_max} processes", flush=True)
        process = cgroup.spawn(["/bin/echo", "inside"])
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        killed = cgroup.get_stats().oom_kills
        print(f"exit code {code}, killed for want of memory: {killed}")


try:
    main()
except WrtError as error:
    sys.exit(f"cgroup: {error}")
