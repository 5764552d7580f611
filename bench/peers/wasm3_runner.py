"""Runs a WASI program in wasm3, the peer that `make bench` compares with.

    python bench/peers/wasm3_runner.py MODULE [ARGUMENT...]

The package pywasm3 brings the interpreter without WASI, so the few calls that the measured
programs make stand here; they take next to none of the time. Folders are not confined: this is
for our own programs alone. Calls that are not here answer ENOSYS.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wasm3

STACK_SIZE = 1024 * 1024
SUCCESS, BAD_DESCRIPTOR, NOT_FOUND, NOT_SUPPORTED = 0, 8, 44, 52
PREOPEN = 3

SIGNATURES = {
    "args_get": "i(ii)",
    "args_sizes_get": "i(ii)",
    "clock_time_get": "i(iIi)",
    "environ_get": "i(ii)",
    "environ_sizes_get": "i(ii)",
    "fd_close": "i(i)",
    "fd_fdstat_get": "i(ii)",
    "fd_fdstat_set_flags": "i(ii)",
    "fd_filestat_get": "i(ii)",
    "fd_filestat_set_size": "i(iI)",
    "fd_prestat_dir_name": "i(iii)",
    "fd_prestat_get": "i(ii)",
    "fd_read": "i(iiii)",
    "fd_seek": "i(iIii)",
    "fd_sync": "i(i)",
    "fd_write": "i(iiii)",
    "path_create_directory": "i(iii)",
    "path_filestat_get": "i(iiiii)",
    "path_filestat_set_times": "i(iiiiIIi)",
    "path_open": "i(iiiiiIIii)",
    "path_readlink": "i(iiiiii)",
    "path_remove_directory": "i(iii)",
    "path_unlink_file": "i(iii)",
    "poll_oneoff": "i(iiii)",
    "proc_exit": "v(i)",
}


class Ended(Exception):
    """proc_exit: how a program ends itself."""


class Wasi:
    """The calls, by the names that modules import them under."""

    def __init__(self, runtime: Any, arguments: Sequence[str]) -> None:
        self._runtime = runtime
        self._arguments = [argument.encode() + b"\0" for argument in arguments]
        self._files: dict[int, int] = {0: 0, 1: 1, 2: 2}  # of the host, by the guest's number
        self.exit_code = 0

    def link(self, module: Any) -> None:
        for name, signature in SIGNATURES.items():
            call = getattr(self, name, self._not_supported)
            try:
                module.link_function("wasi_snapshot_preview1", name, signature, call)
            except RuntimeError as error:
                if "function lookup failed" not in str(error):  # it is not imported
                    raise

    @staticmethod
    def _not_supported(*_: int) -> int:
        return NOT_SUPPORTED

    def _store(self, address: int, layout: str, *values: int) -> None:
        struct.pack_into("<" + layout, self._runtime.get_memory(0), address, *values)

    def _buffers(self, address: int, count: int) -> list[memoryview]:
        memory = self._runtime.get_memory(0)
        pairs = struct.unpack_from(f"<{2 * count}I", memory, address)
        return [memory[start : start + size] for start, size in zip(pairs[::2], pairs[1::2])]

    def args_sizes_get(self, count: int, size: int) -> int:
        self._store(count, "I", len(self._arguments))
        self._store(size, "I", sum(map(len, self._arguments)))
        return SUCCESS

    def args_get(self, pointers: int, texts: int) -> int:
        memory = self._runtime.get_memory(0)
        for argument in self._arguments:
            self._store(pointers, "I", texts)
            memory[texts : texts + len(argument)] = argument
            pointers, texts = pointers + 4, texts + len(argument)
        return SUCCESS

    def environ_sizes_get(self, count: int, size: int) -> int:
        self._store(count, "I", 0)
        self._store(size, "I", 0)
        return SUCCESS

    def environ_get(self, pointers: int, texts: int) -> int:
        return SUCCESS

    def clock_time_get(self, clock: int, precision: int, result: int) -> int:
        self._store(result, "Q", time.time_ns())
        return SUCCESS

    def fd_write(self, number: int, buffers: int, count: int, written: int) -> int:
        if number not in self._files:
            return BAD_DESCRIPTOR
        size = sum(os.write(self._files[number], part) for part in self._buffers(buffers, count))
        self._store(written, "I", size)
        return SUCCESS

    def fd_read(self, number: int, buffers: int, count: int, read: int) -> int:
        if number not in self._files:
            return BAD_DESCRIPTOR
        self._store(read, "I", os.readv(self._files[number], self._buffers(buffers, count)))
        return SUCCESS

    def fd_seek(self, number: int, offset: int, whence: int, result: int) -> int:
        if self._files.get(number, 0) <= PREOPEN:
            return BAD_DESCRIPTOR
        self._store(result, "Q", os.lseek(self._files[number], offset, whence))
        return SUCCESS

    def fd_close(self, number: int) -> int:
        if number not in self._files:
            return BAD_DESCRIPTOR
        os.close(self._files.pop(number))
        return SUCCESS

    def fd_fdstat_get(self, number: int, result: int) -> int:
        kinds = {PREOPEN: 3}  # a folder; the rest are files
        self._store(result, "BxHxxxxQQ", kinds.get(number, 4), 0, 2**64 - 1, 2**64 - 1)
        return SUCCESS

    def fd_prestat_get(self, number: int, result: int) -> int:
        if number != PREOPEN:
            return BAD_DESCRIPTOR
        self._store(result, "II", 0, len("data"))
        return SUCCESS

    def fd_prestat_dir_name(self, number: int, text: int, size: int) -> int:
        self._runtime.get_memory(0)[text : text + size] = b"data"[:size]
        return SUCCESS

    def path_open(self, *arguments: int) -> int:
        path, size, result = arguments[2], arguments[3], arguments[8]
        name = bytes(self._runtime.get_memory(0)[path : path + size]).decode()
        try:
            opened = os.open(Path("data", name), os.O_RDONLY)
        except FileNotFoundError:
            return NOT_FOUND
        self._files[opened + PREOPEN + 1] = opened
        self._store(result, "I", opened + PREOPEN + 1)
        return SUCCESS

    def proc_exit(self, code: int) -> None:
        self.exit_code = code
        raise Ended


def read_number(content: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128, and where it ends."""
    number = shift = 0
    while True:
        number |= (content[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if content[at - 1] < 0x80:
            return number, at


def without_names(content: bytes) -> bytes:
    """The module without its custom sections. wasm3 looks a function up by the name section too,
    and there "_start" is one that the export calls, not the export itself."""
    kept, at = content[:8], 8
    while at < len(content):
        size, start = read_number(content, at + 1)
        if content[at] != 0:
            kept += content[at : start + size]
        at = start + size
    return kept


def main() -> int:
    path, *arguments = sys.argv[1:]
    environment = wasm3.Environment()
    runtime = environment.new_runtime(STACK_SIZE)
    module = environment.parse_module(without_names(Path(path).read_bytes()))
    runtime.load(module)
    wasi = Wasi(runtime, [path, *arguments])
    wasi.link(module)
    try:
        runtime.find_function("_start")()
    except Ended:
        pass
    except RuntimeError as error:
        print(f"wasm3: {error}", file=sys.stderr)
        return 134
    return wasi.exit_code


if __name__ == "__main__":
    sys.exit(main())
