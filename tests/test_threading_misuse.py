"""Thread pools, used in ways that C allows and the header forbids, on the raw library.

Each is refused with a status and a reason, and the pool goes on: every test ends with a task that
runs, a shutdown, and a deinit that finds nothing left.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from common import ROOT, run
from patience import PATIENCE
from support.guest import Guest, last_error, must, new_config
from thread_backends import BACKENDS
from wrt_platform._native import ffi, lib
from wrt_platform.system_below import system_interface

OK, STATE, BUSY = lib.WRT_OK, lib.WRT_ERR_STATE, lib.WRT_ERR_BUSY
INVALID, INTERRUPTED = lib.WRT_ERR_INVALID_ARGUMENT, lib.WRT_ERR_INTERRUPTED

PATIENCE_NS = PATIENCE * 10**9
FOR_EVER = 2**64 - 1

GUEST = """(module (import "host" "wait" (func $wait))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "wait") (call $wait)))"""
ADD, WAIT = 1, 2


class Pool:
    """A raw pool of one worker, and what it is made of."""

    def __init__(self, backend: str, executor: Any = None, **settings: Any) -> None:
        self._system = BACKENDS[backend].system()
        self.system = system_interface(self._system)
        config = new_config("wrt_thread_pool_config", max_threads=1, system=self.system)
        for name, value in settings.items():
            setattr(config, name, value)
        if executor is not None:
            config.executor = executor
        layout = ffi.new("wrt_layout *")
        must(lib.wrt_thread_pool_layout(config, layout))
        self._buffer = ffi.new("uint64_t[]", layout.bytes // 8)
        config.buffer, config.buffer_size = self._buffer, layout.bytes
        self.raw = ffi.new("wrt_thread_pool *")
        must(lib.wrt_thread_pool_init(self.raw, config))

    def submit(self, task: Any) -> int:
        return int(lib.wrt_thread_pool_submit(self.raw, task))

    @property
    def report(self) -> Any:
        raw = ffi.new("wrt_thread_pool_report *")
        must(lib.wrt_thread_pool_query(self.raw, raw))
        return raw

    def close(self) -> None:
        must(lib.wrt_thread_pool_shutdown(self.raw, lib.WRT_SHUTDOWN_DRAIN, FOR_EVER, ffi.NULL))
        must(lib.wrt_thread_pool_deinit(self.raw))


class Work:
    """A task whose function counts, and holds its worker as long as the gate is shut."""

    def __init__(self, gate: threading.Event | None = None, **settings: Any) -> None:
        self.runs = 0
        self.entered = threading.Event()
        self._gate = gate
        self._run = ffi.callback("wrt_task_fn", self._enter)
        self.raw = ffi.new("wrt_task *")
        must(lib.wrt_task_init(self.raw, new_config("wrt_task_config", run=self._run, **settings)))

    def _enter(self, _: Any) -> int:
        self.runs += 1
        self.entered.set()
        return int(OK if self._gate is None or self._gate.wait(PATIENCE) else lib.WRT_ERR_HOST)

    def join(self, timeout_ns: int = PATIENCE_NS) -> int:
        return join(self.raw, timeout_ns)


def join(task: Any, timeout_ns: int = PATIENCE_NS) -> int:
    return int(lib.wrt_task_join(task, timeout_ns, ffi.NULL, ffi.NULL))


def moved(thing: Any) -> Any:
    """The same bytes somewhere else."""
    copy = ffi.new(f"{ffi.typeof(thing).item.cname} *")
    ffi.memmove(copy, thing, ffi.sizeof(copy[0]))
    return copy


def refused(status: int, expected: int, reason: str) -> None:
    assert status == expected, last_error()
    assert reason in last_error()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end, so that no failure leaves a worker behind it."""
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture(params=list(BACKENDS))
def pool(request: pytest.FixtureRequest, gate: threading.Event) -> Iterator[Pool]:
    made = Pool(request.param)
    yield made
    gate.set()
    last = Work()
    must(made.submit(last.raw))
    must(last.join())
    assert last.runs == 1
    made.close()


# Tasks.


@pytest.mark.row("TH-1")
def test_task_that_was_moved_is_refused_by_every_call(pool: Pool) -> None:
    work, replaced = Work(), ffi.new("bool *")
    copy, report = moved(work.raw), ffi.new("wrt_task_report *")
    for status in (
        pool.submit(copy),
        join(copy, 0),
        lib.wrt_task_cancel(copy),
        lib.wrt_task_query(copy, report),
        lib.wrt_task_give_up(copy, replaced),
        lib.wrt_task_deinit(copy),
    ):
        refused(status, STATE, "task was moved")
    assert pool.report.submitted == 0
    must(pool.submit(work.raw))  # the one that stayed is as it was
    must(work.join())
    assert work.runs == 1


@pytest.mark.row("TH-1")
def test_task_in_a_pool_is_not_submitted_prepared_or_ended_again(
    pool: Pool, gate: threading.Event
) -> None:
    held, queued = Work(gate), Work()
    must(pool.submit(held.raw))
    assert held.entered.wait(PATIENCE)
    must(pool.submit(queued.raw))
    again = new_config("wrt_task_config", run=queued._run)
    for task, state in (
        (held, lib.WRT_TASK_RUNNING),
        (queued, lib.WRT_TASK_QUEUED),
    ):
        reason = f"(state {state} of wrt_task_state)"
        refused(pool.submit(task.raw), STATE, f"submitted already {reason}")
        refused(lib.wrt_task_init(task.raw, again), STATE, reason)
        refused(lib.wrt_task_deinit(task.raw), STATE, reason)
    gate.set()
    must(held.join())
    must(queued.join())
    assert (held.runs, queued.runs) == (1, 1)
    assert pool.report.submitted == pool.report.finished == 2


@pytest.mark.row("TH-1")
def test_task_that_is_done_is_joined_before_it_goes_again(pool: Pool) -> None:
    work = Work()
    refused(work.join(0), STATE, "")
    must(pool.submit(work.raw))
    wait_for_state(work.raw, lib.WRT_TASK_DONE)
    refused(pool.submit(work.raw), STATE, "was not joined yet")
    must(work.join())
    refused(work.join(0), STATE, "")
    must(pool.submit(work.raw))
    must(work.join())
    assert work.runs == 2


@pytest.mark.row("TH-1")
def test_ended_task_is_no_task_and_ends_as_often_as_you_like(pool: Pool) -> None:
    work = Work()
    for _ in range(2):
        must(lib.wrt_task_deinit(work.raw))
    refused(pool.submit(work.raw), STATE, "not initialised")
    refused(work.join(0), STATE, "not initialised")
    refused(lib.wrt_task_cancel(work.raw), STATE, "not initialised")
    refused(pool.submit(ffi.NULL), INVALID, "task is NULL")


@pytest.mark.row("TH-1")
def test_batch_stops_at_the_first_that_is_refused(pool: Pool, gate: threading.Event) -> None:
    works = [Work(gate) for _ in range(3)]
    must(pool.submit(works[1].raw))
    assert works[1].entered.wait(PATIENCE)
    count = ffi.new("uint32_t *")
    batch = ffi.new("wrt_task *[]", [work.raw for work in works])
    status = lib.wrt_thread_pool_submit_batch(pool.raw, batch, 3, count)
    refused(status, STATE, "submitted already")
    assert count[0] == 1
    gate.set()
    must(works[0].join())
    must(works[1].join())
    refused(works[2].join(0), STATE, "")
    assert [work.runs for work in works] == [1, 1, 0]


@pytest.mark.row("TH-1")
def test_full_queue_refuses_and_all_others_go_on(gate: threading.Event) -> None:
    """While one queue is full, other priorities take tasks, and what was refused goes later."""
    pool = Pool("linux", queue_capacity=4)
    held = Work(gate)
    must(pool.submit(held.raw))
    assert held.entered.wait(PATIENCE)
    normal = [Work() for _ in range(7)]
    statuses = [pool.submit(work.raw) for work in normal]
    assert statuses == [OK] * 4 + [BUSY] * 3
    urgent = [Work(priority=lib.WRT_THREAD_PRIORITY_HIGH) for _ in range(4)]
    assert [pool.submit(work.raw) for work in urgent] == [OK] * 4
    report = pool.report
    assert (list(report.queued), report.refused) == ([0, 4, 4, 0], 3)
    gate.set()
    for work in [held, *normal[:4], *urgent]:
        must(work.join())
    for work in normal[4:]:
        refused(work.join(0), STATE, "")  # nobody has it
        must(pool.submit(work.raw))
        must(work.join())
    assert {work.runs for work in [held, *normal, *urgent]} == {1}
    assert pool.report.finished == 12
    pool.close()


# Pools.


@pytest.mark.row("TH-1")
def test_pool_that_was_moved_is_refused_by_every_call(pool: Pool) -> None:
    work, copy = Work(), moved(pool.raw)
    must(pool.submit(work.raw))
    must(work.join())
    ends: list[Callable[[], int]] = [lambda: lib.wrt_thread_pool_deinit(copy)]
    for call in calls_on_a_pool(copy, work.raw) + ends:
        refused(call(), STATE, "pool was moved")
    assert pool.report.submitted == 1


@pytest.mark.row("TH-1")
def test_pool_is_not_ended_while_it_runs_nor_used_after_its_end() -> None:
    pool, work = Pool("linux"), Work()
    refused(lib.wrt_thread_pool_deinit(pool.raw), STATE, "worker 0 has not ended")
    must(pool.submit(work.raw))
    must(work.join())
    pool.close()
    must(lib.wrt_thread_pool_deinit(pool.raw))
    for call in calls_on_a_pool(pool.raw, work.raw):
        refused(call(), STATE, "pool is not initialised")
    for call in calls_on_a_pool(ffi.NULL, work.raw):
        refused(call(), INVALID, "pool is NULL")
    refused(work.join(0), STATE, "")
    must(lib.wrt_task_deinit(work.raw))


@pytest.mark.row("TH-1")
def test_shutdown_takes_no_unknown_mode_and_no_more_tasks() -> None:
    pool, work = Pool("linux"), Work()
    for mode in (0, 3):
        status = lib.wrt_thread_pool_shutdown(pool.raw, mode, FOR_EVER, ffi.NULL)
        refused(status, INVALID, "mode")
    must(pool.submit(work.raw))
    must(work.join())
    must(lib.wrt_thread_pool_shutdown(pool.raw, lib.WRT_SHUTDOWN_CANCEL, FOR_EVER, ffi.NULL))
    refused(pool.submit(work.raw), STATE, "shuts down")
    refused(work.join(0), STATE, "")
    pool.close()
    assert work.runs == 1


def calls_on_a_pool(pool: Any, task: Any) -> list[Callable[[], int]]:
    report = ffi.new("wrt_thread_pool_report *")
    worker = ffi.new("wrt_thread_pool_worker_report *")
    current, count = ffi.new("wrt_task **"), ffi.new("uint32_t *")
    config, call = new_config("wrt_wasm_task_config"), ffi.new("wrt_wasm_task *")
    batch = ffi.new("wrt_task *[]", [task])
    return [
        lambda: lib.wrt_thread_pool_submit(pool, task),
        lambda: lib.wrt_thread_pool_submit_batch(pool, batch, 1, count),
        lambda: lib.wrt_thread_pool_spawn_wasm_thread(pool, config, call),
        lambda: lib.wrt_thread_pool_spawn_batch(pool, config, call, 1, count),
        lambda: lib.wrt_thread_pool_query(pool, report),
        lambda: lib.wrt_thread_pool_worker(pool, 0, worker),
        lambda: lib.wrt_thread_pool_current(pool, current),
        lambda: lib.wrt_thread_pool_shutdown(pool, lib.WRT_SHUTDOWN_DRAIN, 0, ffi.NULL),
    ]


# Calls of guests.


class Served(Pool):
    """A pool over the two functions of one guest."""

    def __init__(self, backend: str, wait: Callable[[Any], int]) -> None:
        host: Any = (lambda caller, _: wait(caller), [], [])
        self.guest = Guest(GUEST, {("host", "wait"): host})
        functions = ffi.new("wrt_executor_function[2]")
        for place, (number, name) in enumerate(((ADD, "add"), (WAIT, "wait"))):
            functions[place].function_id, functions[place].instance = number, self.guest.raw
            functions[place].function = self.guest.export(name).of.function
        self._lock_system = BACKENDS[backend].system()
        config = new_config(
            "wrt_instance_executor_config",
            functions=functions,
            function_count=2,
            system=system_interface(self._lock_system),
        )
        layout = ffi.new("wrt_layout *")
        must(lib.wrt_instance_executor_layout(config, layout))
        self._executor_buffer = ffi.new("uint64_t[]", layout.bytes // 8)
        config.buffer, config.buffer_size = self._executor_buffer, layout.bytes
        self.executor = ffi.new("wrt_instance_executor *")
        must(lib.wrt_instance_executor_init(self.executor, config))
        super().__init__(backend, lib.wrt_instance_executor_interface(self.executor))

    def close(self) -> None:
        super().close()
        must(lib.wrt_instance_executor_deinit(self.executor))
        self.guest.close()


def call_of(function_id: int, args: list[int] | None = None, results: int = 0) -> tuple[Any, Any]:
    """A config, and the storage that it borrows."""
    given = ffi.new("wrt_value[]", max(len(args or []), 1))
    for cell, value in zip(given, args or []):
        cell.i32 = value
    out = ffi.new("wrt_value[]", max(results, 1))
    config = new_config(
        "wrt_wasm_task_config",
        function_id=function_id,
        args=given,
        args_count=len(args or []),
        results=out,
        results_count=results,
    )
    return config, (given, out)


@pytest.mark.row("TH-2")
@pytest.mark.parametrize("backend", list(BACKENDS))
def test_spawn_with_other_counts_than_the_functions_is_refused(backend: str) -> None:
    pool = Served(backend, lambda _: int(OK))
    task, outcome = ffi.new("wrt_wasm_task *"), ffi.new("wrt_wasm_outcome *")
    for args, results, reason in (
        ([1], 1, "1 arguments are given, the function takes 2"),
        ([1, 2, 3], 1, "3 arguments are given, the function takes 2"),
        ([1, 2], 0, "results"),
        ([1, 2], 2, "results"),
    ):
        config, _kept = call_of(ADD, args, results)
        refused(lib.wrt_thread_pool_spawn_wasm_thread(pool.raw, config, task), INVALID, reason)
    for pointer in ("args", "results"):
        config, _kept = call_of(ADD, [1, 2], 1)
        setattr(config, pointer, ffi.NULL)
        refused(lib.wrt_thread_pool_spawn_wasm_thread(pool.raw, config, task), INVALID, pointer)
    config, _kept = call_of(ADD, [1, 2], 1)
    config.reserved[1] = 1
    status = lib.wrt_thread_pool_spawn_wasm_thread(pool.raw, config, task)
    refused(status, lib.WRT_ERR_UNSUPPORTED, "reserved")
    refused(lib.wrt_wasm_task_join(task, 0, ffi.NULL, outcome), STATE, "")
    assert pool.report.submitted == 0

    config, kept = call_of(ADD, [40, 2], 1)
    must(lib.wrt_thread_pool_spawn_wasm_thread(pool.raw, config, task))
    refused(lib.wrt_thread_pool_spawn_wasm_thread(pool.raw, config, task), STATE, "")
    must(lib.wrt_wasm_task_join(task, PATIENCE_NS, ffi.NULL, outcome))
    assert (outcome.status, kept[1][0].i32) == (OK, 42)
    pool.close()


@pytest.mark.row("TH-2")
def test_pool_without_an_executor_runs_no_guest(pool: Pool) -> None:
    config, _kept = call_of(ADD, [1, 2], 1)
    task = ffi.new("wrt_wasm_task *")
    status = lib.wrt_thread_pool_spawn_wasm_thread(pool.raw, config, task)
    refused(status, STATE, "without an executor")


@pytest.mark.row("TH-2")
@pytest.mark.parametrize("backend", list(BACKENDS))
def test_cancel_wakes_a_guest_that_waits_on_its_token_inside_the_host(backend: str) -> None:
    """The wait has no end of its own, and the worker sleeps in the system meanwhile."""
    inside = threading.Event()
    system = ffi.new("wrt_thread_system *")
    tokens: list[bool] = []

    def wait(caller: Any) -> int:
        token = lib.wrt_instance_cancel_token(caller)
        tokens.append(bool(lib.wrt_cancel_is_requested(token)))
        inside.set()
        status = lib.wrt_cancel_wait(token, system, FOR_EVER)
        return int(lib.WRT_ERR_PENDING if status == INTERRUPTED else lib.WRT_ERR_HOST)

    pool = Served(backend, wait)
    system[0] = pool.system
    waiting, outcome = ffi.new("wrt_wasm_task *"), ffi.new("wrt_wasm_outcome *")
    for _ in range(3):  # and the cancel of one does not reach the next on the same instance
        config, _kept = call_of(WAIT)
        must(lib.wrt_thread_pool_spawn_wasm_thread(pool.raw, config, waiting))
        assert inside.wait(PATIENCE)
        inside.clear()
        time.sleep(0.02)
        assert lib.wrt_wasm_task_join(waiting, 0, ffi.NULL, outcome) == lib.WRT_ERR_TIMED_OUT
        began = time.monotonic()
        must(lib.wrt_task_cancel(ffi.addressof(waiting, "task")))
        must(lib.wrt_wasm_task_join(waiting, PATIENCE_NS, ffi.NULL, outcome))
        assert time.monotonic() - began < PATIENCE / 2
        assert outcome.status == INTERRUPTED
        config, kept = call_of(ADD, [5, 6], 1)
        must(lib.wrt_thread_pool_spawn_wasm_thread(pool.raw, config, waiting))
        must(lib.wrt_wasm_task_join(waiting, PATIENCE_NS, ffi.NULL, outcome))
        assert (outcome.status, kept[1][0].i32) == (OK, 11)
    assert tokens == [False] * 3
    pool.close()


def wait_for_state(task: Any, state: int) -> None:
    report, end = ffi.new("wrt_task_report *"), time.monotonic() + PATIENCE
    while True:
        must(lib.wrt_task_query(task, report))
        if report.state == state:
            return
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.001)


# The heap.


@pytest.fixture(scope="module")
def heap_program(
    support: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> list[str | Path]:
    """tests/support/pool_heap.c with the C sources, the spy, and the guest that it runs."""
    from support.guest import assemble

    folder = tmp_path_factory.mktemp("pool_heap")
    floors = ("core", "engine", "linux")
    sources = [path for floor in floors for path in sorted(ROOT.glob(f"c/src/{floor}/*.c"))]
    flags = ["-std=gnu11", "-O0", "-fno-builtin", f"-I{ROOT}/c/include"]
    work = ROOT / "tests/support/pool_heap.c"
    run("cc", *flags, work, *sources, support("heap_spy"), "-o", folder / "pool_heap", "-lpthread")
    content = assemble(GUEST.replace('(import "host" "wait" (func $wait))', "(func $wait)"))
    (folder / "guest.wasm").write_bytes(content)
    return [folder / "pool_heap", folder / "guest.wasm"]


def heap_calls(command: list[str | Path], spy: Path, *words: str) -> int:
    environment = {**os.environ, "LD_PRELOAD": str(spy)}
    done = subprocess.run(
        [*command, *words],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    return int(done.stdout)


@pytest.mark.whole_process
@pytest.mark.row("TH-1")
def test_tasks_and_calls_of_guests_never_touch_the_heap(
    heap_program: list[str | Path], support: Callable[[str], Path]
) -> None:
    assert heap_calls(heap_program, support("heap_spy")) == 0


@pytest.mark.whole_process
@pytest.mark.row("TH-1")
def test_spy_sees_a_task_that_does(
    heap_program: list[str | Path], support: Callable[[str], Path]
) -> None:
    assert heap_calls(heap_program, support("heap_spy"), "heap") == 2 * 200
