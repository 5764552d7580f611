"""What tests of several modules borrow."""

from __future__ import annotations

import gc
import mmap
from collections.abc import Iterator

import pytest


@pytest.fixture
def shared() -> Iterator[mmap.mmap]:
    """A page that forked processes have in common."""
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        yield page
        gc.collect()
