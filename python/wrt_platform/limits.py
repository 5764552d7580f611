"""Limits of a guest: how much memory, how many instructions, how long.

    Limits(memory="64MiB", fuel=10_000_000, timeout="5s")

What is left out is not limited by us; memory is then bounded by the module's own maximum, at most
256 MiB.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from wrt_platform.errors import InvalidArgumentError

__all__ = ["Limits", "RunLimits", "parse_duration", "parse_size"]

_PAGE = 65536
_FUEL_MAX = (2**63 - 1) // 2
_SIZES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
_SIZES.update({"k": 1 << 10, "m": 1 << 20, "g": 1 << 30})
_SIZES.update({"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30})
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "m": 60.0, "min": 60.0}
_SECONDS["h"] = 3600.0


class _Limits(NamedTuple):
    memory: int | None = None  # bytes
    fuel: int | None = None  # instructions
    timeout: float | None = None  # seconds


class Limits(_Limits):
    """What a guest may use; None: no limit of ours. Immutable.

    memory: bytes, or text like "64MiB" (KiB, MiB, GiB are 1024s; kB, MB, GB are 1000s); counted
    in pages of 64 KiB, rounded down, so that the guest never has more.
    fuel: instructions of the binary format.
    timeout: seconds, or text like "500ms", "5s", "2min"; of each call.
    Raises InvalidArgumentError saying what is wrong with which.
    """

    __slots__ = ()

    def __new__(
        cls,
        memory: int | str | None = None,
        fuel: int | None = None,
        timeout: float | str | None = None,
    ) -> Limits:
        return super().__new__(cls, _memory(memory), _fuel(fuel), _timeout(timeout))

    @classmethod
    def from_environment(
        cls,
        share: float = 0.5,
        fuel: int | None = None,
        timeout: float | str | None = None,
        root: str = "",
    ) -> Limits:
        """As much memory as `share` of what this process can still have, here and now: within its
        container, its control groups, its address space and the machine, but at least a page.
        root: see wrt_platform.linux.container."""
        from wrt_platform.linux.container import detect_resources

        if not 0 < share <= 1:  # a NaN is neither
            raise InvalidArgumentError(f"share is {share}, not above 0 and at most 1")
        available = detect_resources(root).memory_available
        if available is None:
            return cls(None, fuel, timeout)
        return cls(max(_PAGE, int(available * share)), fuel, timeout)

    @property
    def pages(self) -> int | None:
        """The memory limit in pages of 64 KiB."""
        return None if self.memory is None else self.memory // _PAGE


RunLimits = Limits


def parse_size(text: str) -> int:
    """Bytes of "64MiB", "1.5GB", "65536". Raises InvalidArgumentError."""
    number, unit = _split(text, "a size", "64MiB")
    factor = _SIZES.get(unit.lower())
    if factor is None:
        raise InvalidArgumentError(f"{text!r} is no size: unknown unit {unit!r}, try 64MiB")
    return int(number * factor)


def parse_duration(text: str) -> float:
    """Seconds of "5s", "500ms", "2min", "1h", "0.5". Raises InvalidArgumentError."""
    number, unit = _split(text, "a time", "5s")
    factor = _SECONDS.get(unit.lower())
    if factor is None:
        raise InvalidArgumentError(f"{text!r} is no time: unknown unit {unit!r}, try 5s or 500ms")
    return number * factor


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    stripped = text.strip()
    digits = len(stripped) - len(stripped.lstrip("0123456789.,_"))
    try:
        return float(stripped[:digits]), stripped[digits:].strip()
    except ValueError:
        raise InvalidArgumentError(f"{text!r} is not {what}; write it like {example}") from None


def _memory(given: int | str | None) -> int | None:
    if given is None:
        return None
    size = parse_size(given) if isinstance(given, str) else _whole(given, "memory", "bytes")
    if size < _PAGE:
        raise InvalidArgumentError(
            f"a memory limit of {size} bytes is less than one page (64KiB), the least there is"
        )
    return min(size, 65536 * _PAGE)


def _fuel(given: int | None) -> int | None:
    if given is None:
        return None
    fuel = _whole(given, "fuel", "instructions")
    if not 0 <= fuel <= _FUEL_MAX:
        raise InvalidArgumentError(f"fuel is {fuel}, not 0 to {_FUEL_MAX} instructions")
    return fuel


def _timeout(given: float | str | None) -> float | None:
    if given is None:
        return None
    seconds = parse_duration(given) if isinstance(given, str) else _seconds(given)
    if not 0 < seconds < 1e9:  # a NaN is neither
        raise InvalidArgumentError(f"a timeout of {seconds} seconds is not above 0 and below 1e9")
    return seconds


def _seconds(given: Any) -> float:
    try:
        return float(given)
    except TypeError:
        raise TypeError(f"timeout is seconds or text like '5s', not {given!r}") from None


def _whole(given: Any, name: str, unit: str) -> int:
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise TypeError(f"{name} is a whole number of {unit}, not {given!r}")
    return int(given.__index__())
