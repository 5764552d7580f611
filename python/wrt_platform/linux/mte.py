"""Memory whose pointers carry a tag that the processor checks at each access: the Memory Tagging
Extension of 64-bit Arm. Mirrors wrt_platform/linux/mte.h.

    if LinuxArm64MteAllocator.is_available():
        builder = LinuxArm64MteAllocatorBuilder().with_maximum_pages(1024)
        allocator = builder.with_mte_mode(MteMode.SYNCHRONOUS).build()
        pointer = allocator.allocate_tagged(16, 0xA)
        pointer.write(b"hello")

Elsewhere all of it exists, and build() raises UnsupportedError with the reason.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import LinuxMteMode as MteMode
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, UnsupportedError, check
from wrt_platform.page_allocator import _size, _word

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = [
    "LinuxArm64MteAllocator",
    "LinuxArm64MteAllocatorBuilder",
    "MteMode",
    "MteReport",
    "TaggedPointer",
]


class TaggedPointer(NamedTuple):
    """An address with a tag in bits 56 to 59, and the bytes that it may reach."""

    address: int
    size: int

    @property
    def tag(self) -> int:
        """0 to 15."""
        return int(lib.wrt_linux_mte_tag_of(self._pointer))

    @property
    def _pointer(self) -> Any:
        return ffi.cast("void *", self.address)

    def with_tag(self, tag: int) -> TaggedPointer:
        """The same address with another tag. An access through it ends the process, where the
        memory has another."""
        if not 0 <= tag <= lib.WRT_LINUX_MTE_TAG_MAX:
            raise InvalidArgumentError(f"tag is {tag}, not 0 to 15")
        pointer = lib.wrt_linux_mte_with_tag(self._pointer, tag)
        return self._replace(address=int(ffi.cast("uintptr_t", pointer)))

    def read(self, size: int | None = None) -> bytes:
        """A copy of the first `size` bytes. Of memory that was freed it ends the process."""
        return bytes(ffi.buffer(self._pointer, self._within(self.size if size is None else size)))

    def write(self, data: bytes) -> None:
        """Copies `data` in. Of memory that was freed it ends the process."""
        ffi.memmove(self._pointer, data, self._within(len(data)))

    def _within(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise InvalidArgumentError(f"{size} bytes of a block of {self.size}")
        return size


class MteReport(NamedTuple):
    """What is out, and what holds."""

    allocation_count: int  # out now
    mte_mode: MteMode
    tag_mask: int  # bit i: tag i may be drawn
    thread_mode: int  # of the calling thread: bit i: mode i is on; 0: it has to enter()
    used_bytes: int  # in blocks that are out
    capacity_bytes: int


class LinuxArm64MteAllocator:
    """Gives out tagged blocks; made by LinuxArm64MteAllocatorBuilder. Any thread may use it, but
    the accesses of a thread that was there before are checked only once it has called enter().
    Blocks end with it. A forked child can't use it (StateError)."""

    def __init__(self, config: Any) -> None:
        self._lock = threading.Lock()
        self._raw = ffi.new("wrt_linux_mte_allocator *")
        check(lib.wrt_linux_mte_allocator_init(self._raw, config))

    @staticmethod
    def is_available() -> bool:
        """Whether this processor and this kernel have tagged memory."""
        return bool(lib.wrt_linux_mte_is_available() == lib.WRT_OK)

    @staticmethod
    def why_unavailable() -> str:
        """The reason, "" where it is available."""
        try:
            check(lib.wrt_linux_mte_is_available())
        except UnsupportedError as error:
            return str(error)
        return ""

    def enter(self) -> None:
        """Switches checking on for the calling thread, and those that it makes from now on."""
        check(lib.wrt_linux_mte_allocator_enter(self._raw))

    def allocate(self, size: int) -> TaggedPointer:
        """A block of `size` bytes, zero, with a tag that is drawn from the mask. Raises
        OutOfMemoryError."""
        return self._allocate(lib.wrt_linux_mte_allocator_allocate, _size(size, "size"))

    def allocate_tagged(self, size: int, tag: int) -> TaggedPointer:
        """The same with this tag, 0 to 15, whatever the mask."""
        bounds = _size(size, "size"), _word(tag, "tag")
        return self._allocate(lib.wrt_linux_mte_allocator_allocate_tagged, *bounds)

    def _allocate(self, function: Any, *arguments: int) -> TaggedPointer:
        pointer, size = ffi.new("void **"), ffi.new("size_t *")
        with self._lock:
            check(function(self._raw, *arguments, pointer, size))
        return TaggedPointer(int(ffi.cast("uintptr_t", pointer[0])), size[0])

    def free(self, pointer: TaggedPointer) -> None:
        """Takes a block back, and gives its memory another tag. Raises StateError if it was freed
        before, InvalidArgumentError if no block begins there."""
        with self._lock:
            check(lib.wrt_linux_mte_allocator_free(self._raw, pointer._pointer))

    def tag_at(self, pointer: TaggedPointer) -> int:
        """The tag that the memory has there."""
        tag = ffi.new("uint32_t *")
        with self._lock:
            check(lib.wrt_linux_mte_allocator_tag_at(self._raw, pointer._pointer, tag))
        return int(tag[0])

    @property
    def report(self) -> MteReport:
        """What is out, and what holds."""
        raw = ffi.new("wrt_linux_mte_allocator_report *")
        with self._lock:
            check(lib.wrt_linux_mte_allocator_query(self._raw, raw))
        fields = {name: getattr(raw, name) for name in MteReport._fields}
        return MteReport(**{**fields, "mte_mode": MteMode(raw.mte_mode)})

    def close(self) -> None:
        """Ends it; again does nothing. Raises StateError while blocks are out."""
        with self._lock:
            check(lib.wrt_linux_mte_allocator_deinit(self._raw))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LinuxArm64MteAllocatorBuilder:
    """Collects settings; the rules of linux/mte.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_linux_mte_allocator_config")
        self._config = ffi.new("wrt_linux_mte_allocator_config *", {"struct_size": size})

    def with_maximum_pages(self, pages: int) -> Self:
        """Pages of 64 KiB that its blocks lie in, up to 65536; 0: 1024."""
        self._config.maximum_pages = _word(pages, "maximum_pages")
        return self

    def with_mte_mode(self, mode: MteMode) -> Self:
        """When a wrong tag is noticed."""
        self._config.mte_mode = _word(int(mode), "mte_mode")
        return self

    def with_tag_mask(self, mask: int) -> Self:
        """Bit i: tag i may be drawn. There are 16, so 0xFF are tags 0 to 7; 0: all but tag 0."""
        self._config.tag_mask = _word(mask, "tag_mask")
        return self

    def with_tag_check_on_free(self, enabled: bool = True) -> Self:
        """free() refuses a pointer whose tag is not that of the memory."""
        self._config.tag_check_on_free = enabled
        return self

    def build(self) -> LinuxArm64MteAllocator:
        """Makes the allocator, and enters the calling thread. Raises UnsupportedError where there
        is no tagged memory."""
        return LinuxArm64MteAllocator(self._config)
