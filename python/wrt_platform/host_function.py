"""Host functions: Python callables that guests import and call. Mirrors instance.h.

A plain callable is enough where an import is satisfied: the module says which types it wants.
A HostFunction stands alone, to be put into tables or handed to a guest as a funcref.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    HostError,
    InterruptedCallError,
    InvalidArgumentError,
    SystemCallError,
    WrtError,
    check,
)
from wrt_platform.execution import Abandoned, host_call
from wrt_platform.store import current_entry, entry_of_worker, register
from wrt_platform.values import (
    FunctionType,
    ValueType,
    decode_all,
    encode_all,
    type_bytes,
    value_type,
)

if TYPE_CHECKING:
    from typing import Self

    from wrt_platform.store import Store

__all__ = ["PENDING", "Callee", "HostFunction", "HostFunctionBuilder", "OutputClosedError"]


class OutputClosedError(SystemCallError):
    """Nobody reads the guest's output any more. Ends the run as it is."""


class _Pending:
    def __repr__(self) -> str:
        return "PENDING"


PENDING: Any = _Pending()
"""What a host function returns when it has to wait: it is called again, with the same arguments."""


class HostFunction:
    """A Python callable with WebAssembly types.

    `kind` may be left out where the callable is annotated with i32, i64, f32, f64, funcref,
    externref, int (i64) or float (f64). It returns one value, a tuple of several, or None for
    none; or PENDING. What it raises ends the guest's call with HostError, `from` the original.
    Threads: it is called on the thread that runs the guest, or, where a time-out is given, on
    one that works for it, with the caller's context variables.
    """

    is_ours = False  # it may do whatever it likes, for as long as it likes

    def __init__(
        self,
        call: Callable[..., Any],
        kind: FunctionType | None = None,
        *,
        name: str | None = None,
    ) -> None:
        if not callable(call):
            raise TypeError(f"a host function is a callable, not {call!r}")
        self._call = call
        self._type = annotated_type(call) if kind is None else kind
        self._name = name or str(getattr(call, "__name__", "host function"))
        self._callee = Callee(call, self._type, self._name)

    @property
    def type(self) -> FunctionType:
        """Parameters and results."""
        return self._type

    @property
    def name(self) -> str:
        """The name that error messages use."""
        return self._name

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def _as_reference(self) -> tuple[Any, Any, Store | None]:
        return self._callee.pointer, self._callee, None

    def __repr__(self) -> str:
        return f"<HostFunction {self._name}{self._type}>"


class HostFunctionBuilder:
    """Collects what a host function is made of."""

    def __init__(self) -> None:
        self._parameters: list[ValueType] = []
        self._results: list[ValueType] = []
        self._call: Callable[..., Any] | None = None
        self._context: tuple[Any, ...] = ()
        self._name: str | None = None

    def with_parameters(self, kinds: Iterable[ValueType | str]) -> Self:
        """Types of the arguments; none by default."""
        self._parameters = [value_type(kind) for kind in kinds]
        return self

    def with_results(self, kinds: Iterable[ValueType | str]) -> Self:
        """Types of the results; none by default."""
        self._results = [value_type(kind) for kind in kinds]
        return self

    def with_call(self, call: Callable[..., Any]) -> Self:
        """What is called."""
        self._call = call
        return self

    def with_context(self, context: Any) -> Self:
        """Passed to the callable before the guest's arguments."""
        self._context = (context,)
        return self

    def with_name(self, name: str) -> Self:
        """The name that error messages use; the callable's own by default."""
        self._name = name
        return self

    def build(self) -> HostFunction:
        """Makes the function. Raises InvalidArgumentError if there is nothing to call."""
        call, context = self._call, self._context
        if call is None:
            raise InvalidArgumentError("a host function needs with_call()")
        name = self._name or getattr(call, "__name__", None)
        kind = FunctionType(self._parameters, self._results)
        if not context:
            return HostFunction(call, kind, name=name)

        def with_context(*arguments: Any) -> Any:
            return call(*context, *arguments)

        return HostFunction(with_context, kind, name=name)


class Callee:
    """What C holds of a host function. No reference leads from here to the HostFunction."""

    def __init__(self, call: Callable[..., Any], kind: FunctionType, name: str) -> None:
        self.call = call
        self.kind = kind
        self.name = name
        # C borrows all of these.
        self._parameters = type_bytes(kind.parameters)
        self._results = type_bytes(kind.results)
        self._c_name = ffi.new("char[]", name.encode())
        self._handle = ffi.new_handle(self)
        self._storage = ffi.new("wrt_host_function *")
        config = ffi.new("wrt_host_function_config *")
        config.struct_size = ffi.sizeof("wrt_host_function_config")
        config.parameters, config.parameter_count = self._parameters, len(kind.parameters)
        config.results, config.result_count = self._results, len(kind.results)
        config.call, config.context = lib.py_wrt_host_fn, self._handle
        config.name = self._c_name
        check(lib.wrt_host_function_init(self._storage, config))
        self.pointer = ffi.addressof(self._storage, "function")
        register(self._storage, self)

    def call_function(self, _: Any, arguments: tuple[Any, ...], __: Any) -> Any:
        """A guest's funcref turned out to be this one: no guest is needed to call it."""
        return self.call(*arguments)

    def answer(self, caller: Any, values: Any, store: Store) -> int:
        """Calls the callable with the guest's arguments, and gives the guest its results."""
        result = self.call(*decode_all(self.kind.parameters, values, store))
        if result is PENDING:
            return int(lib.WRT_ERR_PENDING)
        kinds = self.kind.results
        results = result if len(kinds) > 1 else () if result is None else (result,)
        if not isinstance(results, (tuple, list)) or len(results) != len(kinds):
            given = "None" if result is None else repr(result)
            if len(kinds) == 1 and kinds[0] in (ValueType.EXTERNREF, ValueType.FUNCREF):
                results = (result,)
            else:
                raise TypeError(f"{self.name}{self.kind} returned {given}")
        encode_all(kinds, results, values, store, f"{self.name}: result")
        return int(lib.WRT_OK)


def annotated_type(call: Callable[..., Any]) -> FunctionType:
    """The function type that a callable's annotations say. Raises TypeError if they don't."""
    import inspect

    hints = annotations_of(call)
    parameters = [_hinted(call, hints, name) for name in inspect.signature(call).parameters]
    returned = hints.get("return", None)
    if returned in (None, type(None)):
        return FunctionType(parameters, [])
    several = getattr(returned, "__origin__", None) is tuple
    results = returned.__args__ if several else (returned,)
    return FunctionType(parameters, [_annotation(call, "the result", kind) for kind in results])


def annotations_of(call: Callable[..., Any]) -> dict[str, Any]:
    import typing

    function = call if hasattr(call, "__annotations__") else getattr(call, "__call__", call)  # noqa: B004
    return typing.get_type_hints(function, include_extras=True)


def _hinted(call: Callable[..., Any], hints: dict[str, Any], name: str) -> ValueType:
    if name not in hints:
        raise TypeError(
            f"{_name_of(call)}: parameter {name} has no annotation; annotate it with i32, i64, "
            "f32, f64, funcref or externref, or give a FunctionType"
        )
    return _annotation(call, name, hints[name])


def _annotation(call: Callable[..., Any], where: str, annotation: Any) -> ValueType:
    if annotation is int:
        return ValueType.I64
    if annotation is float:
        return ValueType.F64
    try:
        return value_type(annotation)
    except InvalidArgumentError as error:
        raise TypeError(f"{_name_of(call)}: {where}: {error}") from None


def _name_of(call: Callable[..., Any]) -> str:
    return str(getattr(call, "__qualname__", repr(call)))


def _not_answered(kind: Any, error: BaseException, trace: Any) -> int:
    """An exception outside of the callable itself, Ctrl-C for instance."""
    entry = current_entry()
    if entry is not None and entry.failure is None:
        entry.failure = error
    return int(lib.WRT_ERR_HOST)


@ffi.def_extern(name="py_wrt_host_fn", error=lib.WRT_ERR_HOST, onerror=_not_answered)  # type: ignore[untyped-decorator]
def _host_fn(context: Any, caller: Any, values: Any) -> int:
    """Where the C library enters Python."""
    entry = current_entry() or entry_of_worker(caller)
    callee: Callee = ffi.from_handle(context)
    assert entry is not None
    entry.leave()
    try:
        with host_call():
            status = callee.answer(caller, values, entry.store)
        entry.pending = status == lib.WRT_ERR_PENDING
        return status
    except Abandoned:
        return int(lib.WRT_ERR_HOST)
    except BaseException as error:
        if isinstance(error, InterruptedCallError) and _is_interrupted(caller):
            return int(lib.WRT_ERR_INTERRUPTED)
        entry.failure = error
        entry.failed_in = callee.name
        return int(lib.WRT_ERR_HOST)
    finally:
        entry.come_back()


def _is_interrupted(caller: Any) -> bool:
    """Whether what ended a wait was the interrupt of the call that the function is part of."""
    return bool(lib.wrt_cancel_is_requested(lib.wrt_instance_cancel_token(caller)))


def failure_of(error: BaseException, name: str) -> BaseException:
    """What the caller of the guest is to get for what a host function raised."""
    if not isinstance(error, Exception):  # KeyboardInterrupt, SystemExit: nobody's failure
        return error
    if isinstance(error, OutputClosedError):
        return error
    what = str(error) if isinstance(error, WrtError) else f"{type(error).__name__}: {error}"
    failure = HostError(f"host function {name} failed: {what}")
    failure.__cause__ = error
    return failure
