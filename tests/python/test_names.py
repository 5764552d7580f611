"""The package's names: where the documents import them, loaded when used, typed."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import wrt_platform

INIT = Path(wrt_platform.__file__)


def told_to_type_checkers() -> dict[str, str]:
    """Name to module, from the imports that only a type checker reads."""
    found: dict[str, str] = {}
    for block in ast.parse(INIT.read_text()).body:
        if isinstance(block, ast.If):
            for item in block.body:
                if isinstance(item, ast.ImportFrom):
                    found |= {name.name: f"{item.module}" for name in item.names}
    return found


def test_what_type_checkers_are_told_is_what_happens() -> None:
    told = told_to_type_checkers()
    assert {name: f"wrt_platform.{home}" for name, home in wrt_platform._HOME.items()} == told
    assert sorted(told) == wrt_platform.__all__


@pytest.mark.parametrize("name", wrt_platform.__all__)
def test_each_name_can_be_imported(name: str) -> None:
    home = importlib.import_module(f"wrt_platform.{wrt_platform._HOME[name]}")
    assert getattr(wrt_platform, name) is getattr(home, name)
    assert name in dir(wrt_platform)


@pytest.mark.row("WE-1")
@pytest.mark.parametrize(
    "name",
    [
        "LinuxAllocatorBuilder",
        "PageAllocator",
        "PoolAllocator",
        "StaticAllocatorBuilder",
        "VerificationLevel",
        "WasiConfig",
        "WasmModule",
        "step_wasm_execution",
    ],
)
def test_names_of_the_documents_are_at_the_root(name: str) -> None:
    assert hasattr(wrt_platform, name)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = wrt_platform.nothing  # type: ignore[attr-defined]


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys, wrt_platform; print(*(n for n in sys.modules if 'wrt_platform.' in n))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_package_is_typed() -> None:
    assert INIT.with_name("py.typed").exists()
