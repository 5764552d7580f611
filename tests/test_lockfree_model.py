"""The lock-free structures in all interleavings of a few calls, and ThreadSanitizer's word on them.

The explorer (tests/support/lockfree) compiles the library's own sources with another atomic.h and
runs small programs in every order of their accesses to shared memory; a judge that knows only what
each structure is by its description looks for an order of the calls that explains the answers. It
models sequential consistency. What processors and compilers may reorder beyond that is covered by
the stress test under ThreadSanitizer alone, as far as that goes.

Each fault that is put into the sources must be found: else the explorer would prove nothing.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from common import ROOT, run

pytestmark = [
    pytest.mark.row("SY-3"),
    pytest.mark.whole_process,  # programs of its own, one of them under another sanitizer
]

CORE = ROOT / "c/src/core"
SUPPORT = ROOT / "tests/support/lockfree"
COMMON = [CORE / "config.c", CORE / "status.c", ROOT / "c/src/linux/port.c"]
INCLUDES = [f"-I{ROOT}/c/include", f"-I{SUPPORT}", f"-I{CORE}"]
MOST_EXECUTIONS = 2_000_000
ROUNDS = 20_000  # of each thread of the stress test

SCENARIOS = {
    "ring": 10_000,
    "ring_in_pairs": 10_000,
    "queue_of_two_producers": 10_000,
    "queue_of_two_consumers": 10_000,
    "queue_of_both": 10_000,
    "queue_in_pairs": 1_000,
    "stack_there_and_back": 5_000,
    "stack_of_three": 500,
    "stack_taken_and_given": 5_000,
    "seqlock_of_two_readers": 10_000,
    "seqlock_read_twice": 10_000,
    "triple_buffer": 5_000,
}  # and how many interleavings there are at least

# Name: the file, what stands there, what stands there instead, who finds it.
FAULTS = {
    "ring: the position is told before the element is there": (
        "lockfree_ring.c",
        "    memcpy(element_at(producer, position, FAST_SIZE), element, FAST_SIZE);\n"
        "    wrt__store_release(&producer->position, position + 1);\n",
        "    wrt__store_release(&producer->position, position + 1);\n"
        "    memcpy(element_at(producer, position, FAST_SIZE), element, FAST_SIZE);\n",
        "ring",
    ),
    "ring: the place is given back before the element is out": (
        "lockfree_ring.c",
        "    memcpy(element_out, element_at(consumer, position, FAST_SIZE), FAST_SIZE);\n"
        "    wrt__store_release(&consumer->position, position + 1);\n",
        "    wrt__store_release(&consumer->position, position + 1);\n"
        "    memcpy(element_out, element_at(consumer, position, FAST_SIZE), FAST_SIZE);\n",
        "ring",
    ),
    "ring: the producer goes one too far": (
        "lockfree_ring.c",
        "wrt__load_acquire(end->other) + end->lead;",
        "wrt__load_acquire(end->other) + end->lead + (end->lead != 0);",
        "ring",
    ),
    "ring: a row is told before it is there": (
        "lockfree_ring.c",
        "    const uint32_t first = before_wrap(producer, position, moved);\n",
        "    const uint32_t first = before_wrap(producer, position, moved);\n"
        "    wrt__store_release(&producer->position, position + moved);\n",
        "ring_in_pairs",
    ),
    "queue: the position is moved on by load and store": (
        "lockfree_mpmc.h",
        "if (wrt__compare_exchange(end, &position, position + ready)) return ready;",
        "wrt__store(end, position + ready);\n        return ready;",
        "queue_of_two_producers",
    ),
    "queue: consumers, too, move it on by load and store": (
        "lockfree_mpmc.h",
        "if (wrt__compare_exchange(end, &position, position + ready)) return ready;",
        "wrt__store(end, position + ready);\n        return ready;",
        "queue_of_two_consumers",
    ),
    "queue: a cell is taken for filled once it is claimed": (
        "lockfree_mpmc.h",
        "if (early < 0) return 0;",
        "if (early < (ahead == 0 ? 0 : -1)) return 0;",
        "queue_of_both",
    ),
    "queue: the turn is told before the element is there": (
        "lockfree_queue.c",
        "        memcpy(element_at(&parts, position + i, cell_size), elements, size);\n"
        "        wrt__queue_filled(&parts, position + i, cell_size);\n",
        "        wrt__queue_filled(&parts, position + i, cell_size);\n"
        "        memcpy(element_at(&parts, position + i, cell_size), elements, size);\n",
        "queue_of_two_producers",
    ),
    "queue: the second cell of a row is not looked at": (
        "lockfree_mpmc.h",
        "while (ready < wanted &&",
        "while (ready < wanted ||",
        "queue_in_pairs",
    ),
    "stack: the tag stands still": (
        "lockfree_stack.c",
        "((top & ~INDEX_MASK) + ONE_TAG)",
        "(top & ~INDEX_MASK)",
        "stack_there_and_back",
    ),
    "stack: the top is replaced by load and store": (
        "lockfree_stack.c",
        "} while (!wrt__compare_exchange(stack->top, &top, (top & ~INDEX_MASK) | "
        "(below & INDEX_MASK)));",
        "    wrt__store(stack->top, (top & ~INDEX_MASK) | (below & INDEX_MASK));\n    } while (0);",
        "stack_of_three",
    ),
    "stack: what is below is not looked at again": (
        "lockfree_stack.c",
        "    do {\n        wrt__store(&stack->below[index], top & INDEX_MASK);\n",
        "    wrt__store(&stack->below[index], top & INDEX_MASK);\n    do {\n",
        "stack_taken_and_given",
    ),
    "seqlock: a write does not say that it is under way": (
        "lockfree_seqlock.c",
        "    wrt__store(lock->sequence, sequence + 1);\n",
        "",
        "seqlock_read_twice",
    ),
    "seqlock: the reader does not look again": (
        "lockfree_seqlock.c",
        "if (wrt__load(lock->sequence) == before) return WRT_OK;",
        "return WRT_OK;",
        "seqlock_of_two_readers",
    ),
    "triple buffer: the writer publishes by load and store": (
        "lockfree_triple.c",
        "    ends->back = wrt__exchange(&ends->middle, ends->back | NEW) & PLACE;\n",
        "    const uint32_t middle = wrt__load(&ends->middle);\n"
        "    wrt__store(&ends->middle, ends->back | NEW);\n"
        "    ends->back = middle & PLACE;\n",
        "triple_buffer",
    ),
    "triple buffer: the reader looks without taking": (
        "lockfree_triple.c",
        "ends->front = wrt__exchange(&ends->middle, ends->front) & PLACE;",
        "ends->front = wrt__load(&ends->middle) & PLACE;",
        "triple_buffer",
    ),
}


def copy_sources(folder: Path, fault: tuple[str, str, str, str] | None) -> list[Path]:
    """The library's sources, into one of which a fault was put."""
    folder.mkdir(exist_ok=True)
    for source in CORE.glob("lockfree_*"):
        text = source.read_text()
        if fault and source.name == fault[0]:
            assert text.count(fault[1]) == 1, "the source has changed, and the fault must, too"
            text = text.replace(fault[1], fault[2])
        (folder / source.name).write_text(text)
    return [*sorted(folder.glob("*.c")), *COMMON]


def build_model(folder: Path, fault: tuple[str, str, str, str] | None = None) -> Path:
    """The explorer, with an atomic.h beside the sources that asks it before each access."""
    sources = copy_sources(folder, fault)
    shutil.copy(SUPPORT / "atomic.h", folder)
    sources += [SUPPORT / name for name in ("explorer.c", "history.c", "scenarios.c")]
    hooks: list[str | Path] = [
        "-include",
        SUPPORT / "explorer.h",
        "-Dmemcpy=explorer_copy",
        "-fno-builtin-memcpy",
    ]
    run("cc", "-std=gnu11", "-O1", "-Wall", "-Wextra", *hooks, *INCLUDES, *sources,
        "-o", folder / "model")  # fmt: skip
    return folder / "model"


def explore(model: Path, scenario: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [model, scenario, str(MOST_EXECUTIONS)], stdout=subprocess.PIPE, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_interleavings_are_right(model: Path, scenario: str) -> None:
    done = explore(model, scenario)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split()[0]) > SCENARIOS[scenario]


def test_every_scenario_is_run(model: Path) -> None:
    printed = subprocess.run([model], stdout=subprocess.PIPE, text=True).stdout.split()
    assert printed == ["six_orders", "one_order", *SCENARIOS]


@pytest.mark.parametrize(("scenario", "orders"), [("six_orders", 6), ("one_order", 1)])
def test_explorer_counts_orders_as_we_do(model: Path, scenario: str, orders: int) -> None:
    """Two threads of two steps: four over two, and one where no step matters to another."""
    executions, _, abandoned, *_ = explore(model, scenario).stdout.replace(",", "").split()
    assert int(executions) - int(abandoned) == orders


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found(tmp_path: Path, name: str) -> None:
    done = explore(build_model(tmp_path / "faulty", FAULTS[name]), FAULTS[name][3])
    assert done.returncode == 1, done.stdout
    assert "steps:" in done.stdout  # how it came about


# Real threads under ThreadSanitizer.

# An order that is missing, which no interleaving shows: the file, what stands there, what stands
# there instead, who finds it.
RACES = {
    "ring: the element is not released": (
        "lockfree_ring.c",
        "    memcpy(element_at(producer, position, size), element, size);\n    wrt__store_release(",
        "    memcpy(element_at(producer, position, size), element, size);\n    wrt__store(",
        "ring",
    ),
    "ring: the place is not acquired": (
        "lockfree_ring.c",
        "end->limit = wrt__load_acquire(",
        "end->limit = wrt__load(",
        "ring",
    ),
    "queue: the element is not released": (
        "lockfree_mpmc.h",
        "wrt__store_release(wrt__queue_turn(queue, position, cell_size), position + 1);",
        "wrt__store(wrt__queue_turn(queue, position, cell_size), position + 1);",
        "queue",
    ),
    "queue of pointers: the turn is not acquired": (
        "lockfree_mpmc.h",
        "const uint32_t turn = wrt__load_acquire(",
        "const uint32_t turn = wrt__load(",
        "pointers",
    ),
    "stack: the top is replaced by load and store": (
        "lockfree_stack.c",
        "} while (!wrt__compare_exchange(stack->top, &top, pushed));",
        "    wrt__store(stack->top, pushed);\n    } while (0);",
        "stack",
    ),
    "seqlock: words are no atomics": (
        "lockfree_seqlock.c",
        "        wrt__store(&words[i], word);\n",
        "        words[i] = word;\n",
        "seqlock",
    ),
    "triple buffer: the writer looks without taking": (
        "lockfree_triple.c",
        "    ends->back = wrt__exchange(&ends->middle, ends->back | NEW) & PLACE;\n",
        "    const uint32_t middle = wrt__load(&ends->middle);\n"
        "    wrt__store(&ends->middle, ends->back | NEW);\n"
        "    ends->back = middle & PLACE;\n",
        "triple_buffer",
    ),
}


def build_stress(folder: Path, fault: tuple[str, str, str, str] | None = None) -> Path:
    """The stress test. This sanitizer knows no fences, and warns of the two in the sequence lock:
    all that they order are atomics, which are no race in any order."""
    sources = [*copy_sources(folder, fault), SUPPORT / "stress.c"]
    includes = [f"-I{ROOT}/c/include", f"-I{folder}", f"-I{CORE}"]
    run("gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Wno-tsan", "-fsanitize=thread",
        *includes, *sources, "-pthread", "-o", folder / "stress")  # fmt: skip
    return folder / "stress"


def stress(program: Path, structure: str, rounds: int = ROUNDS) -> subprocess.CompletedProcess[str]:
    """Address spaces are not laid out at random: this sanitizer does not take all layouts."""
    return subprocess.run(
        ["setarch", "--addr-no-randomize", program, structure, str(rounds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def stress_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stress(tmp_path_factory.mktemp("stress"))


@pytest.mark.parametrize(
    "structure", ["ring", "queue", "pointers", "stack", "seqlock", "triple_buffer"]
)
def test_threads_have_no_race(stress_program: Path, structure: str) -> None:
    done = stress(stress_program, structure)
    assert done.stdout == f"{structure}: {ROUNDS} rounds\n"
    assert done.returncode == 0


@pytest.mark.parametrize("name", RACES)
def test_race_is_reported(tmp_path: Path, name: str) -> None:
    """Some are seen only where two threads are in the same few instructions: a busy machine that
    ran them one after the other gets more rounds."""
    program = build_stress(tmp_path / "racy", RACES[name])
    for rounds in (ROUNDS, 10 * ROUNDS, 50 * ROUNDS):
        done = stress(program, RACES[name][3], rounds)
        if done.returncode != 0:
            break
    assert "WARNING: ThreadSanitizer: data race" in done.stdout
    assert done.returncode != 0
