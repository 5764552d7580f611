"""What Python adds to the errors of the C library, whose words test_status.py proves."""

from __future__ import annotations

import errno
import pickle

import pytest
from wrt_platform import errors
from wrt_platform._native import lib
from wrt_platform.errors import WrtError, error_of


@pytest.mark.parametrize("name", errors.__all__)
def test_exceptions_cross_to_another_process_with_all_they_know(name: str) -> None:
    error = getattr(errors, name)("why")
    error.operation, error.os_code, error.detail = "wrt_x", errno.EPERM, (1, 2)
    if isinstance(error, OSError):
        error.errno = errno.EPERM
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.status) == (type(error), "why", error.status)
    assert (copy.operation, copy.os_code, copy.detail) == ("wrt_x", errno.EPERM, (1, 2))
    assert getattr(copy, "errno", None) == getattr(error, "errno", None)


def test_each_class_knows_its_status_and_is_exported() -> None:
    for status, kind in errors._BY_STATUS.items():
        assert kind.status == status
        assert kind.__name__ in errors.__all__
    assert error_of(99).status == 99
    assert type(error_of(99)) is WrtError


@pytest.mark.parametrize("status", [lib.WRT_ERR_SYSTEM, lib.WRT_ERR_PERMISSION])
def test_errors_of_the_system_carry_errno(status: int) -> None:
    error = error_of(status)
    assert isinstance(error, OSError)
    assert error.errno == error.os_code
