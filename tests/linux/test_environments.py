"""On an old kernel, in a container and as an ordinary user: what the library offers works by its
documented fallback, or says clearly why not. The same script runs everywhere, and here as well."""

from __future__ import annotations

import os
import re

import pytest
from support.environments import ENVIRONMENTS, NEWER_THAN_5_4, say_in

# (func (export "square") (param i32) (result i32) local.get 0 local.get 0 i32.mul)
SQUARE = "0061736d0100000001060160017f017f03020100070a010673717561726500000a09010700200020006c0b"

EVERYWHERE = ["here", *ENVIRONMENTS]
everywhere = pytest.mark.parametrize("environment", EVERYWHERE)


# ---- The environments themselves ----


def test_an_old_kernel_has_none_of_the_new_calls() -> None:
    body = f"""
    for name in {NEWER_THAN_5_4.split()!r}:
        print(system_call(call_number(name), 0, 0, 0, 0) == -errno.ENOSYS)
    """
    assert set(say_in("old kernel", body)) == {"True"}


def test_a_container_refuses_and_programs_run_all_the_same() -> None:
    body = """
    for name in ("unshare", "mount", "io_uring_setup", "userfaultfd", "perf_event_open", "bpf",
                 "keyctl", "set_mempolicy", "mbind"):
        print(system_call(call_number(name), 0, 0, 0, 0) == -errno.EPERM)
    print(system_call(call_number("clone3"), 0, 0) == -errno.ENOSYS)
    child = os.fork()
    if child == 0:
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7)
    """
    assert set(say_in("docker", body)) == {"True"}


def test_an_ordinary_user_has_no_rights() -> None:
    body = """
    text = open("/proc/self/status").read()
    print(os.getuid() != 0, "CapEff:\\t0000000000000000" in text, os.access("/etc/shadow", os.R_OK))
    """
    assert say_in("user", body) == ["True", "True", "False"]


def test_the_process_of_the_tests_is_in_none_of_them() -> None:
    with open("/proc/self/status") as file:
        before = re.findall(r"^(?:Seccomp_filters|NoNewPrivs|CapEff).*$", file.read(), re.M)
    for environment in ENVIRONMENTS:
        say_in(environment, "print(1)")
    with open("/proc/self/status") as file:
        assert re.findall(r"^(?:Seccomp_filters|NoNewPrivs|CapEff).*$", file.read(), re.M) == before


# ---- Memory ----


@pytest.mark.row("LM-1")
@everywhere
def test_memory_is_reserved_grown_and_given_back(environment: str) -> None:
    body = """
    allocator = (
        LinuxAllocatorBuilder()
        .with_maximum_pages(64)
        .with_guard_pages()
        .with_populate()
        .with_name("elsewhere")
        .build()
    )
    pages = allocator.allocate(1)
    pages.grow(15)
    memory = pages.memory
    memory[16 * 65536 - 1] = 7
    report = allocator.report
    print(memory[16 * 65536 - 1], report.guard_pages.state.name, report.populate.state.name,
          report.name.state.name, report.name_source.name)
    print("elsewhere" in open("/proc/self/maps").read())
    """
    before = "from wrt_platform import LinuxAllocatorBuilder\nimport wrt_platform.page_allocator\n"
    words = say_in(environment, body, before=before)
    assert words[:3] == ["7", "ENFORCED", "ENFORCED"]
    named = words[4] != "NONE"
    assert words[3] in (("ENFORCED", "PARTIAL") if named else ("ABSENT",))  # a file in memory
    assert words[5] == str(named)


@pytest.mark.whole_process  # the sanitizer's own mlock does nothing
@pytest.mark.row("LM-2")
@everywhere
def test_memory_that_can_not_be_locked_says_which_limit(environment: str) -> None:
    body = """
    allocator = LinuxAllocatorBuilder().with_maximum_pages(64).with_mlock().build()
    try:
        pages = allocator.allocate(64)
        print("locked", allocator.report.mlock.state.name)
    except (OutOfMemoryError, PermissionDeniedError) as error:
        print("refused", "RLIMIT_MEMLOCK" in str(error))
    """
    before = """
    import resource
    from wrt_platform import LinuxAllocatorBuilder, OutOfMemoryError, PermissionDeniedError
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
    """
    before = "\n".join(line.strip() for line in before.splitlines())
    words = say_in(environment, body, before=before)
    if environment == "user" or os.geteuid() != 0:
        assert words == ["refused", "True"]  # 4 MiB, and 64 KiB is the limit
    else:
        assert words == ["locked", "ENFORCED"]  # CAP_IPC_LOCK


# ---- Waiting ----


@pytest.mark.row("SY-1")
@everywhere
def test_futexes_wake_and_time_out(environment: str) -> None:
    body = """
    futex = LinuxFutexBuilder().with_initial_value(1).build()
    try:
        futex.wait(1, timeout=0.02)
    except TimedOutError:
        print("timed out")
    def other():
        time.sleep(0.05)
        futex.store(2)
        futex.wake_all()
    thread = threading.Thread(target=other)
    thread.start()
    while futex.load() == 1:
        try:
            futex.wait(1, timeout=5)
        except WrtError:
            pass
    thread.join()
    print(futex.load(), futex.wake_one())
    """
    before = "import threading, time\nfrom wrt_platform import *\nimport wrt_platform.linux.sync\n"
    assert say_in(environment, body, before=before) == ["timed", "out", "2", "0"]


@pytest.mark.row("SY-2")
@everywhere
def test_locks_of_every_protocol_exclude_or_say_why_not(environment: str) -> None:
    body = """
    for protocol in LockProtocol:
        builder = LinuxLockBuilder().with_protocol(protocol)
        try:
            if protocol.name == "CEILING":
                builder.with_ceiling(20)
            lock = builder.build()
        except WrtError as error:
            print(protocol.name, "refused", len(str(error)) > 30)
            continue
        count = [0]
        def work():
            for _ in range(300):
                with lock:
                    seen = count[0]
                    count[0] = seen + 1
        threads = [threading.Thread(target=work) for _ in range(3)]
        try:
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            print(protocol.name, count[0] == 900, lock.try_lock())
        except WrtError as error:
            print(protocol.name, "refused", len(str(error)) > 30)
    """
    before = "import threading\nfrom wrt_platform import *\nfrom wrt_platform.linux.sync import *\n"
    words = say_in(environment, body, before=before)
    answers = [words[place : place + 3] for place in range(0, len(words), 3)]
    plain = [answer for answer in answers if answer[0] in ("NONE", "INHERIT", "INHERITANCE")]
    assert plain and all(answer[1] == "True" for answer in plain), answers
    assert all(answer[2] == "True" for answer in answers), answers


# ---- Threads ----

# A pool is made once beforehand: an ordinary user may not be allowed to read Python's own files.
POOL = """
from wrt_platform import *
import wrt_platform
square = Instance(Module(bytes.fromhex(sys.argv[1]))).exports.square
with LinuxThreadPool(ThreadPoolConfig(), {1: square}) as _pool:
    _pool.submit(WasmTask(id=1, function_id=1, args=[3])).result(timeout=20)
"""


@pytest.mark.row("TH-1")
@everywhere
def test_threads_are_started_named_and_placed(environment: str) -> None:
    body = """
    config = wrt_platform.ThreadPoolConfig(max_threads=2, name_prefix="elsewhere")
    with wrt_platform.LinuxThreadPool(config, {1: square}) as pool:
        tasks = [wrt_platform.WasmTask(id=n, function_id=1, args=[n]) for n in range(1, 9)]
        print(*[pool.submit(task).result(timeout=20) for task in tasks])
    """
    words = say_in(environment, body, SQUARE, before=POOL)
    assert words == [str(number * number) for number in range(1, 9)]


@pytest.mark.row("TH-1")
@everywhere
def test_real_time_priority_is_given_or_the_right_to_it_named(environment: str) -> None:
    body = """
    system = LinuxThreadSystemBuilder().with_realtime_priority(5).build()
    config = ThreadPoolConfig(max_threads=1).with_require_priority().with_system(system)
    config.with_priority_range((ThreadPriority.REALTIME, ThreadPriority.REALTIME))
    try:
        with LinuxThreadPool(config, {1: square}) as pool:
            task = WasmTask(id=1, function_id=1, args=[5], priority=ThreadPriority.REALTIME)
            print("given", pool.submit(task).result(timeout=20))
    except WrtError as error:
        print("refused", any(name in str(error) for name in ("CAP_SYS_NICE", "RLIMIT_RTPRIO")))
    """
    words = say_in(environment, body, SQUARE, before=POOL)
    if environment == "user" or os.geteuid() != 0:
        assert words == ["refused", "True"]
    else:
        assert words in (["given", "25"], ["refused", "True"])


# ---- Files ----


@pytest.mark.row("WE-6")
@everywhere
def test_folders_of_guests_are_safe_or_refused(environment: str) -> None:
    body = """
    try:
        WasiConfig().with_preopen("/usr", "/data", read_only=True).build()
        print("lent")
    except UnsupportedError as error:
        print("refused", "openat2" in str(error))
    WasiConfig().with_arguments(["program"]).build()
    """
    before = "from wrt_platform import *\nimport wrt_platform.wasi\n"
    words = say_in(environment, body, before=before)
    assert words == (["refused", "True"] if environment == "old kernel" else ["lent"])
