"""What tests of QNX's backend begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qnx_world import Toucher, new_world


@pytest.fixture
def world() -> Iterator[None]:
    """A process of the simulated QNX; in the end it must hold nothing."""
    with new_world():
        yield


@pytest.fixture
def touch(support: Callable[[str], Path]) -> Toucher:
    return Toucher(support("touch_here"))
