"""Memory partitions of the simulated QNX kernel: random sequences of QNX's own calls, compared
with a model that works out all sums anew."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from support.qnx_checks import Kernel

PAGE = 4096
OK, ENOMEM, EBUSY, EEXIST, EINVAL = 0, 12, 16, 17, 22


@dataclass
class Partition:
    """What it uses is worked out from below each time."""

    parent: Partition | None = None
    minimum: int = 0
    maximum: int = 2**64 - 1
    processes: dict[int, int] = field(default_factory=dict)
    children: dict[str, Partition] = field(default_factory=dict)

    @property
    def used(self) -> int:
        below = sum(max(child.minimum, child.used) for child in self.children.values())
        return below + sum(self.processes.values())

    def line(self) -> Iterator[Partition]:
        partition: Partition | None = self
        while partition is not None:
            yield partition
            partition = partition.parent

    def holds(self, total: int) -> bool:
        """Whether no partition from here up has more than it may."""
        return all(one.used <= min(one.maximum, total) for one in self.line())


class Attributes(ctypes.Structure):
    _fields_ = [("minimum", ctypes.c_uint64), ("maximum", ctypes.c_uint64)]


class Config(ctypes.Structure):
    _fields_ = [("policy", ctypes.c_uint32 * 4), ("sizes", Attributes)]


class Change(ctypes.Structure):
    _fields_ = [("valid", ctypes.c_uint32), ("config", Config)]


class Info(ctypes.Structure):
    _fields_ = [
        ("used", ctypes.c_uint64),
        ("peak", ctypes.c_uint64),
        ("created", Config),
        ("now", Config),
        ("id", ctypes.c_uint32),
        ("children", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 2),
    ]


def command(direction: int, number: int, data: type[ctypes.Structure]) -> ctypes.c_int:
    return ctypes.c_int(direction + (ctypes.sizeof(data) << 16) + (0x11 << 8) + 20 + number)


ATTR_MAX, ATTR_MIN, ROOT = 0x10, 0x20, "/partition/mem/sysram"


class Tree:
    """Real calls on one side, the model on the other."""

    def __init__(self, kernel: Kernel, total: int) -> None:
        self.kernel, self.total = kernel, total
        self.partitions = {ROOT: Partition()}

    def answer(self, code: int) -> int:
        return OK if code >= 0 else self.kernel.errno

    def devctl(self, path: str, what: ctypes.c_int, data: ctypes.Structure) -> int:
        descriptor = self.kernel.call("open", path.encode(), 2)
        assert descriptor >= 0
        code = self.kernel.call(
            "devctl", descriptor, what, ctypes.byref(data),
            ctypes.c_size_t(ctypes.sizeof(data)), None)  # fmt: skip
        assert self.kernel.call("close", descriptor) == 0
        return code

    def info(self, path: str) -> Info:
        info = Info()
        assert self.devctl(path, command(-0x40000000, 2, Info), info) == OK
        return info

    def make(self, path: str) -> None:
        got = self.answer(self.kernel.call("mkdir", path.encode(), 0o755))
        if path in self.partitions:
            assert got == EEXIST
            return
        assert got == OK
        parent = self.partitions[path.rpartition("/")[0]]
        self.partitions[path] = parent.children[path] = Partition(parent)

    def remove(self, path: str) -> None:
        got = self.answer(self.kernel.call("rmdir", path.encode()))
        one = self.partitions[path]
        if one.children or one.used or one.processes:
            assert got == EBUSY
            return
        assert got == OK
        assert one.parent is not None
        del one.parent.children[path], self.partitions[path]

    def resize(self, path: str, member: int, value: int) -> None:
        sizes = Attributes(value if member == ATTR_MIN else 0, value if member == ATTR_MAX else 0)
        change = Change(member, Config(sizes=sizes))
        got = self.devctl(path, command(-0x80000000, 0, Change), change)
        one = self.partitions[path]
        old = one.minimum, one.maximum
        if member == ATTR_MIN:
            one.minimum = value
        else:
            one.maximum = value
        if one.minimum > one.maximum:
            wanted = EINVAL
        else:
            wanted = OK if one.holds(self.total) and one.minimum <= self.total else ENOMEM
        if wanted != OK:
            one.minimum, one.maximum = old
        assert got == wanted

    def use(self, path: str, process: int, value: int) -> None:
        got = self.kernel.control("process_use", process, ctypes.c_uint64(value))
        one = self.partitions[path]
        old = one.processes[process]
        one.processes[process] = value
        fits = value <= old or one.holds(self.total)
        if not fits:
            one.processes[process] = old
        assert (got == OK) == fits

    def compare(self) -> None:
        for path, one in self.partitions.items():
            assert self.info(path).used == one.used, path
            assert self.info(path).children == len(one.children), path


def spawn(kernel: Kernel, partition: int) -> int:
    attributes, process = ctypes.c_size_t(), ctypes.c_int()
    arguments = (ctypes.c_char_p * 4)(b"sh", b"-c", b"sleep 100 & wait", None)
    assert kernel.call("posix_spawnattr_init", ctypes.byref(attributes)) == OK
    assert kernel.call("posix_spawnattr_addpartid", ctypes.byref(attributes), partition, 0) == OK
    assert kernel.call("posix_spawnattr_setxflags", ctypes.byref(attributes), 0x100000) == OK
    assert kernel.call(
        "posix_spawn", ctypes.byref(process), b"/bin/sh", None, ctypes.byref(attributes),
        arguments, None) == OK  # fmt: skip
    assert kernel.call("posix_spawnattr_destroy", ctypes.byref(attributes)) == OK
    return process.value


@pytest.mark.row("QP-1")
@pytest.mark.parametrize("seed", range(10))
def test_random_partitions_are_those_of_a_model(kernel: Kernel, seed: int) -> None:
    chance = random.Random(seed)
    kernel.start(partitions=True)
    kernel.must("set_process_memory", ctypes.c_uint64(0))
    total = 1 << 30
    tree = Tree(kernel, total)
    places: dict[int, str] = {}
    for path in (f"{ROOT}/a", f"{ROOT}/a/b"):
        tree.make(path)
        process = spawn(kernel, tree.info(path).id)
        places[process] = path
        tree.partitions[path].processes[process] = 0
    for _ in range(300):
        path = chance.choice(list(tree.partitions))
        amount = chance.choice([0, 1, 3, 10, 40, 200, 400]) * 1024 * 1024
        action = chance.randrange(6)
        if action == 0 and len(tree.partitions) < 12:
            tree.make(f"{path}/{chance.choice('abc')}")
        elif action == 1 and path != ROOT:
            tree.remove(path)
        elif action == 2:
            tree.resize(path, ATTR_MIN, amount)
        elif action == 3:
            tree.resize(path, ATTR_MAX, amount if chance.random() < 0.5 else 2**64 - 1)
        else:
            process = chance.choice(list(places))
            tree.use(places[process], process, amount)
        tree.compare()


def test_the_model_of_partitions_sees_a_broken_kernel(kernel: Kernel) -> None:
    for semantic in ("parent", "reserve", "maximum"):
        kernel.start(partitions=True, broken=semantic)
        tree = Tree(kernel, 1 << 30)
        with pytest.raises(AssertionError):
            tree.make(f"{ROOT}/a")
            tree.resize(ROOT, ATTR_MAX, 64 * 1024 * 1024)
            tree.resize(f"{ROOT}/a", ATTR_MIN, 1024 * 1024)
            tree.compare()
            tree.resize(f"{ROOT}/a", ATTR_MIN, 80 * 1024 * 1024)
