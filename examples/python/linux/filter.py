"""A filter of system calls is compiled and asked what it would answer; nothing is loaded."""

from wrt_platform.linux.seccomp import SeccompAction, SeccompBuilder, SeccompProfile

strict = SeccompBuilder().with_profile(SeccompProfile.STRICT).build()
for name in ("openat", "socket"):
    print(f"{name}: {strict.simulate(name).action.name}")

CALLS = ["read", "write", "mmap", "munmap", "mprotect", "futex", "clock_gettime", "exit_group"]
small = SeccompBuilder().allow(CALLS).with_default_action(SeccompAction.KILL).build()
for name in ("read", "openat"):
    print(f"{name}: {small.simulate(name).action.name}")
print("added in silence:", len(small.report.added))
