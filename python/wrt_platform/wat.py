"""WebAssembly text, assembled by a tool that is installed. We bring no assembler of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wrt_platform.errors import MalformedError, UnsupportedError

__all__ = ["assemble", "find_tool", "looks_like_text"]

REMEDY = "`cargo install wasm-tools`, or `pip install wasmtime`"


def looks_like_text(data: Any) -> bool:
    """Whether bytes begin like WebAssembly text rather than like a module."""
    start = bytes(data[:4096]).lstrip()
    return start.startswith((b"(module", b"(;", b";;"))


def find_tool() -> tuple[str, Callable[[str], bytes]] | None:
    """The assembler's name and the assembler; None if none is installed."""
    import importlib.util
    import shutil

    path = shutil.which("wasm-tools")
    if path is not None:
        return path, lambda text: _by_wasm_tools(path, text)
    if importlib.util.find_spec("wasmtime") is not None:
        return "Python package wasmtime", _by_wasmtime
    return None


def assemble(text: str) -> bytes:
    """The module that a text describes.

    Raises MalformedError with the tool's own words, UnsupportedError if there is no tool.
    """
    tool = find_tool()
    if tool is None:
        raise UnsupportedError(
            f"WebAssembly text needs an assembler, and none is installed: {REMEDY}"
        )
    return tool[1](text)


def _by_wasm_tools(path: str, text: str) -> bytes:
    import subprocess

    run = subprocess.run([path, "parse", "-"], input=text.encode(), capture_output=True)
    if run.returncode != 0:
        raise MalformedError(f"wasm-tools: {run.stderr.decode(errors='replace').strip()}")
    return run.stdout


def _by_wasmtime(text: str) -> bytes:
    import wasmtime

    try:
        return bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise MalformedError(f"wasmtime: {error}") from None
