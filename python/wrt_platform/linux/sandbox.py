"""A module in a process that has sealed itself. Mirrors wrt_platform/linux/sandbox.h.

with SandboxBuilder().with_maximum_pages(1024).build() as sandbox:
    sandbox.load("program.wasm", imports=wasi)
    sandbox.call("_start", timeout="5s")
    print(sandbox.report.system_calls)

The module's bytes are looked at in that process alone. The files beside this one hold the parts:
the builder, the sandbox itself, what is known of it, and pools.
"""

from __future__ import annotations

from wrt_platform._enums import SandboxEnd, SandboxProfile, SandboxWall
from wrt_platform.linux.sandbox_builder import SandboxBuilder, sandbox_program
from wrt_platform.linux.sandbox_pool import SandboxPool, SandboxPoolBuilder, SandboxPoolReport
from wrt_platform.linux.sandbox_report import SandboxReport
from wrt_platform.linux.sandboxed import Sandbox

__all__ = [
    "Sandbox",
    "SandboxBuilder",
    "SandboxEnd",
    "SandboxPool",
    "SandboxPoolBuilder",
    "SandboxPoolReport",
    "SandboxProfile",
    "SandboxReport",
    "SandboxWall",
    "sandbox_program",
]
