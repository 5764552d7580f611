"""Programs as compilers make them. What they print natively, on the real system, is what they
must print as guests; where Wasmtime is installed it has a say, too."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from wrt_platform import ExitError, Instance, Limits, Module, WasiBuilder

pytestmark = pytest.mark.row("WE-6")


class Outcome(NamedTuple):
    exit_code: int
    output: str
    errors: str


def guest(
    program: Path,
    folder: Path | None = None,
    arguments: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    text: str = "",
) -> Outcome:
    """Runs a program in our engine; `folder` is where it starts, and its root."""
    files = [os.memfd_create(name) for name in ("input", "output", "errors")]
    os.pwrite(files[0], text.encode(), 0)
    builder = (
        WasiBuilder()
        .with_arguments(["program", *arguments])
        .with_environment(environment or {})
        .with_standard_input(files[0])
        .with_standard_output(files[1])
        .with_standard_error(files[2])
    )
    if folder is not None:
        builder.with_preopen(folder, ".").with_preopen(folder, "/lent")
    with builder.build() as wasi:
        instance = Instance(
            Module(program.read_bytes()), imports=wasi, limits=Limits(timeout=60, memory="64MiB")
        )
        exit_code = 0
        try:
            instance.call("_start")
        except ExitError as ended:
            exit_code = ended.exit_code
        told = [os.pread(file, 1 << 20, 0).decode() for file in files[1:]]
    for file in files:
        os.close(file)
    return Outcome(exit_code, *told)


def native(
    program: Path, folder: Path, *arguments: str, text: str = "", **environment: str
) -> Outcome:
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def wasmtime_output(program: Path, folder: Path, tmp_path: Path) -> str:
    wasmtime = pytest.importorskip("wasmtime")
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    config = wasmtime.WasiConfig()
    config.preopen_dir(str(folder), ".")
    config.stdout_file = str(tmp_path / "output")
    store = wasmtime.Store(engine)
    store.set_wasi(config)
    instance = linker.instantiate(store, wasmtime.Module.from_file(engine, str(program)))
    instance.exports(store)["_start"](store)
    return (tmp_path / "output").read_text()


def without_system_words(output: str) -> list[str]:
    """The C libraries word their errors differently; what fails and what does not is the same."""
    numbers = (line.rpartition(": ") for line in output.splitlines())
    return [f"{what}: {end if end.lstrip('-').isdigit() else 'text'}" for what, _, end in numbers]


def test_c_program_sees_its_world(
    program: Callable[[str], Path], native_program: Callable[[str], Path], folder: Path
) -> None:
    arguments, environment = ("3", "", "with space", "ünï"), {"NAME": "value", "EMPTY": ""}
    text = "first\nsecond\n"
    found = guest(program("world"), None, arguments, environment, text)
    expected = native(native_program("world"), folder, *arguments, text=text, **environment)
    assert found == expected
    assert found.exit_code == 3
    assert found.errors == "terminals: 0 0 0\n"
    assert guest(program("world")).exit_code == 0


def test_c_program_uses_files_as_it_does_natively(
    program: Callable[[str], Path],
    native_program: Callable[[str], Path],
    folder: Path,
    tmp_path: Path,
) -> None:
    beside = tmp_path / "native"
    beside.mkdir()
    expected = native(native_program("files"), beside)
    found = guest(program("files"), folder)
    assert (found.exit_code, found.errors) == (0, "")
    assert without_system_words(found.output) == without_system_words(expected.output)
    assert os.listdir(folder) == os.listdir(beside) == []


ERRNO_WORDS = {  # glibc: wasi-libc, where they differ
    "Too many levels of symbolic links": "Symbolic link loop",
}


def test_c_program_meets_the_errors_of_the_system(
    program: Callable[[str], Path],
    native_program: Callable[[str], Path],
    folder: Path,
    tmp_path: Path,
) -> None:
    beside = tmp_path / "native"
    beside.mkdir()
    expected = native(native_program("files"), beside).output
    for theirs, ours in ERRNO_WORDS.items():
        expected = expected.replace(theirs, ours)
    assert guest(program("files"), folder).output == expected


def test_c_program_behaves_as_in_wasmtime(
    program: Callable[[str], Path], folder: Path, tmp_path: Path
) -> None:
    theirs = wasmtime_output(program("files"), folder, tmp_path)
    ours = guest(program("files"), folder).output
    assert without_system_words(ours) == without_system_words(theirs)


def test_rust_program(rust_program: Callable[[str], Path], folder: Path) -> None:
    found = guest(
        rust_program("standard_library"), folder, ("/lent",), {"KIND": "guest"}, "a\nlast"
    )
    assert found.exit_code == 42, found
    assert found.errors == "to standard error\n"
    assert found.output.splitlines() == [
        'variable Ok("guest")',
        "read a",
        "read last",
        '"two\\nthree\\nfour\\n" of 19 bytes',
        '"one\\ntwo"',
        '[("b", true), ("moved", false)]',
        "nothing: true",
        "a/moved/x: true",
        "../outside/secret: true",
        "NotFound",
        "AlreadyExists",
        "NotFound",
        "modified just now: true",
        "left: 0",
        "slept: true",
        "328350",
    ]


def test_rust_program_in_a_folder_lent_for_reading(
    rust_program: Callable[[str], Path], folder: Path
) -> None:
    errors = os.memfd_create("errors")
    with (
        WasiBuilder()
        .with_arguments(["program", "/lent"])
        .with_preopens([(folder, "/lent", True)])
        .with_standard_error(errors)
        .build()
    ) as wasi:
        instance = Instance(Module(rust_program("standard_library").read_bytes()), imports=wasi)
        with pytest.raises(ExitError) as ended:
            instance.call("_start")
    assert ended.value.exit_code == 1
    assert b"Read-only file system" in os.pread(errors, 1000, 0)
    assert os.listdir(folder) == []
    os.close(errors)


def test_output_through_a_pipe_that_is_read_slowly(program: Callable[[str], Path]) -> None:
    read_end, write_end = os.pipe()
    got = bytearray()

    def read() -> None:
        while data := os.read(read_end, 5):
            got.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    with WasiBuilder().with_arguments(["x", "0"]).with_standard_output(write_end).build() as wasi:
        with pytest.raises(ExitError):
            Instance(Module(program("world").read_bytes()), imports=wasi).call("_start")
        os.close(write_end)
    reader.join()
    os.close(read_end)
    assert got.endswith(b"time is sane: 1\nat exit\n")
