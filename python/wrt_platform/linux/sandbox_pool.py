"""Sandboxes that are sealed and wait for work."""

from __future__ import annotations

import threading
from mmap import mmap
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._native import ffi, lib
from wrt_platform.errors import check
from wrt_platform.layout import Layout
from wrt_platform.linux.sandbox_builder import SandboxBuilder
from wrt_platform.linux.sandboxed import Sandbox
from wrt_platform.page_allocator import _word

if TYPE_CHECKING:
    from typing import Self

__all__ = ["SandboxPool", "SandboxPoolBuilder", "SandboxPoolReport"]


class SandboxPoolReport(NamedTuple):
    """What a pool has."""

    ready: int  # waiting now
    wanted: int
    taken: int  # handed out
    missed: int  # of these, started on demand
    replaced: int  # found dead while they waited


class SandboxPool:
    """Sandboxes that are sealed and wait for work; made by SandboxPoolBuilder.

    take() hands one out, which never comes back; fill() starts those that are missing, when there
    is time for it: no thread does so by itself. Threads: any, one after the other.
    """

    def __init__(self, config: Any, kept: Any) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._raw = ffi.new("wrt_sandbox_pool *")
        check(lib.wrt_sandbox_pool_init(self._raw, config))

    def take(self) -> Sandbox:
        """A sandbox that nobody has used. Raises what SandboxBuilder.build() does."""
        raw = ffi.new("wrt_sandbox *")
        with self._lock:
            status = lib.wrt_sandbox_pool_take(self._raw, raw)
        check(status)
        return Sandbox(raw)

    def fill(self) -> None:
        """Starts as many as are missing. Raises what SandboxBuilder.build() does."""
        with self._lock:
            status = lib.wrt_sandbox_pool_fill(self._raw)
        check(status)

    @property
    def report(self) -> SandboxPoolReport:
        """What is there."""
        raw = ffi.new("wrt_sandbox_pool_report *")
        with self._lock:
            status = lib.wrt_sandbox_pool_query(self._raw, raw)
        check(status)
        return SandboxPoolReport(raw.ready, raw.wanted, raw.taken, raw.missed, raw.replaced)

    def close(self) -> None:
        """Ends the sandboxes that wait; again does nothing."""
        with self._lock:
            status = lib.wrt_sandbox_pool_deinit(self._raw)
        check(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        raw = getattr(self, "_raw", None)
        if raw is not None:
            _discard(lib.wrt_sandbox_pool_deinit(raw))


class SandboxPoolBuilder:
    """Collects settings; the rules of linux/sandbox.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_sandbox_pool_config")
        self._config = ffi.new("wrt_sandbox_pool_config *", {"struct_size": size})
        self._sandbox = SandboxBuilder()
        self._buffer: Any = None

    def with_ready(self, count: int) -> Self:
        """Sandboxes that wait, 1 to 1024."""
        self._config.ready = _word(count, "ready")
        return self

    def with_sandbox(self, builder: SandboxBuilder) -> Self:
        """What each of them is made of; the builder's settings are taken by build()."""
        self._sandbox = builder
        return self

    def with_buffer(self, buffer: bytearray | mmap) -> Self:
        """Keeps its table in this memory. Without it, build() makes a buffer."""
        if isinstance(buffer, memoryview):  # CPython crashes when a lent view dies in a cycle
            raise TypeError("pass the object that owns the memory, not a view of it")
        self._buffer = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        return self

    def layout(self) -> Layout:
        """What buffer the settings need; exact."""
        layout = ffi.new("wrt_layout *")
        self._config.sandbox = self._sandbox._config[0]
        check(lib.wrt_sandbox_pool_layout(self._config, layout))
        return Layout(layout.bytes, layout.alignment)

    def build(self) -> SandboxPool:
        """Starts the sandboxes. Raises what SandboxBuilder.build() does."""
        buffer = self._buffer
        if buffer is None:
            buffer = ffi.new("uint64_t[]", self.layout().bytes // 8)
        config = self._config
        config.sandbox = self._sandbox._config[0]
        config.buffer, config.buffer_size = ffi.cast("void *", buffer), ffi.sizeof(buffer)
        self._buffer = None  # one buffer serves one build
        return SandboxPool(config, (buffer, self._sandbox._path))


def _discard(status: int) -> None:
    """A finaliser has nobody to tell."""
