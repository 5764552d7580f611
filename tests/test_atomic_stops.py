"""Writers of records that are stopped, killed and torn, readers that are overtaken, and checksums.

The programs are built from the library's sources, so that each can also be built with a fault in
them: what finds nothing in the good code has to find the fault.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest
from common import ROOT, run
from sanitized import sees_a_race
from support.atomic_programs import (
    CHECKSUM,
    FLAGS,
    GIVING_UP,
    NEVER_MARKED,
    NEWER_REPLACED,
    NOT_ATOMIC,
    NOT_LOOKING_BACK,
    SWAPPED,
    Fault,
    Programs,
)

pytestmark = [pytest.mark.row("AM-2"), pytest.mark.whole_process]

CRC, KEYED = 0, 1
CASES = [(CRC, 64, 12), (CRC, 13, 12), (KEYED, 20, 6)]  # size in bytes, writes


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(tmp_path_factory.mktemp("atomic"))


# Torn: any subset of the words of a write.


def test_every_subset_of_the_words_of_a_write_is_the_old_or_the_new_record(
    programs: Programs,
) -> None:
    """2,000 writes of random data, each with its 2^10 subsets, and those with the writer's mark."""
    counts = programs.counts("torn_records", "subsets", CRC, 3, 2002)
    assert counts["images"] == 2000 * (1024 + 512)
    assert counts["new"] == 2000  # with all of its words, and with nothing less
    assert counts["old"] == counts["images"] - counts["new"]
    assert counts["wrong"] == counts["nothing"] == 0


def test_the_same_with_a_key(programs: Programs) -> None:
    counts = programs.counts("torn_records", "subsets", KEYED, 3, 102)
    assert counts["images"] == 100 * (2048 + 1024)
    assert (counts["new"], counts["wrong"], counts["nothing"]) == (100, 0, 0)


def test_first_write_is_there_or_not(programs: Programs) -> None:
    counts = programs.counts("torn_records", "subsets", CRC, 1, 1)
    assert counts["images"] == 2048 + 1024  # the size is a word more
    assert (counts["old"], counts["wrong"]) == (0, 0)
    assert counts["new"] == 2  # the size may be missing: the checksum knows it


def test_writer_that_replaces_the_newer_copy_fails_the_same_test(programs: Programs) -> None:
    counts = programs.counts("torn_records", "subsets", CRC, 4, 24, faults=[NEWER_REPLACED])
    assert counts["wrong"] + counts["nothing"] > counts["images"] / 2


def test_without_a_checksum_torn_records_pass(programs: Programs) -> None:
    counts = programs.counts("torn_records", "subsets", CRC, 3, 22, checksum=False)
    assert counts["wrong"] > counts["images"] / 4


@pytest.mark.parametrize(("size", "bits"), [(1, 224), (4, 224), (16, 416), (64, 1184)])
def test_one_and_two_flipped_bits_are_never_read_as_data(
    programs: Programs, size: int, bits: int
) -> None:
    counts = programs.counts("torn_records", "flips", CRC, size)
    assert counts["images"] == bits + bits * (bits - 1) // 2
    assert counts["wrong"] == 0
    copy = 8 * (8 + size)  # bits of a copy that count: of the last word, only the data
    rest = bits - copy
    assert counts["new"] == rest + rest * (rest - 1) // 2
    nothing = copy * copy  # one in each copy
    if size % 4 == 0:
        assert counts["nothing"] == nothing
    else:
        assert counts["nothing"] >= nothing


def test_without_a_checksum_flipped_bits_pass(programs: Programs) -> None:
    assert programs.counts("torn_records", "flips", CRC, 4, checksum=False)["wrong"] > 1000


# Stopped: after each instruction.

needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="steps x86-64 instructions")


@needs_x86
@pytest.mark.parametrize(("keyed", "size", "writes"), CASES)
def test_writer_stopped_at_any_instruction_leaves_the_old_or_the_new_record(
    programs: Programs, keyed: int, size: int, writes: int
) -> None:
    counts = programs.counts("stopped_records", "writer", keyed, size, writes)
    assert counts["steps"] > 100 * writes
    assert (counts["wrong"], counts["unwritable"]) == (0, 0)


@needs_x86
def test_each_wall_holds_alone_and_without_both_the_test_fails(programs: Programs) -> None:
    """The order of the stores without the checksum, the checksum without the order, neither."""
    arguments = ("writer", CRC, 64, 8)
    assert programs.counts("stopped_records", *arguments, checksum=False)["wrong"] == 0
    assert programs.counts("stopped_records", *arguments, faults=[SWAPPED])["wrong"] == 0
    neither = programs.counts("stopped_records", *arguments, faults=[SWAPPED], checksum=False)
    assert neither["wrong"] > 100


@needs_x86
def test_writer_that_replaces_the_newer_copy_fails_when_stopped(programs: Programs) -> None:
    counts = programs.counts("stopped_records", "writer", CRC, 64, 4, faults=[NEWER_REPLACED])
    assert counts["wrong"] > 100


# The three take other instructions of the read, and all of them together; without a checksum only
# the order of the stores is left to judge by.
@needs_x86
@pytest.mark.parametrize("writes", [1, 2, 3])
@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "order"])
def test_reader_overtaken_at_any_instruction_reads_one_write(
    programs: Programs, writes: int, checksum: bool
) -> None:
    arguments = ("reader", CRC, 8, writes, writes - 1, 3)
    counts = programs.counts("stopped_records", *arguments, checksum=checksum)
    assert counts["steps"] > 30
    assert counts["wrong"] == 0


@needs_x86
@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "order"])
def test_reader_beside_a_write_that_is_not_over_reads_one_write(
    programs: Programs, checksum: bool
) -> None:
    """The write before has made the copy that the reader is at the older one."""
    counts = programs.counts("stopped_records", "both", CRC, 64, 1, 0, 7, checksum=checksum)
    assert counts["steps"] > 30
    assert counts["wrong"] == 0


@needs_x86
@pytest.mark.parametrize(
    ("mode", "fault"),
    [("reader", NOT_LOOKING_BACK), ("both", NOT_LOOKING_BACK), ("both", NEVER_MARKED)],
    ids=["not looking back", "not looking back, half a write", "never marked"],
)
def test_faults_of_order_are_caught_where_only_the_order_is_left(
    programs: Programs, mode: str, fault: Fault
) -> None:
    arguments = (mode, CRC, 64, 2 if mode == "reader" else 1, 0, 7)
    counts = programs.counts("stopped_records", *arguments, faults=[fault], checksum=False)
    assert counts["wrong"] == 1


@needs_x86
def test_reader_that_gives_up_is_caught(programs: Programs) -> None:
    arguments = ("reader", CRC, 8, 2, 0, 3)
    assert programs.counts("stopped_records", *arguments, faults=[GIVING_UP])["wrong"] == 1


# Killed, with the record in a file.


def test_killed_writers_leave_the_old_or_the_new_record(programs: Programs, tmp_path: Path) -> None:
    counts = programs.counts("killed_writer", tmp_path / "records", 200)
    assert counts["wrong"] == 0
    assert counts["half_done"] > 0, "no kill has met a writer at work"
    assert counts["writes"] > 1000


# Threads.


def test_threads_read_whole_records_only(programs: Programs) -> None:
    counts = programs.counts("racing_records", 0.3)
    assert counts["wrong"] == 0
    assert counts["writes"] > 1000 and counts["changes"] > 10


THREAD_SANITIZER = ("-fsanitize=thread", "-Wno-tsan")


def test_thread_sanitizer_sees_no_race_and_does_see_a_seeded_one(programs: Programs) -> None:
    counts = programs.counts("racing_records", 0.3, flags=THREAD_SANITIZER)
    assert counts["wrong"] == 0
    program = programs.build("racing_records", NOT_ATOMIC, flags=THREAD_SANITIZER)
    assert sees_a_race(program, "0.3")


# Checksums.

# "123456789"; RFC 3720, B.4: 32 bytes of 0, of FF, rising and falling.
PUBLISHED_CRCS = "E3069283 8A9136AA 62A8AB43 46DD794E 113FDB5C"
# Of the authors' list, and of the paper (the last one).
PUBLISHED_SIPHASHES = {0: "726FDB47DD0E0E31", 1: "74F839C593DC67FD", 15: "A129CA6149BE45E5"}


def check_checksums(output: str, methods: range) -> None:
    lines = output.splitlines()
    for method in methods:
        assert f"crc {method} {PUBLISHED_CRCS}" in lines
        assert f"different {method} 0" in lines  # from the definition, at any length
    hashes = lines[-1].split()[1:]
    assert {size: hashes[size] for size in PUBLISHED_SIPHASHES} == PUBLISHED_SIPHASHES


def test_checksums_are_the_published_ones(programs: Programs) -> None:
    output = run(programs.build("checksums"))
    assert output.startswith(("best 2\n", "best 3\n"))
    check_checksums(output, range(1, int(output.split()[1]) + 1))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="asks an x86-64 kernel")
def test_the_best_method_is_the_instruction_where_the_kernel_knows_it(programs: Programs) -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    expected = 3 if "sse4_2" in flags and "pclmulqdq" in flags else 2
    assert run(programs.build("checksums")).startswith(f"best {expected}\n")


def test_checksums_of_arm_are_the_published_ones(tmp_path: Path) -> None:
    """In the emulator, with a processor that has the instruction."""
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64-static")
    if compiler is None or emulator is None:
        pytest.skip("needs gcc-aarch64-linux-gnu and qemu-user-static")
    program = tmp_path / "checksums"
    sources = [
        ROOT / file for file in [*CHECKSUM, "c/src/core/siphash.c", "tests/support/checksums.c"]
    ]
    run(compiler, *FLAGS, "-static", "-o", program, *sources)
    output = run(emulator, "-cpu", "cortex-a57", program)
    assert output.startswith("best 3\n")
    check_checksums(output, range(1, 4))


def test_small_processors_get_64_bytes_of_table(tmp_path: Path) -> None:
    """The CRC of a Cortex-M4: code and table together, by the compiler's own count."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    found = tmp_path / "crc32c.o"
    flags = ["-mcpu=cortex-m4", "-mthumb", "-Os", "-ffreestanding", "-std=c11"]
    run("arm-none-eabi-gcc", *flags, "-c", ROOT / "c/src/core/crc32c.c", "-o", found)
    sizes = run("arm-none-eabi-nm", "--print-size", "--radix=d", found).splitlines()
    table = {line.split()[-1]: int(line.split()[1]) for line in sizes if len(line.split()) == 4}
    assert table["remainders"] == 64
    text = int(run("arm-none-eabi-size", found).splitlines()[1].split()[0])
    assert text < 200
    for name in ("crc32c_sliced", "crc32c_x86", "crc32c_arm"):
        run("arm-none-eabi-gcc", *flags, "-c", ROOT / f"c/src/core/{name}.c", "-o", found)
        assert run("arm-none-eabi-size", found).splitlines()[1].split()[0] == "0"
