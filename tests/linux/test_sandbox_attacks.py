"""A sealed process in other hands: each thing that it could try is refused, and its parent, which
stays as it was, says what happened."""

from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import sealed
from support.sealed import Attack
from wrt_platform import WasiBuilder
from wrt_platform._native import ffi, lib

pytestmark = pytest.mark.row("SC-5")
X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="calls of x86 processors")

READ, WRITE, CLOCK, EXIT = {"x86_64": (0, 1, 228, 231), "aarch64": (63, 64, 113, 94)}.get(
    platform.machine(), (0, 0, 0, 0)
)
ALLOWED = {READ, WRITE, CLOCK, EXIT}
# The kernel's own, for probes that it has set: no filter sees them, and all others get nothing.
PAST_FILTERS = {335, 336} if platform.machine() == "x86_64" else set()
LAST_CALL = 470  # of Linux 6.18
X32 = 0x40000000


@pytest.fixture(scope="module")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sealed.attacker(tmp_path_factory.mktemp("attacker"))


@pytest.fixture(autouse=True)
def unharmed() -> Iterator[None]:
    """Afterwards this process has the descriptors and children that it had."""
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture(scope="module", autouse=True)
def program_is_open(attacker: Path) -> None:
    """The library keeps its own program open once it was used; that is not lost."""
    from wrt_platform import SandboxBuilder

    SandboxBuilder().build().close()


def killed_by(attack: Attack) -> int:
    report = attack.report
    assert report.end == lib.WRT_SANDBOX_SIGNALLED, (report.end, report.end_number)
    return int(report.end_number)


def test_every_system_call_but_four_is_the_end(attacker: Path) -> None:
    survived = []
    for number in range(LAST_CALL + 1):
        with Attack(attacker) as attack:
            if number == READ:
                continue  # of its socket: there it would wait
            status = attack.try_it(sealed.SYSTEM_CALL, number, 1)
            if status == lib.WRT_ERR_CRASHED and attack.report.end == lib.WRT_SANDBOX_SIGNALLED:
                end = signal.SIGILL if number in PAST_FILTERS else signal.SIGSYS
                assert killed_by(attack) == end, number
            else:
                survived.append(number)
    assert set(survived) - PAST_FILTERS == ALLOWED - {READ}


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (READ, (1,)), (READ, (2,)), (READ, (3,)), (READ, (2**32 - 1,)),
        (WRITE, (0,)), (WRITE, (2,)), (WRITE, (4,)),
        (CLOCK, (8,)), (CLOCK, (-6,)), (CLOCK, (-2 & 0xFFFFFFFF,)),
    ],
)  # fmt: skip
def test_arguments_of_allowed_calls_are_checked(
    attacker: Path, number: int, arguments: tuple[int, ...]
) -> None:
    with Attack(attacker) as attack:
        assert attack.try_it(sealed.SYSTEM_CALL, number, *arguments) == lib.WRT_ERR_CRASHED
        assert killed_by(attack) == signal.SIGSYS


def test_allowed_calls_work(attacker: Path) -> None:
    """Else the tests above would prove a process that can do nothing."""
    with Attack(attacker) as attack:
        assert attack.try_it(sealed.SYSTEM_CALL, WRITE, 1, 0, 0) == lib.WRT_ERR_TRAP
        assert attack.result == 0
        assert attack.try_it(sealed.SYSTEM_CALL, CLOCK, 1, 0) == lib.WRT_ERR_TRAP
        assert attack.result == -14  # EFAULT: it looked for a place to put the time
    with Attack(attacker) as attack:
        assert attack.try_it(sealed.SYSTEM_CALL, EXIT, 7) == lib.WRT_ERR_CRASHED
        report = attack.report
        assert (report.end, report.end_number) == (lib.WRT_SANDBOX_EXITED, 7)


@X86
@pytest.mark.parametrize("number", range(0, 450, 3))
def test_calls_of_32_bit_programs_are_the_end(attacker: Path, number: int) -> None:
    with Attack(attacker) as attack:
        assert attack.try_it(sealed.INTERRUPT_80, number, 1) == lib.WRT_ERR_CRASHED
        assert killed_by(attack) == signal.SIGSYS


@X86
def test_calls_of_32_bit_programs_by_allowed_numbers_are_the_end(attacker: Path) -> None:
    for number in ALLOWED | {11}:  # 11: execve there
        with Attack(attacker) as attack:
            assert attack.try_it(sealed.INTERRUPT_80, number, 1) == lib.WRT_ERR_CRASHED
            assert killed_by(attack) == signal.SIGSYS


@X86
@pytest.mark.parametrize("number", [0, 1, 2, 59, 228, 231, 520])
def test_x32_calls_are_the_end(attacker: Path, number: int) -> None:
    with Attack(attacker) as attack:
        assert attack.try_it(sealed.SYSTEM_CALL, X32 | number, 1) == lib.WRT_ERR_CRASHED
        assert killed_by(attack) == signal.SIGSYS


@X86
def test_the_check_of_the_processor_is_what_stops_32_bit_calls(tmp_path: Path) -> None:
    """Without it the same number is another call: 1 is exit there, and it ends with its code."""
    weak = sealed.attacker(tmp_path, r"    SKIP_IF\(OWN_PROCESSOR, 1\),\n    KILL,\n")
    with Attack(weak) as attack:
        assert attack.try_it(sealed.INTERRUPT_80, 1, 1) == lib.WRT_ERR_CRASHED
        report = attack.report
        assert (report.end, report.end_number) == (lib.WRT_SANDBOX_EXITED, 1)


def test_memory_ends_at_its_guard(attacker: Path) -> None:
    with Attack(attacker) as attack:
        assert attack.try_it(sealed.TOUCH_ALL) == lib.WRT_ERR_CRASHED
        assert killed_by(attack) == signal.SIGSEGV
        assert attack.memory()[15 * 65536] == b"\x01"


def test_data_is_no_code(attacker: Path) -> None:
    with Attack(attacker) as attack:
        assert attack.try_it(sealed.RUN_DATA) == lib.WRT_ERR_CRASHED
        assert killed_by(attack) == signal.SIGSEGV


@pytest.mark.parametrize("kind", [sealed.HANG, sealed.SLEEP])
def test_who_does_not_answer_is_killed_in_time(attacker: Path, kind: int) -> None:
    with Attack(attacker) as attack:
        start = time.monotonic()
        assert attack.try_it(kind, seconds=0.2) == lib.WRT_ERR_TIMED_OUT
        assert 0.19 < time.monotonic() - start < 2
        assert attack.report.end == lib.WRT_SANDBOX_KILLED


def test_processor_time_has_its_limit(attacker: Path) -> None:
    with Attack(attacker, cpu_seconds=1) as attack:
        assert attack.try_it(sealed.HANG, seconds=20) == lib.WRT_ERR_CRASHED
        assert killed_by(attack) == signal.SIGXCPU  # SIGKILL could be anybody's


@pytest.mark.parametrize(
    "message",
    [
        (0, 0), (3, 0), (0xFFFFFFFF, 0),  # kinds that there are not
        (sealed.ASK, 0, 0), (sealed.ASK, 0, 511), (sealed.ASK, 0, 0xFFFFFFFF),  # nothing is lent
        (sealed.DONE, -1), (sealed.DONE, 1000), (sealed.DONE, 18), (sealed.DONE, 20),
        (sealed.DONE, 7), (sealed.DONE, 16), (sealed.DONE, 17), (sealed.DONE, 19),
    ],
)  # fmt: skip
def test_answer_that_no_engine_gives_is_the_end(attacker: Path, message: tuple[int, ...]) -> None:
    """Statuses that only this side can come to are not taken from the other."""
    with Attack(attacker) as attack:
        assert attack.try_it(sealed.LIE, *message) == lib.WRT_ERR_CRASHED
        assert attack.report.end == lib.WRT_SANDBOX_KILLED


def test_numbers_that_are_too_large_are_cut(attacker: Path) -> None:
    with Attack(attacker) as attack:
        lie = (sealed.DONE, lib.WRT_ERR_TRAP, 0, 2**32 - 1, 2**32 - 1)
        assert attack.try_it(sealed.LIE, *lie) == lib.WRT_ERR_TRAP
        assert attack.report.frame_count == lib.WRT_SANDBOX_FRAMES
        text = ffi.new("char[]", 10000)
        assert lib.wrt_sandbox_sentence(attack.raw, text, 10000) == lib.WRT_OK
        said = ffi.string(text)
        assert said == b"?" * 4095, "nothing in it that a terminal would obey"
        base, size = ffi.new("uint8_t **"), ffi.new("uint64_t *")
        assert lib.wrt_sandbox_memory(attack.raw, base, size) == lib.WRT_OK
        assert size[0] == 16 * 65536, "no more than is mapped"


def test_types_that_no_engine_has_are_the_end(attacker: Path) -> None:
    with Attack(attacker) as attack:
        lie = (sealed.DONE, 0, 0, 0, 0, 2**32 - 1)
        assert attack.try_it(sealed.LIE, *lie) == lib.WRT_OK
        found, name = ffi.new("wrt_function_type *"), ffi.new("char[]", b"f")
        # It answers the question for a type like a call: with nothing.
        assert lib.wrt_sandbox_function(attack.raw, name, 1, found) == lib.WRT_OK
        assert (found.parameter_count, found.result_count) == (0, 0)


def test_doorbell_wakes_and_says_nothing(attacker: Path) -> None:
    with Attack(attacker) as attack:
        assert attack.try_it(sealed.RING, 2000, seconds=20) == lib.WRT_ERR_TRAP
        assert attack.try_it(sealed.RING, 1) == lib.WRT_ERR_TRAP


# ---- WASI, asked by somebody who changes what has been checked ----


class Lent:
    """WASI with one folder, and the number of each of its calls."""

    def __init__(self, folder: Path, output: int) -> None:
        self.wasi = WasiBuilder().with_preopen(folder, "/").with_standard_output(output).build()
        self.imports, self.count = self.wasi._imports, self.wasi._import_count
        names = [ffi.string(self.imports[i].name).decode() for i in range(self.count)]
        self.number = {name: index for index, name in enumerate(names)}


def test_vectors_that_change_under_a_write_show_nothing_of_the_parent(
    attacker: Path, tmp_path: Path
) -> None:
    """The vector leads behind the guest's memory every other moment, where this side has bytes of
    its own: what arrives is the guest's, or the call is refused."""
    output = os.open(tmp_path / "output", os.O_RDWR | os.O_CREAT)
    lent = Lent(tmp_path, output)
    with Attack(attacker, lent.imports, lent.count) as attack:
        memory = attack.memory()
        memory[0:131072] = b"g" * 65536 + b"p" * 65536
        memory[64:72] = (1024).to_bytes(4, "little") + (16).to_bytes(4, "little")
        outside = (70000).to_bytes(4, "little") + (16).to_bytes(4, "little")
        status = attack.try_it(
            sealed.ASK_AND_CHANGE, lent.number["fd_write"], 1, 64, 1, 128, 0, 64,
            int.from_bytes(outside, "little"), seconds=30,
        )  # fmt: skip
        assert status == lib.WRT_ERR_TRAP
        assert attack.report.host_calls == 10_000
    lent.wasi.close()
    os.lseek(output, 0, os.SEEK_SET)
    seen = os.read(output, 1 << 20)
    os.close(output)
    assert len(seen) >= 16
    assert set(seen) == set(b"g")


def test_path_that_changes_while_it_is_opened_stays_in_the_folder(
    attacker: Path, tmp_path: Path
) -> None:
    """Eight bytes of the path lead inside and out in turn, while the parent resolves it. The file
    that is told of is always the one inside."""
    folder = tmp_path / "lent"
    folder.mkdir()
    (folder / "inside").mkdir()
    (folder / "inside" / "file").write_text("inside")
    secret = tmp_path / "secretly"
    secret.mkdir()
    (secret / "file").write_text("secret")
    os.symlink(secret, folder / "linked__")
    output = os.open(os.devnull, os.O_WRONLY)
    lent = Lent(folder, output)
    with Attack(attacker, lent.imports, lent.count) as attack:
        memory = attack.memory()
        memory[4096:4108] = b"inside//file"
        for other in (b"linked__", b"../../..", b"/../secr"):
            status = attack.try_it(
                sealed.ASK_AND_CHANGE, lent.number["path_filestat_get"], 3, 1, 4096, 12, 1024, 4096,
                int.from_bytes(other, "little"), seconds=30,
            )  # fmt: skip
            assert status == lib.WRT_ERR_TRAP
            inode = int.from_bytes(memory[1032:1040], "little")
            assert inode in (0, (folder / "inside" / "file").stat().st_ino)
    lent.wasi.close()
    os.close(output)


def test_turn_that_is_taken_back_is_no_second_question(attacker: Path, tmp_path: Path) -> None:
    """It takes the turn while it is answered, a thousand times: the parent answers at its own
    pace, and both end well."""
    output = os.open(tmp_path / "output", os.O_RDWR | os.O_CREAT)
    lent = Lent(tmp_path, output)
    with Attack(attacker, lent.imports, lent.count) as attack:
        memory = attack.memory()
        memory[64:72] = (1024).to_bytes(4, "little") + (1).to_bytes(4, "little")
        status = attack.try_it(sealed.ASK_TWICE, lent.number["fd_write"], 1, 64, 1, 128, seconds=20)
        assert status in (lib.WRT_ERR_TRAP, lib.WRT_ERR_TIMED_OUT)
        assert 1 <= attack.report.host_calls <= 1001
    lent.wasi.close()
    os.close(output)


def test_two_sandboxes_know_nothing_of_each_other(attacker: Path) -> None:
    """What one has in its hands does not reach the other: neither memory nor descriptors."""
    with Attack(attacker) as one, Attack(attacker) as other:
        one.memory()[0:6] = b"secret"
        assert bytes(other.memory()[0:6]) == bytes(6)
        assert one.try_it(sealed.TOUCH_ALL) == lib.WRT_ERR_CRASHED
        assert other.try_it(sealed.RING, 1) == lib.WRT_ERR_TRAP
