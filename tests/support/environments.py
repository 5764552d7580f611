"""Scripts in a process of their own, as it would run elsewhere: on an old kernel, in a container,
as an ordinary user. Filters are loaded there and never into the test's own process.

A script sees `system_call(number, ...)`, which gives a result or a negated error number, and all
names of wrt_platform.linux.seccomp.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

from common import ROOT

# What came with Linux 5.5 and later: a kernel of 2019 has none of it.
NEWER_THAN_5_4 = (
    "clone3 openat2 close_range pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr "
    "quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret "
    "process_mrelease futex_waitv set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack "
    "futex_wake futex_wait futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr "
    "lsm_list_modules mseal"
)

PROLOGUE = """
import ctypes, errno, os, sys
sys.path[:0] = [{tests!r}]
from wrt_platform.linux.seccomp import *
_libc = ctypes.CDLL(None, use_errno=True)

def system_call(number, *arguments):
    words = [ctypes.c_long(value) for value in arguments]
    result = _libc.syscall(ctypes.c_long(number), *words)
    return result if result != -1 else -ctypes.get_errno()
"""

ENTER = {
    "here": "",
    "old kernel": f"""
_builder = SeccompBuilder().with_default_action(SeccompAction.ALLOW).with_all_threads()
for _name in {NEWER_THAN_5_4.split()!r}:
    _builder.with_rule(_name, SeccompAction.ERRNO, error=errno.ENOSYS)
_builder.build().load()
""",
    "docker": """
SeccompBuilder().with_profile(SeccompProfile.CONTAINER).with_all_threads().build().load()
""",
    "user": """
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
_libc.prctl(4, 1, 0, 0, 0)  # dumpable, as after an exec by that user
""",
}

ENVIRONMENTS = [name for name in ENTER if name != "here"]


def run_in(
    environment: str,
    body: str,
    *arguments: str,
    timeout: float = 60,
    before: str = "",
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Runs a script in an environment; `before` runs ahead of entering it, with all rights."""
    if environment == "user" and os.geteuid() != 0:
        environment = "here"  # it is one already
    script = PROLOGUE.format(tests=str(ROOT / "tests")) + textwrap.dedent(before)
    script += ENTER[environment] + textwrap.dedent(body)
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **variables},
    )


def say_in(environment: str, body: str, *arguments: str, before: str = "") -> list[str]:
    """The words that a script prints; that it ends well is part of it."""
    done = run_in(environment, body, *arguments, before=before)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout.split()
