"""Results as text, as HTML for notebooks, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wrt_platform.running import Result

__all__ = ["as_html", "as_json", "as_text", "table"]

_PAGE = 65536
_MEBIBYTE = 1 << 20


def rows(result: Result) -> list[tuple[str, str]]:
    """What was used, as pairs of name and value."""
    end = f"exit code {result.exit_code}"
    if result.error is not None:
        end += f", {one_line(result.error)}"
    found = [("end", end)]
    if result.value is not None:
        found.append(("value", repr(result.value)))
    size = result.peak_pages * _PAGE / _MEBIBYTE
    return [
        *found,
        ("fuel used", f"{result.fuel_used:,} instructions"),
        ("peak memory", f"{result.peak_pages} pages ({size:g} MiB)"),
        ("wall time", f"{result.wall_time:.3f} s"),
        ("CPU time", f"{result.cpu_time:.3f} s"),
    ]


def one_line(error: BaseException) -> str:
    """An exception's text without its line breaks."""
    return " ".join(str(error).split())


def as_text(result: Result) -> str:
    """A table of what was used and what was enforced."""
    enforced = [(held.name, held.word, _why(held)) for held in result.enforced]
    return "\n".join([result.module, *table(rows(result)), "", *table(enforced)])


def table(lines: list[Any], indent: str = "  ") -> list[str]:
    """Aligns all columns but the last."""
    if not lines:
        return []
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    return [
        indent
        + "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[-1]]).rstrip()
        for line in lines
    ]


def as_html(result: Result) -> str:
    """Two tables for a notebook."""
    from html import escape

    used = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in rows(result)
    )
    held = "".join(
        f"<tr><th style='text-align:left'>{escape(item.name)}</th><td>{item.word}</td>"
        f"<td style='text-align:left'>{escape(_why(item))}</td></tr>"
        for item in result.enforced
    )
    title = escape(result.module)
    return f"<b>{title}</b><table>{used}</table><table>{held}</table>"


def as_json(result: Result) -> dict[str, Any]:
    """The same for programs."""
    return {
        "module": result.module,
        "exit_code": result.exit_code,
        "error": None if result.error is None else one_line(result.error),
        "error_kind": None if result.error is None else type(result.error).__name__,
        "fuel_used": result.fuel_used,
        "peak_pages": result.peak_pages,
        "peak_bytes": result.peak_pages * _PAGE,
        "wall_ns": round(result.wall_time * 1e9),
        "cpu_ns": round(result.cpu_time * 1e9),
        "trap": None if result.trap is None else _trap(result.trap),
        "enforced": [
            {"name": held.name, "state": held.word, "reason": held.reason, "remedy": held.remedy}
            for held in result.enforced
        ],
    }


def _trap(trap: Any) -> dict[str, Any]:
    frames = [{"function": frame.function, "offset": frame.offset} for frame in trap.frames]
    return {"reason": trap.reason, "frames": frames}


def _why(held: Any) -> str:
    return f"{held.reason} ({held.remedy})" if held.remedy else str(held.reason)
