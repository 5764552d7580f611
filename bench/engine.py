"""How fast the engine is and how much it takes, beside wasm3 and wasmi.

Every program runs in a process of its own, user time of the whole process, the engines in turn, so
that a busy moment of the machine hits all of them; of several rounds the shortest time counts. What
a process takes to run a module that ends at once is taken off: pywasm3 starts a Python first.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from contest import row
from crates import ROOT, FetchError, find_tool
from run_examples import build_c
from sqlite_guest import sqlite_module

PROGRAMS = ROOT / "examples/programs"
ROUNDS = 3
START_ROUNDS = 15
TIME_GOAL = 2.5  # times wasm3's
MEMORY_GOAL = 0.45  # bytes beyond the module per byte of code

# (module (func (export "_start")) (memory (export "memory") 1))
NOP = bytes.fromhex(
    "0061736d01000000010401600000030201000503010001"
    "071302065f73746172740000066d656d6f72790200"
    "0a040102000b"
)

# On a database in memory: the engine is measured, not the disk. It takes wasm3 half a second.
SQL = """
create table part(id integer primary key, name text, weight real);
create table sale(part integer, day integer, units integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)
    insert into part select i, 'part ' || (i * 7919 % 2000), i * 0.25 from n;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000)
    insert into sale select 1 + i * 31 % 2000, i % 365, 1 + i % 17 from n;
create index by_name on part(name);
create index by_part on sale(part, day);
select count(*), sum(units * weight) from sale join part on part.id = sale.part
    where part.name like 'part 1%';
select day, sum(units) as total from sale group by day order by total desc, day limit 3;
select count(*) from part a join part b on a.name = b.name;
"""


class Engine(NamedTuple):
    name: str
    command: Callable[[str, Sequence[str]], list[str]]  # for a module and its arguments


class Program(NamedTuple):
    name: str
    module: str
    arguments: Sequence[str]


def progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


# Engines


def our_engine() -> Engine:
    runner = [str(build_c() / "run")]

    def command(module: str, arguments: Sequence[str]) -> list[str]:
        return [*runner, "--dir", "data::data", module, *arguments]

    return Engine("ours", command)


def wasm3() -> Engine:
    runner = str(ROOT / "bench/peers/wasm3_runner.py")
    script = "import wasm3; print(wasm3.M3_VERSION)"
    answer = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        raise FetchError("pywasm3 is not installed; `make bench` installs it")

    def command(module: str, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, runner, module, *arguments]

    return Engine(f"wasm3 {answer.stdout.strip()} (pywasm3)", command)


def wasmi() -> Engine:
    tool = find_tool("wasmi")
    version = subprocess.run([tool, "--version"], stdout=subprocess.PIPE, text=True).stdout

    def command(module: str, arguments: Sequence[str]) -> list[str]:
        return [tool, "run", "--dir", "data", module, *arguments]

    return Engine(version.strip(), command)


# Running


def measure(engine: Engine, program: Program) -> tuple[float, float, bytes]:
    """User time, all CPU time (seconds) and output of one run. Raises FetchError if it fails."""
    command = engine.command(program.module, program.arguments)
    child = subprocess.Popen(
        command, cwd=PROGRAMS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdout
    output = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stdout.close()
    if child.returncode != 0:
        raise FetchError(f"{' '.join(command)} ended with {child.returncode}")
    return used.ru_utime, used.ru_utime + used.ru_stime, output


def nop() -> Program:
    path = ROOT / "build/nop.wasm"
    path.write_bytes(NOP)
    return Program("nop", str(path), [])


def programs() -> list[Program]:
    listed = json.loads((PROGRAMS / "programs.json").read_text())
    found = [
        Program(one["name"], str(PROGRAMS / f"{one['name']}.wasm"), one["bench_arguments"])
        for one in listed
    ]
    return [*found, Program("sqlite", str(sqlite_module()), [":memory:", SQL])]


def shortest_user_times(
    engines: Sequence[Engine], program: Program, rounds: int
) -> dict[str, float]:
    """By engine. All engines must print the same."""
    best = {engine.name: math.inf for engine in engines}
    outputs = set()
    for _ in range(rounds):
        for engine in engines:
            user, _, output = measure(engine, program)
            best[engine.name] = min(best[engine.name], user)
            outputs.add(output)
    if len(outputs) != 1:
        raise FetchError(f"the engines do not agree on the output of {program.name}")
    return best


def program_rows(ours: Engine, peers: Sequence[Engine]) -> Iterator[dict[str, Any]]:
    engines = [ours, *peers]
    floor = shortest_user_times(engines, nop(), START_ROUNDS)
    ratios: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for program in programs():
        progress(f"{program.name}, {ROUNDS} rounds of {len(engines)} engines")
        best = shortest_user_times(engines, program, ROUNDS)
        taken = {name: max(best[name] - floor[name], 0.001) for name in best}
        for peer in peers:
            goal = TIME_GOAL if peer is peers[0] else None
            name = f"{program.name} beside {peer.name.split()[0]}: user time, s"
            made = row(name, taken[ours.name], taken[peer.name], peer.name, goal)
            ratios[peer.name].append(made["ratio"])
            yield made
    for peer in peers:
        mean = math.exp(sum(map(math.log, ratios[peer.name])) / len(ratios[peer.name]))
        name = f"geometric mean of the programs beside {peer.name.split()[0]}"
        yield row(name, mean, 1.0, peer.name)


def start_row(ours: Engine, peer: Engine) -> dict[str, Any]:
    """SQLite, asked for nothing: it is validated and instantiated, and ends at once."""
    progress(f"start of SQLite, {START_ROUNDS} rounds")
    pair = [nop(), Program("sqlite", str(sqlite_module()), [])]
    best: dict[tuple[str, str], float] = {}
    for _ in range(START_ROUNDS):
        for engine in (ours, peer):
            for program in pair:
                key = (engine.name, program.name)
                best[key] = min(best.get(key, math.inf), measure(engine, program)[1])
    taken = [best[one.name, "sqlite"] - best[one.name, "nop"] for one in (ours, peer)]
    name = "SQLite: validate and instantiate, CPU ms"
    return row(name, taken[0] * 1000, taken[1] * 1000, f"{peer.name}, translating lazily")


# Memory and code


def memory_rows() -> Iterator[dict[str, Any]]:
    """What is built beside the module's bytes: exact numbers, from the library itself."""
    for path in [PROGRAMS / "squeeze.wasm", sqlite_module()]:
        name = "SQLite" if path.stem.startswith("sqlite") else path.stem
        used, code = buffer_bytes(path.read_bytes())
        made = row(f"{name}: RAM beyond the module per byte of code", used / code)
        made.update(ratio=used / code, goal=MEMORY_GOAL)
        yield made


def buffer_bytes(content: bytes) -> tuple[int, int]:
    """Bytes of all buffers of a module and its instance, guest stack aside; bytes of its code."""
    from wrt_platform._native import ffi, lib

    config = ffi.new("wrt_module_config *", {"struct_size": ffi.sizeof("wrt_module_config")})
    held = ffi.new("uint8_t[]", content)
    config.bytes, config.bytes_size = held, len(content)
    layout = ffi.new("wrt_layout *")
    assert lib.wrt_module_layout(config, layout) == lib.WRT_OK
    buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
    config.buffer, config.buffer_size = buffer, layout.bytes
    module = ffi.new("wrt_module *")
    assert lib.wrt_module_init(module, config) == lib.WRT_OK
    usage = ffi.new("wrt_module_usage *")
    assert lib.wrt_module_query(module, usage) == lib.WRT_OK
    stack = int(lib.WRT_INSTANCE_STACK_SIZE_DEFAULT)
    fields = {"struct_size": ffi.sizeof("wrt_instance_config"), "stack_size": stack}
    instance_config = ffi.new("wrt_instance_config *", fields)
    instance_config.module = module
    assert lib.wrt_instance_layout(instance_config, layout) == lib.WRT_OK
    return usage.buffer_bytes + layout.bytes - stack, usage.code_bytes


def text_rows() -> Iterator[dict[str, Any]]:
    """Code of core and engine for a Cortex-M4, optimised for size."""
    if shutil.which("arm-none-eabi-size") is None:
        progress("arm-none-eabi-size is not installed: no figures for Cortex-M4")
        return
    for arguments in (["--preset", "cortex-m4"], ["--build", "--preset", "cortex-m4"]):
        command = [find_tool("cmake"), *arguments]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    for part in ("core", "engine"):
        objects = sorted(map(str, (ROOT / f"build/cortex-m4/c/src/{part}").rglob("*.o*")))
        command = ["arm-none-eabi-size", "--totals", *objects]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        yield row(
            f"{part}: text for Cortex-M4 at -Os, bytes", int(lines.split("\n")[-2].split()[0])
        )


def rows() -> Iterator[dict[str, Any]]:
    ours, peers = our_engine(), [wasm3(), wasmi()]
    yield from program_rows(ours, peers)
    yield start_row(ours, peers[1])
    yield from memory_rows()
    yield from text_rows()
