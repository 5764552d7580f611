"""Containers and limits: faked roots as each runtime makes them, false friends, and this host.

What stands in the faked files is what the runtimes write: Docker with overlay2 and either version
of control groups, Podman, a pod of containerd's, LXC, systemd-nspawn, WSL 2.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from failing_calls import build, walk
from wrt_platform import Limits, RunLimits
from wrt_platform._native import ffi
from wrt_platform.errors import InvalidArgumentError, SystemCallError
from wrt_platform.linux.cgroups import CgroupBuilder, ResourceLimits
from wrt_platform.linux.container import (
    ContainerEnvironment,
    LinuxCgroupLayout,
    LinuxConfidence,
    LinuxLimitSource,
    describe_environment,
    detect_environment,
    detect_resources,
)

GIB, MIB = 1 << 30, 1 << 20
PLAIN_ROOT = "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
LAYERS = "500 400 0:60 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/x/l/ABC,upperdir=/u\n"
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw\n"
DOCKER_HOSTS = (
    "510 500 8:1 /var/lib/docker/containers/0123abc/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
)
PODMAN_HOSTS = (
    "510 500 0:30 /containers/storage/overlay-containers/0123/userdata/hosts /etc/hosts rw"
    " - tmpfs tmpfs rw\n"
)
POD_HOSTS = "510 500 8:1 /var/lib/kubelet/pods/11-22/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
POD = "0::/kubepods.slice/kubepods-pod11.slice/cri-containerd-22.scope\n"

Files = dict[str, str]


def fake(root: Path, files: Files) -> str:
    defaults = {
        "proc/self/mountinfo": PLAIN_ROOT + V2,
        "proc/self/cgroup": "0::/\n",
        "proc/self/status": "Name:\tx\nVmSize:\t1000 kB\nCpus_allowed:\tff\n",
        "proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n",
        "proc/sys/kernel/osrelease": "6.1.0-13-amd64\n",
    }
    for name, text in (defaults | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


NONE, DOCKER = ContainerEnvironment.NONE, ContainerEnvironment.DOCKER
PODMAN, KUBERNETES = ContainerEnvironment.PODMAN, ContainerEnvironment.KUBERNETES
SYSTEMD, WSL = ContainerEnvironment.SYSTEMD, ContainerEnvironment.WSL
TOKEN = "var/run/secrets/kubernetes.io/serviceaccount/token"

ROOTS: dict[str, tuple[Files, ContainerEnvironment, set[ContainerEnvironment]]] = {
    "plain machine": ({}, NONE, set()),
    "Docker": (
        {".dockerenv": "", "proc/self/mountinfo": LAYERS + DOCKER_HOSTS + V2},
        DOCKER,
        {DOCKER},
    ),
    "Docker, its files on a volume": (
        {".dockerenv": "", "proc/self/mountinfo": LAYERS + V2},
        DOCKER,
        {DOCKER},
    ),
    "Docker, version 1": (
        {".dockerenv": "", "proc/self/cgroup": "4:memory:/docker/0123abc\n"},
        DOCKER,
        {DOCKER},
    ),
    "Podman": (
        {
            "run/.containerenv": 'engine="podman-4.3.1"\n',
            "proc/self/mountinfo": LAYERS + PODMAN_HOSTS + V2,
            "proc/self/environ": "container=podman\0HOME=/root\0",
        },
        PODMAN,
        {PODMAN},
    ),
    "pod": (
        {
            "proc/self/mountinfo": LAYERS + POD_HOSTS + V2,
            "proc/self/environ": "KUBERNETES_SERVICE_HOST=10.0.0.1\0",
            TOKEN: "x",
        },
        KUBERNETES,
        {KUBERNETES},
    ),
    "pod without an account": ({"proc/self/cgroup": POD}, KUBERNETES, {KUBERNETES}),
    "pod of Docker's": (
        {
            ".dockerenv": "",
            "proc/self/mountinfo": LAYERS + DOCKER_HOSTS + POD_HOSTS + V2,
            TOKEN: "x",
        },
        KUBERNETES,
        {KUBERNETES, DOCKER},
    ),
    "LXC": (
        {"proc/1/environ": "container=lxc\0", "run/systemd/container": "lxc"},
        ContainerEnvironment.LXC,
        {ContainerEnvironment.LXC},
    ),
    "nspawn": (
        {"run/systemd/container": "systemd-nspawn\n"},
        ContainerEnvironment.NSPAWN,
        {ContainerEnvironment.NSPAWN},
    ),
    "a manager that nobody knows": (
        {"run/host/container-manager": "brand-new\n"},
        ContainerEnvironment.OTHER_CONTAINER,
        {ContainerEnvironment.OTHER_CONTAINER},
    ),
    "service": (
        {
            "proc/self/cgroup": "0::/system.slice/wasm.service\n",
            "proc/self/environ": "INVOCATION_ID=12ab\0",
        },
        SYSTEMD,
        {SYSTEMD},
    ),
    "service in a container": (
        {
            "proc/self/cgroup": "0::/system.slice/wasm.service\n",
            "proc/self/environ": "INVOCATION_ID=12ab\0",
            "run/systemd/container": "podman\n",
        },
        PODMAN,
        {PODMAN, SYSTEMD},
    ),
    "WSL": (
        {"proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2\n"},
        WSL,
        {WSL},
    ),
    "Docker on WSL": (
        {
            "proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2\n",
            ".dockerenv": "",
            "proc/self/mountinfo": LAYERS + DOCKER_HOSTS + V2,
        },
        DOCKER,
        {DOCKER, WSL},
    ),
    # False friends.
    "image that was unpacked on a machine": ({".dockerenv": ""}, NONE, set()),
    "live system made of layers": ({"proc/self/mountinfo": LAYERS + V2}, NONE, set()),
    "variable that leaked": (
        {"proc/self/environ": "KUBERNETES_SERVICE_HOST=10.0.0.1\0"},
        NONE,
        set(),
    ),
    "variable of another name": (
        {"proc/self/environ": "MY_KUBERNETES_SERVICE_HOST=x\0container_x=docker\0container=\0"},
        NONE,
        set(),
    ),
    "shell in a desktop session": (
        {
            "proc/self/cgroup": "0::/user.slice/user-1.slice/user@1.service/app.slice/a.service\n",
            "proc/self/environ": "INVOCATION_ID=12ab\0",
        },
        NONE,
        set(),
    ),
    "machine that runs Docker": (
        {"proc/self/mountinfo": PLAIN_ROOT + V2, "var/lib/docker/containers/0123/x": ""},
        NONE,
        set(),
    ),
    "user called docker": ({"proc/self/cgroup": "0::/user.slice/docker\n"}, NONE, set()),
}


@pytest.mark.row("CT-1")
@pytest.mark.parametrize("name", ROOTS)
def test_environment_is_told_by_signs_that_agree(tmp_path: Path, name: str) -> None:
    files, environment, layers = ROOTS[name]
    root = fake(tmp_path, files)
    found = describe_environment(root)
    assert found.environment is detect_environment(root) is environment
    assert found.layers == layers
    assert (found.confidence != LinuxConfidence.NONE) == (environment != NONE)
    for layer in layers:
        signs = [sign for sign in found.evidence if sign.runtime == layer]
        assert len(signs) > 1 or signs[0].confidence == LinuxConfidence.CERTAIN


@pytest.mark.row("CT-1")
def test_signs_are_listed_even_where_they_do_not_suffice(tmp_path: Path) -> None:
    (sign,) = describe_environment(fake(tmp_path, {".dockerenv": ""})).evidence
    assert sign == (DOCKER, LinuxConfidence.HINT, "/.dockerenv is there")


# Limits.


def group(name: str, **files: str) -> Files:
    return {f"sys/fs/cgroup{name}/{key.replace('_', '.', 1)}": f"{files[key]}\n" for key in files}


def test_a_machine_without_limits(tmp_path: Path) -> None:
    found = detect_resources(fake(tmp_path, {}))
    assert found.memory_total == found.memory_limit == 16 * GIB
    assert found.memory_available == 8 * GIB
    assert found.memory_source == LinuxLimitSource.MACHINE
    assert (found.cpu_count, found.cpus, found.cpu_quota) == (8, 8.0, None)
    assert found.cpu_source == LinuxLimitSource.AFFINITY
    assert found.pids_limit is None


@pytest.mark.row("CT-1")
def test_the_least_limit_above_counts_and_what_is_used_there(tmp_path: Path) -> None:
    """Own group may have 4 GiB, the one above it 1 GiB, the one above that 2 GiB."""
    files = {"proc/self/cgroup": "0::/a/b/c\n"}
    files |= group("/a", memory_max="2147483648", memory_current="500000000", cpu_max="max 100000")
    files |= group("/a/b", memory_max="1073741824", memory_current="73741824", pids_max="70")
    files |= group("/a/b/c", memory_max="4294967296", memory_current="1", cpu_max="150000 100000")
    found = detect_resources(fake(tmp_path, files))
    assert found.memory_limit == GIB
    assert (found.memory_source, found.memory_depth) == (LinuxLimitSource.CGROUP_V2, 2)
    assert found.memory_available == 10**9  # that /a/b has left
    assert (found.cpu_quota, found.cpus) == (1.5, 1.5)
    assert found.cpu_source == LinuxLimitSource.CGROUP_V2
    assert found.pids_limit == 70
    assert found.cgroup_layout == LinuxCgroupLayout.V2
    others = tmp_path / "sys/fs/cgroup/a/memory.current"
    others.write_text("2000000000\n")  # by neighbours of /a/b
    now = detect_resources(str(tmp_path))
    assert (now.memory_limit, now.memory_available) == (GIB, 2147483648 - 2000000000)


@pytest.mark.row("CT-1")
@pytest.mark.parametrize(
    ("allowed", "quota", "count", "cpus"),
    [
        ("ff", "max 100000", 8, 8.0),
        ("3", "400000 100000", 2, 2.0),
        ("ffffffff,00000001", "250000 100000", 33, 2.5),
        ("1", "1000 1000000", 1, 0.001),
        ("f", "100 1000000", 4, 0.001),
    ],
)
def test_cpus_are_the_lesser_of_affinity_and_quota(
    tmp_path: Path, allowed: str, quota: str, count: int, cpus: float
) -> None:
    files = {"proc/self/cgroup": "0::/a\n", **group("/a", cpu_max=quota)}
    files["proc/self/status"] = f"Cpus_allowed:\t{allowed}\nCpus_allowed_list:\t0-63\n"
    found = detect_resources(fake(tmp_path, files))
    assert (found.cpu_count, found.cpus) == (count, cpus)


V1_MOUNTS = PLAIN_ROOT + "".join(
    f"{number} 23 0:{number} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"
    for number, name in enumerate(["memory", "cpu,cpuacct", "pids"], start=40)
)


def version_1(limit: str, hierarchical: str, quota: str) -> Files:
    base = "sys/fs/cgroup"
    return {
        "proc/self/mountinfo": V1_MOUNTS,
        "proc/self/cgroup": "5:pids:/x\n4:memory:/docker/01\n3:cpu,cpuacct:/x\n0::/\n",
        f"{base}/memory/docker/01/memory.limit_in_bytes": f"{limit}\n",
        f"{base}/memory/docker/01/memory.usage_in_bytes": f"{100 * MIB}\n",
        f"{base}/memory/docker/01/memory.stat": f"hierarchical_memory_limit {hierarchical}\n",
        f"{base}/memory/memory.limit_in_bytes": "9223372036854771712\n",
        f"{base}/cpu,cpuacct/x/cpu.cfs_quota_us": f"{quota}\n",
        f"{base}/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
        f"{base}/pids/x/pids.max": "33\n",
    }


@pytest.mark.row("CT-1")
def test_version_1_is_read(tmp_path: Path) -> None:
    none = "9223372036854771712"
    found = detect_resources(fake(tmp_path / "a", version_1(str(GIB), none, "50000")))
    assert (found.memory_limit, found.memory_available) == (GIB, GIB - 100 * MIB)
    assert found.memory_source == found.cpu_source == LinuxLimitSource.CGROUP_V1
    assert (found.cpus, found.pids_limit) == (0.5, 33)
    assert found.cgroup_layout == LinuxCgroupLayout.V1
    hidden = detect_resources(fake(tmp_path / "b", version_1(none, str(GIB), "-1")))
    assert (hidden.memory_limit, hidden.cpus) == (GIB, 8.0)
    free = detect_resources(fake(tmp_path / "c", version_1(none, none, "-1")))
    assert free.memory_source == LinuxLimitSource.MACHINE


@pytest.mark.row("CT-1")
def test_run_limits_are_a_share_of_what_can_be_had(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/a\n"}
    files |= group("/a", memory_max=str(300 * MIB), memory_current=str(100 * MIB))
    root = fake(tmp_path, files)
    assert RunLimits is Limits
    limits = RunLimits.from_environment(root=root, timeout="5s")
    assert (limits.memory, limits.timeout, limits.fuel) == (100 * MIB, 5.0, None)
    assert RunLimits.from_environment(share=0.25, root=root).memory == 50 * MIB
    (tmp_path / "sys/fs/cgroup/a/memory.current").write_text(str(301 * MIB))
    assert RunLimits.from_environment(root=root).memory == 65536
    for share in (0, -1, 1.5, float("nan")):
        with pytest.raises(InvalidArgumentError, match="share is"):
            RunLimits.from_environment(share=share)


def test_without_proc_it_says_so(tmp_path: Path) -> None:
    for call in (detect_environment, detect_resources):
        with pytest.raises(SystemCallError, match="ENOENT: is proc mounted"):
            call(str(tmp_path))


def test_each_read_that_fails_is_survived_or_told(tmp_path: Path) -> None:
    library = build(tmp_path, "wrt_linux_environment_*", "wrt_linux_resources_*")
    files = version_1(str(GIB), "1", "50000")
    files["proc/self/mountinfo"] += V2
    root = ffi.new("char[]", fake(tmp_path / "root", files).encode())
    for name in ("environment", "resources"):
        out = ffi.new(f"wrt_linux_{name} *")
        call = f"wrt_linux_{name}_detect"
        for code in (errno.EACCES, errno.EIO):
            for failure in walk(library, code, partial(library, call, root, out)):
                assert failure.operation == call.encode()
                assert failure.os_code == code


# This host.


@pytest.mark.row("CT-1")
def test_this_host_as_python_sees_it() -> None:
    found = detect_resources()
    assert found.cpu_count == len(os.sched_getaffinity(0))
    assert found.memory_total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert found.memory_limit is not None and found.memory_available is not None
    assert 0 < found.memory_available <= found.memory_limit
    child = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    child += "from wrt_platform.linux.container import *; print(detect_resources().cpus <= 1)"
    assert subprocess.check_output([sys.executable, "-c", child], text=True) == "True\n"


@pytest.mark.row("CT-1")
@pytest.mark.whole_process  # a sanitizer's shadow is larger than the limit
def test_address_space_is_a_limit() -> None:
    child = (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
        "from wrt_platform.linux.container import *\nfound = detect_resources()\n"
        "print(found.memory_limit <= 1 << 31, found.memory_available < 1 << 31,"
        " found.memory_source.name)"
    )
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        pytest.skip("the address space is limited here already")
    told = subprocess.check_output([sys.executable, "-c", child], text=True).split()
    assert told[:2] == ["True", "True"]
    assert told[2] in ("ADDRESS_SPACE", "CGROUP_V1", "CGROUP_V2", "MACHINE")


NESTED = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
from wrt_platform.linux.container import *
found = detect_resources()
print(found.memory_limit, found.memory_source.name, found.memory_depth, found.cpus)
print(found.pids_limit)
"""


@pytest.mark.vm
@pytest.mark.row("CT-1")
def test_limits_of_real_groups_one_in_the_other() -> None:
    outer = CgroupBuilder("wrt-outer").build()
    inner = CgroupBuilder("inner").with_parent("/wrt-outer").build()
    with outer, inner:
        inner.set_limits(ResourceLimits(memory_max=512 * MIB, pids_max=80))
        outer.set_limits(ResourceLimits(memory_max=256 * MIB, cpu_max=(150_000, 100_000)))
        child = [sys.executable, "-c", NESTED, inner.path]
        told = subprocess.check_output(child, text=True).split()
        assert told == [str(256 * MIB), "CGROUP_V2", "1", "1.5", "80"]
