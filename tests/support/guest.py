"""A guest on the raw C library: module, instance and what they need, kept alive together.

The engine's own tests see the C functions by their names and no face in between.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import wasmtime
from crates import FetchError, find_tool
from wrt_platform._native import ffi, lib

FINISHED, PAUSED = True, False


@cache
def assemble(text: str) -> bytes:
    """The binary form of a module in the text format."""
    try:
        tool = find_tool("wasm-tools")
    except FetchError:  # no cargo to install it; the same assembler comes with Wasmtime
        return bytes(wasmtime.wat2wasm(text))
    done = subprocess.run([tool, "parse", "-"], input=text.encode(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def new_config(name: str, **fields: Any) -> Any:
    config = ffi.new(f"{name} *")
    config.struct_size = ffi.sizeof(name)
    for field, value in fields.items():
        setattr(config, field, value)
    return config


def last_error() -> str:
    text = ffi.new("char[]", 400)
    lib.wrt_error_format(lib.wrt_error_last(), text, len(text))
    return str(ffi.string(text).decode())


def must(status: int) -> None:
    assert status == lib.WRT_OK, last_error()


class Module:
    """A validated module and its buffer."""

    def __init__(self, content: bytes) -> None:
        self.content = ffi.new("uint8_t[]", content)
        config = new_config("wrt_module_config", bytes=self.content, bytes_size=len(content))
        layout = ffi.new("wrt_layout *")
        must(lib.wrt_module_layout(config, layout))
        self.buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
        config.buffer, config.buffer_size = self.buffer, layout.bytes
        self.raw = ffi.new("wrt_module *")
        must(lib.wrt_module_init(self.raw, config))


class Guest:
    """An instance. `imports` maps (module, name) to a callable that takes the caller and the
    values, with its parameter and result types, or to a wrt_extern of another guest."""

    def __init__(
        self,
        text: str,
        imports: Mapping[tuple[str, str], Any] | None = None,
        *,
        start: bool = True,
        **settings: Any,
    ) -> None:
        self.module = Module(assemble(text))
        self._kept: list[Any] = []
        self.linux = ffi.new("wrt_linux_allocator *")
        must(lib.wrt_linux_allocator_init(self.linux, new_config("wrt_linux_allocator_config")))
        self.config = new_config("wrt_instance_config", module=self.module.raw, **settings)
        self.config.allocator = lib.wrt_linux_allocator_interface(self.linux)
        self._set_imports(imports or {})
        self.layout = ffi.new("wrt_layout *")
        self.raw = ffi.new("wrt_instance *")
        must(lib.wrt_instance_layout(self.config, self.layout))
        self.buffer = ffi.new("uint64_t[]", self.layout.bytes // 8)
        self.config.buffer, self.config.buffer_size = self.buffer, self.layout.bytes
        self.init_status = lib.wrt_instance_init(self.raw, self.config)
        if start:
            must(self.init_status)
            must(lib.wrt_instance_start(self.raw, 0))

    def close(self) -> None:
        must(lib.wrt_instance_deinit(self.raw))
        must(lib.wrt_linux_allocator_deinit(self.linux))

    def _set_imports(self, imports: Mapping[tuple[str, str], Any]) -> None:
        table = ffi.new("wrt_import[]", max(len(imports), 1))
        for entry, ((module, name), value) in zip(table, imports.items()):
            entry.module, entry.name = self._text(module), self._text(name)
            entry.value = self._host_function(*value) if isinstance(value, tuple) else value
        self.config.imports, self.config.import_count = table, len(imports)
        self._kept.append(table)

    def _text(self, text: str) -> Any:
        self._kept.append(ffi.new("char[]", text.encode()))
        return self._kept[-1]

    def _host_function(
        self, call: Callable[[Any, Any], int], parameters: Sequence[int], results: Sequence[int]
    ) -> Any:
        callback = ffi.callback("wrt_host_fn", lambda _, caller, values: call(caller, values))
        types = [ffi.new("uint8_t[]", list(kinds) or 1) for kinds in (parameters, results)]
        config = new_config(
            "wrt_host_function_config",
            parameters=types[0],
            parameter_count=len(parameters),
            results=types[1],
            result_count=len(results),
            call=callback,
        )
        function = ffi.new("wrt_host_function *")
        must(lib.wrt_host_function_init(function, config))
        self._kept += [callback, types, function]
        value = ffi.new("wrt_extern *", {"kind": lib.WRT_EXTERN_FUNCTION})
        value.of.function = ffi.addressof(function, "function")
        self._kept.append(value)
        return value[0]

    def export(self, name: str) -> Any:
        value = ffi.new("wrt_extern *")
        must(lib.wrt_instance_export(self.raw, name.encode(), len(name.encode()), value))
        self._kept.append(value)
        return value[0]

    def begin(self, name: str, *arguments: int) -> int:
        values = ffi.new("wrt_value[]", max(len(arguments), 1))
        for cell, argument in zip(values, arguments):
            cell.i64 = argument % 2**64
        function = self.export(name).of.function
        return int(lib.wrt_instance_begin(self.raw, function, values, len(arguments)))

    def run(self, instructions: int) -> tuple[int, bool]:
        done = ffi.new("bool *")
        status = lib.wrt_instance_run(self.raw, instructions, done)
        return int(status), bool(done[0])

    def step(self, instructions: int) -> tuple[int, bool]:
        done = ffi.new("bool *")
        status = lib.wrt_instance_step(self.raw, instructions, done)
        return int(status), bool(done[0])

    def result(self) -> int:
        value = ffi.new("wrt_value *")
        must(lib.wrt_instance_results(self.raw, value, 1))
        return int(value.i64)

    def call(self, name: str, *arguments: int, results: int = 1, timeout_ns: int = 0) -> Any:
        """The status, and the 32-bit results if it is WRT_OK."""
        given = ffi.new("wrt_value[]", max(len(arguments), 1))
        for cell, argument in zip(given, arguments):
            cell.i64 = argument % 2**64
        out = ffi.new("wrt_value[]", max(results, 1))
        call = new_config(
            "wrt_call",
            function=self.export(name).of.function,
            arguments=given,
            argument_count=len(arguments),
            results=out,
            result_count=results,
            timeout_ns=timeout_ns,
        )
        status = lib.wrt_instance_call(self.raw, call)
        if status != lib.WRT_OK:
            return status, None
        return status, out[0].i32 if results == 1 else tuple(cell.i32 for cell in out[0:results])

    @property
    def usage(self) -> Any:
        usage = ffi.new("wrt_instance_usage *")
        must(lib.wrt_instance_query(self.raw, usage))
        return usage

    @property
    def trap(self) -> Any:
        trap = ffi.new("wrt_trap *")
        must(lib.wrt_instance_trap(self.raw, trap))
        return trap

    def frames(self) -> list[tuple[int, int]]:
        """(function, offset) from the innermost frame outwards."""
        found: list[tuple[int, int]] = []
        frame = ffi.new("wrt_trap *")
        while lib.wrt_instance_frame(self.raw, len(found), frame) == lib.WRT_OK:
            found.append((frame.function, frame.offset))
        return found

    def memory(self, size: int) -> bytes:
        memory = ffi.new("wrt_memory **")
        must(lib.wrt_instance_memory(self.raw, memory))
        return bytes(ffi.buffer(memory[0].base, size))
