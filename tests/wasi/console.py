"""A guest without a program: a module that hands each call of WASI to the test.

Every call of preview 1 is an export of the same name, and the memory is there to lay out
arguments by hand: `console.fd_write(1, vectors, 2, answer)` is exactly one call of the guest.
The same bytes run in Wasmtime, which judges what the calls answer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

MODULE = "wasi_snapshot_preview1"
PAGES = 2
SIZE = PAGES * 65536

# Parameters of each call as the proposal has them: i is i32, I is i64.
CALLS = {
    "args_get": "ii", "args_sizes_get": "ii", "environ_get": "ii", "environ_sizes_get": "ii",
    "clock_res_get": "ii", "clock_time_get": "iIi", "fd_advise": "iIIi", "fd_allocate": "iII",
    "fd_close": "i", "fd_datasync": "i", "fd_fdstat_get": "ii", "fd_fdstat_set_flags": "ii",
    "fd_fdstat_set_rights": "iII", "fd_filestat_get": "ii", "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi", "fd_pread": "iiiIi", "fd_prestat_get": "ii",
    "fd_prestat_dir_name": "iii", "fd_pwrite": "iiiIi", "fd_read": "iiii", "fd_readdir": "iiiIi",
    "fd_renumber": "ii", "fd_seek": "iIii", "fd_sync": "i", "fd_tell": "ii", "fd_write": "iiii",
    "path_create_directory": "iii", "path_filestat_get": "iiiii",
    "path_filestat_set_times": "iiiiIIi", "path_link": "iiiiiii", "path_open": "iiiiiIIii",
    "path_readlink": "iiiiii", "path_remove_directory": "iii", "path_rename": "iiiiii",
    "path_symlink": "iiiii", "path_unlink_file": "iii", "poll_oneoff": "iiii", "proc_exit": "i",
    "proc_raise": "i", "random_get": "ii", "sched_yield": "", "sock_accept": "iii",
    "sock_recv": "iiiiii", "sock_send": "iiiii", "sock_shutdown": "ii",
}  # fmt: skip

SUCCESS, ACCES, AGAIN, BADF, EXIST, FAULT, FBIG, INVAL, IO, ISDIR, LOOP = (
    0, 2, 6, 8, 20, 21, 22, 28, 29, 31, 32,
)  # fmt: skip
MFILE, NAMETOOLONG, NOENT, NOSPC, NOSYS, NOTDIR, NOTEMPTY, NOTSUP, PERM, PIPE, ROFS, SPIPE = (
    33, 37, 44, 51, 52, 54, 55, 58, 63, 64, 69, 70,
)  # fmt: skip
NOTCAPABLE = 76

CREATE, DIRECTORY, EXCLUSIVE, TRUNCATE = 1, 2, 4, 8  # of path_open
APPEND, NON_BLOCKING = 1, 4  # of descriptors
FOLLOW = 1
ALL_RIGHTS = (1 << 28) - 1
READ_RIGHTS = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 14 | 1 << 21 | 1 << 27
WRITE_RIGHTS = 1 << 6 | 1 << 8 | 1 << 22

ANSWER = 1024  # where answers are put
PATH = 4096  # where paths are put
OTHER_PATH = 16384
VECTORS = 2048
DATA = 32768


def _number(value: int) -> bytes:
    """LEB128 without sign."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _list(items: Iterable[bytes]) -> bytes:
    items = list(items)
    return _number(len(items)) + b"".join(items)


def _name(text: str) -> bytes:
    return _number(len(text)) + text.encode()


def _section(number: int, content: bytes) -> bytes:
    return bytes([number]) + _number(len(content)) + content


def _body(index: int, parameters: str) -> bytes:
    code = b"\0" + b"".join(b"\x20" + _number(i) for i in range(len(parameters)))
    code += b"\x10" + _number(index) + b"\x0b"
    return _number(len(code)) + code


def console_module(module: str = MODULE, pages: int = PAGES) -> bytes:
    """Imports all calls; exports each, called through a function of its own, and the memory."""
    kinds = {"i": b"\x7f", "I": b"\x7e"}
    types = [
        b"\x60" + _list(kinds[p] for p in parameters) + _list([b"\x7f"] * (name != "proc_exit"))
        for name, parameters in CALLS.items()
    ]
    imports = [
        _name(module) + _name(name) + b"\0" + _number(index) for index, name in enumerate(CALLS)
    ]
    exports = [_name(name) + b"\0" + _number(len(CALLS) + i) for i, name in enumerate(CALLS)]
    memory = _section(5, _list([b"\0" + _number(pages)])) if pages else b""
    if pages:
        exports.append(_name("memory") + b"\2\0")
    return (
        b"\0asm\1\0\0\0"
        + _section(1, _list(types))
        + _section(2, _list(imports))
        + _section(3, _list(_number(i) for i in range(len(CALLS))))
        + memory
        + _section(7, _list(exports))
        + _section(10, _list(_body(i, CALLS[name]) for i, name in enumerate(CALLS)))
    )


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Console:
    """What tests see of it, whatever engine is behind."""

    def __init__(self) -> None:
        self.called: set[str] = set()

    def invoke(self, name: str, arguments: list[int]) -> int:
        raise NotImplementedError

    def read(self, address: int, size: int) -> bytes:
        raise NotImplementedError

    def write(self, address: int, data: bytes) -> None:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name not in CALLS:
            raise AttributeError(name)

        def call(*arguments: int) -> int:
            widths = [32 if kind == "i" else 64 for kind in CALLS[name]]
            assert len(arguments) == len(widths), name
            return self.invoke(name, [signed(a, w) for a, w in zip(arguments, widths)])

        return call

    def number(self, address: int = ANSWER, size: int = 4) -> int:
        return int.from_bytes(self.read(address, size), "little")

    def path(self, path: str | bytes, address: int = PATH) -> tuple[int, int]:
        raw = path.encode() if isinstance(path, str) else path
        self.write(address, raw)
        return address, len(raw)

    def vectors(self, *sizes: int, address: int = VECTORS) -> tuple[int, int]:
        """Vectors one behind the other, from DATA on."""
        start = DATA
        for index, size in enumerate(sizes):
            self.write(address + 8 * index, struct.pack("<II", start, size))
            start += size
        return address, len(sizes)

    # Calls that tests make all the time.

    def open(
        self,
        folder: int,
        path: str | bytes,
        flags: int = 0,
        rights: int = ALL_RIGHTS,
        descriptor_flags: int = 0,
        follow: bool = True,
    ) -> int:
        """Opens; a negative number is an error."""
        error = self.path_open(
            folder, int(follow), *self.path(path), flags, rights, ALL_RIGHTS,
            descriptor_flags, ANSWER,
        )  # fmt: skip
        return -error if error else self.number()

    def put(self, descriptor: int, data: bytes) -> int:
        """Writes; what was written, or an error below 0."""
        self.write(DATA, data)
        error = self.fd_write(descriptor, *self.vectors(len(data)), ANSWER)
        return -error if error else self.number()

    def get(self, descriptor: int, size: int) -> bytes | int:
        error = self.fd_read(descriptor, *self.vectors(size), ANSWER)
        return -error if error else self.read(DATA, self.number())


class OurConsole(Console):
    """In our engine; keywords are methods of WasiBuilder: preopens=[...], standard_output=1."""

    def __init__(self, timeout: float | None = 20, pages: int = PAGES, **settings: Any) -> None:
        from wrt_platform import Instance, Limits, Module, WasiBuilder

        super().__init__()
        builder = WasiBuilder()
        for name, value in settings.items():
            getattr(builder, f"with_{name}")(value)
        self.wasi = builder.build()
        self.instance = Instance(
            Module(console_module(pages=pages)), imports=self.wasi, limits=Limits(timeout=timeout)
        )
        self.memory = self.instance.memory

    def invoke(self, name: str, arguments: list[int]) -> int:
        self.called.add(name)
        answer = self.instance.call(name, *arguments)
        return 0 if answer is None else int(answer)

    def read(self, address: int, size: int) -> bytes:
        return self.memory.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        self.memory.write(address, data)


class TheirConsole(Console):
    """In Wasmtime: the judge."""

    def __init__(self, folder: Path, arguments: list[str], environment: dict[str, str]) -> None:
        import wasmtime

        super().__init__()
        engine = wasmtime.Engine()
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        config = wasmtime.WasiConfig()
        config.argv = arguments
        config.env = list(environment.items())
        config.preopen_dir(str(folder), "/")
        self.store = wasmtime.Store(engine)
        self.store.set_wasi(config)
        instance = linker.instantiate(self.store, wasmtime.Module(engine, console_module()))
        self.exports = instance.exports(self.store)
        self.memory: Any = self.exports["memory"]

    def invoke(self, name: str, arguments: list[int]) -> int:
        function: Any = self.exports[name]
        answer = function(self.store, *arguments)
        return 0 if answer is None else int(answer)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.memory.read(self.store, address, address + size))

    def write(self, address: int, data: bytes) -> None:
        self.memory.write(self.store, data, address)
