"""The code blocks of linux_features.rst, by the names of docs/documents_linux.rst: what they do in
Python, and what the kernel says of it; that the page has a line for each; and that each lives on in
the Rust example."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from cargo import cargo
from common import ROOT
from process_memory import mapping_at
from support.environments import namespaces_refused, run_in
from wrt_platform import (
    LinuxAllocatorBuilder,
    LinuxArm64MteAllocator,
    LinuxArm64MteAllocatorBuilder,
    LinuxFutex,
    LinuxFutexBuilder,
    MteMode,
)
from wrt_platform._native import ffi
from wrt_platform.errors import (
    BusyError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedError,
)
from wrt_platform.linux_cgroups import CgroupBuilder, PressureLevel, ResourceLimits
from wrt_platform.linux_container import detect_environment, detect_resources
from wrt_platform.linux_io_uring import IoUringBuilder
from wrt_platform.linux_memory import (
    LinuxAllocator,
    LinuxNameSource,
    MadviseFlags,
    MmapFlags,
    NumaPolicy,
    ThpMode,
)
from wrt_platform.linux_perf import PerfCounter, PerfEventBuilder
from wrt_platform.linux_sync import benchmark_futex_strategies

PAGE = 65536
blocks: list[str] = []
_Test = TypeVar("_Test", bound=Callable[..., None])


def block(name: str) -> Callable[[_Test], _Test]:
    """Says which block a test is."""

    def note(test: _Test) -> _Test:
        blocks.append(name)
        return test

    return note


def base_of(pages: object) -> int:
    return int(ffi.cast("uintptr_t", pages._raw.base))  # type: ignore[attr-defined]


@block("advanced_mmap_usage")
@pytest.mark.row("LM-1")
@pytest.mark.row("LM-2")
def test_advanced_mmap_usage() -> None:
    allocator = (
        LinuxAllocatorBuilder()
        .with_maximum_pages(4096)  # 256MB max
        .with_guard_pages(True)  # PROT_NONE guards
        .with_populate(True)
        .with_huge_pages(True)
        .with_numa_node(0)
        .with_mlock(True)
        .build()
    )
    pages = allocator.allocate(1)
    assert mapping_at(base_of(pages)).kib["Rss"] >= 64
    pages.release()
    allocator.close()
    flags = MmapFlags.SHARED | MmapFlags.ANONYMOUS | MmapFlags.NORESERVE | MmapFlags.STACK
    shared = (
        LinuxAllocatorBuilder()
        .with_maximum_pages(16)
        .with_custom_flags(flags)
        .with_name("wasm_shared_heap")  # Shows in /proc/pid/maps
        .build()
    )
    pages = shared.allocate(1)
    area = mapping_at(base_of(pages))
    assert area.access.endswith("s")
    if shared.report.name_source != LinuxNameSource.NONE:
        assert "wasm_shared_heap" in area.name
    pages.release()
    shared.close()


@block("thp_configuration")
@pytest.mark.row("LM-3")
def test_thp_configuration() -> None:
    allocator = LinuxAllocatorBuilder().with_maximum_pages(1024).build()
    allocator.set_thp_mode(ThpMode.ALWAYS)
    pages = allocator.allocate(1024)
    try:
        allocator.madvise(pages, MadviseFlags.HUGEPAGE)
        allocator.madvise(pages, MadviseFlags.SEQUENTIAL)
    except UnsupportedError as error:
        pytest.skip(str(error))
    assert {"hg", "sr"} <= set(mapping_at(base_of(pages)).flags)
    stats = allocator.get_memory_stats(pages)
    assert stats.total_pages == 1024 * PAGE // stats.huge_page_bytes
    assert stats.huge_pages == stats.huge_bytes // stats.huge_page_bytes
    pages.release()
    allocator.close()


@block("numa_aware_allocation")
@pytest.mark.row("LM-4")
def test_numa_aware_allocation() -> None:
    topology = LinuxAllocator.detect_numa_topology()
    seen = {int(path.name[4:]) for path in Path("/sys/devices/system/node").glob("node[0-9]*")}
    assert {node.id for node in topology.nodes} <= (seen or {0})
    for node in topology.nodes:
        assert node.free_mb == node.free_bytes >> 20
        allocator = (
            LinuxAllocatorBuilder()
            .with_maximum_pages(16)
            .with_numa_node(node.id)
            .with_numa_policy(NumaPolicy.BIND)  # Strict binding
            .with_preferred_node(node.id)  # Fallback preference
            .build()
        )
        allocator.close()
    interleaved = LinuxAllocatorBuilder().with_maximum_pages(16)
    interleaved.with_numa_policy(NumaPolicy.INTERLEAVE)
    interleaved.with_numa_mask(topology.all_nodes_mask()).build().close()


def acquire(futex: LinuxFutex) -> None:
    while True:
        current = futex.load()
        if current > 0:
            if futex.compare_exchange(current, current - 1):
                return
        else:
            futex.wait(0)


def release(futex: LinuxFutex) -> None:
    futex.fetch_add(1)
    futex.wake_one()


@block("mte_for_memory_safety")
@pytest.mark.row("MT-1")
def test_mte_for_memory_safety() -> None:
    builder = (
        LinuxArm64MteAllocatorBuilder()
        .with_maximum_pages(1024)
        .with_mte_mode(MteMode.SYNCHRONOUS)  # Immediate tag checks
        .with_tag_mask(0xFF)  # Tags 0 to 7 for random ones
        .with_tag_check_on_free(True)  # Detect use-after-free
    )
    if not LinuxArm64MteAllocator.is_available():
        with pytest.raises(UnsupportedError, match=re.escape("Arm")):
            builder.build()
        return
    with builder.build() as allocator:
        allocator.enter()
        tagged = allocator.allocate_tagged(16, 0xA)
        tagged.write(bytes([42]))
        assert (tagged.tag, tagged.read(1)) == (0xA, bytes([42]))
        allocator.free(tagged)


@block("advanced_futex_usage")
@pytest.mark.row("LS-1")
@pytest.mark.row("LS-2")
def test_advanced_futex_usage() -> None:
    futex = LinuxFutexBuilder().with_priority_inheritance(True).with_robust(True).build()
    with pytest.raises(UnsupportedError):
        futex.wait(0)  # its word is the kernel's
    assert futex.lock is not None
    with futex.lock:
        pass
    futex.close()
    LinuxFutexBuilder().with_shared(True).with_realtime_clock(True).build().close()
    LinuxFutexBuilder().with_spin_count(1000).with_backoff_ns(100).build().close()
    assert len(benchmark_futex_strategies(20)) > 5
    futex = LinuxFutexBuilder().with_initial_value(2).build()
    for _ in range(2):
        acquire(futex)
    waiting = threading.Thread(target=acquire, args=(futex,))
    waiting.start()
    release(futex)
    waiting.join(20)
    assert not waiting.is_alive() and futex.load() == 0
    futex.close()


@block("cgroups_v2_integration")
@pytest.mark.row("CG-1")
@pytest.mark.row("CG-2")
def test_cgroups_v2_integration() -> None:
    limits = ResourceLimits(
        memory_max=1 << 30,
        memory_high=768 << 20,
        cpu_max=(50000, 100000),
        cpu_weight=100,
        pids_max=100,
    )
    refused = (UnsupportedError, PermissionDeniedError, BusyError, NotFoundError)
    try:
        with CgroupBuilder("wasm_runtime").with_take_existing().build() as cgroup:
            cgroup.set_limits(limits)
            assert cgroup.get_limits().memory_max == 1 << 30
            assert Path(cgroup.path, "pids.max").read_text() == "100\n"
            cgroup.on_memory_pressure(lambda level: print(PressureLevel(level).name))
    except refused as error:
        assert re.search(r"controller|version 2|group|Delegate", str(error)), error


@block("io_uring_integration")
@pytest.mark.row("IU-1")
def test_io_uring_integration() -> None:
    builder = IoUringBuilder().with_entries(256).with_cq_size(512)
    builder.with_sq_thread(True).with_sq_thread_cpu(0)
    with builder.build() as ring, open(sys.executable, "rb") as file:
        ring.submit_read(file, 4096, 0, user_data=42)
        completion = ring.wait_completion()
        assert completion.user_data == 42
        assert bytes(completion.data) == file.read(4096)


SANDBOX = """
from wrt_platform.linux_security import *
Namespace.unshare([NamespaceType.USER, NamespaceType.MOUNT, NamespaceType.PID,
                   NamespaceType.NETWORK, NamespaceType.IPC])
Capabilities.current().drop_all_except([Capability.SYS_RESOURCE])
if SeLinux.is_enabled():
    SeLinux.set_context("system_u:system_r:wasm_runtime_t:s0")
filter = (SeccompBuilder().allow(["read", "write", "mmap", "munmap", "mprotect", "futex",
                                  "clock_gettime", "exit_group"])
          .with_default_action(SeccompAction.KILL).with_log_failures(True).build())
interfaces = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
filter.load()
os.write(1, ("Sandbox configured " + " ".join(interfaces) + "\\n").encode())
if len(sys.argv) > 1:
    os.getppid()
os._exit(0)
"""


@block("security_sandboxing")
@pytest.mark.row("SC-1")
@pytest.mark.row("SC-2")
@pytest.mark.row("SC-3")
@pytest.mark.whole_process
@pytest.mark.skipif(namespaces_refused() != "", reason=namespaces_refused())
def test_security_sandboxing() -> None:
    done = run_in("here", SANDBOX)
    assert (done.returncode, done.stdout) == (0, "Sandbox configured lo\n"), done.stderr
    assert run_in("here", SANDBOX, "call").returncode == -31  # SIGSYS


@block("performance_monitoring")
@pytest.mark.row("PE-1")
def test_performance_monitoring() -> None:
    kinds = ("CPU_CYCLES", "INSTRUCTIONS", "CACHE_MISSES", "BRANCH_MISSES")
    try:
        counters = [PerfEventBuilder().with_type(PerfCounter[kind]).build() for kind in kinds]
    except (UnsupportedError, PermissionDeniedError) as error:
        assert re.search("PMU|does not count|perf_event_paranoid|seccomp", str(error)), error
        return
    for counter in counters:
        counter.enable()
    sum(range(100_000))
    for counter in counters:
        assert counter.name
        counter.read()
        counter.close()


@block("container_aware_configuration")
@pytest.mark.row("CT-1")
def test_container_aware_configuration() -> None:
    assert detect_environment().name in {
        *("NONE", "DOCKER", "PODMAN", "KUBERNETES", "LXC", "NSPAWN", "OTHER_CONTAINER"),
        *("SYSTEMD", "WSL"),
    }
    resources = detect_resources()
    assert resources.memory_limit is not None
    assert 0 < resources.memory_limit <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@block("kernel_tuning")
@pytest.mark.row("RT-2")
def test_kernel_tuning() -> None:
    """Of the three files one is not there, and never was."""
    memory = Path("/sys/kernel/mm")
    if (memory / "hugepages").exists():
        assert list(memory.glob("hugepages/hugepages-*kB/nr_hugepages"))
    if (memory / "transparent_hugepage").exists():
        assert "never" in (memory / "transparent_hugepage/defrag").read_text()
    assert not Path("/proc/sys/kernel/futex_hashsize").exists()


# ---- The three lists ----


def lines() -> list[str]:
    page = (ROOT / "docs/documents_linux.rst").read_text()
    found = re.findall(r"^   \* - ``(\w+)``\n     - .+\n     - .+$", page, re.MULTILINE)
    assert len(found) == len(re.findall(r"^   \* - ", page, re.MULTILINE)) - 1  # the head
    return found


def test_every_block_has_its_test_and_a_line_on_the_page() -> None:
    assert lines() == blocks
    page = (ROOT / "docs/documents_linux.rst").read_text()
    assert f"{len(blocks)} code blocks" in page


@pytest.mark.whole_process  # a sanitizer's run time would be in the compiler
@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_every_block_lives_as_a_rust_example() -> None:
    words = ("run", "--quiet", "-p", "wrt-platform", "--example", "linux_features")
    done = cargo(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [name for name in blocks if name != "kernel_tuning"]


def test_names_of_the_documents_lead_to_the_modules() -> None:
    """In a process of its own: each is imported first of all."""
    names = ["memory", "cgroups", "container", "perf", "security", "sync", "io_uring"]
    for name in names:
        code = f"from wrt_platform import linux_{name} as a\n"
        code += f"from wrt_platform.linux import {name} as b\n"
        code += "assert all(getattr(a, n) is getattr(b, n) for n in b.__all__)"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_values_out_of_range_are_refused_in_build() -> None:
    with pytest.raises(InvalidArgumentError):
        LinuxAllocatorBuilder().with_numa_node(2000).build()
