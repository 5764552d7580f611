"""The public headers, made ready for hawkmoth.

Hawkmoth shows what has a `/** */` before it. Our headers explain members and constants in the same
line, behind them, where they are easier to read; so the site is built from a copy in which these
comments stand before what they explain. Members of objects whose fields are private are left as
they are, and so not shown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from comments import as_rst
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

HEADERS = Path(__file__).resolve().parents[2] / "c/include/wrt_platform"

# The few names of the system's own headers that ours use; so no system's headers are needed.
_STAND_INS = {
    "stddef.h": "typedef __SIZE_TYPE__ size_t;\n#define NULL ((void *)0)\n",
    "stdbool.h": "#define bool _Bool\n#define true 1\n#define false 0\n",
    "stdint.h": "\n".join(
        f"typedef __{sign}INT{bits}_TYPE__ {sign.lower()}int{bits}_t;"
        for bits in (8, 16, 32, 64)
        for sign in ("", "U")
    ),
}
_TRAILING = re.compile(r"^( +)(\S[^\n]*?) */\* (.*?) ?\*/$", re.MULTILINE | re.DOTALL)
_BODY = re.compile(
    r"^((?:typedef )?(?:struct|enum|union) \w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL
)
_ONE_LINE_ENUM = re.compile(r"^(enum \w+) \{ (.*) \};$", re.MULTILINE)
_NAME = re.compile(r"\b(wrt_\w+)(\\?\(\))?|\bWRT_[A-Z0-9_]*[A-Z0-9]\b")


_ROLES = {"function": "func"}


class Declarations(NamedTuple):
    """What the public headers declare, each with the kind of its directive."""

    kinds: dict[str, str]  # wrt_pool_init: function, wrt_pool: struct, ...
    files: dict[str, str]  # the header's path below c/include/wrt_platform
    constants: frozenset[str]


# What a line begins like that declares a name, by the kind of its directive.
_DECLARED = {
    "function": r"^WRT_API[^;(]*?\b(wrt_\w+)\(",
    "type": r"^typedef \w+ \*?(?:\(\*)?(wrt_\w+)(?:;|\)\()",
    "struct": r"^(?:typedef )?struct (wrt_\w+) \{",
    "union": r"^(?:typedef )?union (wrt_\w+) \{",
    "enum": r"^enum (wrt_\w+) \{",
}


def declarations() -> Declarations:
    kinds: dict[str, str] = {}
    files: dict[str, str] = {}
    constants: set[str] = set()
    for header in sorted(HEADERS.rglob("*.h")):
        code = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
        for kind, pattern in _DECLARED.items():
            for name in re.findall(pattern, code, re.MULTILINE):
                kinds[name] = kind
                files[name] = header.relative_to(HEADERS).as_posix()
        for body in re.findall(r"^enum \w+ \{(.*?)\};", code, re.MULTILINE | re.DOTALL):
            constants |= set(re.findall(r"\bWRT_\w+", body))
    return Declarations(kinds, files, frozenset(constants))


def rearranged(text: str) -> str:
    """The header with each explanation before what it explains."""
    text = _ONE_LINE_ENUM.sub(_expanded, text)
    for match in reversed(list(_BODY.finditer(text))):
        before = text[: match.start()].rstrip()
        comment = before[before.rfind("/**") :] if before.endswith("*/") else ""
        if not re.search(r"Fields are private[.;]", comment):
            text = text[: match.start(2)] + _members(match[2]) + text[match.end(2) :]
    return text


def _expanded(match: re.Match[str]) -> str:
    members = "".join(f"    {member.strip()},\n" for member in match[2].split(","))
    return f"{match[1]} {{\n{members}}};"


def _members(body: str) -> str:
    """A struct's or enum's body; members without a word about them are shown, too."""
    lines: list[str] = []
    for line in _TRAILING.sub(_leading, body).splitlines():
        is_member = re.match(r"    (    )?\w.*[\w;,)\]]$", line) and not line.endswith("{")
        if is_member and not (lines and lines[-1].endswith("*/")):
            lines.append("    /** */")
        lines.append(line)
    return "\n".join(lines) + "\n"


def _leading(match: re.Match[str]) -> str:
    return f"{match[1]}/** {' '.join(match[3].split())} */\n{match[1]}{match[2]}"


def _copy_headers(app: Sphinx, config: Config) -> None:
    copies = Path(app.doctreedir) / "headers"
    for name, text in _STAND_INS.items():
        _write(copies / name, text)
    for header in HEADERS.rglob("*.h"):
        copy = copies / "wrt_platform" / header.relative_to(HEADERS)
        _write(copy, rearranged(header.read_text()))
    config.hawkmoth_root = str(copies)
    config.hawkmoth_clang = ["-nostdinc", f"-I{copies}"]


def _write(path: Path, text: str) -> None:
    """Leaves a file alone that has not changed, and so the pages that are made of it."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Linker:
    """Makes links of the names that the headers declare."""

    def __init__(self) -> None:
        self.known = declarations()

    def __call__(self, text: str) -> str:
        return _NAME.sub(self._link, text)

    def _link(self, match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            is_known = match[0] in self.known.constants
            return f":c:enumerator:`{match[0]}`" if is_known else match[0]
        kind = self.known.kinds.get(name)
        if match[2] and kind is None:
            logging.getLogger(__name__).warning("a header names %s(), which there is not", name)
        return f":c:{_ROLES.get(kind, kind)}:`{name}`" if kind else match[0]


def setup(app: Sphinx) -> dict[str, bool]:
    linker = Linker()

    def process(app: Sphinx, lines: list[str], transform: Any, options: Any) -> None:
        if lines:  # hawkmoth leaves the margin of the last line
            lines[-1] = re.sub(r"^\s*\*(?: |$)", "", lines[-1])
        lines[:] = as_rst(lines, "c", linker)

    app.connect("config-inited", _copy_headers)
    app.connect("hawkmoth-process-docstring", process)
    return {"parallel_read_safe": True}
