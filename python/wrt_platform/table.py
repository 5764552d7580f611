"""Tables of references and global variables. Mirror instance.h."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, check
from wrt_platform.module import mmap_buffer, owned
from wrt_platform.store import Store, register
from wrt_platform.values import GlobalType, TableType, ValueType, decode, encode, value_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

__all__ = ["Global", "Table", "TableBuilder"]

_NO_MAXIMUM = 0xFFFFFFFF
_ELEMENT_SIZE = 8  # bytes


class Table:
    """A table of functions or of Python objects: an instance's own, or one to be imported.

        table = Table("funcref", 4)
        table[0] = HostFunction(callback)

    maximum: part of its type, None for none. It can really grow to `maximum`, at most 1024
    elements above `minimum`.
    Threads: any.
    """

    def __init__(self, element: ValueType | str, minimum: int, maximum: int | None = None) -> None:
        builder = TableBuilder().with_element_type(element).with_initial_elements(minimum)
        if maximum is not None:
            builder.with_declared_maximum(maximum)
        made = builder.build()
        self._set(made._store, made._pointer, made._owner)

    @classmethod
    def _of(cls, store: Store, pointer: Any, owner: Any) -> Table:
        table = cls.__new__(cls)
        table._set(store, pointer, owner)
        return table

    def _set(self, store: Store, pointer: Any, owner: Any) -> None:
        self._store = store
        self._pointer = pointer
        self._owner = owner  # what the C object lives in

    @property
    def type(self) -> TableType:
        """Kind of elements, how many there are now, and the maximum of its type."""
        maximum = self._pointer.declared_maximum
        return TableType(
            ValueType(self._pointer.element_type),
            len(self),
            None if maximum == _NO_MAXIMUM else maximum,
        )

    def __len__(self) -> int:
        return int(self._pointer.element_count)

    def __getitem__(self, index: int) -> Any:
        reference = ffi.new("uint64_t *")
        with self._store.entered():
            status = lib.wrt_table_get(self._pointer, self._index(index), reference)
        check(status)
        cell = ffi.new("wrt_value *", {"reference": reference[0]})
        return decode(ValueType(self._pointer.element_type), cell, self._store)

    def __setitem__(self, index: int, value: Any) -> None:
        number = self._index(index)
        reference = self._reference(value)
        with self._store.entered():
            status = lib.wrt_table_set(self._pointer, number, reference)
        check(status)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def grow(self, elements: int, value: Any = None) -> int:
        """Adds elements that hold `value`; returns how many there were. Raises LimitError."""
        if not 0 <= elements <= _NO_MAXIMUM:
            raise InvalidArgumentError(f"a table does not grow by {elements} elements")
        old = ffi.new("uint32_t *")
        reference = self._reference(value)
        with self._store.entered():
            status = lib.wrt_table_grow(self._pointer, elements, reference, old)
        check(status)
        return int(old[0])

    def _reference(self, value: Any) -> int:
        cell = ffi.new("wrt_value *")
        encode(ValueType(self._pointer.element_type), value, cell, self._store)
        return int(cell.reference)

    def _index(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"element {index} of a table of {len(self)}")
        return index

    def _as_extern(self, external: Any) -> tuple[Store, Any]:
        external.kind, external.of.table = lib.WRT_EXTERN_TABLE, self._pointer
        return self._store, self._owner

    def __repr__(self) -> str:
        return f"<Table of {len(self)} {self.type.element}>"


class TableBuilder:
    """Collects settings of a table; instance.h has the rules, build() checks them."""

    def __init__(self) -> None:
        self._config = ffi.new("wrt_table_config *")
        self._config.struct_size = ffi.sizeof("wrt_table_config")
        self._config.element_type = lib.WRT_FUNCREF
        self._config.declared_maximum = _NO_MAXIMUM
        self._initial: Any = None
        self._buffer: Any = None

    def with_element_type(self, kind: ValueType | str) -> Self:
        """FUNCREF, the default, or EXTERNREF."""
        self._config.element_type = value_type(kind)
        return self

    def with_initial_elements(self, count: int) -> Self:
        """Elements at first; none by default."""
        self._config.initial_elements = _elements(count)
        return self

    def with_declared_maximum(self, count: int) -> Self:
        """The maximum of its type; none by default."""
        self._config.declared_maximum = _elements(count)
        return self

    def with_initial_value(self, value: Any) -> Self:
        """What the first elements hold; None by default."""
        self._initial = value
        return self

    def with_buffer(self, buffer: bytearray | mmap.mmap) -> Self:
        """Where the elements lie, 8 bytes each; growth ends where it ends."""
        self._buffer = owned(buffer)
        return self

    def build(self) -> Table:
        """Makes the table. Raises InvalidArgumentError or OutOfMemoryError (buffer)."""
        config = ffi.new("wrt_table_config *", self._config[0])
        buffer, self._buffer = self._buffer, None  # one buffer serves one table
        if buffer is None:
            most = config.initial_elements + int(lib.WRT_INSTANCE_TABLE_HEADROOM)
            room = min(most, max(config.declared_maximum, config.initial_elements))
            buffer = mmap_buffer(room * _ELEMENT_SIZE)
        store, storage = Store(), TableStorage(buffer)
        cell = ffi.new("wrt_value *")
        encode(ValueType(config.element_type), self._initial, cell, store)
        config.initial_value = cell.reference
        elements = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        config.buffer, config.buffer_size = ffi.cast("uint64_t *", elements), len(elements)
        storage.elements = elements
        check(lib.wrt_table_init(storage.pointer, config))
        return Table._of(store, storage.pointer, storage)


class TableStorage:
    """The C object and what it borrows."""

    def __init__(self, buffer: Any) -> None:
        self.pointer = ffi.new("wrt_table *")
        self.buffer = buffer
        self.elements: Any = None
        register(self.pointer, self)


class Global:
    """A global variable: an instance's own, or one to be imported.

        counter = Global("i32", 0, mutable=True)
        counter.value += 1

    Threads: any.
    """

    def __init__(self, kind: ValueType | str, value: Any = 0, *, mutable: bool = False) -> None:
        wanted, store, storage = value_type(kind), Store(), GlobalStorage()
        cell = ffi.new("wrt_value *")
        is_reference = wanted in (ValueType.FUNCREF, ValueType.EXTERNREF)
        encode(wanted, None if is_reference and value == 0 else value, cell, store)
        check(lib.wrt_global_init(storage.pointer, wanted, mutable, cell[0]))
        self._set(store, storage.pointer, storage)

    @classmethod
    def _of(cls, store: Store, pointer: Any, owner: Any) -> Global:
        variable = cls.__new__(cls)
        variable._set(store, pointer, owner)
        return variable

    def _set(self, store: Store, pointer: Any, owner: Any) -> None:
        self._store = store
        self._pointer = pointer
        self._owner = owner  # what the C object lives in

    @property
    def type(self) -> GlobalType:
        """What it holds, and whether it can be written."""
        return GlobalType(ValueType(self._pointer.value_type), bool(self._pointer.is_mutable))

    @property
    def value(self) -> Any:
        """What it holds now. Writing raises StateError if it is constant."""
        return decode(self.type.value, self._pointer.value, self._store)

    @value.setter
    def value(self, value: Any) -> None:
        cell = ffi.new("wrt_value *")
        encode(self.type.value, value, cell, self._store)
        with self._store.entered():
            status = lib.wrt_global_set(self._pointer, cell[0])
        check(status)

    def _as_extern(self, external: Any) -> tuple[Store, Any]:
        external.kind = lib.WRT_EXTERN_GLOBAL
        setattr(external.of, "global", self._pointer)  # a keyword of Python
        return self._store, self._owner

    def __repr__(self) -> str:
        return f"<Global {self.type}, {self.value!r}>"


class GlobalStorage:
    """The C object."""

    def __init__(self) -> None:
        self.pointer = ffi.new("wrt_global *")
        register(self.pointer, self)


def _elements(count: int) -> int:
    if not 0 <= count < _NO_MAXIMUM:
        raise InvalidArgumentError(f"{count} is no number of elements")
    return count
