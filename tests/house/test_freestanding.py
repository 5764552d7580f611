"""Core and engine on a small processor: nothing below them but four memory functions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from common import run

# Division and 64-bit arithmetic by the compiler's own library; never thread-local storage
# (__aeabi_read_tp) and never 64-bit atomics (__atomic_load_8).
COMPILER_LIBRARY = re.compile(r"__aeabi_[a-z0-9]+|__gnu_thumb1_case_\w+|__(pop|cl|ct)\w+[sd]i2")
FORBIDDEN = {"__aeabi_read_tp"}
MEMORY_FUNCTIONS = {"memcpy", "memmove", "memset", "memcmp"}

# What a firmware brings along itself.
FIRMWARE = """
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *left, const void *right, size_t size);

void *memcpy(void *to, const void *from, size_t size) { return memmove(to, from, size); }
void *memmove(void *to, const void *from, size_t size)
{
    volatile unsigned char *next = to;
    const unsigned char *source = from;
    while (size-- > 0) *next++ = *source++;
    return to;
}
void *memset(void *to, int value, size_t size)
{
    volatile unsigned char *next = to;
    while (size-- > 0) *next++ = (unsigned char)value;
    return to;
}
int memcmp(const void *left, const void *right, size_t size)
{
    const unsigned char *a = left, *b = right;
    for (; size > 0; size--, a++, b++) {
        if (*a != *b) return *a - *b;
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def archive(cortex_m4_build: Path) -> Path:
    return cortex_m4_build / "libwrt_platform.a"


def names(archive: Path, option: str) -> set[str]:
    lines = run("arm-none-eabi-nm", "--format=posix", option, archive).splitlines()
    return {line.split()[0] for line in lines if line and not line.endswith(":")}


@pytest.mark.row("PA-4")
def test_no_symbol_of_a_system_is_wanted(archive: Path) -> None:
    wanted = names(archive, "--undefined-only") - names(archive, "--defined-only")
    by_compiler = {name for name in wanted if COMPILER_LIBRARY.fullmatch(name)} - FORBIDDEN
    assert wanted - by_compiler - MEMORY_FUNCTIONS == set()


# What a firmware that runs a guest calls, and nothing of threads, rings and records.
ENGINE = ("wrt_module_init", "wrt_instance_init", "wrt_instance_call", "wrt_static_allocator_init")


def link(archive: Path, folder: Path, *options: str) -> Path:
    firmware, image = folder / "firmware.c", folder / "firmware.elf"
    firmware.write_text(FIRMWARE)
    flags = [
        "-mcpu=cortex-m4",
        "-mthumb",
        "-Os",
        "-ffreestanding",
        "-fno-tree-loop-distribute-patterns",
    ]
    entry = ["-nostdlib", "-Wl,-e,wrt_version"]
    run("arm-none-eabi-gcc", *flags, *entry, firmware, *options, "-lgcc", "-o", image)
    return image


def test_all_of_it_links_without_any_library_but_the_compilers(
    archive: Path, tmp_path: Path
) -> None:
    image = link(archive, tmp_path, "-Wl,--whole-archive", str(archive), "-Wl,--no-whole-archive")
    assert "wrt_instance_call" in run("arm-none-eabi-nm", image)


def test_firmware_pays_for_what_it_calls_alone(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = [f"-Wl,-u,{name}" for name in ENGINE]
    image = link(archive, tmp_path, *used, "-Wl,--gc-sections", str(archive))
    assert "wrt_thread_pool_init" not in run("arm-none-eabi-nm", image)
    text = int(run("arm-none-eabi-size", image).splitlines()[-1].split()[0])
    with capsys.disabled():
        print(f"\nCortex-M4, -Os, a firmware that runs a guest: {text} bytes")
    assert 10_000 < text < 70_000


def test_sizes(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes of code and constants, of all there is."""
    table = run("arm-none-eabi-size", "--totals", archive)
    with capsys.disabled():
        print(f"\nCortex-M4, -Os:\n{table}")
    text, data, bss = (int(word) for word in table.splitlines()[-1].split()[:3])
    assert 10_000 < text < 130_000
    assert data == 0
    assert bss <= 128  # two error slots
