"""Promises about time, on machines that have other things to do as well."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TooLate(AssertionError):
    """It came, but not in time."""


@contextmanager
def within(least: float, most: float) -> Iterator[None]:
    """What is inside takes so many seconds."""
    start = time.monotonic()
    yield
    in_time(time.monotonic() - start, least, most)


def in_time(took: float, least: float, most: float) -> None:
    assert took >= least
    if took >= most:
        raise TooLate(f"{took:.3f} s instead of {most:.3f} s")


def again_if_late(test: Callable[..., None]) -> Callable[..., None]:
    """A busy machine makes a test late now and then, a fault makes it late each time."""

    @functools.wraps(test)
    def repeated(*arguments: object, **settings: object) -> None:
        for _ in range(3):
            try:
                return test(*arguments, **settings)
            except TooLate:
                time.sleep(1)
        return test(*arguments, **settings)

    return repeated
