"""Whole programs that the tests run, in Python, Rust and C side by side.

    .. example:: slots

       the next tenant reads 0

shows examples/python/linux/slots.py and its sisters, and below them what each of the three prints.
The output is left out where it depends on the machine.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).resolve().parents[2] / "examples"
PLACES = {
    "Python": ("python", "python/linux/{}.py"),
    "Rust": ("rust", "rust/linux/src/bin/{}.rs"),
    "C": ("c", "c/linux/{}.c"),
}


class Example(SphinxDirective):
    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        lines = [".. tab-set::", "   :sync-group: language", ""]
        for title, (language, place) in PLACES.items():
            path = FOLDER / place.format(self.arguments[0])
            if not path.exists():
                raise self.error(f"there is no {path.relative_to(FOLDER)}")
            self.env.note_dependency(str(path))
            lines += [f"   .. tab-item:: {title}", f"      :sync: {language}", ""]
            lines += [f"      .. code-block:: {language}", ""]
            lines += [f"         {line}" if line else "" for line in path.read_text().splitlines()]
            lines.append("")
        if self.content:
            lines += ["Each prints", "", ".. code-block:: none", ""]
            lines += [f"   {line}" for line in self.content]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source="example"), 0, container)
        return container.children


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("example", Example)
    return {"parallel_read_safe": True}
