"""The C programs of this folder, built once a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from common import ROOT
from support.threads_program import library, program

Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Makes a program of sources of this folder, by their stems; `sanitizer` may be "thread"."""
    folder = tmp_path_factory.mktemp("sync")

    @cache
    def archive(sanitizer: str) -> Path:
        out = folder / (sanitizer or "plain")
        out.mkdir()
        return library(out, flags(sanitizer))

    @cache
    def build(*stems: str, sanitizer: str = "", link: str = "") -> Path:
        sources = [ROOT / f"tests/sync/{stem}.c" for stem in stems]
        made = archive(sanitizer)
        return program(made.parent, sources, made, [*flags(sanitizer), *([link] if link else [])])

    return build


def flags(sanitizer: str) -> list[str]:
    return [f"-fsanitize={sanitizer}"] if sanitizer else []
