"""Rings of either kind, and what they read."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rings import KERNEL, SIZE, THREADS, Make, refused
from wrt_platform import IoUring, IoUringBuilder
from wrt_platform.linux.io_uring import IoUringBackend


@pytest.fixture(params=[KERNEL, THREADS], ids=["kernel", "threads"])
def backend(request: pytest.FixtureRequest) -> IoUringBackend:
    if request.param is KERNEL and refused():
        pytest.skip(f"this machine has no io_uring: {refused()}")
    kind: IoUringBackend = request.param
    return kind


@pytest.fixture
def make(backend: IoUringBackend) -> Iterator[Make]:
    made: list[IoUring] = []

    def build(**settings: Any) -> IoUring:
        builder = IoUringBuilder().with_backend(backend)
        for name, value in settings.items():
            getattr(builder, f"with_{name}")(value)
        made.append(builder.build())
        return made[-1]

    yield build
    for ring in made:
        ring.close()


@pytest.fixture
def kernel_only() -> None:
    if refused():
        pytest.skip(f"this machine has no io_uring: {refused()}")


@pytest.fixture(scope="module")
def content() -> bytes:
    return random.Random(7).randbytes(SIZE)


@pytest.fixture
def path(tmp_path: Path, content: bytes) -> Path:
    made = tmp_path / "content"
    made.write_bytes(content)
    return made


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)
