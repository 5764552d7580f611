"""What tests of QNX's backend, and of the kernel below it, begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qnx_world import Toucher, new_world
from support.qnx_checks import Kernel, build


@pytest.fixture
def world() -> Iterator[None]:
    """A process of the simulated QNX; in the end it must hold nothing."""
    with new_world():
        yield


@pytest.fixture
def touch(support: Callable[[str], Path]) -> Toucher:
    return Toucher(support("touch_here"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return Kernel(build(tmp_path_factory.mktemp("qnx")))


@pytest.fixture
def kernel(library: Kernel) -> Iterator[Kernel]:
    """A simulated kernel beside the one of the extension module, for QNX's own calls."""
    library.start()
    yield library
    library.start()
