"""Values that cross between Python and a guest, and the types they have.

Integers wrap nowhere: what does not fit its type is refused. An i32 or i64 argument may be given
signed or unsigned, a result is always signed. References cross as Python objects: an externref is
any object, kept alive by the instances that may hold it, a funcref is a function that can be
called.
"""

from __future__ import annotations

import enum
import operator
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Union

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError

if TYPE_CHECKING:
    from wrt_platform.store import Store

__all__ = [
    "ExternKind",
    "ExternType",
    "FunctionType",
    "GlobalType",
    "MemoryType",
    "TableType",
    "ValueType",
    "externref",
    "f32",
    "f64",
    "funcref",
    "i32",
    "i64",
]

_NO_MAXIMUM = 0xFFFFFFFF
_MASK = {32: 0xFFFFFFFF, 64: 0xFFFFFFFFFFFFFFFF}


class ValueType(enum.IntEnum):
    """The type of one value, by its byte in the binary format."""

    I32 = lib.WRT_I32
    I64 = lib.WRT_I64
    F32 = lib.WRT_F32
    F64 = lib.WRT_F64
    FUNCREF = lib.WRT_FUNCREF
    EXTERNREF = lib.WRT_EXTERNREF

    def __str__(self) -> str:
        return self.name.lower()


class ExternKind(enum.IntEnum):
    """What an import or export is."""

    FUNCTION = lib.WRT_EXTERN_FUNCTION
    TABLE = lib.WRT_EXTERN_TABLE
    MEMORY = lib.WRT_EXTERN_MEMORY
    GLOBAL = lib.WRT_EXTERN_GLOBAL

    def __str__(self) -> str:
        return self.name.lower()


# Annotations for host functions: `def add(a: i32, b: i32) -> i32`.
i32 = Annotated[int, ValueType.I32]
i64 = Annotated[int, ValueType.I64]
f32 = Annotated[float, ValueType.F32]
f64 = Annotated[float, ValueType.F64]
funcref = Annotated[Any, ValueType.FUNCREF]
externref = Annotated[Any, ValueType.EXTERNREF]


def value_type(given: ValueType | str | Any) -> ValueType:
    """A type from a member, from its name ("i32"), or from an annotation of this module."""
    if isinstance(given, ValueType):
        return given
    if isinstance(given, str) and given.upper() in ValueType.__members__:
        return ValueType[given.upper()]
    for note in getattr(given, "__metadata__", ()):
        if isinstance(note, ValueType):
            return note
    names = ", ".join(str(kind) for kind in ValueType)
    raise InvalidArgumentError(f"{given!r} is no value type; there are {names}")


class FunctionType:
    """Parameters and results of a function: `FunctionType(["i32", "i32"], ["i32"])`."""

    __slots__ = ("parameters", "results")

    parameters: tuple[ValueType, ...]
    results: tuple[ValueType, ...]

    def __init__(
        self, parameters: Iterable[ValueType | str] = (), results: Iterable[ValueType | str] = ()
    ) -> None:
        self.parameters = tuple(value_type(kind) for kind in parameters)
        self.results = tuple(value_type(kind) for kind in results)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FunctionType):
            return NotImplemented
        return (self.parameters, self.results) == (other.parameters, other.results)

    def __hash__(self) -> int:
        return hash((self.parameters, self.results))

    def __str__(self) -> str:
        sides = (", ".join(str(kind) for kind in side) for side in (self.parameters, self.results))
        return "({}) -> ({})".format(*sides)

    def __repr__(self) -> str:
        sides = ([str(kind) for kind in side] for side in (self.parameters, self.results))
        return "FunctionType({}, {})".format(*sides)


class MemoryType:
    """Pages of 64 KiB that a memory begins with, and may have at most (None: not said)."""

    __slots__ = ("maximum", "minimum")

    def __init__(self, minimum: int, maximum: int | None = None) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoryType):
            return NotImplemented
        return (self.minimum, self.maximum) == (other.minimum, other.maximum)

    def __hash__(self) -> int:
        return hash((self.minimum, self.maximum))

    def __str__(self) -> str:
        return f"memory of {_bounds(self.minimum, self.maximum, 'pages')}"

    def __repr__(self) -> str:
        return f"MemoryType({self.minimum}, {self.maximum})"


class TableType:
    """Elements that a table begins with, and may have at most (None: not said)."""

    __slots__ = ("element", "maximum", "minimum")

    def __init__(self, element: ValueType | str, minimum: int, maximum: int | None = None) -> None:
        self.element = value_type(element)
        self.minimum = minimum
        self.maximum = maximum

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TableType):
            return NotImplemented
        return (self.element, self.minimum, self.maximum) == (
            other.element,
            other.minimum,
            other.maximum,
        )

    def __hash__(self) -> int:
        return hash((self.element, self.minimum, self.maximum))

    def __str__(self) -> str:
        return f"table of {_bounds(self.minimum, self.maximum, str(self.element))}"

    def __repr__(self) -> str:
        return f"TableType({str(self.element)!r}, {self.minimum}, {self.maximum})"


class GlobalType:
    """What a global holds, and whether it can be written."""

    __slots__ = ("mutable", "value")

    def __init__(self, value: ValueType | str, mutable: bool = False) -> None:
        self.value = value_type(value)
        self.mutable = mutable

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GlobalType):
            return NotImplemented
        return (self.value, self.mutable) == (other.value, other.mutable)

    def __hash__(self) -> int:
        return hash((self.value, self.mutable))

    def __str__(self) -> str:
        return f"{'mutable' if self.mutable else 'constant'} global {self.value}"

    def __repr__(self) -> str:
        return f"GlobalType({str(self.value)!r}, {self.mutable})"


ExternType = Union[FunctionType, MemoryType, TableType, GlobalType]


def extern_type(described: Any) -> ExternType:
    """From the C library's wrt_extern_type."""
    if described.kind == lib.WRT_EXTERN_FUNCTION:
        return function_type(described.function)
    maximum = None if described.maximum == _NO_MAXIMUM else int(described.maximum)
    if described.kind == lib.WRT_EXTERN_TABLE:
        return TableType(ValueType(described.value_type), described.minimum, maximum)
    if described.kind == lib.WRT_EXTERN_MEMORY:
        return MemoryType(described.minimum, maximum)
    return GlobalType(ValueType(described.value_type), bool(described.is_mutable))


def function_type(described: Any) -> FunctionType:
    """From the C library's wrt_function_type."""
    parameters, results = described.parameters, described.results
    return FunctionType(
        [ValueType(parameters[i]) for i in range(described.parameter_count)],
        [ValueType(results[i]) for i in range(described.result_count)],
    )


def type_bytes(kinds: Sequence[ValueType]) -> Any:
    """The types as the C library borrows them."""
    return ffi.new("uint8_t[]", bytes(kinds) or 1)


def encode(kind: ValueType, value: Any, cell: Any, store: Store) -> None:
    """Writes a Python value into a wrt_value. Raises TypeError or InvalidArgumentError."""
    if kind is ValueType.I32:
        cell.i64 = 0
        cell.i32 = _integer(value, 32)
    elif kind is ValueType.I64:
        cell.i64 = _integer(value, 64)
    elif kind is ValueType.F32:
        cell.i64 = 0
        cell.f32 = _number(value)
    elif kind is ValueType.F64:
        cell.f64 = _number(value)
    elif kind is ValueType.FUNCREF:
        cell.reference = store.function_reference(value)
    else:
        cell.reference = store.object_reference(value)


def decode(kind: ValueType, cell: Any, store: Store) -> Any:
    """Reads a Python value from a wrt_value."""
    if kind is ValueType.I32:
        return _signed(cell.i32, 32)
    if kind is ValueType.I64:
        return _signed(cell.i64, 64)
    if kind is ValueType.F32:
        return cell.f32
    if kind is ValueType.F64:
        return cell.f64
    if kind is ValueType.FUNCREF:
        return store.function_at(cell.reference)
    return store.object_at(cell.reference)


def encode_all(
    kinds: Sequence[ValueType], values: Sequence[Any], cells: Any, store: Store, whose: str
) -> None:
    """Writes values into an array of wrt_value; errors name the value ("argument 2 of add")."""
    for index, (kind, value) in enumerate(zip(kinds, values)):
        try:
            encode(kind, value, cells[index], store)
        except (TypeError, InvalidArgumentError) as error:
            raise type(error)(f"{whose} {index + 1}: {error}") from None


def decode_all(kinds: Sequence[ValueType], cells: Any, store: Store) -> list[Any]:
    """Reads values from an array of wrt_value."""
    return [decode(kind, cells[index], store) for index, kind in enumerate(kinds)]


_PACKED = {ValueType.I32: "i4x", ValueType.I64: "q", ValueType.F64: "d"}  # in 8 bytes each


def row_packing(kinds: Sequence[ValueType]) -> struct.Struct | None:
    """How values of these types lie in an array of wrt_value; None if one of them is more than its
    bytes: a reference, or an f32, which rounds."""
    formats = [_PACKED.get(kind) for kind in kinds]
    if None in formats:
        return None
    return struct.Struct("=" + "".join(str(one) for one in formats))


def encode_rows(
    kinds: Sequence[ValueType], rows: Sequence[Sequence[Any]], cells: Any, store: Store
) -> None:
    """Writes rows of values one behind the other, as encode_all() does each. What can't be packed
    as it is goes there: an unsigned integer, or an error to be described."""
    packing = row_packing(kinds)
    if packing is not None:
        try:
            packed = b"".join([packing.pack(*row) for row in rows])
        except (struct.error, TypeError, OverflowError):
            pass
        else:
            ffi.buffer(cells, len(packed))[:] = packed
            return
    for place, row in enumerate(rows):
        encode_all(kinds, row, cells + place * len(kinds), store, "argument")


def decode_rows(kinds: Sequence[ValueType], cells: Any, count: int, store: Store) -> list[Any]:
    """Reads `count` rows: each a tuple, or a list."""
    packing = row_packing(kinds)
    if packing is None or packing.size == 0:
        wide = len(kinds)
        return [decode_all(kinds, cells + place * wide, store) for place in range(count)]
    return list(packing.iter_unpack(ffi.buffer(cells, count * packing.size)))


def _integer(value: Any, bits: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"an i{bits} is an int, not {type(value).__name__}") from None
    if not -(1 << (bits - 1)) <= number < 1 << bits:
        raise InvalidArgumentError(
            f"{number} does not fit an i{bits}: {-(1 << (bits - 1))} to {(1 << bits) - 1}"
        )
    return number & _MASK[bits]


def _signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> (bits - 1) else number


def _number(value: Any) -> float:
    if isinstance(value, (str, bytes, bytearray)):
        raise TypeError(f"a float is a number, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise InvalidArgumentError("the number is beyond the range of a float") from None
    except TypeError:
        raise TypeError(f"a float is a number, not {type(value).__name__}") from None


def _bounds(minimum: int, maximum: int | None, unit: str) -> str:
    return f"{minimum} {unit} and more" if maximum is None else f"{minimum} to {maximum} {unit}"
