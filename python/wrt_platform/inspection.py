"""What a module holds, wants and offers, and the exact bytes that our engine needs for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wrt_platform._native import ffi, lib
from wrt_platform.errors import LimitError
from wrt_platform.instance import InstanceBuilder
from wrt_platform.module import Module
from wrt_platform.values import MemoryType

if TYPE_CHECKING:
    from wrt_platform.module import Source

__all__ = ["inspect_module", "inspection_text"]

_PAGE = 65536


def inspect_module(source: Module | Source) -> dict[str, Any]:
    """All that `wrt inspect` shows, ready for JSON. Raises as Module does."""
    module = source if isinstance(source, Module) else Module(source)
    usage = module.usage
    return {
        "module": module.name,
        "bytes": module.size,
        "imports": [
            {
                "module": item.module,
                "name": item.name,
                "kind": str(item.kind),
                "type": str(item.type),
            }
            for item in module.imports
        ],
        "exports": [
            {"name": item.name, "kind": str(item.kind), "type": str(item.type)}
            for item in module.exports.values()
        ],
        "memory": _memory(module),
        "features": sorted(usage.features),
        "sizes": {
            "code": usage.code_bytes,
            "data": usage.data_bytes,
            "types": usage.type_count,
            "functions": usage.function_count,
            "imported_functions": usage.imported_function_count,
            "tables": usage.table_count,
            "memories": usage.memory_count,
            "globals": usage.global_count,
            "element_segments": usage.element_count,
            "data_segments": usage.data_count,
        },
        "start_function": _start(module),
        "engine": _engine(module),
    }


def _memory(module: Module) -> dict[str, Any] | None:
    kind = module.memory_type
    if kind is None:
        return None
    return {
        "imported": module.imports_memory,
        "initial_pages": kind.minimum,
        "maximum_pages": kind.maximum,
        "initial_bytes": kind.minimum * _PAGE,
    }


def _start(module: Module) -> str | None:
    index = module.usage.start_function
    return None if index is None else module.function_name(index) or f"function {index}"


def _engine(module: Module) -> dict[str, Any]:
    """Bytes beside the module itself and its linear memory."""
    usage = module.usage
    try:
        instance: int | None = InstanceBuilder().with_module(module).layout().bytes
    except LimitError:  # its tables are larger than the default grants
        instance = None
    return {
        "module_buffer": usage.buffer_bytes,
        "side_table": usage.side_table_bytes,
        "while_loading": usage.init_bytes,
        "module_object": ffi.sizeof("wrt_module"),
        "instance_buffer": instance,
        "stack": int(lib.WRT_INSTANCE_STACK_SIZE_DEFAULT),
        "instance_object": ffi.sizeof("wrt_instance"),
        "per_code_byte": round(usage.buffer_bytes / usage.code_bytes, 3)
        if usage.code_bytes
        else 0.0,
    }


def inspection_text(found: dict[str, Any]) -> str:
    """The same for people."""
    from wrt_platform.report import table

    lines = [f"{found['module']}, {found['bytes']} bytes", ""]
    lines += _section(
        "imports", [(f"{i['module']}.{i['name']}", i["type"]) for i in found["imports"]]
    )
    lines += _section("exports", [(item["name"], item["type"]) for item in found["exports"]])
    lines += _section("memory", _memory_rows(found["memory"]))
    features = ", ".join(found["features"]) or "WebAssembly 1.0 alone"
    lines += _section("features beyond 1.0", [(features,)])
    counts = [(name.replace("_", " "), f"{count}") for name, count in found["sizes"].items()]
    lines += _section("sizes (code and data in bytes)", counts)
    engine = [(name.replace("_", " "), f"{size}") for name, size in found["engine"].items()]
    lines += ["bytes that the engine needs, beside module and memory", *table(engine)]
    return "\n".join(lines)


def _section(title: str, lines: list[Any]) -> list[str]:
    from wrt_platform.report import table

    return [title, *(table(lines) or ["  none"]), ""]


def _memory_rows(memory: dict[str, Any] | None) -> list[tuple[str, str]]:
    if memory is None:
        return []
    kind = MemoryType(memory["initial_pages"], memory["maximum_pages"])
    return [("imported" if memory["imported"] else "own", str(kind))]
