"""Imports: what a module wants, found among what Python offers, and said clearly if it is not."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Union

from wrt_platform._native import ffi, lib
from wrt_platform.errors import LinkError, error_of
from wrt_platform.host_function import HostFunction, annotated_type, annotations_of
from wrt_platform.memory import Memory
from wrt_platform.table import Global, Table
from wrt_platform.values import FunctionType, ValueType, extern_type

if TYPE_CHECKING:
    from wrt_platform.module import ImportType, Module
    from wrt_platform.store import Store

__all__ = ["Imports", "Linked"]

_WHAT_IMPORTS_ARE = "imports are a dictionary of dictionaries, a Wasi, or a list of these, not {!r}"

# A system serves one caller at a time: who shares one is linked by it.
_served: weakref.WeakKeyDictionary[Any, weakref.ref[Store]] = weakref.WeakKeyDictionary()

Imports = Union[Mapping[str, Mapping[str, Any]], Any, Iterable[Any], None]


class Linked:
    """The imports of one instance, as C takes them, and all that has to live for them."""

    def __init__(self, module: Module, imports: Imports, store: Store) -> None:
        self._module = module
        self._texts: list[Any] = []
        self.kept: list[Any] = []
        self.systems = [offer for offer in _offers(imports) if _is_system(offer)]
        tables = [offer for offer in _offers(imports) if not _is_system(offer)]
        found = [
            (wanted, table[wanted.module][wanted.name])
            for wanted in module.imports
            for table in tables
            if wanted.module in table and wanted.name in table[wanted.module]
        ]
        self.count = len(found) + sum(system._import_count for system in self.systems)
        self.array = ffi.new("wrt_import[]", max(self.count, 1))
        self._fill(found, store)

    def _fill(self, found: list[tuple[ImportType, Any]], store: Store) -> None:
        next_place = 0
        for system in self.systems:
            self.kept.append(system)
            store.root().calls_system = True
            other = _served.get(system, lambda: None)()
            if other is not None:
                store.join(other)
            _served[system] = weakref.ref(store)
            imports = system._imports
            for index in range(system._import_count):
                self.array[next_place] = imports[index]
                next_place += 1
        for wanted, offered in found:
            place = self.array[next_place]
            place.module, place.name = self._text(wanted.module), self._text(wanted.name)
            self._offer(wanted, offered, place.value, store)
            next_place += 1

    def _text(self, text: str) -> Any:
        self._texts.append(ffi.new("char[]", text.encode()))
        return self._texts[-1]

    def _offer(self, wanted: ImportType, offered: Any, external: Any, store: Store) -> None:
        thing = _as_thing(wanted, offered)
        if isinstance(thing, (Memory, Table, Global)):
            theirs, owner = thing._as_extern(external)
            self.kept.append(owner)
            store.join(theirs)
            return
        pointer, owner, function_store = thing._as_reference()
        external.kind, external.of.function = lib.WRT_EXTERN_FUNCTION, pointer
        self.kept.append(owner)
        if function_store is not None:
            store.join(function_store)
        elif not thing.is_ours:
            store.root().calls_python = True

    def may_leave_functions_behind(self) -> bool:
        """Whether the instance's functions can get into tables that outlive it."""
        return any(_carries_functions(wanted.type) for wanted in self._module.imports)

    def error(self, config: Any) -> LinkError:
        """After a refusal by C: every import that is missing, or the one of another type."""
        failure = error_of(lib.WRT_ERR_LINK)
        missing = list(self._missing(config))
        if missing:
            names = ", ".join(f"{wanted.module}.{wanted.name} {wanted.type}" for wanted in missing)
            noun = "import is" if len(missing) == 1 else "imports are"
            sentence = f"{len(missing)} {noun} unknown: {names}"
        else:
            sentence = self._mismatch(failure.detail[0]) or str(failure)
        error = LinkError(sentence)
        error.operation, error.detail = failure.operation, failure.detail
        return error

    def _missing(self, config: Any) -> Iterator[ImportType]:
        index, wanted = ffi.new("uint32_t *"), self._module.imports
        start = 0
        while start < len(wanted):
            status = lib.wrt_instance_missing_import(config, start, index)
            if status != lib.WRT_OK:
                return
            yield wanted[index[0]]
            start = index[0] + 1

    def _mismatch(self, index: int) -> str:
        if index >= len(self._module.imports):
            return ""
        wanted = self._module.imports[index]
        for place in reversed(range(self.count)):
            names = (ffi.string(self.array[place].module), ffi.string(self.array[place].name))
            if names == (wanted.module.encode(), wanted.name.encode()):
                given = _described(self.array[place].value)
                return f"import {wanted.module}.{wanted.name} is {given}, not {wanted.type}"
        return ""


def _offers(imports: Imports) -> list[Any]:
    if imports is None:
        return []
    if isinstance(imports, Mapping) or _is_system(imports):
        return [imports]
    if not isinstance(imports, Iterable):
        raise TypeError(_WHAT_IMPORTS_ARE.format(imports))
    offers = list(imports)
    for offer in offers:
        if not isinstance(offer, Mapping) and not _is_system(offer):
            raise TypeError(_WHAT_IMPORTS_ARE.format(offer))
    return offers


def _is_system(offer: Any) -> bool:
    """Whether it brings a whole set of imports that C knows: a Wasi."""
    return hasattr(type(offer), "_imports")


def _as_thing(wanted: ImportType, offered: Any) -> Any:
    """What was offered, as an object that C knows. Raises LinkError or TypeError."""
    if isinstance(offered, (Memory, Table, Global)) or hasattr(offered, "_as_reference"):
        return offered
    name = f"{wanted.module}.{wanted.name}"
    if isinstance(offered, tuple) and len(offered) == 2 and isinstance(offered[0], FunctionType):
        return HostFunction(offered[1], offered[0], name=name)
    if not callable(offered):
        raise TypeError(
            f"import {name} can't be {offered!r}; it takes a callable, a Function, Memory, Table "
            "or Global"
        )
    if not isinstance(wanted.type, FunctionType):
        raise LinkError(f"import {name} is a function, not {wanted.type}")
    return HostFunction(offered, _fitting_type(offered, wanted.type, name), name=name)


def _fitting_type(call: Any, wanted: FunctionType, name: str) -> FunctionType:
    """The import's own type, unless the callable's annotations say something else."""
    try:
        hints = annotations_of(call)
    except Exception:  # builtins have none, and others can't be resolved: then nothing is said
        return wanted
    if any(getattr(hint, "__metadata__", ()) for hint in hints.values()):
        return annotated_type(call)
    _check_arity(call, wanted, name)
    return wanted


def _check_arity(call: Any, wanted: FunctionType, name: str) -> None:
    import inspect

    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # a builtin that does not say
        return
    try:
        signature.bind(*wanted.parameters)
    except TypeError as error:
        raise LinkError(f"import {name} {wanted}: {call!r} can't take that: {error}") from None


def _carries_functions(kind: Any) -> bool:
    if isinstance(kind, FunctionType):
        return ValueType.FUNCREF in kind.parameters + kind.results
    return ValueType.FUNCREF in (getattr(kind, "element", None), getattr(kind, "value", None))


def _described(external: Any) -> str:
    """The type of a wrt_extern, in words."""
    described = ffi.new("wrt_extern_type *")
    described.kind = external.kind
    if external.kind == lib.WRT_EXTERN_FUNCTION:
        if lib.wrt_function_query(external.of.function, ffi.addressof(described, "function")):
            return "a function"
    elif external.kind == lib.WRT_EXTERN_MEMORY:
        memory = external.of.memory
        described.minimum, described.maximum = memory.page_count, memory.declared_maximum
    elif external.kind == lib.WRT_EXTERN_TABLE:
        table = external.of.table
        described.value_type = table.element_type
        described.minimum, described.maximum = table.element_count, table.declared_maximum
    else:
        variable = getattr(external.of, "global")
        described.value_type, described.is_mutable = variable.value_type, variable.is_mutable
    return str(extern_type(described))
