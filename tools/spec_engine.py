"""The raw C library, as the official test-suite needs it.

No face stands between: a World holds the instances of one script and calls the C functions by
their own names, so that what passes here is the engine itself. Storage belongs to the caller, and
a table may hold functions of an instance that failed to start: so a World keeps all that it ever
made until it ends.
"""

from __future__ import annotations

import ctypes
import mmap
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wrt_platform._native import ffi, lib

# Enough for every script, and an end for an engine that goes round in circles.
FUEL = 1_000_000_000
STACK_SIZE = 256 * 1024

NUMBER_TYPES = {"i32": "i32", "i64": "i64", "f32": "i32", "f64": "i64"}  # floats come as bits
TYPE_NAMES = {
    lib.WRT_I32: "i32",
    lib.WRT_I64: "i64",
    lib.WRT_F32: "f32",
    lib.WRT_F64: "f64",
    lib.WRT_FUNCREF: "funcref",
    lib.WRT_EXTERNREF: "externref",
}

# The host module of the suite. Its functions print in the reference interpreter; ours do nothing.
PRINTERS: dict[str, list[int]] = {
    "print": [],
    "print_i32": [lib.WRT_I32],
    "print_i64": [lib.WRT_I64],
    "print_f32": [lib.WRT_F32],
    "print_f64": [lib.WRT_F64],
    "print_i32_f32": [lib.WRT_I32, lib.WRT_F32],
    "print_f64_f64": [lib.WRT_F64, lib.WRT_F64],
}
GLOBALS: dict[str, tuple[int, str, float]] = {
    "global_i32": (lib.WRT_I32, "i32", 666),
    "global_i64": (lib.WRT_I64, "i64", 666),
    "global_f32": (lib.WRT_F32, "f32", 666.6),
    "global_f64": (lib.WRT_F64, "f64", 666.6),
}


class Value(NamedTuple):
    """A value as the scripts write it: floats by their bits, references by number or None."""

    type: str
    number: int | None


class Outcome(NamedTuple):
    """How a command ended: all that a script, or another way of running it, can compare."""

    status: int
    values: tuple[Value, ...] = ()
    trap_text: str = ""
    trap_offset: int = 0
    fuel_used: tuple[int, ...] = ()  # of each instance so far


class Refused(Exception):
    """The library refused a module, with this status and at this byte."""

    def __init__(self, status: int, offset: int) -> None:
        super().__init__(f"status {status} at byte {offset}")
        self.status = status
        self.offset = offset


class StepError(AssertionError):
    """A step ran another number of instructions than it was asked for."""


class ProtectedMemory:
    """Memory from the kernel, to be sealed against writing. What it holds ends where a page
    ends, and the next page can't be touched: reading past the end faults as well."""

    def __init__(self, size: int, alignment: int) -> None:
        self._room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, self._room + mmap.PAGESIZE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.address = self._start + (self._room - size) // alignment * alignment
        self._protect(self._start + self._room, mmap.PAGESIZE, 0)

    def seal(self) -> None:
        self._protect(self._start, self._room, mmap.PROT_READ)

    def unseal(self) -> None:
        self._protect(self._start, self._room, mmap.PROT_READ | mmap.PROT_WRITE)

    @staticmethod
    def _protect(address: int, size: int, protection: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if size and libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), protection):
            raise OSError(ctypes.get_errno(), "mprotect failed")


def new_config(name: str) -> Any:
    config = ffi.new(f"{name} *")
    config.struct_size = ffi.sizeof(name)
    return config


def must(status: int) -> None:
    """For calls of the World itself, which have no business failing."""
    if status != lib.WRT_OK:
        text = ffi.new("char[]", 300)
        lib.wrt_error_format(lib.wrt_error_last(), text, 300)
        raise AssertionError(ffi.string(text).decode())


@ffi.callback("wrt_host_fn")  # type: ignore[untyped-decorator]
def print_nothing(context: Any, caller: Any, values: Any) -> int:
    return lib.WRT_OK


def text_of(name: Any) -> str:
    return bytes(ffi.buffer(name.text, name.size)).decode()


def usage_of(module: Any) -> Any:
    usage = ffi.new("wrt_module_usage *")
    must(lib.wrt_module_query(module, usage))
    return usage


def write_value(cell: Any, value: Value) -> None:
    if value.type in NUMBER_TYPES:
        setattr(cell, NUMBER_TYPES[value.type], value.number)
    else:  # null is 0 in C, so the host's reference 0 is 1
        cell.reference = 0 if value.number is None else value.number + 1


def value_of(cell: Any, value_type: int) -> Value:
    name = TYPE_NAMES[value_type]
    if name in NUMBER_TYPES:
        return Value(name, int(getattr(cell, NUMBER_TYPES[name])))
    if cell.reference == 0:
        return Value(name, None)
    return Value(name, int(cell.reference) - 1 if name == "externref" else 0)


class World:
    """The instances of one script, run by call or by steps, in sealed memory or not."""

    def __init__(self, *, stepping: bool = False, sealed: bool = False, seed: str = "") -> None:
        self._stepping = stepping
        self._sealed = sealed
        self._random = random.Random(seed)
        self._kept: list[Any] = []
        self._protected: list[ProtectedMemory] = []
        self._instances: list[Any] = []
        self._memory: Any = None
        self._allocator = self._new_allocator()
        self.spectest = self._new_spectest()

    def close(self) -> None:
        for memory in self._protected:
            memory.unseal()
        for instance in self._instances:
            must(lib.wrt_instance_deinit(instance))
        must(lib.wrt_memory_deinit(self._memory))
        must(lib.wrt_linux_allocator_deinit(self._linux))

    # Modules

    def load(self, content: bytes) -> Any:
        """Validates a module. Raises Refused."""
        config = new_config("wrt_module_config")
        config.bytes, config.bytes_size = self._place(content), len(content)
        layout = ffi.new("wrt_layout *")
        self._accept(lib.wrt_module_layout(config, layout))
        buffer = self._room(layout.bytes)
        config.buffer, config.buffer_size = buffer, layout.bytes
        module = self._keep(ffi.new("wrt_module *"))
        self._accept(lib.wrt_module_init(module, config))
        if self._sealed:
            self._protected[-1].seal()
        return module

    def _accept(self, status: int) -> None:
        if status != lib.WRT_OK:
            raise Refused(status, lib.wrt_error_last().detail[0])

    def _place(self, content: bytes) -> Any:
        """The module's bytes, where nothing but they can be read and nothing can be written."""
        if not self._sealed:
            return self._keep(ffi.new("uint8_t[]", content))
        memory = ProtectedMemory(len(content), alignment=1)
        ctypes.memmove(memory.address, content, len(content))
        memory.seal()
        self._protected.append(memory)
        return ffi.cast("uint8_t *", memory.address)

    def _room(self, size: int) -> Any:
        """A buffer for what the library builds beside the bytes."""
        if not self._sealed:
            return self._keep(ffi.new("uint64_t[]", size // 8 + 1))
        self._protected.append(ProtectedMemory(size, alignment=8))
        return ffi.cast("uint64_t *", self._protected[-1].address)

    # Instances

    def instantiate(self, module: Any, registered: Mapping[str, Any]) -> tuple[Any, Outcome]:
        """Links, initialises and starts a module. The instance is None if it can't be used."""
        config = new_config("wrt_instance_config")
        config.module = module
        imports = self._imports(module, registered)
        config.imports, config.import_count = imports, len(imports)
        config.allocator = self._allocator
        config.stack_size = STACK_SIZE
        config.has_fuel, config.fuel = True, FUEL
        layout = ffi.new("wrt_layout *")
        must(lib.wrt_instance_layout(config, layout))
        config.buffer = self._keep(ffi.new("uint64_t[]", layout.bytes // 8 + 1))
        config.buffer_size = layout.bytes
        instance = self._keep(ffi.new("wrt_instance *"))
        status = lib.wrt_instance_init(instance, config)
        if status not in (lib.WRT_OK, lib.WRT_ERR_TRAP):
            return None, self._outcome(None, status)
        self._instances.append(instance)
        if status == lib.WRT_OK:
            status = self._start(module, instance)
        return (instance if status == lib.WRT_OK else None), self._outcome(instance, status)

    def _start(self, module: Any, instance: Any) -> int:
        if self._stepping and usage_of(module).start_function != 2**32 - 1:
            return self._step_to_the_end(instance)
        return int(lib.wrt_instance_start(instance, 0))

    def _imports(self, module: Any, registered: Mapping[str, Any]) -> Any:
        """What is there of what the module wants; what is missing is the library's to notice."""
        found = []
        source, name = ffi.new("wrt_name *"), ffi.new("wrt_name *")
        kind = ffi.new("wrt_extern_type *")
        for index in range(usage_of(module).import_count):
            must(lib.wrt_module_import(module, index, source, name, kind))
            value = self.find(registered.get(text_of(source)), text_of(name))
            if value is not None:
                found.append((self._text(text_of(source)), self._text(text_of(name)), value))
        return self._keep(ffi.new("wrt_import[]", found))

    def find(self, instance: Any, name: str) -> Any:
        """An export, as a wrt_extern; None if there is none."""
        if instance is None or isinstance(instance, dict):
            return (instance or {}).get(name)
        found = self._keep(ffi.new("wrt_extern *"))
        encoded = name.encode()
        status = lib.wrt_instance_export(instance, encoded, len(encoded), found)
        return found[0] if status == lib.WRT_OK else None

    # Actions

    def get(self, instance: Any, name: str) -> Outcome:
        """Reads an exported global."""
        found = self.find(instance, name)
        if found is None or found.kind != lib.WRT_EXTERN_GLOBAL:
            return Outcome(lib.WRT_ERR_NOT_FOUND)
        held = getattr(found.of, "global")  # the word is Python's own
        return self._outcome(instance, lib.WRT_OK, (value_of(held.value, held.value_type),))

    def invoke(self, instance: Any, name: str, arguments: Sequence[Value]) -> Outcome:
        """Calls an exported function to its end."""
        found = self.find(instance, name)
        if found is None or found.kind != lib.WRT_EXTERN_FUNCTION:
            return Outcome(lib.WRT_ERR_NOT_FOUND)
        kind = ffi.new("wrt_function_type *")
        must(lib.wrt_function_query(found.of.function, kind))
        passed = ffi.new("wrt_value[]", max(len(arguments), 1))
        for cell, argument in zip(passed, arguments):
            write_value(cell, argument)
        results = ffi.new("wrt_value[]", max(kind.result_count, 1))
        run = self._invoke_by_steps if self._stepping else self._invoke_by_call
        status = run(instance, found.of.function, passed, len(arguments), results, kind)
        if status != lib.WRT_OK:
            return self._outcome(instance, status)
        types = [kind.results[index] for index in range(kind.result_count)]
        return self._outcome(instance, status, tuple(map(value_of, results, types)))

    def _invoke_by_call(
        self, instance: Any, function: Any, passed: Any, count: int, results: Any, kind: Any
    ) -> int:
        call = new_config("wrt_call")
        call.function = function
        call.arguments, call.argument_count = passed, count
        call.results, call.result_count = results, kind.result_count
        return int(lib.wrt_instance_call(instance, call))

    def _invoke_by_steps(
        self, instance: Any, function: Any, passed: Any, count: int, results: Any, kind: Any
    ) -> int:
        status = lib.wrt_instance_begin(instance, function, passed, count)
        if status == lib.WRT_OK:
            status = self._step_to_the_end(instance)
        if status == lib.WRT_OK:
            status = lib.wrt_instance_results(instance, results, kind.result_count)
        return int(status)

    def _step_to_the_end(self, instance: Any) -> int:
        """Single steps first, then longer and longer ones: a script may run for millions."""
        done = ffi.new("bool *")
        ran = 0
        while True:
            size = 1 if ran < 2000 else self._random.randint(1, ran // 16)
            before = self._fuel_used(instance)
            status = int(lib.wrt_instance_step(instance, size, done))
            stepped = self._fuel_used(instance) - before
            if status != lib.WRT_OK or done[0]:
                return status
            if stepped != size:
                raise StepError(f"a step of {size} ran {stepped} instructions")
            ran += stepped

    @staticmethod
    def _fuel_used(instance: Any) -> int:
        usage = ffi.new("wrt_instance_usage *")
        must(lib.wrt_instance_query(instance, usage))
        return int(usage.fuel_used)

    def _outcome(self, instance: Any, status: int, values: tuple[Value, ...] = ()) -> Outcome:
        fuel = tuple(map(self._fuel_used, self._instances))
        if status != lib.WRT_ERR_TRAP:
            return Outcome(status, values, fuel_used=fuel)
        trap = ffi.new("wrt_trap *")
        must(lib.wrt_instance_trap(instance, trap))
        text = ffi.string(lib.wrt_trap_text(trap.code)).decode()
        return Outcome(status, (), text, trap.offset, fuel)

    # The host's side

    def _new_allocator(self) -> Any:
        config = new_config("wrt_linux_allocator_config")
        self._linux = ffi.new("wrt_linux_allocator *")
        must(lib.wrt_linux_allocator_init(self._linux, config))
        return lib.wrt_linux_allocator_interface(self._linux)

    def _new_spectest(self) -> dict[str, Any]:
        """The module that every script may import from: global 666, table 10 20, memory 1 2."""
        exports = {name: self._new_printer(name, types) for name, types in PRINTERS.items()}
        for name, (value_type, member, number) in GLOBALS.items():
            value = ffi.new("wrt_value *", {member: number})
            held = self._keep(ffi.new("wrt_global *"))
            must(lib.wrt_global_init(held, value_type, False, value[0]))
            exports[name] = self._extern(lib.WRT_EXTERN_GLOBAL, "global", held)
        exports["table"] = self._extern(lib.WRT_EXTERN_TABLE, "table", self._new_table())
        exports["memory"] = self._extern(lib.WRT_EXTERN_MEMORY, "memory", self._new_memory())
        return exports

    def _new_printer(self, name: str, types: list[int]) -> Any:
        config = new_config("wrt_host_function_config")
        config.parameters = self._keep(ffi.new("uint8_t[]", types or [0]))
        config.parameter_count = len(types)
        config.call, config.name = print_nothing, self._text(name)
        function = self._keep(ffi.new("wrt_host_function *"))
        must(lib.wrt_host_function_init(function, config))
        address = ffi.addressof(function, "function")
        return self._extern(lib.WRT_EXTERN_FUNCTION, "function", address)

    def _new_table(self) -> Any:
        config = new_config("wrt_table_config")
        config.element_type, config.initial_elements = lib.WRT_FUNCREF, 10
        config.declared_maximum = 20
        config.buffer = self._keep(ffi.new("uint64_t[]", 20))
        config.buffer_size = 20 * 8
        table = self._keep(ffi.new("wrt_table *"))
        must(lib.wrt_table_init(table, config))
        return table

    def _new_memory(self) -> Any:
        config = new_config("wrt_memory_config")
        config.initial_pages, config.declared_maximum = 1, 2
        config.allocator = self._allocator
        self._memory = ffi.new("wrt_memory *")
        must(lib.wrt_memory_init(self._memory, config))
        return self._memory

    def _extern(self, kind: int, member: str, value: Any) -> Any:
        extern = self._keep(ffi.new("wrt_extern *", {"kind": kind, "of": {member: value}}))
        return extern[0]

    def _text(self, text: str) -> Any:
        return self._keep(ffi.new("char[]", text.encode()))

    def _keep(self, storage: Any) -> Any:
        self._kept.append(storage)
        return storage
