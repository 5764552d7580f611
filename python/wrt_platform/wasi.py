"""WASI preview 1: what a guest gets to see of the host. Mirrors wrt_platform/wasi.h.

wasi = (
    WasiConfig()
    .with_arguments(["count", "/data/words.txt"])
    .with_preopen("words", "/data", read_only=True)
    .with_standard_output(1)
    .build()
)
instance = Instance(module, imports=wasi)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from mmap import mmap
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Union

from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, WrtError, check
from wrt_platform.layout import Layout

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Preopen", "Wasi", "WasiBuilder", "WasiConfig"]


class _Open(Protocol):
    def fileno(self) -> int: ...


Text = Union[str, bytes]
Descriptor = Union[int, _Open, None]


class Preopen(NamedTuple):
    """A folder of the host that the guest finds open when it starts."""

    host_path: str | bytes | os.PathLike[str]
    guest_path: str | bytes  # how the guest calls it
    read_only: bool = False  # whatever would change it answers "read-only file system"


class Wasi:
    """Serves the calls of WASI to one instance, or a set that is linked; made by WasiBuilder.

    Pass it as `imports` to Instance. For another run make another one: files that the guest
    has closed, its 0 to 2 among them, stay closed.
    """

    def __init__(self, config: Any, kept: Any) -> None:
        self._kept = kept  # the buffer, which C borrows, and files whose descriptors were lent
        self._lock = threading.Lock()  # round each C call: cffi lets other threads run
        self._wasi = ffi.new("wrt_wasi *")
        check(lib.wrt_wasi_init(self._wasi, config))

    @property
    def exit_code(self) -> int | None:
        """What the guest gave to proc_exit; None if it has not called it (a program whose
        _start returns has ended well). Raises StateError after close()."""
        code = ffi.new("uint32_t *")
        with self._lock:
            status = lib.wrt_wasi_exit_code(self._wasi, code)
        if status == lib.WRT_ERR_NOT_FOUND:
            return None
        check(status)
        return int(code[0])

    def close(self) -> None:
        """Closes the folders and whatever the guest has left open, never a descriptor that was
        lent; again does nothing. A guest that still calls gets a StateError.
        Raises StateError while a call of WASI is under way on another thread."""
        with self._lock:
            status = lib.wrt_wasi_deinit(self._wasi)
        check(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        wasi = getattr(self, "_wasi", None)
        if wasi is not None and lib.wrt_wasi_deinit(wasi) != lib.WRT_OK:
            _abandoned.append((wasi, self._kept))  # C may still touch it: never freed

    @property
    def _imports(self) -> Any:
        """For Instance: the functions, as C takes them. Begins a run: forgets the exit code."""
        imports, count = ffi.new("wrt_import **"), ffi.new("uint32_t *")
        with self._lock:
            status = lib.wrt_wasi_imports(
                self._wasi, ffi.cast("wrt_import const **", imports), count
            )
        check(status)
        return imports[0]

    @property
    def _import_count(self) -> int:
        return int(lib.WRT_WASI_CALL_COUNT)


_abandoned: list[Any] = []


class WasiBuilder:
    """Collects settings; the rules of wasi.h are checked by build().

    Without a setting a guest sees nothing: no argument, no variable, no folder; what it writes
    is dropped, and what it reads is empty.
    """

    def __init__(self) -> None:
        self._config = ffi.new("wrt_wasi_config *")
        self._config.struct_size = ffi.sizeof("wrt_wasi_config")
        self._arguments: list[bytes] = []
        self._environment: list[bytes] = []
        self._preopens: list[tuple[bytes, bytes, bool]] = []
        self._lent: dict[str, Any] = {}  # files, so that they are not closed while in use
        self._buffer: Any = None

    def with_arguments(self, arguments: Sequence[Text]) -> Self:
        """The program's arguments; the first is its own name."""
        if isinstance(arguments, (str, bytes)):
            raise TypeError("arguments are a list of texts, not one text")
        self._arguments = [_text(argument, "an argument") for argument in arguments]
        return self

    def with_environment(self, environment: Mapping[str, str] | Iterable[Text]) -> Self:
        """Its variables: a mapping, or texts like "NAME=value"."""
        if isinstance(environment, Mapping):
            environment = [f"{name}={value}" for name, value in environment.items()]
        self._environment = [_text(variable, "a variable") for variable in environment]
        return self

    def with_preopen(
        self,
        host_path: str | bytes | os.PathLike[str],
        guest_path: Text | None = None,
        *,
        read_only: bool = False,
    ) -> Self:
        """Lends one more folder. The guest calls it guest_path, by default as the host does."""
        guest_path = os.fspath(host_path) if guest_path is None else guest_path
        path, name = _text(os.fspath(host_path), "a path"), _text(guest_path, "a path")
        self._preopens.append((path, name, read_only))
        return self

    def with_preopens(self, preopens: Iterable[Preopen | tuple[Any, ...]]) -> Self:
        """Lends these folders and no others: Preopen, or (host path, guest path) each."""
        self._preopens = []
        for preopen in preopens:
            host_path, guest_path, read_only = Preopen(*preopen)
            self.with_preopen(host_path, guest_path, read_only=read_only)
        return self

    def with_standard_input(self, descriptor: Descriptor) -> Self:
        """What the guest reads as its 0: a descriptor, or a file; None: an empty file."""
        return self._lend("standard_input", descriptor)

    def with_standard_output(self, descriptor: Descriptor) -> Self:
        """Where the guest's 1 goes: a descriptor, or a file; None: nowhere."""
        return self._lend("standard_output", descriptor)

    def with_standard_error(self, descriptor: Descriptor) -> Self:
        """Where the guest's 2 goes: a descriptor, or a file; None: nowhere."""
        return self._lend("standard_error", descriptor)

    with_stdin = with_standard_input
    with_stdout = with_standard_output
    with_stderr = with_standard_error

    def with_has_standard_input(self, enabled: bool = True) -> Self:
        """Whether what was given to with_standard_input() counts."""
        self._config.has_standard_input = enabled
        return self

    def with_has_standard_output(self, enabled: bool = True) -> Self:
        """Whether what was given to with_standard_output() counts."""
        self._config.has_standard_output = enabled
        return self

    def with_has_standard_error(self, enabled: bool = True) -> Self:
        """Whether what was given to with_standard_error() counts."""
        self._config.has_standard_error = enabled
        return self

    def with_maximum_descriptors(self, count: int) -> Self:
        """How many descriptors the guest may have open, 0 to 2 and folders included; 0: 256."""
        if not 0 <= count <= lib.WRT_WASI_DESCRIPTORS_MAX:
            raise InvalidArgumentError(
                f"maximum_descriptors is {count}, not 0 to {lib.WRT_WASI_DESCRIPTORS_MAX}"
            )
        self._config.maximum_descriptors = count
        return self

    def with_buffer(self, buffer: bytearray | mmap) -> Self:
        """Keeps tables and texts in this memory. Without it, build() makes a buffer."""
        if isinstance(buffer, memoryview):  # CPython crashes when a lent view dies in a cycle
            raise TypeError("pass the object that owns the memory, not a view of it")
        self._buffer = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        return self

    def layout(self) -> Layout:
        """What buffer the settings need; exact."""
        layout = ffi.new("wrt_layout *")
        config, _texts = self._complete()
        check(lib.wrt_wasi_layout(config, layout))
        return Layout(layout.bytes, layout.alignment)

    def build(self) -> Wasi:
        """Opens the folders. Raises NotFoundError, PermissionDeniedError or InvalidArgumentError
        for one that cannot be opened, UnsupportedError where the kernel can't keep paths inside
        them, and InvalidArgumentError for a broken rule."""
        buffer = self._buffer
        if buffer is None:
            buffer = ffi.new("uint64_t[]", self.layout().bytes // 8 + 1)
        config, _texts = self._complete()
        config.buffer, config.buffer_size = ffi.cast("void *", buffer), ffi.sizeof(buffer)
        try:
            wasi = Wasi(config, (buffer, dict(self._lent)))
        except WrtError as error:
            self._name_folder(error)
            raise
        self._buffer = None  # one buffer serves one build
        return wasi

    def _lend(self, name: str, descriptor: Descriptor) -> Self:
        number = -1
        if descriptor is not None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        self._lent[name] = descriptor
        setattr(self._config, f"has_{name}", descriptor is not None)
        setattr(self._config, name, number)
        return self

    def _complete(self) -> tuple[Any, Any]:
        """The config with its arrays, and what these point to."""
        config = ffi.new("wrt_wasi_config *", self._config[0])
        arguments = [ffi.new("char[]", text) for text in self._arguments]
        environment = [ffi.new("char[]", text) for text in self._environment]
        paths = [[ffi.new("char[]", path) for path in one[:2]] for one in self._preopens]
        arrays = [
            ffi.new("char *[]", arguments),
            ffi.new("char *[]", environment),
            ffi.new("wrt_wasi_preopen[]", len(paths)),
        ]
        for place, (host_path, guest_path), settings in zip(arrays[2], paths, self._preopens):
            place.host_path, place.guest_path = host_path, guest_path
            place.flags = lib.WRT_WASI_PREOPEN_READ_ONLY if settings[2] else 0
        config.arguments, config.argument_count = _texts_of(arrays[0]), len(arguments)
        config.environment, config.environment_count = _texts_of(arrays[1]), len(environment)
        config.preopens, config.preopen_count = arrays[2], len(paths)
        return config, (arrays, arguments, environment, paths)

    def _name_folder(self, error: WrtError) -> None:
        """C says which folder by its number; here it has a name."""
        index = error.detail[0]
        label = f"preopen {index}"
        if label in str(error) and index < len(self._preopens):
            path = os.fsdecode(self._preopens[index][0])
            error.args = (str(error).replace(label, f"{label} ({path!r})"), *error.args[1:])


WasiConfig = WasiBuilder  # the documents' name


def _texts_of(array: Any) -> Any:
    return ffi.cast("char const *const *", array)


def _text(text: Text, what: str) -> bytes:
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        raise InvalidArgumentError(f"{what} holds a NUL character: {text!r}")
    return encoded
