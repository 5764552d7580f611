"""Tagged memory: a program for 64-bit Arm runs in the emulator, with the extension and without; and
here everything says why there is none.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from common import ROOT, run
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, UnsupportedError
from wrt_platform.linux.mte import (
    LinuxArm64MteAllocator,
    LinuxArm64MteAllocatorBuilder,
    MteMode,
    TaggedPointer,
)

pytestmark = pytest.mark.row("MT-1")

COMPILER, EMULATOR = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
CORE = ("config", "status", "slices")
LINUX = ("mte", "mte_blocks", "sys_mte", "sys", "fork", "port")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None or EMULATOR is None:
        pytest.skip("needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user")
    path = tmp_path_factory.mktemp("tagged") / "tagged"
    sources = [ROOT / f"c/src/core/{name}.c" for name in CORE]
    sources += [ROOT / f"c/src/linux/{name}.c" for name in LINUX]
    flags = ["-std=gnu11", "-O1", "-g", "-static", "-Wall", "-Wextra", "-Werror", "-pthread"]
    flags += ["-ffunction-sections", "-Wl,--gc-sections", f"-I{ROOT}/c/include"]
    run(COMPILER, *flags, *sources, ROOT / "tests/support/tagged.c", "-o", path)
    return path


def emulated(program: Path, cpu: str, part: str) -> subprocess.CompletedProcess[str]:
    assert EMULATOR is not None
    return subprocess.run(
        [EMULATOR, "-cpu", cpu, program, part], capture_output=True, text=True, timeout=120
    )


PARTS = ["faults", "free", "mask", "asynchronous", "threads", "blocks"]
PARTS += ["failures"]  # by wrt__sys_fail_at


@pytest.mark.parametrize("part", PARTS)
def test_with_the_extension(program: Path, part: str) -> None:
    done = emulated(program, "max", part)
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stdout + done.stderr


def test_a_processor_without_it_executes_no_tag_instruction(program: Path) -> None:
    done = emulated(program, "cortex-a72", "absent")
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    assert "no MTE in HWCAP2" in done.stdout


def test_the_parts_fail_where_there_is_none(program: Path) -> None:
    """The program notices what it is there to notice."""
    done = emulated(program, "cortex-a72", "mask")
    assert done.returncode != 0
    assert "line " in done.stdout


# ---- Here ----

needs_another = pytest.mark.skipif(
    platform.machine() == "aarch64", reason="this processor may have it"
)


@needs_another
def test_another_processor_says_so() -> None:
    assert LinuxArm64MteAllocator.is_available() is False
    assert "64-bit Arm" in LinuxArm64MteAllocator.why_unavailable()
    builder = LinuxArm64MteAllocatorBuilder().with_maximum_pages(1024)
    builder.with_mte_mode(MteMode.SYNCHRONOUS).with_tag_mask(0xFF).with_tag_check_on_free(True)
    with pytest.raises(UnsupportedError, match="this is another one"):
        builder.build()


@needs_another
@pytest.mark.parametrize(
    ("builder", "text"),
    [
        (LinuxArm64MteAllocatorBuilder().with_tag_mask(0x10000), "there are 16 tags"),
        (LinuxArm64MteAllocatorBuilder().with_maximum_pages(65537), "maximum_pages is 65537"),
    ],
)
def test_broken_rules_are_named_before_that(
    builder: LinuxArm64MteAllocatorBuilder, text: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        builder.build()


def test_pointers_carry_their_tag_in_four_bits() -> None:
    pointer = TaggedPointer(0x0A00_7FFF_1234_5670, 16)
    assert (pointer.tag, pointer.with_tag(0xB).address) == (0xA, 0x0B00_7FFF_1234_5670)
    assert pointer.with_tag(0).address == 0x7FFF_1234_5670
    assert pointer.with_tag(0xF).with_tag(0xA) == pointer
    with pytest.raises(InvalidArgumentError, match="tag is 16"):
        pointer.with_tag(16)


def test_calls_on_what_was_not_made_are_refused() -> None:
    raw = ffi.new("wrt_linux_mte_allocator *")
    pointer, size, tag = ffi.new("void **"), ffi.new("size_t *"), ffi.new("uint32_t *")
    report = ffi.new("wrt_linux_mte_allocator_report *")
    assert lib.wrt_linux_mte_allocator_enter(raw) == lib.WRT_ERR_STATE
    assert lib.wrt_linux_mte_allocator_allocate(raw, 16, pointer, size) == lib.WRT_ERR_STATE
    assert lib.wrt_linux_mte_allocator_free(raw, ffi.NULL) == lib.WRT_ERR_STATE
    assert lib.wrt_linux_mte_allocator_tag_at(raw, ffi.NULL, tag) == lib.WRT_ERR_STATE
    assert lib.wrt_linux_mte_allocator_query(raw, report) == lib.WRT_ERR_STATE
    assert lib.wrt_linux_mte_allocator_deinit(raw) == lib.WRT_OK
    assert lib.wrt_linux_mte_allocator_deinit(ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT
