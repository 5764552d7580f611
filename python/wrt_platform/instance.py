"""Instances: modules that can be called. Mirrors wrt_platform/instance.h.

    instance = Instance(module, {"env": {"log": print}}, limits=Limits(fuel=10**9, timeout=5))
    instance.exports.add(2, 3)

The C object behind it is a Guest (guest.py); what it shares with others a Store (store.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, NotFoundError, StateError, check
from wrt_platform.function import Function
from wrt_platform.guest import Frame, Guest, trap_text
from wrt_platform.host_function import HostFunctionBuilder
from wrt_platform.layout import Layout
from wrt_platform.limits import Limits
from wrt_platform.linking import Imports, Linked
from wrt_platform.memory import (
    Memory,
    MemoryBuilder,
    default_allocator,
    interface_of,
    lock_of,
    settle,
)
from wrt_platform.module import Module, mmap_buffer, owned
from wrt_platform.store import Store, Turn
from wrt_platform.table import Global, Table, TableBuilder
from wrt_platform.values import FunctionType

if TYPE_CHECKING:
    import mmap
    from types import TracebackType
    from typing import Self

    from wrt_platform.cancel import CancelToken
    from wrt_platform.module import Source
    from wrt_platform.page_allocator import PageAllocator

__all__ = [
    "Exports",
    "HostFunctionBuilder",
    "Instance",
    "InstanceBuilder",
    "InstanceUsage",
    "MemoryBuilder",
    "TableBuilder",
    "Trap",
    "step_wasm_execution",
]

_UNBOUND = 0xFFFFFFFFFFFFFFFF
_PAGES_DEFAULT = lib.WRT_INSTANCE_PAGES_DEFAULT


class InstanceUsage(NamedTuple):
    """What an instance has used."""

    fuel_used: int  # instructions executed, exact
    fuel_left: int | None  # None: without bound
    buffer_bytes: int  # of engine state, guest stack included
    stack_peak_bytes: int
    memory_pages: int
    memory_peak_pages: int
    refused_growths: int  # memory.grow answered -1


class Trap(NamedTuple):
    """Why the last call trapped, and where."""

    code: int  # one of wrt_trap_code
    reason: str
    frames: tuple[Frame, ...]  # innermost first


class Exports:
    """What an instance offers: `exports.add(2, 3)`, `exports["memory"]`, `list(exports)`."""

    def __init__(self, guest: Guest, store: Store) -> None:
        self._guest = guest
        self._store = store
        self._names = guest.module.exports
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._look_up(name)
        return known

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except NotFoundError as error:
            raise AttributeError(str(error)) from None

    def _look_up(self, name: str) -> Any:
        if name not in self._names:
            raise NotFoundError(self._not_there(name))
        external, text = ffi.new("wrt_extern *"), name.encode()
        with self._store.entered():
            status = lib.wrt_instance_export(self._guest.pointer, text, len(text), external)
        check(status)
        if external.kind == lib.WRT_EXTERN_FUNCTION:
            pointer = external.of.function
            kind = self._names[name].type
            assert isinstance(kind, FunctionType)
            return Function(self._store, pointer, self._guest, kind, name)
        if external.kind == lib.WRT_EXTERN_MEMORY:
            return Memory._of(self._store, external.of.memory, self._guest)
        if external.kind == lib.WRT_EXTERN_TABLE:
            return Table._of(self._store, external.of.table, self._guest)
        return Global._of(self._store, getattr(external.of, "global"), self._guest)

    def _not_there(self, name: str) -> str:
        import difflib

        close = difflib.get_close_matches(name, self._names, 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        if not close and self._names:
            hint = f"; there is {', '.join(list(self._names)[:10])}"
        return f"{self._guest.module.name} has no export {name!r}{hint}"

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __dir__(self) -> list[str]:
        return list(self._names)

    def __repr__(self) -> str:
        return f"<Exports {', '.join(self._names)}>"


class Instance:
    """A module with its memory, tables, globals and guest stack.

    module: a Module, or what one can be made from.
    imports: {"env": {"name": a callable, (FunctionType, callable), Function, Memory, Table or
    Global}}, a Wasi, or a list of these; the exports of an instance can stand for an inner
    dictionary.
    limits: of memory, fuel and time; the time-out is that of each call.
    allocator: where its memory comes from; by default pages of the system with guard pages round
    them. Instances that run at the same time want one each, since an allocator serves one caller.
    stack_size: bytes of the guest stack, on which calls of the guest lie; 0: 64 KiB.
    start: False leaves the start function to run(), step() or resume().
    Raises LinkError naming every import that is missing, LimitError, TrapError, and whatever else
    ends the start function.
    Threads: a call waits while another thread's call is under way, and raises StateError when
    that takes more than a second; interrupt() never waits.
    """

    def __init__(
        self,
        module: Module | Source,
        imports: Imports = None,
        *,
        limits: Limits | None = None,
        allocator: PageAllocator | None = None,
        stack_size: int = 0,
        start: bool = True,
    ) -> None:
        builder = InstanceBuilder().with_module(module).with_imports(imports)
        builder.with_stack_size(stack_size)
        if limits is not None:
            builder.with_limits(limits)
        if allocator is not None:
            builder.with_allocator(allocator)
        self._init(builder, start)

    def _init(self, builder: InstanceBuilder, start: bool) -> None:
        settle()
        self._store = Store()
        self._guest: Guest | None = builder._make(self._store)
        self._exports: Exports | None = Exports(self._guest, self._store)
        if start and self._guest.module.usage.start_function is not None:
            self._guest.go_on(self._store, None)

    def _open(self) -> Guest:
        if self._guest is None:
            raise StateError("the instance is closed")
        return self._guest

    @property
    def module(self) -> Module:
        """What it was made from."""
        return self._open().module

    @property
    def exports(self) -> Exports:
        """What it offers."""
        self._open()
        assert self._exports is not None
        return self._exports

    @property
    def memory(self) -> Memory:
        """Its memory, own or imported, exported or not. Raises NotFoundError if it has none."""
        guest, pointer = self._open(), ffi.new("wrt_memory **")
        with self._store.entered():
            status = lib.wrt_instance_memory(guest.pointer, pointer)
        check(status)
        return Memory._of(self._store, pointer[0], guest)

    # Calls

    def call(self, name: str, *arguments: Any, timeout: float | str | None = None) -> Any:
        """Calls an exported function and waits for its end.

        Integers are checked against their type; None is the null reference. Returns a value, a
        tuple of several, None for none. timeout: seconds or text like "5s"; without it, that of
        the limits. Where there is one and a host function is written in Python, the guest runs in
        a thread of its own, so that the call ends in time whatever the host function does. A host
        function may call; such a call can't be resumed.
        Raises TrapError, OutOfFuelError, TimedOutError, InterruptedCallError, ExitError,
        HostError; TypeError and InvalidArgumentError for arguments; NotFoundError; StateError.
        After fuel, time-out, interrupt or Ctrl-C, resume() goes on; the next call drops the rest.
        """
        return self._open().call_function(self._function(name), arguments, timeout)

    def resume(self, *, timeout: float | str | None = None) -> Any:
        """Goes on with a call (or start function) that was stopped; as call() from there on."""
        return self._open().go_on(self._store, timeout)

    def begin(self, name: str, *arguments: Any) -> None:
        """Prepares a call without running any of it: run() or step() do."""
        self._open().begin(self._function(name), arguments)

    def run(self, instructions: int) -> bool:
        """Runs the call that was begun for about `instructions`. Returns whether it ended."""
        return self._advance(lib.wrt_instance_run, instructions)

    def step(self, instructions: int = 1) -> bool:
        """Runs exactly `instructions`, fewer only if the call ends. Returns whether it ended."""
        return self._advance(lib.wrt_instance_step, instructions)

    def _advance(self, advance: Any, instructions: int) -> bool:
        guest, done = self._open(), ffi.new("bool *")
        if not 0 <= instructions <= _UNBOUND:
            raise InvalidArgumentError(f"{instructions} is no number of instructions")
        with Turn(self._store):
            with self._store.entered() as entry:
                status = advance(guest.pointer, instructions, done)
            if status != lib.WRT_OK:
                raise guest.error(status, entry)
        return bool(done[0])

    def results(self) -> Any:
        """What the call that run() or step() brought to its end returned."""
        with Turn(self._store):
            return self._open().results(self._store)

    def abort(self) -> None:
        """Drops the call that is paused. Raises StateError if there is none."""
        with Turn(self._store):
            check(self._open().abort(self._store))

    def interrupt(self) -> None:
        """Stops the running call, or else the next one, with InterruptedCallError.

        Threads: any, at any time; it waits for nothing.
        """
        guest = self._open()
        guest.stale_interrupt = False
        lib.wrt_instance_interrupt(guest.pointer)

    def clear_interrupt(self) -> None:
        """Takes an interrupt back that no call has seen yet.

        Threads: any, at any time; it waits for nothing.
        """
        lib.wrt_instance_clear_interrupt(self._open().pointer)

    @property
    def cancel_token(self) -> CancelToken:
        """What interrupt() requests, for a host function that waits: `token.sleep(5)`, or the
        cancel argument of a wait. Inside a host function it is the token of the call that the
        function is part of, wherever that began. The InterruptedCallError of such a wait may pass
        through the host function: the call is interrupted then, and resume() calls the function
        again."""
        return self._open().token(self._store)

    @property
    def heartbeat(self) -> int:
        """How often the guest has shown that it gets on: moves every 2**20 instructions and when
        a host function has done its work, not while one waits. Wraps at 2**32.

        Threads: any, at any time; it waits for nothing.
        """
        return int(lib.wrt_instance_heartbeat(self._open().pointer))

    def _function(self, name: str) -> Function:
        found = self.exports[name]
        if not isinstance(found, Function):
            raise TypeError(f"export {name!r} is no function but {found!r}")
        return found

    # State

    @property
    def fuel(self) -> int | None:
        """Instructions left; None: without bound. May be set, to go on with resume()."""
        return self.usage.fuel_left

    @fuel.setter
    def fuel(self, fuel: int | None) -> None:
        amount = Limits(fuel=fuel).fuel
        guest = self._open()
        with self._store.entered():
            status = lib.wrt_instance_set_fuel(guest.pointer, amount is not None, amount or 0)
        check(status)

    @property
    def usage(self) -> InstanceUsage:
        """What it has used. From another thread: as of the last slice of some 10 ms."""
        guest, usage = self._open(), ffi.new("wrt_instance_usage *")
        with self._store.entered():
            status = lib.wrt_instance_query(guest.pointer, usage)
        check(status)
        values = [getattr(usage, name) for name in InstanceUsage._fields]
        return InstanceUsage._make(None if value == _UNBOUND else value for value in values)

    @property
    def trap(self) -> Trap | None:
        """Why the last call trapped; None if it did not."""
        guest, trap = self._open(), ffi.new("wrt_trap *")
        with self._store.entered():
            if lib.wrt_instance_trap(guest.pointer, trap) != lib.WRT_OK:
                return None
            if trap.code == lib.WRT_TRAP_NONE:
                return None
            return Trap(int(trap.code), trap_text(trap.code), tuple(guest.frames()))

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Where the paused call stands, or the last one trapped; innermost first."""
        guest = self._open()
        with self._store.entered():
            return tuple(guest.frames())

    def close(self) -> None:
        """Lets go of it; again does nothing. Views and functions taken from it stay valid, and
        its memory goes back with the last of them. Raises StateError while it runs elsewhere.
        """
        with Turn(self._store):
            self._guest = self._exports = None
        settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._guest is None:
            return "<Instance, closed>"
        return f"<Instance of {self._guest.module.name}>"


class InstanceBuilder:
    """Collects settings of an instance; instance.h has the rules, build() checks them."""

    def __init__(self) -> None:
        self._config = ffi.new("wrt_instance_config *")
        self._config.struct_size = ffi.sizeof("wrt_instance_config")
        self._module: Module | None = None
        self._imports: Imports = None
        self._buffer: Any = None
        self._allocator: PageAllocator | None = None
        self._timeout: float | None = None

    def with_module(self, module: Module | Source) -> Self:
        """What is instantiated."""
        self._module = module if isinstance(module, Module) else Module(module)
        return self

    def with_imports(self, imports: Imports) -> Self:
        """What its imports get; see Instance."""
        self._imports = imports
        return self

    def with_buffer(self, buffer: bytearray | mmap.mmap) -> Self:
        """Where engine state and guest stack lie. Without it, build() makes a buffer."""
        self._buffer = owned(buffer)
        return self

    def with_allocator(self, allocator: PageAllocator) -> Self:
        """Where its own memory comes from; by default the system, with guard pages."""
        interface_of(allocator)
        self._allocator = allocator
        return self

    def with_maximum_pages(self, pages: int) -> Self:
        """Room for its own memory; 0: the declared maximum, at most 4096 pages (256 MiB)."""
        self._config.maximum_pages = _number(pages, "pages")
        return self

    def with_maximum_table_elements(self, count: int) -> Self:
        """Room for a table; 0: its declared maximum, at most 1024 above its initial size."""
        self._config.maximum_table_elements = _number(count, "elements")
        return self

    def with_stack_size(self, size: int) -> Self:
        """Bytes of the guest stack; 0: 64 KiB."""
        self._config.stack_size = _number(size, "bytes")
        return self

    def with_fuel(self, fuel: int | None) -> Self:
        """Instructions that may be executed; None, the default: without bound."""
        amount = Limits(fuel=fuel).fuel
        self._config.has_fuel, self._config.fuel = amount is not None, amount or 0
        return self

    def with_has_fuel(self, enabled: bool = True) -> Self:
        """Whether the number given to with_fuel() counts."""
        self._config.has_fuel = enabled
        if not enabled:
            self._config.fuel = 0
        return self

    def with_timeout(self, timeout: float | str | None) -> Self:
        """Of each call: seconds or text like "5s"; None, the default: none."""
        self._timeout = Limits(timeout=timeout).timeout
        return self

    def with_limits(self, limits: Limits) -> Self:
        """Memory, fuel and time-out at once."""
        if limits.pages is not None:
            self.with_maximum_pages(limits.pages)
        return self.with_fuel(limits.fuel).with_timeout(limits.timeout)

    def layout(self) -> Layout:
        """What buffer it needs; exact."""
        layout, config = ffi.new("wrt_layout *"), self._copy()
        check(lib.wrt_instance_layout(config, layout))
        return Layout(layout.bytes, layout.alignment)

    def build(self, *, start: bool = True) -> Instance:
        """Makes the instance and runs its start function; errors as of Instance."""
        instance = Instance.__new__(Instance)
        instance._init(self, start)
        return instance

    def _copy(self) -> Any:
        if self._module is None:
            raise InvalidArgumentError("an instance needs with_module()")
        config = ffi.new("wrt_instance_config *", self._config[0])
        config.module = self._module._pointer
        return config

    def _make(self, store: Store) -> Guest:
        config, module = self._copy(), self._module
        assert module is not None
        linked = Linked(module, self._imports, store)
        config.imports, config.import_count = linked.array, linked.count
        guest = Guest(module, self._timeout)
        guest.borrowed += [linked.kept, module]
        guest.systems = linked.systems
        self._choose_allocator(config, guest, store)
        buffer, self._buffer = self._buffer, None  # one buffer serves one instance
        if buffer is None:
            buffer = mmap_buffer(self.layout().bytes)
        memory = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        config.buffer, config.buffer_size = ffi.cast("void *", memory), len(memory)
        guest.state = memory
        self._link(config, guest, linked, store)
        return guest

    def _choose_allocator(self, config: Any, guest: Guest, store: Store) -> None:
        memory = guest.module.memory_type
        if memory is None or guest.module.imports_memory:
            return
        if self._allocator is not None:
            guest.allocator, guest.allocator_lock = self._allocator, lock_of(self._allocator)
            store.share_allocator(guest.allocator_lock)
        else:
            declared = _PAGES_DEFAULT if memory.maximum is None else memory.maximum
            pages = config.maximum_pages or min(declared, _PAGES_DEFAULT)
            guest.allocator = default_allocator(max(pages, memory.minimum))
        config.allocator = interface_of(guest.allocator)

    def _link(self, config: Any, guest: Guest, linked: Linked, store: Store) -> None:
        with Turn(store):
            with store.entered():
                status = lib.wrt_instance_init(guest.pointer, config)
            if status == lib.WRT_ERR_LINK:
                raise linked.error(config)
            guest.live = status in (lib.WRT_OK, lib.WRT_ERR_TRAP)
            if guest.live and linked.may_leave_functions_behind():
                store.keep(guest)
            if status == lib.WRT_ERR_TRAP:
                raise guest.trap_error()
            check(status)


def step_wasm_execution(instance: Instance, instructions: int = 1) -> bool:
    """Runs exactly `instructions` of the call that was begun; returns whether more is to come."""
    return not instance.step(instructions)


def _number(number: int, unit: str) -> int:
    if not 0 <= number <= 0xFFFFFFFF:
        raise InvalidArgumentError(f"{number} is no number of {unit}")
    return number
