"""Functions that Python can call: exports of an instance, and what guests hold as funcref."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wrt_platform.errors import StateError
from wrt_platform.values import FunctionType

if TYPE_CHECKING:
    from wrt_platform.store import Store

__all__ = ["Function"]


class Function:
    """A function of a guest; call it like any other. Made by exports, tables and funcrefs.

    It keeps its instance's memory and code alive. Threads: calls take turns.
    """

    def __init__(
        self, store: Store, pointer: Any, owner: Any, kind: FunctionType, name: str = ""
    ) -> None:
        self._store = store
        self._pointer = pointer
        self._owner = owner  # what the C function lives in
        self._type = kind
        self._name = name

    @property
    def type(self) -> FunctionType:
        """Parameters and results."""
        return self._type

    @property
    def name(self) -> str:
        """The name it is known by; may be empty."""
        return self._name or "function"

    def __call__(self, *arguments: Any, timeout: float | str | None = None) -> Any:
        """Calls it; see Instance.call() for values, errors and time-outs."""
        if self._owner is None:
            raise StateError(f"{self.name} belongs to the host and can only be called by a guest")
        return self._owner.call_function(self, arguments, timeout)

    def _as_reference(self) -> tuple[Any, Any, Store]:
        return self._pointer, self._owner, self._store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and bool(self._pointer == other._pointer)

    def __hash__(self) -> int:
        return hash(self._pointer)

    def __repr__(self) -> str:
        return f"<Function {self.name}{self._type}>"
