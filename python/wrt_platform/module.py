"""Modules: WebAssembly bytes, validated where they lie. Mirrors wrt_platform/module.h."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    NotFoundError,
    PermissionDeniedError,
    SystemCallError,
    check,
)
from wrt_platform.layout import Layout
from wrt_platform.store import address_of, register
from wrt_platform.values import (
    ExternKind,
    ExternType,
    FunctionType,
    MemoryType,
    extern_type,
    function_type,
)

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ExportType", "ImportType", "Module", "ModuleBuilder", "ModuleUsage", "WasmModule"]

Source = Union[bytes, bytearray, mmap.mmap, str, "os.PathLike[str]"]
_NO_START = 0xFFFFFFFF


class ImportType(NamedTuple):
    """What a module wants to be given."""

    module: str
    name: str
    kind: ExternKind
    type: ExternType


class ExportType(NamedTuple):
    """What a module offers."""

    name: str
    kind: ExternKind
    type: ExternType
    number: int  # in the module's index space of that kind


class ModuleUsage(NamedTuple):
    """What a module holds and what it costs; sizes in bytes, exact."""

    buffer_bytes: int  # beside the module's bytes: all that is kept
    init_bytes: int  # that validation needed in passing
    side_table_bytes: int  # part of buffer_bytes
    code_bytes: int
    data_bytes: int
    type_count: int
    import_count: int
    export_count: int
    function_count: int  # imported ones included, as in all that follow
    imported_function_count: int
    table_count: int
    memory_count: int
    global_count: int
    element_count: int  # segments
    data_count: int  # segments
    features: frozenset[str]  # parts of WebAssembly 2.0 that it uses
    start_function: int | None


class Module:
    """A validated module; instances are made of it.

    source: the bytes of a module (bytes, or a bytearray or mmap, which must not be changed while
    the module lives), WebAssembly text (where an assembler is installed), or the path of a file
    with either. A file is mapped, not read: it must not be shortened while the module lives.
    Raises MalformedError or InvalidModuleError with the byte offset, UnsupportedError,
    NotFoundError or PermissionDeniedError for a file that can't be read.
    Threads: any number of threads and instances may use it at once.
    """

    def __init__(self, source: Source) -> None:
        data, self._name = _bytes_of(source)
        self._init(data, None)

    @classmethod
    def _build(cls, data: Any, buffer: Any, name: str) -> Module:
        module = cls.__new__(cls)
        module._name = name
        module._init(data, buffer)
        return module

    def _init(self, data: Any, buffer: Any) -> None:
        self._data = ffi.from_buffer("uint8_t[]", data)  # C borrows it; this keeps it alive
        self._pointer = ffi.new("wrt_module *")
        self._exports: dict[str, ExportType] | None = None
        self._imports: tuple[ImportType, ...] | None = None
        config = ffi.new("wrt_module_config *")
        config.struct_size = ffi.sizeof("wrt_module_config")
        config.bytes, config.bytes_size = self._data, len(self._data)
        own = buffer is None
        if own:
            buffer = mmap_buffer(_layout(config).bytes)
        self._buffer = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        config.buffer, config.buffer_size = self._buffer, len(self._buffer)
        check(lib.wrt_module_init(self._pointer, config))
        register(self._pointer, self)
        if own:
            _give_back_tail(buffer, self._query().buffer_bytes)

    @property
    def name(self) -> str:
        """The file's name, or a word for what it was made from."""
        return self._name

    @property
    def size(self) -> int:
        """Bytes of the module."""
        return len(self._data)

    @property
    def usage(self) -> ModuleUsage:
        """What it holds and what it costs."""
        usage = self._query()
        counts = [getattr(usage, name) for name in ModuleUsage._fields[:-2]]
        start = None if usage.start_function == _NO_START else usage.start_function
        return ModuleUsage._make([*counts, _features(usage.features), start])

    def _query(self) -> Any:
        usage = ffi.new("wrt_module_usage *")
        check(lib.wrt_module_query(self._pointer, usage))
        return usage

    @property
    def imports(self) -> tuple[ImportType, ...]:
        """What it wants to be given, in order."""
        if self._imports is None:
            count = self._query().import_count
            self._imports = tuple(self._import(index) for index in range(count))
        return self._imports

    def _import(self, index: int) -> ImportType:
        module, name, kind = ffi.new("wrt_name *"), ffi.new("wrt_name *"), _new_extern_type()
        check(lib.wrt_module_import(self._pointer, index, module, name, kind))
        described = extern_type(kind)
        return ImportType(_text(module), _text(name), ExternKind(kind.kind), described)

    @property
    def exports(self) -> dict[str, ExportType]:
        """What it offers, by name."""
        if self._exports is None:
            count = self._query().export_count
            listed = [self._export(index) for index in range(count)]
            self._exports = {export.name: export for export in listed}
        return dict(self._exports)

    def _export(self, index: int) -> ExportType:
        name, kind = ffi.new("wrt_name *"), _new_extern_type()
        check(lib.wrt_module_export(self._pointer, index, name, kind))
        return ExportType(_text(name), ExternKind(kind.kind), extern_type(kind), kind.index)

    @property
    def memory_type(self) -> MemoryType | None:
        """Of its memory, own or imported; None if it has none."""
        if self._query().memory_count == 0:
            return None
        for wanted in self.imports:
            if isinstance(wanted.type, MemoryType):
                return wanted.type
        maximum = self._pointer.memory_maximum
        return MemoryType(self._pointer.memory_minimum, None if maximum == _NO_START else maximum)

    @property
    def imports_memory(self) -> bool:
        """Whether its memory is given to it."""
        return any(wanted.kind is ExternKind.MEMORY for wanted in self.imports)

    def function_type(self, function: int) -> FunctionType:
        """Type of a function, by its index."""
        described = ffi.new("wrt_function_type *")
        check(lib.wrt_module_function_type(self._pointer, function, described))
        return function_type(described)

    def function_name(self, function: int) -> str | None:
        """Name of a function, by its index: from the name section, else export or import."""
        return function_name(self._pointer, function)

    def validate_in_place(self) -> None:
        """Does nothing: a Module that exists has been validated, where its bytes lie."""

    def __del__(self) -> None:
        pointer = getattr(self, "_pointer", None)
        if pointer is not None and lib is not None:
            _discard(lib.wrt_module_deinit(pointer))

    def __repr__(self) -> str:
        return f"<Module {self._name}, {self.size} bytes>"


WasmModule = Module  # as the documents call it


class ModuleBuilder:
    """Collects what a module is made of."""

    def __init__(self) -> None:
        self._bytes: Any = None
        self._buffer: Any = None

    def with_bytes(self, data: bytes | bytearray | mmap.mmap) -> Self:
        """The module; borrowed, and not to be changed while it lives."""
        self._bytes = data
        return self

    def with_buffer(self, buffer: bytearray | mmap.mmap) -> Self:
        """Where index and side table go, 8-byte aligned. Without it, build() makes a buffer."""
        self._buffer = owned(buffer)
        return self

    def layout(self) -> Layout:
        """What buffer is enough. Raises as build() does for bytes that are no module."""
        config = ffi.new("wrt_module_config *")
        config.struct_size = ffi.sizeof("wrt_module_config")
        data = ffi.from_buffer("uint8_t[]", owned(self._bytes or b""))
        config.bytes, config.bytes_size = data, len(data)
        layout = _layout(config)
        return Layout(layout.bytes, layout.alignment)

    def build(self) -> Module:
        """Validates and makes the module."""
        buffer, self._buffer = self._buffer, None  # one buffer serves one module
        return Module._build(owned(self._bytes or b""), buffer, "bytes")


def owned(data: Any) -> Any:
    """Refuses a view: CPython crashes when a lent view dies in a cycle."""
    if isinstance(data, memoryview):
        raise TypeError("pass the object that owns the memory, not a view of it")
    return data


def mmap_buffer(size: int) -> mmap.mmap:
    """Zeroed memory that takes up room only where it is written."""
    return mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def function_name(pointer: Any, function: int) -> str | None:
    """Name of a function of a C module, None if it has none."""
    name = ffi.new("wrt_name *")
    if lib.wrt_module_function_name(pointer, function, name) != lib.WRT_OK:
        return None
    return _text(name) or None


def _give_back_tail(buffer: mmap.mmap, used: int) -> None:
    """What only validation needed goes back to the system."""
    start = -(-used // mmap.PAGESIZE) * mmap.PAGESIZE
    if start < len(buffer) and hasattr(mmap, "MADV_DONTNEED"):
        buffer.madvise(mmap.MADV_DONTNEED, start, len(buffer) - start)


def _bytes_of(source: Source) -> tuple[Any, str]:
    """The bytes of a module and a name for it."""
    from wrt_platform.wat import assemble, looks_like_text

    if isinstance(source, str) and looks_like_text(source[:4096].encode()):
        return assemble(source), "text"
    if isinstance(source, (str, os.PathLike)):
        return _file(os.fspath(source))
    data = owned(source)
    if not isinstance(data, (bytes, bytearray, mmap.mmap)):
        raise TypeError(
            f"a module comes from bytes, a bytearray, an mmap, text or a path, not {source!r}"
        )
    if looks_like_text(data):
        return assemble(bytes(data).decode()), "text"
    return data, "bytes"


def _file(path: str) -> tuple[Any, str]:
    from wrt_platform.wat import assemble, looks_like_text

    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            regular = os.path.isfile(path)
            # A pipe has no size, and an empty file can't be mapped.
            data = (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                if regular and size
                else file.read()
            )
    except OSError as error:
        raise _file_error(path, error) from None
    name = os.path.basename(path)
    if looks_like_text(data):
        return assemble(bytes(data).decode(errors="replace")), name
    return data, name


def _file_error(path: str, error: OSError) -> Exception:
    kind: type[Exception] = SystemCallError
    if isinstance(error, FileNotFoundError):
        kind = NotFoundError
    elif isinstance(error, PermissionError):
        kind = PermissionDeniedError
    failure = kind(f"can't read {path!r}: {error.strerror}")
    failure.os_code = error.errno or 0  # type: ignore[attr-defined]
    return failure


def _layout(config: Any) -> Any:
    layout = ffi.new("wrt_layout *")
    check(lib.wrt_module_layout(config, layout))
    return layout


def _new_extern_type() -> Any:
    return ffi.new("wrt_extern_type *")


def _text(name: Any) -> str:
    return bytes(ffi.buffer(name.text, name.size)).decode(errors="replace") if name.size else ""


def _features(flags: int) -> frozenset[str]:
    names = [name for name in dir(lib) if name.startswith("WRT_FEATURE_")]
    used = [name for name in names if flags & getattr(lib, name)]
    return frozenset(name[len("WRT_FEATURE_") :].lower().replace("_", " ") for name in used)


def _discard(status: int) -> None:
    """A finaliser has nobody to tell."""


def module_at(pointer: Any) -> Module | None:
    """The Module that a C module belongs to."""
    from wrt_platform.store import owner_of

    found = owner_of(pointer) if address_of(pointer) else None
    return found if isinstance(found, Module) else None
