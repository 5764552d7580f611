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
# # WebAssembly inside limits
#
# This notebook loads modules, calls them, limits them, lets one fail, and looks at what a
# program uses while it runs. `jupytext --to ipynb quickstart.py` makes the notebook.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy
from wrt_platform import Instance, Limits, Module, OutOfFuelError, TimedOutError, TrapError, run


def find_programs() -> Path:
    """The folder examples/programs, wherever in the source tree the notebook is run."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "examples/programs/queens.wasm").exists():
            return folder / "examples/programs"
    raise FileNotFoundError("run this notebook inside the source tree")


programs = find_programs()

# %% [markdown]
# ## Run a program
#
# `run` is the whole way in one call. What the program prints shows up here while it runs, and is
# in the result as well, beside what it used and which protections held.

# %%
limits = Limits(memory="16MiB", fuel=100_000_000, timeout="10s")
run(programs / "queens.wasm", ["8"], limits=limits)

# %% [markdown]
# Files are reached in the folders that are named, and nowhere else.

# %%
run(programs / "orders.wasm", ["/orders.csv", "region", "amount"], dirs={"/": programs / "data"})

# %% [markdown]
# ## Load a module and call it
#
# Text works where an assembler is installed (`wasm-tools`, or the Python package `wasmtime`);
# a module is bytes or a file otherwise. Host functions are plain Python.

# %%
TEXT = """
(module
  (import "env" "report" (func $report (param i32 f64)))
  (memory (export "memory") 1 64)
  (global $pages (mut i32) (i32.const 0))
  (func (export "add") (param i32 i32) (result i32)
    local.get 0 local.get 1 i32.add)
  (func (export "divide") (param i32 i32) (result i32)
    local.get 0 local.get 1 i32.div_s)
  (func (export "halve") (param $times i32) (result f64)
    (local $x f64)
    (local.set $x (f64.const 1))
    (loop $again
      (call $report (local.get $times) (local.get $x))
      (local.set $x (f64.div (local.get $x) (f64.const 2)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    local.get $x)
  (func $touch (param $from i32) (param $to i32)
    (loop $again
      (i32.store8 (local.get $from) (i32.const 7))
      (br_if $again (i32.lt_u (local.tee $from (i32.add (local.get $from) (i32.const 1)))
        (local.get $to)))))
  (func (export "fill") (param $pages i32)
    (loop $again
      (call $touch (i32.const 0) (i32.mul (memory.size) (i32.const 65536)))
      (drop (memory.grow (i32.const 1)))
      (br_if $again (local.tee $pages (i32.sub (local.get $pages) (i32.const 1)))))))
"""

module = Module(TEXT)
reports: list[tuple[int, float]] = []
instance = Instance(module, {"env": {"report": lambda step, x: reports.append((step, x))}})
instance.exports.add(2, 3), instance.exports.halve(4), reports

# %% [markdown]
# Its memory is lent, not copied: numpy reads and writes the guest's own bytes.

# %%
numbers = numpy.frombuffer(instance.memory.view(), dtype="<u4")
numbers[:4] = [1, 2, 3, 4]
instance.memory.read(0, 16)

# %% [markdown]
# ## Limits
#
# Fuel is exact: one unit is one instruction. A call that ran out of it, or of time, can go on.

# %%
instance.fuel = 1000
try:
    instance.call("fill", 10)
except OutOfFuelError as error:
    print(error, instance.usage.fuel_left)

instance.fuel = None
try:
    instance.resume(timeout=0.05)
    print("it ended in time")
except TimedOutError as error:
    print(error)

# %% [markdown]
# ## A trap says where
#
# Function names come from the module's name section.

# %%
try:
    instance.call("divide", 1, 0)
except TrapError as error:
    print(error)
    trapped_in = error.function

# %% [markdown]
# ## What a run uses, while it runs
#
# A call can be run a slice at a time. Between two slices the usage can be read.

# %%
guest = Instance(module, {"env": {"report": print}})
guest.begin("fill", 12)
samples = [(0, guest.usage.fuel_used, guest.usage.memory_pages)]
while not guest.run(100_000):
    samples.append((len(samples), guest.usage.fuel_used, guest.usage.memory_pages))
steps, fuel, pages = zip(*samples)

figure, left = plt.subplots(figsize=(7, 3))
left.plot(steps, [value / 1e6 for value in fuel], label="fuel used")
left.set_xlabel("slice of 100,000 instructions")
left.set_ylabel("fuel used (million instructions)")
right = left.twinx()
right.step(steps, [value * 64 for value in pages], color="tab:orange", where="post")
right.set_ylabel("memory (KiB)")
figure.tight_layout()
