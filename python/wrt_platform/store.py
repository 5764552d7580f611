"""What linked instances share: one lock, one turn to run, the references they hold.

An instance that imports another one's memory or function is one body with it: the C library
wants one caller at a time for the whole set. So each set has one Store, and linking makes two
Stores one. Three things are kept apart here:

- the lock is held round each single C call, and given up while a host function runs;
- the turn belongs to the thread whose guest call is under way, host functions included. Another
  thread's call waits for it; only queries and interrupt() go in between;
- references (objects that a guest may hold, functions in tables) live as long as the Store.

A guest's long run is many short C calls, and after each of them those come in who wait for the
lock: a lock of Python's is not fair, and would be the runner's again before they are awake.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from wrt_platform._native import ffi, lib
from wrt_platform.errors import StateError
from wrt_platform.values import FunctionType, function_type

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from wrt_platform.function import Function

__all__ = ["Borrower", "Store", "Turn", "WorkerEntry"]

_PENDING = 0.001  # seconds between two tries of a host function on a worker
_PATIENCE = 1.0  # seconds that a call waits for one and the same call of another thread
_COURTESY = 0.02  # seconds that a runner waits at most, for others to come in

_Owner = TypeVar("_Owner")

_turns = threading.Condition()  # guards who has which turn, and which Stores are one
_within = threading.local()  # .entry: the C call that this thread is inside of
_owners: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # by C address
_borrowers: weakref.WeakSet[Borrower] = weakref.WeakSet()
_LENT = (
    "the instance, or one that it is linked with, is lent to a thread pool's executor; "
    "close that first, or call it as a task"
)


def register(pointer: Any, owner: Any) -> None:
    """Remembers whose a C object is, so that what C hands out can keep its owner alive."""
    _owners[address_of(pointer)] = owner


def owner_of(pointer: Any) -> Any:
    """The Python object that owns a C object; None if it is not Python's."""
    return _owners.get(address_of(pointer))


def owners(kind: type[_Owner]) -> list[_Owner]:
    """All owners of that kind that are alive."""
    return [owner for owner in list(_owners.values()) if isinstance(owner, kind)]


def address_of(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


class Store:
    """The lock, the turn and the references of a set of linked objects."""

    def __init__(self) -> None:
        self._joined: Store | None = None  # the Store that this one has become part of
        self._lock = threading.RLock()
        self._waiting: deque[int] = deque()  # a 1 for each thread that waits for the lock
        self._allocator_locks: list[Any] = []  # of allocators that others use as well
        self._holder = 0  # thread that has the turn
        self._depth = 0  # host functions may call again
        self._serial = 0  # of the turns
        self.abandoned = False  # the holder is in a host function that has not come back in time
        self.borrower: Borrower | None = None  # an executor has the turn until it gives it back
        self.calls_python = False  # a host function here is written in Python
        self.calls_system = False  # one here may wait: WASI
        self._objects: dict[int, Any] = {}
        self._kept: list[Any] = []
        self._afterwards: list[Callable[[], object]] = []

    def root(self) -> Store:
        """The Store that speaks for the whole set."""
        store = self
        while store._joined is not None:
            store = store._joined
        return store

    def join(self, other: Store) -> None:
        """Makes two sets one. Raises StateError while another thread runs either."""
        with Turn(self), Turn(other):
            first, second = sorted((self.root(), other.root()), key=id)
            if first is second:
                return
            with first._lock, second._lock, _turns:
                first._absorb(second)
                _turns.notify_all()

    def _absorb(self, other: Store) -> None:
        for lock in other._allocator_locks:
            self._add_lock(lock)
        self._depth += other._depth
        self.calls_python |= other.calls_python
        self.calls_system |= other.calls_system
        self._objects.update(other._objects)
        self._kept += other._kept
        self._afterwards += other._afterwards
        other._objects, other._kept, other._afterwards, other._depth = {}, [], [], 0
        other._joined = self

    def share_allocator(self, lock: Any) -> None:
        """From now on holds this allocator's own lock, too, round each C call."""
        with Turn(self):
            root = self.root()
            with root._lock:
                root._add_lock(lock)

    def _add_lock(self, lock: Any) -> None:
        if all(lock is not known for known in self._allocator_locks):
            self._allocator_locks.append(lock)
            self._allocator_locks.sort(key=id)  # one order for all: no two threads wait in a ring

    def keep(self, thing: Any) -> None:
        """Keeps `thing` alive as long as anything of the set."""
        self.root()._kept.append(thing)

    # References

    def object_reference(self, value: Any) -> int:
        """The number by which guests know a Python object; 0 is None."""
        if value is None:
            return 0
        self.root()._objects[id(value)] = value
        return id(value)

    def object_at(self, reference: int) -> Any:
        return self.root()._objects[reference] if reference else None

    def function_reference(self, value: Any) -> int:
        """The number by which guests know a function; 0 is None."""
        if value is None:
            return 0
        if not hasattr(value, "_as_reference"):
            raise TypeError(f"a funcref is a Function or a HostFunction, not {value!r}")
        pointer, owner, store = value._as_reference()
        if store is not None and store.root() is not self.root():
            self.join(store)
        self.keep(owner)
        return address_of(pointer)

    def function_at(self, reference: int) -> Function | None:
        return self.function(ffi.cast("wrt_function *", reference)) if reference else None

    def function(self, pointer: Any) -> Function:
        """A callable for a function that C handed out."""
        from wrt_platform.function import Function

        return Function(self, pointer, owner_of(pointer.owner), self.type_of(pointer))

    def type_of(self, pointer: Any) -> FunctionType:
        described = ffi.new("wrt_function_type *")
        with self.entered():
            status = lib.wrt_function_query(pointer, described)
        if status != lib.WRT_OK:
            raise StateError("the function is no longer there")
        return function_type(described)

    def entered(self) -> Entry:
        """`with store.entered():` holds the locks round a C call."""
        return Entry(self)

    def turn_lent(self) -> _Lent:
        """`with store.turn_lent():` this thread has the turn of the one that waits for it."""
        return _Lent(self)

    def afterwards(self, job: Callable[[], object]) -> None:
        """Does `job` when no call is under way: now, or when the one that is has ended."""
        with _turns:
            root = self.root()
            if root._depth > 0:
                root._afterwards.append(job)
                return
        job()

    def mark_abandoned(self) -> None:
        """The call under way will not be waited for; until it ends, others are refused at once."""
        with _turns:
            root = self.root()
            root.abandoned = root._depth > 0
            _turns.notify_all()

    def lend(self, borrower: Borrower) -> None:
        """Gives the whole set to an executor, whose workers run its guests: until give_back(),
        all others are refused. Raises StateError while it is in use."""
        turn = Turn(self)
        turn.__enter__()
        with _turns:
            root = self.root()
            if root._depth > 1:
                root._depth -= 1
                raise StateError("a guest is running, or a call of it is inside a host function")
            root._holder, root.borrower = 0, borrower

    def give_back(self) -> None:
        """Ends a loan."""
        with _turns:
            self.root().borrower = None
        Turn(self).__exit__(None, None, None)

    def shares_with(self, other: Store) -> bool:
        """Whether guests of the two can't run at once: they are one, or have an allocator in
        common, which serves one caller."""
        mine, theirs = self.root(), other.root()
        locks = {id(lock) for lock in mine._allocator_locks}
        return mine is theirs or any(id(lock) in locks for lock in theirs._allocator_locks)

    def _acquire(self) -> Store:
        while True:
            root = self.root()
            if not root._lock.acquire(blocking=False):
                root._waiting.append(1)
                root._lock.acquire()
                root._waiting.pop()
            if root.borrower is not None and root._holder != threading.get_ident():
                root._lock.release()
                raise StateError(_LENT)
            if root._joined is None:
                break
            root._lock.release()  # it became part of another while we waited
        for lock in root._allocator_locks:
            lock.acquire()
        return root

    def let_others_in(self) -> None:
        """A runner is between two C calls: those who wait for the lock go first."""
        root = self.root()
        until = time.monotonic() + _COURTESY
        while root._waiting and time.monotonic() < until:
            time.sleep(0.0001)

    def _release(self) -> None:
        for lock in reversed(self._allocator_locks):
            lock.release()
        self._lock.release()


class Entry:
    """A C call: holds the locks, but not while the guest calls a Python function."""

    __slots__ = ("_outer", "_root", "failed_in", "failure", "pending", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.failure: BaseException | None = None  # what a host function raised
        self.failed_in = ""  # its name
        self.pending = False  # a host function asked to be called again

    def __enter__(self) -> Entry:
        self._root = self.store._acquire()
        self._outer = getattr(_within, "entry", None)
        _within.entry = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _within.entry = self._outer
        self._root._release()

    def leave(self) -> None:
        """A host function begins: others may query meanwhile."""
        self._root._release()

    def come_back(self) -> None:
        """A host function has ended."""
        self._root = self.store._acquire()


class Borrower:
    """What runs guests on the workers of a thread pool: an executor."""

    def store_of(self, address: int) -> Store | None:
        """The Store of the instance at an address, if it is one of his, or else of the task that
        this thread runs."""
        raise NotImplementedError

    def note_failure(self, failure: BaseException, name: str) -> None:
        """A host function of the task that this thread runs raised."""
        raise NotImplementedError


class WorkerEntry:
    """A host function on a worker of a thread pool: no lock is held there, and while it runs the
    turn is its own."""

    __slots__ = ("_borrower", "_holder", "_outer", "failed_in", "failure", "pending", "store")

    def __init__(self, store: Store, borrower: Borrower) -> None:
        self.store = store
        self.failure: BaseException | None = None
        self.failed_in = ""
        self.pending = False
        self._borrower = borrower

    def leave(self) -> None:
        """The host function begins."""
        self._outer = getattr(_within, "entry", None)
        _within.entry = None
        with _turns:
            root = self.store.root()
            self._holder, root._holder = root._holder, threading.get_ident()

    def come_back(self) -> None:
        """It has ended."""
        _within.entry = self._outer
        with _turns:
            self.store.root()._holder = self._holder
        if self.failure is not None:
            self._borrower.note_failure(self.failure, self.failed_in)
        elif self.pending:
            time.sleep(_PENDING)


def add_borrower(borrower: Borrower) -> None:
    """From now on host functions on workers may belong to this one."""
    _borrowers.add(borrower)


def entry_of_worker(caller: Any) -> WorkerEntry | None:
    """For a host function on a thread that came from no call of Python."""
    address = address_of(caller)
    for borrower in list(_borrowers):
        store = borrower.store_of(address)
        if store is not None:
            return WorkerEntry(store, borrower)
    return None


def current_entry() -> Entry | None:
    """The C call that this thread is inside of."""
    entry: Entry | None = getattr(_within, "entry", None)
    return entry


class Turn:
    """`with Turn(store):` the right of this thread to run guests of the set.

    Waits while another thread has it. Raises StateError when one and the same call of another
    thread goes on for a second, or waits in a host function that was given up.
    """

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> None:
        me = threading.get_ident()
        with _turns:
            root = self._free_root(me)
            if root._depth == 0:
                root._serial += 1
            root._holder = me
            root._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _turns:
            root = self._store.root()
            root._depth -= 1
            jobs: list[Callable[[], object]] = []
            if root._depth == 0:
                root.abandoned = False
                jobs, root._afterwards = root._afterwards, []
                _turns.notify_all()
        for job in jobs:
            job()

    def _free_root(self, me: int) -> Store:
        """Waits until nobody else has the turn."""
        seen: tuple[Store, int] | None = None
        until = 0.0
        while True:
            root = self._store.root()
            if root._depth == 0 or root._holder == me:
                return root
            if root.borrower is not None:
                raise StateError(_LENT)
            if root.abandoned:
                raise StateError(
                    "a host function of an earlier call, which ran out of time, "
                    "has not returned yet"
                )
            now = time.monotonic()
            if seen != (root, root._serial):  # another call than the one we waited for
                seen, until = (root, root._serial), now + _PATIENCE
            if now >= until:
                raise StateError(
                    "another thread is running this instance, or one that it is linked with; "
                    "wait for it, interrupt() it, or make an instance for each thread"
                )
            _turns.wait(until - now)


class _Lent:
    """The turn of another thread, which waits until this one is done with it."""

    __slots__ = ("_lender", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> None:
        with _turns:
            root = self._store.root()
            self._lender, root._holder = root._holder, threading.get_ident()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _turns:
            self._store.root()._holder = self._lender


def holds_turn(store: Store) -> bool:
    """Whether this thread is already running guests of the set (we are in a host function)."""
    with _turns:
        root = store.root()
        return root._depth > 0 and root._holder == threading.get_ident()
