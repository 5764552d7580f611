# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Linux: where memory lies, limits that bite, and the walls of a sandbox
#
# Everything here runs as an ordinary user as well as as root, in a container as well as on the
# machine itself. What the system keeps to itself is said where it happens; `wrt doctor` says it all
# at once. `jupytext --to ipynb linux.py` makes the notebook.

# %%
import html
import mmap
import os
import re
import resource
import signal
import time

import matplotlib.pyplot as plt
import numpy
from wrt_platform import (
    CrashedError,
    Instance,
    LimitError,
    Limits,
    Module,
    OutOfFuelError,
    SandboxBuilder,
    TimedOutError,
    TrapError,
    WrtError,
)
from wrt_platform.linux.cgroups import CgroupBuilder, CgroupController, ResourceLimits
from wrt_platform.linux.confined_process import ConfinedProcessBuilder
from wrt_platform.linux.memory import LinuxAllocatorBuilder, ThpMode, detect_numa_topology
from wrt_platform.linux.perf import PerfCounter, PerfEventBuilder, profile
from wrt_platform.linux.slot_pool import SlotPoolBuilder

KIB, MIB, PAGE = 1 << 10, 1 << 20, 1 << 16


class Table:
    """Rows as a table."""

    def __init__(self, names, rows):
        self.names, self.rows = names, list(rows)

    def _repr_html_(self):
        def line(cells, tag):
            style = "style='text-align:left'"
            return "".join(f"<{tag} {style}>{html.escape(str(cell))}</{tag}>" for cell in cells)

        body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in self.rows)
        return f"<table><tr>{line(self.names, 'th')}</tr>{body}</table>"


# %% [markdown]
# ## The address space round one memory
#
# An allocation reserves all that it may ever grow to, and makes accessible what it has now. Before
# and behind lie guards. The kernel knows all of it: `/proc/self/maps` has the parts and what may be
# done with them, `/proc/self/pagemap` has each page of the system, and whether it is in RAM.

# %%
COLOURS = {"guard": "tab:red", "reserved": "lightgrey", "accessible": "tab:green"}
GUARD = 64 * KIB


def address_of(pages):
    return numpy.frombuffer(pages.memory, dtype="u1").ctypes.data


def parts_of(pages):
    """(start, size, kind) of what the kernel has from guard to guard, offsets from the memory."""
    base = address_of(pages)
    end = base + pages.maximum_pages * PAGE
    with open("/proc/self/maps") as maps:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S{4})", line)
            start, stop = (int(number, 16) for number in found.groups()[:2])
            start, stop = max(start, base - GUARD), min(stop, end + GUARD)
            cuts = [start, *(cut for cut in (base, end) if start < cut < stop), stop]
            for first, last in zip(cuts, cuts[1:]):
                if first < last:
                    outside = last <= base or first >= end
                    accessible = found[3].startswith("rw") and not outside
                    kind = "accessible" if accessible else "guard" if outside else "reserved"
                    yield first - base, last - first, kind


def pages_in_ram(pages):
    """Offsets of the system's pages that are in RAM."""
    base, size = address_of(pages), pages.page_count * PAGE
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        pagemap.seek(base // mmap.PAGESIZE * 8)
        entries = numpy.frombuffer(pagemap.read(size // mmap.PAGESIZE * 8), dtype="<u8")
    return numpy.flatnonzero(entries >> 63) * mmap.PAGESIZE


def look_at(pages, title):
    return title, list(parts_of(pages)), pages_in_ram(pages)


allocator = LinuxAllocatorBuilder().with_guard_pages().with_guard_bytes(GUARD).build()
allocator.set_thp_mode(ThpMode.NEVER)
with allocator.allocate(8, 16) as pages:
    moments = [look_at(pages, "allocated")]
    for number in range(0, 8, 2):
        pages.memory[number * PAGE : number * PAGE + 16 * KIB] = bytes([7]) * (16 * KIB)
    moments.append(look_at(pages, "each other page written"))
    pages.grow(4)
    pages.memory[8 * PAGE : 10 * PAGE] = bytes([7]) * (2 * PAGE)
    moments.append(look_at(pages, "grown, and written"))
    moved = address_of(pages)
    stats = allocator.get_memory_stats(pages)

figure, axes = plt.subplots(3, 1, figsize=(9, 4.2), sharex=True)
for axis, (title, parts, in_ram) in zip(axes, moments):
    for kind, colour in COLOURS.items():
        spans = [(start / KIB, size / KIB) for start, size, of in parts if of == kind]
        axis.broken_barh(spans, (0.5, 0.5), facecolors=colour, label=kind)
    spans = [(offset / KIB, mmap.PAGESIZE / KIB) for offset in in_ram]
    axis.broken_barh(spans, (0, 0.4), facecolors="tab:blue", label="in RAM")
    axis.set_title(title, loc="left", fontsize=9)
    axis.set_yticks([])
    axis.set_xticks(range(0, 16 * 64 + 1, 128))
    axis.set_ylim(-0.1, 1.1)
    axis.margins(x=0.01)
axes[-1].set_xlabel("offset from the memory's first byte (KiB)")
figure.legend(*axes[0].get_legend_handles_labels(), loc="upper right", ncols=4, fontsize=8)
figure.tight_layout(rect=(0, 0, 1, 0.95))

# %% [markdown]
# Reserving costs addresses, not memory. The memory grew and did not move: pointers and views into
# it stay valid. A byte further than the green part is a fault, not somebody else's memory.

# %%
print(f"in RAM {stats.resident_bytes // KIB} KiB of {stats.accessible_bytes // KIB} KiB")

# %% [markdown]
# ## Huge pages and nodes
#
# One byte is written in each memory. How much RAM that takes depends on the size of the pages. What
# the system can't grant is no error: the report says what came of it.


# %%
def placed(name, builder, mode=None):
    """A row: what one written byte takes, and what the kernel made of what was asked."""
    allocator = builder.with_guard_pages().build()
    if mode is not None:
        allocator.set_thp_mode(mode)
    with allocator.allocate(64, 64) as pages:  # 4 MiB
        pages.memory[2 * MIB] = 1
        stats, report = allocator.get_memory_stats(pages), allocator.report
    asked = report.numa if "node" in name else report.huge_pages
    said = report.thp if mode is not None else asked
    return name, stats.resident_bytes // KIB, report.page_kind.name, said


topology = detect_numa_topology()
rows = [
    placed("small pages", LinuxAllocatorBuilder(), ThpMode.NEVER),
    placed("transparent huge pages", LinuxAllocatorBuilder(), ThpMode.ALWAYS),
    placed("huge pages", LinuxAllocatorBuilder().with_huge_pages()),
    placed("small pages of one node", LinuxAllocatorBuilder().with_numa_node(topology.nodes[0].id)),
]

figure, axis = plt.subplots(figsize=(7, 2.2))
bars = axis.barh([row[0] for row in rows], [row[1] for row in rows], color="tab:blue")
axis.bar_label(bars, [f" {row[1]:,} KiB" for row in rows])
axis.invert_yaxis()
axis.set_xscale("log")
axis.set_xlim(1, 20_000)
axis.set_xlabel("RAM for one written byte (KiB)")
figure.tight_layout()

# %%
Table(("asked for", "KiB", "kind of pages", "what came of it"), rows)

# %%
Table(
    ("node", "memory (MiB)", "free (MiB)"),
    [(node.id, f"{node.total_bytes // MIB:,}", f"{node.free_mb:,}") for node in topology.nodes],
)

# %% [markdown]
# ## Kept slots
#
# A page fault for each page that is touched is most of what a fresh memory costs. A pool keeps
# slots: what its tenant has written is cleaned, and stays in RAM for the next one. The kernel
# counts the faults.


# %%
def faults_of(call):
    """Page faults of a call: by a counter, or by getrusage where counters are refused."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    try:
        with PerfEventBuilder().with_type(PerfCounter.PAGE_FAULTS).build() as counter:
            call()
        return counter.read().value, "a counter of the kernel"
    except WrtError as error:
        call()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        return after - before, f"getrusage, as there is no counter: {error}"


def lives(allocator, size):
    def live():
        for _ in range(50):
            with allocator.allocate(1, 16) as pages:
                pages.memory[:size] = bytes(size)

    live()  # what happens once is not counted
    return live


counted, by = {}, ""
for name, allocator in {
    "fresh": LinuxAllocatorBuilder().with_guard_pages().build(),
    "kept": SlotPoolBuilder().with_slot_count(4).with_maximum_pages(16).build(),
}.items():
    for size in (4 * KIB, 16 * KIB, 64 * KIB):
        faults, by = faults_of(lives(allocator, size))
        counted[name, size] = faults / 50
print("counted by", by)

figure, axis = plt.subplots(figsize=(6, 2.6))
for place, name in enumerate(("fresh", "kept")):
    heights = [counted[name, size] for size in (4 * KIB, 16 * KIB, 64 * KIB)]
    bars = axis.bar(numpy.arange(3) + place * 0.4, heights, 0.38, label=f"{name} memory")
    axis.bar_label(bars, [f"{height:.1f}" for height in heights], fontsize=8)
axis.set_xticks(numpy.arange(3) + 0.2, ["4 KiB", "16 KiB", "64 KiB"])
axis.set_xlabel("written by each tenant")
axis.set_ylabel("page faults a life")
axis.margins(y=0.15)
axis.legend()
figure.tight_layout()

# %% [markdown]
# ## Limits that bite
#
# A guest that asks for memory without end gets what it may have, and then an answer of -1: nothing
# is killed for it.

# %%
TEXT = """
(module
  (memory (export "memory") 1)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "spin") (loop $again (br $again)))
  (func (export "outside") (result i32) (i32.load (i32.const 0x7fffffff)))
  (func (export "deep") (call $deep))
  (func $deep (call $deep)))
"""
MODULE = Module(TEXT)

figure, axis = plt.subplots(figsize=(7, 3))
for limit in (4, 2, 1):
    guest = Instance(MODULE, limits=Limits(memory=limit * MIB))
    sizes = [guest.memory.pages * PAGE / MIB]
    for _ in range(80):
        guest.call("grow", 1)
        sizes.append(guest.memory.pages * PAGE / MIB)
    (line,) = axis.step(range(81), sizes, where="post", label=f"at most {limit} MiB")
    axis.axhline(limit, color=line.get_color(), linestyle=":", linewidth=1)
axis.set_xlabel("times that it asked for 64 KiB more")
axis.set_ylabel("memory (MiB)")
axis.legend()
figure.tight_layout()

# %% [markdown]
# A time limit has to land in a loop that never looks at a clock.

# %%
wanted = [5, 10, 20, 50, 100] * 3
taken = []
guest = Instance(MODULE)
for milliseconds in wanted:
    start = time.perf_counter()
    try:
        guest.call("spin", timeout=milliseconds / 1000)
    except TimedOutError:
        taken.append((time.perf_counter() - start) * 1000)

figure, axis = plt.subplots(figsize=(4.5, 3))
axis.plot([0, 110], [0, 110], color="lightgrey", label="at once")
axis.scatter(wanted, taken, s=14, label="measured")
axis.set_xlabel("time limit (ms)")
axis.set_ylabel("ended after (ms)")
axis.legend()
figure.tight_layout()

# %% [markdown]
# ### Each limit is an exception
#
# The first four bite in this process. Then a guest is sandboxed: it runs in a process of its own,
# which may hang, crash or be killed, and this one goes on.

# %%
LARGE = Module("(module (memory 100))")
outcomes = []


def expect(limit, error_kind, call):
    try:
        came = f"nothing: {call()}"
    except error_kind as error:
        came = str(error).splitlines()[0]
    outcomes.append((limit, error_kind.__name__, came))


def in_sandbox(name, *arguments, timeout="5s", **settings):
    builder = SandboxBuilder().with_maximum_pages(16)
    for setting, value in settings.items():
        getattr(builder, setting)(value)
    with builder.build() as sandbox:
        sandbox.load(TEXT)  # it is validated there
        return sandbox.call(name, *arguments, timeout=timeout)


def crash():
    with SandboxBuilder().build() as sandbox:
        sandbox.load(TEXT)  # it is validated there
        os.kill(sandbox.report.process, signal.SIGSEGV)  # as a fault of its engine would
        return sandbox.call("grow", 1)


expect("fuel", OutOfFuelError, lambda: Instance(MODULE, limits=Limits(fuel=1000)).call("spin"))
expect("time", TimedOutError, lambda: Instance(MODULE).call("spin", timeout=0.05))
expect("bounds of memory", TrapError, lambda: Instance(MODULE).call("outside"))
expect("memory at the start", LimitError, lambda: Instance(LARGE, limits=Limits(memory=MIB)))
expect("sandbox: endless recursion", TrapError, lambda: in_sandbox("deep"))
expect("sandbox: time", TimedOutError, lambda: in_sandbox("spin", timeout=0.1))
expect("sandbox: CPU time", CrashedError, lambda: in_sandbox("spin", with_cpu_seconds=1))
expect("sandbox: a crash", CrashedError, crash)
Table(("what bites", "exception", "what it says"), outcomes)

# %%
print("a sandboxed guest that asks for 1 GiB is answered", in_sandbox("grow", 16384))

# %% [markdown]
# ### Limits of the kernel
#
# An ordinary program is no guest, and knows nothing of fuel. The kernel limits its addresses and
# its CPU time; a control group also what it really uses, together with all that it starts.

# %%
SHELL = {"memory": "x=x; while :; do x=$x$x; done", "CPU time": "while :; do :; done"}


def confined(script, **limits):
    builder = ConfinedProcessBuilder("/bin/sh").with_arguments(["sh", "-c", script])
    builder.with_system_files()
    for name, value in limits.items():
        getattr(builder, f"with_{name}")(value)
    outcome = builder.run(timeout=20)
    ended = outcome.end.name.lower()
    return ended, signal.Signals(outcome.code).name if ended == "signalled" else outcome.code


def in_cgroup():
    """The same in a control group, where this system lets us make one."""
    try:
        builder = CgroupBuilder(f"notebook-{os.getpid()}").with_move_to_leaf()
        with builder.with_controllers(CgroupController.MEMORY).build() as group:
            group.set_limits(ResourceLimits(memory_max=32 * MIB, memory_swap_max=0))
            process = group.spawn(["/bin/sh", "-c", SHELL["memory"]])
            status = os.waitpid(process, 0)[1]
            killed = group.get_stats().oom_kills
        return f"{killed} killed for want of memory", signal.Signals(os.WTERMSIG(status)).name
    except WrtError as error:
        return "not here", " ".join(str(error).split())


kernel_rows = [
    ("256 MiB of addresses", *confined(SHELL["memory"], memory_bytes=256 * MIB)),
    ("1 s of CPU time", *confined(SHELL["CPU time"], cpu_seconds=1)),
    ("a control group of 32 MiB", *in_cgroup()),
]
Table(("limit", "end", "by what"), kernel_rows)

# %% [markdown]
# ## The walls of a sandbox
#
# What stands round the process, by what it holds, or why it does not. Walls that nobody asked for
# are off; one that is required and can't be had is an exception instead.

# %%
builder = SandboxBuilder().with_user_namespace("preferred").with_network_namespace("preferred")
with builder.build() as sandbox:
    sandbox.load(TEXT)  # it is validated there
    sandbox.call("grow", 1)
    report = sandbox.report

Table(
    ("wall", "state", "by what, or why not"),
    [
        (name.replace("_", " "), wall.state.name.lower().replace("_", " "), wall.reason)
        for name, wall in report.walls.items()
    ],
)

# %% [markdown]
# ## What a run costs
#
# Counters of the processor and of the kernel, round one call. A virtual machine often has only
# those of the kernel; a counter that was not there is not a count of 0.


# %%
def work():
    guest = Instance(MODULE, limits=Limits(fuel=5_000_000))
    try:
        guest.call("spin")
    except OutOfFuelError:
        return guest.usage.fuel_used


def costs(call):
    try:
        return profile(call)
    except WrtError as error:  # a container may refuse all of them
        return Table(("no counters here",), [(error,)])


costs(work)
