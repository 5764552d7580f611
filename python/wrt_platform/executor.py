"""Executors: where a thread pool finds the function that a task names. Mirrors
wrt_platform/executor.h.

    executor = InstanceExecutor({100: instance.exports.main})
    executor = ModuleExecutor({100: (module, "main")}, slots=4)

A thread pool makes one of these from a plain dictionary, too. What an InstanceExecutor has, nobody
else can use until it is closed: calls and queries raise StateError.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Union

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, NotFoundError, check
from wrt_platform.function import Function
from wrt_platform.instance import InstanceBuilder
from wrt_platform.linking import Linked
from wrt_platform.module import Module, owned
from wrt_platform.page_allocator import _within
from wrt_platform.store import Borrower, Store, add_borrower, address_of
from wrt_platform.system_below import system_interface
from wrt_platform.values import FunctionType

if TYPE_CHECKING:
    import mmap
    from typing import Self

    from wrt_platform.limits import Limits
    from wrt_platform.linking import Imports

__all__ = [
    "Executor",
    "InstanceExecutor",
    "InstanceExecutorBuilder",
    "ModuleExecutor",
    "ModuleExecutorBuilder",
]

Functions = Mapping[int, Union[Function, "tuple[Module, str]"]]


class Executor(Borrower):
    """What both kinds have in common."""

    _interface: Any
    _types: dict[int, FunctionType]

    def __init__(self) -> None:
        self._pool: weakref.ref[Any] | None = None

    def type_of(self, function_id: int) -> FunctionType:
        """Parameters and results of a function. Raises NotFoundError."""
        try:
            return self._types[function_id]
        except KeyError:
            known = ", ".join(str(number) for number in list(self._types)[:10])
            raise NotFoundError(
                f"the executor has no function {function_id}; there is {known}"
            ) from None

    def note_failure(self, failure: BaseException, name: str) -> None:
        """Kept with the task, for who joins it."""
        pool = self._pool() if self._pool is not None else None
        if pool is not None:
            pool._note_failure(failure, name)

    def _store_of(self, function_id: int) -> Store:
        raise NotImplementedError

    def _guest_of(self, function_id: int) -> Any:
        """The instance that the function always runs on; None if there is no such."""
        return None

    def close(self) -> None:
        """Ends the executor; again does nothing. Raises StateError while tasks use it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class InstanceExecutor(Executor):
    """Runs functions on the instances that they belong to, one task at a time on each."""

    def __init__(self, functions: Mapping[int, Function], *, system: Any = None) -> None:
        builder = InstanceExecutorBuilder().with_functions(functions).with_system(system)
        self._init(builder)

    def _init(self, builder: InstanceExecutorBuilder) -> None:
        super().__init__()
        self._functions = dict(builder._functions)
        self._types = {number: function.type for number, function in self._functions.items()}
        self._raw = ffi.new("wrt_instance_executor *")
        self._lent: list[Store] = []
        self._kept = [builder._system]
        self._lend()
        try:
            self._make(builder)
        except BaseException:
            self._give_back()
            raise

    def _lend(self) -> None:
        for function in self._functions.values():
            if function._owner is None:
                raise InvalidArgumentError(f"{function.name} belongs to the host, not to a guest")
            root = function._store.root()
            if all(root is not lent for lent in self._lent):
                try:
                    root.lend(self)
                except BaseException:
                    self._give_back()
                    raise
                self._lent.append(root)
        add_borrower(self)

    def _give_back(self) -> None:
        while self._lent:
            self._lent.pop().give_back()

    def _make(self, builder: InstanceExecutorBuilder) -> None:
        groups = dict(zip(map(id, self._lent), self._groups()))
        entries = ffi.new("wrt_executor_function[]", max(len(self._functions), 1))
        for entry, (number, function) in zip(entries, self._functions.items()):
            entry.function_id = _within(number, "function_id", 2**32)
            entry.group = groups[id(function._store.root())]
            entry.instance = function._owner.pointer
            entry.function = function._pointer
        config = ffi.new("wrt_instance_executor_config *")
        config.struct_size = ffi.sizeof("wrt_instance_executor_config")
        config.functions, config.function_count = entries, len(self._functions)
        config.system = system_interface(builder._system)
        buffer = builder._buffer
        if buffer is None:
            layout = ffi.new("wrt_layout *")
            check(lib.wrt_instance_executor_layout(config, layout))
            buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
        config.buffer, config.buffer_size = ffi.cast("void *", buffer), ffi.sizeof(buffer)
        self._kept.append(buffer)
        check(lib.wrt_instance_executor_init(self._raw, config))
        self._interface = lib.wrt_instance_executor_interface(self._raw)

    def _groups(self) -> list[int]:
        """For each Store that was lent a number, the same for all that can't run at once."""
        groups = list(range(1, len(self._lent) + 1))
        for first, one in enumerate(self._lent):
            for second, other in enumerate(self._lent[:first]):
                if one.shares_with(other):
                    joined, kept = groups[first], groups[second]
                    groups = [kept if group == joined else group for group in groups]
        return groups

    def _store_of(self, function_id: int) -> Store:
        return self._functions[function_id]._store

    def _guest_of(self, function_id: int) -> Any:
        return self._functions[function_id]._owner

    def store_of(self, address: int) -> Store | None:
        """By the instance, or else, for one that is linked with it, by the task that runs."""
        for function in self._functions.values():
            if address_of(function._owner.pointer) == address:
                return function._store
        pool = self._pool() if self._pool is not None else None
        number = None if pool is None else pool._current_function()
        return None if number is None else self._store_of(number)

    def close(self) -> None:
        """Ends the executor: its instances can be used as before. Again does nothing. Raises
        StateError while tasks use it."""
        check(lib.wrt_instance_executor_deinit(self._raw))
        self._give_back()


class InstanceExecutorBuilder:
    """Collects settings; the rules of executor.h are checked by build()."""

    def __init__(self) -> None:
        self._functions: Mapping[int, Function] = {}
        self._system: Any = None
        self._buffer: Any = None

    def with_functions(self, functions: Mapping[int, Function]) -> Self:
        """What tasks can name: {function_id: an exported function}."""
        self._functions = functions
        return self

    def with_system(self, system: Any) -> Self:
        """The thread system; by default this process's own."""
        self._system = system
        return self

    def with_buffer(self, buffer: bytearray | mmap.mmap) -> Self:
        """Where its lists lie. Without it, build() makes a buffer."""
        self._buffer = owned(buffer)
        return self

    def build(self) -> InstanceExecutor:
        """Makes the executor. Raises StateError if an instance is in use or lent already."""
        executor = InstanceExecutor.__new__(InstanceExecutor)
        executor._init(self)
        return executor


class ModuleExecutor(Executor):
    """Makes an instance for each task, from the memory of the worker that runs it.

    The pool needs a page allocator then; its memory_limit_per_thread is what an instance can have.
    imports, limits: of each instance; see Instance. slots: instances at once.
    """

    def __init__(
        self,
        exports: Mapping[int, tuple[Module, str]],
        *,
        slots: int = 4,
        imports: Imports = None,
        limits: Limits | None = None,
        stack_size: int = 0,
        system: Any = None,
    ) -> None:
        builder = ModuleExecutorBuilder().with_exports(exports).with_slots(slots)
        builder.with_imports(imports).with_limits(limits).with_stack_size(stack_size)
        self._init(builder.with_system(system))

    def _init(self, builder: ModuleExecutorBuilder) -> None:
        super().__init__()
        self._raw = ffi.new("wrt_module_executor *")
        self._store = Store()
        self._kept: list[Any] = [builder._system]
        self._types = {}
        config = ffi.new("wrt_module_executor_config *")
        config.struct_size = ffi.sizeof("wrt_module_executor_config")
        exports = self._exports(builder)
        config.exports, config.export_count = exports, len(builder._exports)
        config.slots = _within(builder._slots, "slots", 2**32)
        config.system = system_interface(builder._system)
        buffer = builder._buffer
        if buffer is None:
            layout = ffi.new("wrt_layout *")
            check(lib.wrt_module_executor_layout(config, layout))
            buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
        config.buffer, config.buffer_size = ffi.cast("void *", buffer), ffi.sizeof(buffer)
        self._begin = address_of(buffer)
        self._end = self._begin + ffi.sizeof(buffer)
        self._kept += [buffer, exports]
        check(lib.wrt_module_executor_init(self._raw, config))
        self._interface = lib.wrt_module_executor_interface(self._raw)
        add_borrower(self)

    def _exports(self, builder: ModuleExecutorBuilder) -> Any:
        configs: dict[int, Any] = {}
        exports = ffi.new("wrt_executor_export[]", max(len(builder._exports), 1))
        for entry, (number, (module, name)) in zip(exports, builder._exports.items()):
            if id(module) not in configs:
                configs[id(module)] = self._instance_config(builder, module)
            text = ffi.new("char[]", name.encode())
            self._kept.append(text)
            entry.function_id = _within(number, "function_id", 2**32)
            entry.name, entry.name_size = text, len(text) - 1
            entry.instance = configs[id(module)]
            found = module.exports.get(name)
            if found is not None and isinstance(found.type, FunctionType):
                self._types[number] = found.type
        return exports

    def _instance_config(self, builder: ModuleExecutorBuilder, module: Module) -> Any:
        config = builder._instance.with_module(module)._copy()
        linked = Linked(module, builder._imports, self._store)
        config.imports, config.import_count = linked.array, linked.count
        self._kept += [config, linked, linked.kept, module]
        return config

    def _store_of(self, function_id: int) -> Store:
        return self._store

    def store_of(self, address: int) -> Store | None:
        """Whatever lies in the buffer is one of its instances."""
        return self._store if self._begin <= address < self._end else None

    def close(self) -> None:
        """Ends the executor; again does nothing. Raises StateError while tasks use it."""
        check(lib.wrt_module_executor_deinit(self._raw))


class ModuleExecutorBuilder:
    """Collects settings; the rules of executor.h are checked by build()."""

    def __init__(self) -> None:
        self._exports: Mapping[int, tuple[Module, str]] = {}
        self._slots = 1
        self._imports: Imports = None
        self._instance = InstanceBuilder()
        self._system: Any = None
        self._buffer: Any = None

    def with_exports(self, exports: Mapping[int, tuple[Module, str]]) -> Self:
        """What tasks can name: {function_id: (a module, the name of its export)}."""
        self._exports = exports
        return self

    def with_slots(self, slots: int) -> Self:
        """Instances at once; a task beyond waits."""
        self._slots = slots
        return self

    def with_imports(self, imports: Imports) -> Self:
        """What each instance's imports get; see Instance."""
        self._imports = imports
        return self

    def with_limits(self, limits: Limits | None) -> Self:
        """Memory and fuel of each instance; the time-out is the task's affair."""
        if limits is not None:
            self._instance.with_limits(limits)
        return self

    def with_stack_size(self, size: int) -> Self:
        """Bytes of each guest stack; 0: 64 KiB."""
        self._instance.with_stack_size(size)
        return self

    def with_system(self, system: Any) -> Self:
        """The thread system; by default this process's own."""
        self._system = system
        return self

    def with_buffer(self, buffer: bytearray | mmap.mmap) -> Self:
        """Where the instances lie. Without it, build() makes a buffer."""
        self._buffer = owned(buffer)
        return self

    def build(self) -> ModuleExecutor:
        """Makes the executor. Raises NotFoundError for an export that is not there."""
        executor = ModuleExecutor.__new__(ModuleExecutor)
        executor._init(self)
        return executor


def executor_of(functions: Any, system: Any, slots: int) -> Executor | None:
    """An executor, or what one can be made of: {number: function} or {number: (module, name)}."""
    if functions is None or isinstance(functions, Executor):
        return functions
    if not isinstance(functions, Mapping):
        raise TypeError(f"an executor is made of a dictionary, not {functions!r}")
    kinds = {isinstance(value, Function) for value in functions.values()}
    if kinds == {True}:
        return InstanceExecutor(functions, system=system)
    if kinds == {False} and all(_is_export(value) for value in functions.values()):
        return ModuleExecutor(functions, slots=slots, system=system)
    raise TypeError(
        "an executor has either functions of instances, or (module, name) pairs, for all its "
        "numbers"
    )


def _is_export(value: Iterable[Any]) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Module)
