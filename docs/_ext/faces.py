"""One topic in C, Python and Rust, side by side.

    .. faces::
       :c: wrt_pool_init wrt_pool_config
       :python: wrt_platform.pool.PoolAllocatorBuilder
       :rust: pool::PoolAllocatorBuilder

The tabs of a page turn together. A language that is left out gets a sentence from :none:.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any, ClassVar

from c_headers import HEADERS, Linker, declarations
from comments import as_rst
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from rust_items import module_comment
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_WITH_MEMBERS = {"struct", "union", "enum"}
_FIELD = re.compile(r"^    (\w+): .*?  # (.*)$", re.MULTILINE)


class _SideBySide(SphinxDirective):
    """Three tabs; subclasses say what is in them."""

    option_spec: ClassVar = {
        "c": directives.unchanged,
        "python": directives.unchanged,
        "rust": directives.unchanged,
        "none": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        none = self.options.get("none", "Nothing of its own: see the other languages.")
        lines = [".. tab-set::", "   :sync-group: language", ""]
        for title, key, block in (
            ("C", "c", self._c()),
            ("Python", "python", self._python()),
            ("Rust", "rust", self._rust()),
        ):
            lines += [f"   .. tab-item:: {title}", f"      :sync: {key}", ""]
            lines += [f"      {line}" if line else "" for line in block or [none]] + [""]
        container = nodes.container(classes=["faces"])
        self.state.nested_parse(StringList(lines, source="faces"), 0, container)
        return container.children

    def _c(self) -> list[str]:
        raise NotImplementedError

    def _python(self) -> list[str]:
        raise NotImplementedError

    def _rust(self) -> list[str]:
        raise NotImplementedError

    def _names(self, language: str) -> list[str]:
        return str(self.options.get(language, "")).split()


class Intro(_SideBySide):
    """What header, Python module and Rust module say of themselves, with their examples."""

    def _c(self) -> list[str]:
        lines: list[str] = []
        for name in self._names("c"):
            text = (HEADERS / name).read_text()
            comment = text[text.index("/**") + 3 : text.index("*/")].splitlines()
            lines += [f"``#include <wrt_platform/{name}>``", ""]
            lines += as_rst([re.sub(r"^ \* ?| $", "", line) for line in comment], "c", Linker())
        return lines

    def _python(self) -> list[str]:
        lines: list[str] = []
        for name in self._names("python"):
            module = importlib.import_module(name)
            lines += [f"``{name}``", "", *as_rst((module.__doc__ or "").splitlines(), "python")]
        return lines

    def _rust(self) -> list[str]:
        lines: list[str] = []
        for path in self._names("rust"):
            lines += [f"``wrt_platform::{path}``", "", *module_comment(path)]
        return lines


class Faces(_SideBySide):
    """Declarations with all that is said of them."""

    def _c(self) -> list[str]:
        known = declarations()
        lines = []
        for name in self._names("c"):
            if name not in known.kinds:
                raise self.error(f"no header declares {name}")
            kind = known.kinds[name]
            lines += [f".. c:auto{kind}:: {name}", f"   :file: wrt_platform/{known.files[name]}"]
            lines += ["   :members:"] if kind in _WITH_MEMBERS else []
            lines.append("")
        return lines

    def _python(self) -> list[str]:
        lines = []
        for path in self._names("python"):
            module, _, name = path.rpartition(".")
            thing = getattr(importlib.import_module(module), name)
            if inspect.isclass(thing):
                lines += [f".. autoclass:: {path}", "   :members:", "   :undoc-members:"]
                lines += ["   :special-members: __call__"] if "__call__" in vars(thing) else []
                lines += ["   :show-inheritance:"] if issubclass(thing, Exception) else []
            else:
                kind = "function" if callable(thing) else "data"
                lines += [f".. auto{kind}:: {path}"]
            lines.append("")
        return lines

    def _rust(self) -> list[str]:
        return [line for path in self._names("rust") for line in (f".. rust-item:: {path}", "")]


def _process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings in the house's manner; fields get the comment that stands behind them."""
    if what in ("attribute", "property", "data") and not _has_docstring(thing, lines):
        lines[:] = [_field_comment(name)]
    if what == "class" and lines and lines[0].startswith(name.rpartition(".")[2] + "("):
        lines[:] = []  # made up by NamedTuple
    lines[:] = as_rst(lines, "python")


def _has_docstring(thing: Any, lines: list[str]) -> bool:
    return isinstance(thing, property) and lines != []


def _field_comment(path: str) -> str:
    owner, _, name = path.rpartition(".")
    module, _, kind = owner.rpartition(".")
    try:
        source = inspect.getsource(getattr(importlib.import_module(module), kind))
    except (ImportError, AttributeError, TypeError, OSError, ValueError):
        return ""
    comments = dict(_FIELD.findall(source))
    return comments.get(name, "")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("intro", Intro)
    app.add_directive("faces", Faces)
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True}
