"""A program behind all walls. It sees the system's own files, and no others."""

import sys

from wrt_platform.linux.confined_process import ConfinedProcessBuilder, LandlockAccess

outcome = (
    ConfinedProcessBuilder("/bin/sh")
    .with_arguments(["sh", "-c", "echo inside; exec cat /etc/passwd"])
    .with_system_files()  # its libraries
    .allow("/usr/share", LandlockAccess.READ)
    .with_memory_bytes(512 << 20)
    .with_cpu_seconds(10)
    .run(timeout=30)
)
print(outcome.output.decode(), end="")
for name in ("filter", "files"):
    wall = getattr(outcome.report, name)
    print(f"{name}: {wall.state.name.lower().replace('_', ' ')}")
    if wall.state.name == "ABSENT":
        print(f"{name}: {wall.reason}", file=sys.stderr)
ended = "yes" if outcome.end.name == "EXITED" else "no"
print(f"exited by itself: {ended}, with {outcome.code}")
