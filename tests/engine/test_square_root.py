"""The square root in software, for processors without an instruction for it."""

from __future__ import annotations

import ctypes
import math
import random
import struct
from pathlib import Path

import pytest
from common import ROOT, run


@pytest.fixture(scope="module")
def square_root(tmp_path_factory: pytest.TempPathFactory) -> object:
    library: Path = tmp_path_factory.mktemp("square_root") / "square_root.so"
    run("cc", "-std=c11", "-O1", "-fPIC", "-shared", "-I", ROOT / "c/include", "-o", library,
        ROOT / "c/src/engine/square_root.c")  # fmt: skip
    function = ctypes.CDLL(str(library)).wrt__software_square_root
    function.argtypes, function.restype = [ctypes.c_double], ctypes.c_double
    return function


def bits_of(value: float) -> bytes:
    return struct.pack("<d", value)


@pytest.mark.row("WE-1")
def test_it_rounds_as_the_processor_does(square_root: object) -> None:
    assert callable(square_root)
    source = random.Random(1)
    values = [
        struct.unpack("<d", struct.pack("<Q", source.getrandbits(63)))[0] for _ in range(50_000)
    ]
    values += [float(n * n) for n in range(2000)] + [
        math.nextafter(n * n, 0) for n in range(1, 2000)
    ]
    values += [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.0, -0.0, math.inf]
    for value in values:
        if value == value:
            assert bits_of(square_root(value)) == bits_of(math.sqrt(value)), value
    assert math.isnan(square_root(-1.0)) and math.isnan(square_root(math.nan))
