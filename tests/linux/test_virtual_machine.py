"""The virtual machine has what its tests come for; else they would be left out in silence."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

pytestmark = pytest.mark.vm


def test_every_controller_of_cgroups_is_in_the_one_hierarchy() -> None:
    controllers = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(controllers)


def test_pressure_is_measured() -> None:
    assert Path("/proc/pressure/memory").read_text().startswith("some avg10=")


def test_memory_has_two_nodes_and_huge_pages() -> None:
    assert Path("/sys/devices/system/node/has_memory").read_text().strip() == "0-1"
    pages = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    assert pages.read_text().strip() == "64"


def test_security_modules_are_on() -> None:
    modules = Path("/sys/kernel/security/lsm").read_text().split(",")
    assert {"landlock", "lockdown", "selinux"} <= set(modules)


def test_disk_is_there_and_what_is_written_stays_in_the_machine() -> None:
    assert stat.S_ISBLK(os.stat("/dev/vda").st_mode)
    assert Path("/sys/block/vda/size").read_text().strip() == str((256 << 20) // 512)
    probe = Path(__file__).with_name("written_inside")
    probe.write_text("the layer in memory takes it")
    assert probe.read_text()
    probe.unlink()
