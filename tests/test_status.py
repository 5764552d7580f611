"""Errors: sentences, threads, exceptions."""

from __future__ import annotations

import errno
import pickle
import threading
from typing import Any

import pytest
from wrt_platform import errors
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, OutOfMemoryError, WrtError, check


def sentence(reason: bytes, detail: tuple[int, int] = (0, 0), os_code: int = 0) -> str:
    texts = [ffi.new("char[]", b"mbind"), ffi.new("char[]", reason)]
    error = ffi.new("wrt_error *", (lib.WRT_ERR_STATE, os_code, *texts, detail))
    length = lib.wrt_error_format(error, ffi.NULL, 0)
    out = ffi.new("char[]", length + 1)
    assert lib.wrt_error_format(error, out, len(out)) == length
    return str(ffi.string(out).decode())


@pytest.mark.parametrize("number", [0, 9, 10, 4294967296, 2**63, 2**64 - 1])
def test_numbers_are_decimal(number: int) -> None:
    assert sentence(b"{0} of {1}", (number, 7)) == f"mbind: {number} of 7"


def test_placeholder_without_a_number_stays() -> None:
    assert sentence(b"{2} {0 {") == "mbind: {2} {0 {"


def test_system_code_stands_by_its_name_after_what_failed() -> None:
    told = sentence(b"mbind failed: node {0} of {1}", (3, 2), os_code=1)
    assert told == "mbind: mbind failed, EPERM: node 3 of 2"
    assert sentence(b"a: b: c", os_code=12) == "mbind: a, ENOMEM: b: c"
    assert (
        sentence(b"mmap of {0} bytes failed", (8, 0), 12) == "mbind: mmap of 8 bytes failed, ENOMEM"
    )


@pytest.mark.parametrize("os_code", sorted(errno.errorcode))
def test_name_of_a_system_code_is_the_systems_own(os_code: int) -> None:
    """Python's table comes from the system's headers; a number without a name stays a number."""
    told = sentence(b"x", os_code=os_code).removeprefix("mbind: x, ")
    assert told == f"system error {os_code}" or getattr(errno, told) == os_code


def test_codes_that_our_calls_meet_have_names() -> None:
    for name in ("EPERM", "ENOENT", "EINTR", "EAGAIN", "ENOMEM", "EACCES", "EINVAL", "ENOSYS"):
        assert sentence(b"x", os_code=getattr(errno, name)) == f"mbind: x, {name}"


@pytest.mark.parametrize("os_code", [-(2**31), -1, 134, 2**31 - 1])
def test_unknown_system_code_is_a_number(os_code: int) -> None:
    assert sentence(b"x", os_code=os_code) == f"mbind: x, system error {os_code}"


def test_sentence_is_cut_to_the_buffer() -> None:
    texts = [ffi.new("char[]", b"call"), ffi.new("char[]", b"why")]
    error = ffi.new("wrt_error *", (lib.WRT_ERR_STATE, 0, *texts, (0, 0)))
    out = ffi.new("char[]", b"#########")
    assert lib.wrt_error_format(error, out, 6) == len("call: why")
    assert ffi.buffer(out)[:] == b"call:\0###\0"
    out = ffi.new("char[]", b"############")
    lib.wrt_error_format(error, out, len(out))
    assert ffi.buffer(out)[:] == b"call: why\0##\0"


def fail(status_bytes: int = 0) -> Any:
    config = ffi.new("wrt_pool_config *", {"struct_size": status_bytes})
    return lib.wrt_pool_layout(config, ffi.new("wrt_layout *"))


def test_each_thread_has_its_own_error() -> None:
    seen: list[Any] = []

    def work() -> None:
        seen.append(ffi.string(lib.wrt_error_last().reason))
        fail(2)
        seen.append(lib.wrt_error_last().detail[0])

    fail(3)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [b"no error", 2]
    assert lib.wrt_error_last().detail[0] == 3


def test_exception_tells_what_failed_and_with_what_numbers() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^wrt_pool_layout: struct_size is 3, ") as info:
        check(fail(3))
    assert info.value.operation == "wrt_pool_layout"
    assert info.value.detail == (3, ffi.sizeof("wrt_pool_config"))


def test_another_failure_in_between_is_not_quoted() -> None:
    fail(3)
    with pytest.raises(OutOfMemoryError, match=r"^status 2$"):
        check(lib.WRT_ERR_NO_MEMORY)
    with pytest.raises(WrtError, match=r"^status 99$"):
        check(99)


@pytest.mark.parametrize("name", errors.__all__)
def test_exceptions_survive_pickling(name: str) -> None:
    error = getattr(errors, name)("why")
    error.detail = (1, 2)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.detail) == (type(error), "why", (1, 2))


def test_every_status_has_its_class_and_its_builtin() -> None:
    kinds = {name: getattr(lib, name) for name in dir(lib) if name.startswith("WRT_ERR_")}
    assert set(errors._BY_STATUS) == set(kinds.values())
    for kind in errors._BY_STATUS.values():
        assert any(base.__module__ == "builtins" for base in kind.__bases__)
