"""What all futexes have in common, over each backend: values, waits, wakes, ends."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sync_backends import BACKENDS, Backend
from wrt_platform import CancelToken
from wrt_platform._native import ffi, lib
from wrt_platform.errors import (
    BusyError,
    InterruptedCallError,
    InvalidArgumentError,
    StateError,
    TimedOutError,
    UnsupportedError,
    WrtError,
)

SLICE = 0.02  # seconds: WRT_CANCEL_SLICE_NS
SLACK = 0.15  # of a busy machine
FOREVER = 2**64 - 1

pytestmark = pytest.mark.row("SY-1")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def futex(backend: Backend) -> Iterator[Any]:
    futex = backend.futex().with_initial_value(7).build()
    yield futex
    futex.close()


class Waiter(threading.Thread):
    """A thread in a wait of C, and what became of it."""

    def __init__(
        self, futex: Any, expected: int, timeout_ns: int = FOREVER, token: Any = ffi.NULL
    ) -> None:
        super().__init__(daemon=True)
        self.futex, self.arguments = futex, (expected, timeout_ns, token)
        self.status: int | None = None
        self.ended = 0.0
        before = futex.usage.wait_calls
        self.start()
        while futex.usage.wait_calls == before and self.status is None:
            time.sleep(0.001)
        time.sleep(0.01)  # from the count to the wait itself

    def run(self) -> None:
        self.status = lib.wrt_futex_wait(self.futex._interface, *self.arguments)
        self.ended = time.monotonic()

    def result(self) -> int | None:
        self.join(5)
        assert not self.is_alive(), "a wake was lost"
        return self.status


def test_the_word_can_be_read_and_changed(futex: Any) -> None:
    assert futex.load() == 7
    futex.store(2**32 - 1)
    assert futex.fetch_add(3) == 2**32 - 1
    assert futex.load() == 2
    assert not futex.compare_exchange(1, 9)
    assert futex.compare_exchange(2, 9)
    assert futex.load() == 9


def test_a_wait_for_another_word_does_not_wait(futex: Any) -> None:
    futex.wait(8, timeout=60)
    assert futex.usage.wait_calls == 0


def test_a_time_out_of_zero_only_looks(futex: Any) -> None:
    with pytest.raises(TimedOutError):
        futex.wait(7, timeout=0)
    assert futex.usage.wait_calls == 0


def test_a_wait_ends_when_its_time_is_over(futex: Any) -> None:
    start = time.monotonic()
    assert lib.wrt_futex_wait(futex._interface, 7, 80_000_000, ffi.NULL) == lib.WRT_ERR_TIMED_OUT
    assert 0.08 <= time.monotonic() - start < 0.08 + SLACK
    assert futex.usage.waiting == 0


def test_time_is_counted_across_the_slices_of_a_token(futex: Any) -> None:
    start = time.monotonic()
    with pytest.raises(TimedOutError):
        futex.wait(7, timeout=0.11, cancel=CancelToken())
    assert 0.11 <= time.monotonic() - start < 0.11 + SLACK


def test_a_wake_wakes_as_many_as_it_says(futex: Any) -> None:
    waiters = [Waiter(futex, 7) for _ in range(4)]
    futex.store(8)
    assert futex.wake_one() == 1
    assert futex.wake(2) == 2
    assert futex.wake_all() == 1
    assert [waiter.result() for waiter in waiters] == [lib.WRT_OK] * 4
    assert futex.wake_all() == 0
    assert futex.usage.wake_calls <= 4


def test_a_wake_leaves_the_rest_waiting(futex: Any) -> None:
    waiters = [Waiter(futex, 7) for _ in range(3)]
    assert futex.wake_one() == 1
    time.sleep(0.05)
    assert sum(waiter.is_alive() for waiter in waiters) == 2
    assert futex.usage.waiting == 2
    futex.wake_all()
    assert [waiter.result() for waiter in waiters] == [lib.WRT_OK] * 3


def test_a_token_ends_a_wait_within_a_slice(futex: Any) -> None:
    token = CancelToken()
    waiter = Waiter(futex, 7, FOREVER, token._raw)
    asked = time.monotonic()
    token.request()
    assert waiter.result() == lib.WRT_ERR_INTERRUPTED
    assert waiter.ended - asked < SLICE + SLACK


def test_a_token_that_is_requested_ends_waits_until_it_is_cleared(futex: Any) -> None:
    token = CancelToken()
    token.request()
    with pytest.raises(InterruptedCallError):
        futex.wait(7, cancel=token)
    token.clear()
    assert not token.is_requested
    with pytest.raises(TimedOutError):
        futex.wait(7, timeout=0.01, cancel=token)


def test_close_sends_waiters_away(backend: Backend) -> None:
    futex = backend.futex().with_initial_value(7).build()
    waiters = [Waiter(futex, 7) for _ in range(3)]
    futex.close()
    assert [waiter.result() for waiter in waiters] == [lib.WRT_ERR_STATE] * 3
    futex.close()
    for call in (futex.load, futex.wake_one, lambda: futex.wait(7, timeout=1)):
        with pytest.raises(StateError, match="not initialised"):
            call()


def test_a_futex_with_inheritance_is_a_lock_and_no_word(backend: Backend) -> None:
    futex = backend.futex().with_priority_inheritance().build()
    for call in (futex.load, futex.wake_one, lambda: futex.wait(0, timeout=1)):
        with pytest.raises(UnsupportedError, match="priority inheritance"):
            call()
    with futex.lock, pytest.raises(StateError, match="holds the lock"):
        futex.close()
    futex.close()


@pytest.mark.parametrize(
    ("name", "setting"), [("linux", "spin"), ("qnx", "priority"), ("qnx", "maximum_waiters")]
)
def test_settings_beyond_their_range_are_refused(name: str, setting: str) -> None:
    builder = BACKENDS[name].futex()
    getattr(builder, f"with_{setting}")(1_000_000)
    with pytest.raises(InvalidArgumentError, match=setting):
        builder.build()


def test_reserved_bytes_are_refused(backend: Backend) -> None:
    builder = backend.futex()
    builder._config.reserved = b"\0\0\1"
    with pytest.raises(UnsupportedError):
        builder.build()


def test_arguments_that_mean_nothing_are_refused(futex: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        futex.wake(0)
    for wrong in (-1, 2**32):
        with pytest.raises(InvalidArgumentError):
            futex.store(wrong)
    assert lib.wrt_futex_load(ffi.NULL, ffi.new("uint32_t *")) == lib.WRT_ERR_INVALID_ARGUMENT
    assert lib.wrt_futex_load(ffi.new("wrt_futex *"), ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT


def test_a_moved_futex_is_refused(futex: Any) -> None:
    kind = ffi.typeof(futex._raw).item
    copy = ffi.new(f"{kind.cname} *", futex._raw[0])
    moved = ffi.new("wrt_futex *", {"ops": futex._interface.ops, "self": copy})
    assert lib.wrt_futex_load(moved, ffi.new("uint32_t *")) == lib.WRT_ERR_STATE


def test_ctrl_c_lands_in_a_wait(futex: Any) -> None:
    start = time.monotonic()
    threading.Timer(0.05, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        futex.wait(7)
    assert time.monotonic() - start < 0.05 + 0.1 + SLACK


# ---- Tokens that are slept on ----


def test_a_sleep_on_a_token_ends_at_once_when_it_is_requested(backend: Backend) -> None:
    system, token, ends = backend.system().build(), CancelToken(), list[float]()

    def sleep() -> None:
        interface = ffi.new("wrt_thread_system *", system._interface)
        assert lib.wrt_cancel_wait(token._raw, interface, FOREVER) == lib.WRT_ERR_INTERRUPTED
        ends.append(time.monotonic())

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    while not token._raw.waiting:
        time.sleep(0.001)
    time.sleep(0.02)
    with pytest.raises(BusyError):
        token.sleep(1, system)
    start = time.monotonic()
    token.request()
    sleeper.join(5)
    assert ends and ends[0] - start < SLICE + SLACK
    system.close()


def test_a_sleep_on_a_token_ends_well_when_its_time_is_over(backend: Backend) -> None:
    system, token = backend.system().build(), CancelToken()
    start = time.monotonic()
    token.sleep(0.12, system)
    assert 0.12 <= time.monotonic() - start < 0.12 + SLACK
    token.request()
    with pytest.raises(InterruptedCallError):
        token.sleep(60, system)
    system.close()


def test_errors_of_waits_are_those_of_the_library(futex: Any) -> None:
    with pytest.raises(WrtError, match="the word"):
        futex.wait(7, timeout=0.01)
