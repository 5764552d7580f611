"""Control groups: set-ups of all kinds as faked trees, rules, and each system call failing once.

What only a kernel can show is in test_cgroups_kernel.py.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from failing_calls import Library, build, walk
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    InvalidArgumentError,
    LimitError,
    NotFoundError,
    StateError,
    SystemCallError,
    UnsupportedError,
    check,
)
from wrt_platform.linux.cgroups import (
    Cgroup,
    CgroupBuilder,
    CgroupController,
    LinuxCgroupLayout,
    LinuxCgroupObstacle,
    ResourceLimits,
    locate_cgroup,
)
from wrt_platform.linux.pressure import LinuxPressureBuilder, PressureLevel

ALL = CgroupController.CPU | CgroupController.IO | CgroupController.MEMORY | CgroupController.PIDS
V2 = "30 23 0:26 {top} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 23 0:31 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory"
OTHER = "23 1 8:1 / / rw,relatime - ext4 /dev/root rw"
LONG = "24 1 0:9 / / rw - overlay overlay rw,lowerdir=" + ":/var/lib/layers/0123456789" * 800


class Tree:
    """A root that has what a process would see of its groups."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True)

    def see(self, mounts: list[str], own: str) -> None:
        (self.root / "proc/self/mountinfo").write_text("\n".join(mounts) + "\n")
        (self.root / "proc/self/cgroup").write_text(own)

    def group(self, path: str, controllers: str = "", passes_on: str = "", **files: str) -> Path:
        folder = self.root / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text(f"{controllers}\n")
        (folder / "cgroup.subtree_control").write_text(f"{passes_on}\n")
        (folder / "cgroup.procs").write_text(files.pop("procs", ""))
        for name, text in files.items():
            (folder / name.replace("_", ".", 1)).write_text(text)
        return folder


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def v2(top: str = "/", point: str = "/sys/fs/cgroup") -> str:
    return V2.format(top=top, point=point)


# Row CG-1: where own group is.

PLACES = {
    "alone": ([OTHER, v2()], "0::/user.slice/a\n", "/sys/fs/cgroup/user.slice/a", False),
    "beside version 1": (
        [v2(point="/sys/fs/cgroup/unified"), V1],
        "4:memory:/other\n0::/a\n",
        "/sys/fs/cgroup/unified/a",
        False,
    ),
    "namespace": ([v2()], "0::/\n", "/sys/fs/cgroup", False),
    "container without a namespace": (
        [v2(top="/docker/0123")],
        "0::/docker/0123\n",
        "/sys/fs/cgroup",
        False,
    ),
    "below a container's group": (
        [v2(top="/docker/0123")],
        "0::/docker/0123/inner\n",
        "/sys/fs/cgroup/inner",
        False,
    ),
    "another container's group": (
        [v2(top="/docker/0123")],
        "0::/docker/01234\n",
        "/sys/fs/cgroup",
        True,
    ),
    "outside of the namespace": ([v2()], "0::/../..\n", "/sys/fs/cgroup", True),
    "mounted from outside": ([v2(top="/..")], "0::/\n", "/sys/fs/cgroup", True),
    "removed group": ([v2()], "0::/gone\n", "/sys/fs/cgroup", True),
    "blank in the path": ([v2(point="/sys/my\\040groups")], "0::/a\n", "/sys/my groups/a", False),
    "line that is too long": ([LONG, OTHER, v2(), LONG], "0::/a\n", "/sys/fs/cgroup/a", False),
    "second mount is the right one": (
        [v2(top="/b", point="/mnt"), v2()],
        "0::/a\n",
        "/sys/fs/cgroup/a",
        False,
    ),
}


@pytest.mark.row("CG-1")
@pytest.mark.parametrize("name", PLACES)
def test_own_group_is_found(tree: Tree, name: str) -> None:
    mounts, own, path, outside = PLACES[name]
    tree.see(mounts, own)
    for place in ("/sys/fs/cgroup", path):
        tree.group(place, "cpu io memory pids")
    found = locate_cgroup(str(tree.root))
    assert found.path == f"{tree.root}{path}"
    assert found.path.startswith(found.mount)
    assert found.is_outside is outside
    assert found.controllers == ALL
    has_v1 = any(" cgroup " in line for line in mounts)
    assert found.layout == (LinuxCgroupLayout.HYBRID if has_v1 else LinuxCgroupLayout.V2)


@pytest.mark.row("CG-1")
def test_version_1_alone_and_nothing_at_all_are_told(tree: Tree) -> None:
    for mounts, layout in (([V1], LinuxCgroupLayout.V1), ([OTHER], LinuxCgroupLayout.NONE)):
        tree.see(mounts, "4:memory:/a\n")
        found = locate_cgroup(str(tree.root))
        assert (found.layout, found.path, found.mount) == (layout, "", "")
        with pytest.raises(UnsupportedError, match="mount -t cgroup2"):
            CgroupBuilder("x").with_root(str(tree.root)).build()


@pytest.mark.row("CG-1")
def test_unreadable_proc_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemCallError, match=r"ENOENT.*is proc mounted"):
        locate_cgroup(str(tmp_path))


def test_this_process_is_found_where_the_kernel_lists_it() -> None:
    found = locate_cgroup()
    if found.layout in (LinuxCgroupLayout.NONE, LinuxCgroupLayout.V1) or found.is_outside:
        pytest.skip("no control group of version 2 is to be seen here")
    assert str(os.getpid()) in Path(found.path, "cgroup.procs").read_text().split()


# Row CG-1: what is in the way.


def plan_in(tree: Tree) -> Any:
    return CgroupBuilder("new").with_root(str(tree.root)).with_parent("/a/b").plan()


def groups(tree: Tree, top: str, middle: str, own: str, **files: str) -> list[Path]:
    """Each passes on what is said, and the next has it."""
    tree.see([v2()], "0::/a/b\n")
    return [
        tree.group("/sys/fs/cgroup", "cpu io memory pids", top),
        tree.group("/sys/fs/cgroup/a", top, middle, cgroup_type="domain\n"),
        tree.group("/sys/fs/cgroup/a/b", middle, own, **{"cgroup_type": "domain\n", **files}),
    ]


@pytest.mark.row("CG-1")
def test_plan_tells_what_is_enabled_and_what_would_be(tree: Tree) -> None:
    *_, own = groups(tree, "cpu memory", "memory", "memory")
    plan = plan_in(tree)
    assert plan.path == f"{own}/new"
    assert plan.enabled == CgroupController.MEMORY
    assert plan.to_enable == ALL & ~CgroupController.MEMORY
    assert (plan.blocked, plan.blocker) == (0, "")
    assert not Path(plan.path).exists()


@pytest.mark.row("CG-1")
def test_controller_that_the_top_lacks_is_named(tree: Tree) -> None:
    top, *_ = groups(tree, "cpu", "cpu", "cpu")
    (top / "cgroup.controllers").write_text("cpu pids\n")
    plan = plan_in(tree)
    assert plan.obstacle == LinuxCgroupObstacle.NOT_OFFERED
    assert plan.blocker == str(top)
    assert plan.blocked == CgroupController.IO | CgroupController.MEMORY
    assert plan.to_enable == CgroupController.PIDS
    assert "Delegate=yes" in plan.remedy


@pytest.mark.row("CG-1")
def test_processes_keep_back_what_counts_by_process(tree: Tree) -> None:
    *_, own = groups(tree, "cpu io memory pids", "cpu io memory pids", "", procs="12\n")
    plan = plan_in(tree)
    assert plan.obstacle == LinuxCgroupObstacle.HAS_PROCESSES
    assert plan.blocker == str(own)
    assert plan.blocked == CgroupController.IO | CgroupController.MEMORY
    assert plan.blocked_controller == CgroupController.IO
    assert "move_to_leaf" in plan.remedy
    moving = CgroupBuilder("new").with_root(str(tree.root)).with_move_to_leaf()
    assert not moving.plan().blocked


@pytest.mark.row("CG-1")
def test_group_of_threads_is_named(tree: Tree) -> None:
    *_, own = groups(tree, "memory", "memory", "", cgroup_type="threaded\n")
    plan = plan_in(tree)
    assert plan.obstacle == LinuxCgroupObstacle.THREADED
    assert plan.blocker == str(own)


@pytest.mark.row("CG-1")
@pytest.mark.parametrize(
    ("parent", "path"),
    [
        ("/sys/fs/cgroup/user.slice", "/sys/fs/cgroup/user.slice"),
        ("/sys/fs/cgroup", "/sys/fs/cgroup"),
        ("/user.slice/", "/sys/fs/cgroup/user.slice"),
        ("/", "/sys/fs/cgroup"),
        ("inner", "/sys/fs/cgroup/a/inner"),
        ("/sys/fs/cgroups", "/sys/fs/cgroup/sys/fs/cgroups"),
    ],
)
def test_parent_counts_from_mount_top_or_own_group(tree: Tree, parent: str, path: str) -> None:
    tree.see([v2()], "0::/a\n")
    tree.group("/sys/fs/cgroup/a")
    builder = CgroupBuilder("new").with_root(str(tree.root)).with_parent(parent)
    assert builder.plan().path == f"{tree.root}{path}/new"


# Rules.


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", "x" * 256])
def test_name_that_is_no_groups_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="name is not a group's"):
        CgroupBuilder(name).plan()


@pytest.mark.parametrize("parent", ["..", "/a/../b", "/a/.."])
def test_parent_with_a_step_up_is_refused(parent: str) -> None:
    with pytest.raises(InvalidArgumentError, match="step up"):
        CgroupBuilder("x").with_parent(parent).plan()


def test_unknown_controllers_and_missing_parents_are_refused(tree: Tree) -> None:
    with pytest.raises(InvalidArgumentError, match="controllers are 16"):
        CgroupBuilder("x").with_controllers(CgroupController(16)).plan()
    tree.see([v2()], "0::/\n")
    tree.group("/sys/fs/cgroup")
    builder = CgroupBuilder("x").with_root(str(tree.root))
    with pytest.raises(NotFoundError, match="parent is not there"):
        builder.with_parent("/none").build()
    with pytest.raises(LimitError, match="1024 bytes"):
        builder.with_parent("/x" * 600).build()


@pytest.mark.parametrize("device", ["", "8", "8:", "8:0:1", "sda", "8:4294967296", "-8:0"])
def test_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(InvalidArgumentError, match="8:0, major and minor"):
        check(lib.wrt_linux_cgroup_io_parse(device.encode(), b"", ffi.new("wrt_linux_cgroup_io *")))


@pytest.mark.parametrize("text", ["rbps", "rbps=", "rbps=1x", "rps=1", "rbps=1,wbps=2", "rbps=-1"])
def test_io_settings_that_are_none_are_refused(text: str) -> None:
    io = ffi.new("wrt_linux_cgroup_io *")
    with pytest.raises(InvalidArgumentError, match="of the form rbps="):
        check(lib.wrt_linux_cgroup_io_parse(b"8:0", text.encode(), io))


def test_io_settings_are_read_as_the_kernel_writes_them() -> None:
    io = ffi.new("wrt_linux_cgroup_io *")
    text = b"rbps=10485760 wbps=max riops=120 wiops=18446744073709551615\n"
    check(lib.wrt_linux_cgroup_io_parse(b"259:3", text, io))
    assert (io.major, io.minor, io.read_bytes, io.reads) == (259, 3, 10485760, 120)
    assert io.write_bytes == io.writes == 2**64 - 1


class Faked(Tree):
    """A group whose limits are ordinary files: what is written is what holds."""

    FILES: ClassVar = {
        "memory.max": "max\n",
        "memory.high": "max\n",
        "memory.swap.max": "max\n",
        "memory.oom.group": "0\n",
        "pids.max": "max\n",
        "cpu.weight": "100\n",
        "cpu.max": "max 100000\n",
        "io.max": "",
    }

    # What is written is as long as what was there: an ordinary file keeps what is behind.
    AS_LONG: ClassVar = {
        "memory.max": "11111111",
        "memory.high": "22222222",
        "memory.swap.max": "33333333",
        "memory.oom.group": "0",
        "pids.max": "5",
        "cpu.weight": "3",
        "cpu.max": "6000 100000",
        "io.max": "8:0 rbps=1048577 wbps=max riops=max wiops=max",
    }

    def make(self, files: dict[str, str] = FILES) -> Cgroup:
        self.see([v2()], "0::/\n")
        self.group("/sys/fs/cgroup", "cpu io memory pids", "cpu io memory pids")
        group = CgroupBuilder("x").with_root(str(self.root)).build()
        for name, text in files.items():
            Path(group.path, name).write_text(text)
        return group


@pytest.fixture
def faked(tmp_path: Path) -> Cgroup:
    return Faked(tmp_path).make()


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (ResourceLimits(cpu_weight=10001), "cpu_weight is 10001"),
        (ResourceLimits(cpu_max=(50_000, 999)), "cpu_period_us is 999"),
        (ResourceLimits(cpu_max=(50_000, 1_000_001)), "cpu_period_us is 1000001"),
        (ResourceLimits(cpu_max=(999, 100_000)), "cpu_quota_us is 999"),
        (ResourceLimits(cpu_max=(0, 100_000)), "needs a cpu_quota_us"),
        (ResourceLimits(io_max=[("8:0", "rbps=1")] * 17), "io_count is 17"),
    ],
)
def test_limit_out_of_its_range_is_refused(faked: Cgroup, limits: ResourceLimits, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why):
        faked.set_limits(limits)
    for name, text in Faked.FILES.items():
        assert Path(faked.path, name).read_text() == text


@pytest.mark.row("CG-1")
def test_value_that_does_not_hold_is_noticed(faked: Cgroup) -> None:
    """A kernel that takes a number and keeps another; here, a file that swallows it."""
    path = Path(faked.path, "pids.max")
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(SystemCallError, match=r"controller 8 .* another value holds"):
        faked.set_limits(ResourceLimits(memory_max=1 << 20, pids_max=5))
    assert faked.get_limits().memory_max == "max"


@pytest.mark.row("CG-1")
def test_limits_in_the_kernels_words(faked: Cgroup) -> None:
    faked.set_limits(ResourceLimits(cpu_max=(50_000, 100_000), pids_max=100))
    assert Path(faked.path, "cpu.max").read_text().startswith("50000 100000")
    assert Path(faked.path, "pids.max").read_text().startswith("100")
    assert faked.get_limits().cpu_max == (50_000, 100_000)


def test_swap_that_is_not_counted_can_not_leak(faked: Cgroup) -> None:
    Path(faked.path, "memory.swap.max").unlink()
    faked.set_limits(ResourceLimits(memory_swap_max=0))
    with pytest.raises(UnsupportedError, match="does not count swap"):
        faked.set_limits(ResourceLimits(memory_swap_max=4096))
    assert faked.get_limits().memory_swap_max is None


def test_pressure_has_rules(faked: Cgroup) -> None:
    from wrt_platform import EventsBuilder

    events = EventsBuilder().build()
    with pytest.raises(InvalidArgumentError, match="with_events"):
        LinuxPressureBuilder().build()
    for builder, why in (
        (LinuxPressureBuilder().with_low_share(1001), "share is above 1000"),
        (LinuxPressureBuilder().with_critical_share(5000), "share is above 1000"),
        (LinuxPressureBuilder().with_window("400ms"), "window_ns is 400000000"),
        (LinuxPressureBuilder().with_window(11), "window_ns is 11000000000"),
    ):
        with pytest.raises(InvalidArgumentError, match=why):
            builder.with_events(events).build()
    with pytest.raises(UnsupportedError, match="psi=1"):
        LinuxPressureBuilder().with_events(events).with_cgroup(faked).build()


def test_thresholds_are_written_in_the_kernels_words(faked: Cgroup) -> None:
    """The last one stays in the file; the kernel itself takes each."""
    from wrt_platform import EventsBuilder

    path = Path(faked.path, "memory.pressure")
    path.write_text("")
    builder = LinuxPressureBuilder().with_events(EventsBuilder().build()).with_cgroup(faked)
    builder.with_medium_share(300).with_source(7).build()
    assert path.read_bytes() == b"full 200000 2000000\0"
    assert [int(level) for level in PressureLevel] == [1, 2, 3]


def test_forked_child_is_refused(faked: Cgroup) -> None:
    child = os.fork()
    if child == 0:
        try:
            faked.get_stats()
        except StateError as error:
            os._exit(0 if "take_existing" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    faked.get_stats()


# Each system call fails once.


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("visible")
    return build(folder, "wrt_linux_cgroup_*", "wrt_linux_pressure_*")


CODES = [errno.EIO, errno.EACCES, errno.ENOENT, errno.EBUSY]


class Group:
    """A group of the visible library."""

    def __init__(self, library: Library, root: Path, parent: str = "/") -> None:
        self.call = library
        self._kept = [ffi.new("char[]", word.encode()) for word in ("x", parent, str(root))]
        name, parent_text, root_text = self._kept
        self.config = ffi.new(
            "wrt_linux_cgroup_config *",
            {
                "struct_size": ffi.sizeof("wrt_linux_cgroup_config"),
                "name": name,
                "parent": parent_text,
                "root": root_text,
            },
        )
        self.raw = ffi.new("wrt_linux_cgroup *")

    def init(self) -> int:
        return self.call("wrt_linux_cgroup_init", self.raw, self.config)

    def __call__(self, name: str, *arguments: Any) -> int:
        return self.call(f"wrt_linux_cgroup_{name}", self.raw, *arguments)


@pytest.mark.row("CG-1")
@pytest.mark.parametrize("code", CODES)
def test_init_that_fails_anywhere_leaves_nothing(library: Library, tree: Tree, code: int) -> None:
    groups(tree, "", "", "")
    group = Group(library, tree.root, "/a/b")
    group.config.controllers = lib.WRT_LINUX_CGROUP_MEMORY
    path = tree.root / "sys/fs/cgroup/a/b/x"

    def work() -> int:
        status = group.init()
        if status == lib.WRT_OK:
            assert group("deinit") == lib.WRT_OK
            path.rmdir()
        assert bytes(ffi.buffer(group.raw)) == bytes(ffi.sizeof("wrt_linux_cgroup"))
        assert not path.exists()
        return status

    failures = walk(library, code, work)
    assert len(failures) >= 8
    assert {failure.operation for failure in failures} == {b"wrt_linux_cgroup_init"}
    assert {failure.os_code for failure in failures} == {code}


@pytest.mark.row("CG-1")
@pytest.mark.parametrize("code", CODES)
def test_limits_that_fail_anywhere_are_taken_back(
    library: Library, tmp_path: Path, code: int
) -> None:
    Faked(tmp_path).make(Faked.AS_LONG)
    group = Group(library, tmp_path)
    group.config.take_existing = True
    assert group.init() == lib.WRT_OK
    io = ffi.new("wrt_linux_cgroup_io *", {"major": 8, "read_bytes": 1048576})
    size = ffi.sizeof("wrt_linux_cgroup_limits")
    given = {"memory_max": 1 << 26, "memory_high": 1 << 25, "pids_max": 9, "cpu_quota_us": 5000}
    given |= {"struct_size": size, "io": io, "io_count": 1, "cpu_weight": 7, "kill_together": True}
    limits = ffi.new("wrt_linux_cgroup_limits *", given)
    applied = ffi.new("wrt_linux_cgroup_limits *")
    folder = tmp_path / "sys/fs/cgroup/x"

    def work() -> int:
        status = group("set_limits", limits, applied)
        now = {name: (folder / name).read_text() for name in Faked.AS_LONG}
        if status == lib.WRT_OK:
            assert now["memory.max"] == str(applied.memory_max) == str(1 << 26)
        else:
            assert now == Faked.AS_LONG
            assert bytes(ffi.buffer(applied)) == bytes(size)
        for name, text in Faked.AS_LONG.items():
            (folder / name).write_text(text)
        return status

    failures = walk(library, code, work)
    assert len(failures) >= 7 * 4  # open and read, open and write
    assert {failure.operation for failure in failures} <= {
        b"wrt_linux_cgroup_set_limits",
        b"wrt_linux_cgroup_get_io",
    }
    assert group("deinit") == lib.WRT_OK


@pytest.mark.parametrize("code", CODES)
def test_looking_that_fails_anywhere_leaves_nothing_open(
    library: Library, tmp_path: Path, code: int
) -> None:
    Faked(tmp_path).make()
    group = Group(library, tmp_path)
    group.config.take_existing = True
    assert group.init() == lib.WRT_OK
    root = ffi.new("char[]", str(tmp_path).encode())
    places = ffi.new("wrt_linux_cgroup_location *")
    plan = ffi.new("wrt_linux_cgroup_plan *")
    stats = ffi.new("wrt_linux_cgroup_stats *")
    limits = ffi.new("wrt_linux_cgroup_limits *")
    io = ffi.new("wrt_linux_cgroup_io *")
    calls = {
        "locate": lambda: library("wrt_linux_cgroup_locate", root, places),
        "plan_of": lambda: library("wrt_linux_cgroup_plan_of", group.config, plan),
        "get_stats": lambda: group("get_stats", stats),
        "get_limits": lambda: group("get_limits", limits),
        "get_io": lambda: group("get_io", 8, 0, io),
        "add_process": lambda: group("add_process", 0),
    }
    (tmp_path / "sys/fs/cgroup/x/cgroup.procs").touch()
    for name, work in calls.items():
        for failure in walk(library, code, work):
            assert failure.operation == f"wrt_linux_cgroup_{name}".encode()
            assert failure.os_code == code
    assert group("deinit") == lib.WRT_OK


@pytest.mark.row("CG-2")
def test_watch_that_fails_anywhere_leaves_nothing(library: Library, tmp_path: Path) -> None:
    from wrt_platform import EventsBuilder

    Faked(tmp_path).make()
    group = Group(library, tmp_path)
    group.config.take_existing = True
    assert group.init() == lib.WRT_OK
    (tmp_path / "sys/fs/cgroup/x/memory.pressure").write_text("")
    events = EventsBuilder().build()
    given = {"struct_size": ffi.sizeof("wrt_linux_pressure_config"), "cgroup": group.raw}
    config = ffi.new("wrt_linux_pressure_config *", {**given, "events": events._raw})
    pressure = ffi.new("wrt_linux_pressure *")

    def work() -> int:
        status = library("wrt_linux_pressure_init", pressure, config)
        if status == lib.WRT_OK:
            assert library("wrt_linux_pressure_deinit", pressure) == lib.WRT_OK
        assert bytes(ffi.buffer(pressure)) == bytes(ffi.sizeof("wrt_linux_pressure"))
        return status

    for code in (errno.EACCES, errno.EOPNOTSUPP, errno.ENOMEM):
        failures = walk(library, code, work)
        assert len(failures) == 6  # three files, opened and written
    assert group("deinit") == lib.WRT_OK


@pytest.fixture
def real(library: Library) -> Iterator[Group]:
    """A group of this machine's own kernel; controllers are not needed."""
    group = Group(library, Path("/"))
    group.config.root = ffi.NULL
    if group.init() != lib.WRT_OK:
        pytest.skip("no control groups of version 2 that this user may make")
    yield group
    group("kill", 5 * 10**9)
    while os.path.exists(ffi.string(group.raw.path)):
        assert group("remove", 5 * 10**9) == lib.WRT_OK
    assert group("deinit") == lib.WRT_OK


def spawn_sleeper(group: Group, process: Any) -> int:
    words = [ffi.new("char[]", word) for word in (b"sleep", b"100")]
    arguments = ffi.new("char *[]", [*words, ffi.NULL])
    environment = ffi.new("char *[]", [ffi.NULL])
    program = ffi.new("char[]", b"/bin/sleep")
    return group("spawn", program, arguments, environment, process)


def group_of(process: int) -> str:
    lines = Path(f"/proc/{process}/cgroup").read_text().splitlines()
    return next(line for line in lines if line.startswith("0::"))


@pytest.mark.row("CG-2")
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOSYS, errno.EPERM, errno.EAGAIN])
def test_spawn_falls_back_to_fork_or_leaves_no_child(
    library: Library, real: Group, code: int
) -> None:
    """The pipe fails, then the clone: where that is only missing, a fork takes its place."""
    process = ffi.new("int32_t *")

    def work() -> int:
        status = spawn_sleeper(real, process)
        if status == lib.WRT_OK:
            assert group_of(process[0]) == "0::/x"
            os.kill(process[0], signal.SIGKILL)
            os.waitpid(process[0], 0)
        else:
            assert process[0] == 0
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return status

    falls_back = code in (errno.ENOSYS, errno.EPERM)
    failures = walk(library, code, work)
    assert len(failures) == (1 if falls_back else 2)


@pytest.mark.row("CG-2")
@pytest.mark.parametrize("name", ["freeze", "kill", "remove"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EINTR])
def test_control_that_fails_anywhere_can_be_called_again(
    library: Library, real: Group, name: str, code: int
) -> None:
    process = ffi.new("int32_t *")

    def work() -> int:
        if not real.raw.is_removed and name != "remove":
            assert spawn_sleeper(real, process) == lib.WRT_OK
        library.fail_at(0, 0)
        return lib.WRT_OK

    for call in range(1, 12):
        work()
        library.fail_at(call, code)
        status = real(name, 5 * 10**9)
        library.fail_at(0, 0)
        if status != lib.WRT_OK:
            assert library.last_failure().operation == f"wrt_linux_cgroup_{name}".encode()
        assert real("kill", 5 * 10**9) == lib.WRT_OK or name == "remove"
        if name != "remove":
            assert os.waitstatus_to_exitcode(os.waitpid(process[0], 0)[1]) == -signal.SIGKILL
        if real.raw.is_removed:
            break


@pytest.mark.row("CG-2")
def test_old_kernel_is_killed_one_by_one(library: Library, real: Group) -> None:
    process = ffi.new("int32_t *")
    pids = []
    for _ in range(3):
        assert spawn_sleeper(real, process) == lib.WRT_OK
        pids.append(int(process[0]))
    library.fail_at(1, errno.ENOENT)  # there is no cgroup.kill
    assert real("kill", 5 * 10**9) == lib.WRT_OK
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
