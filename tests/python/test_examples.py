"""The examples for Python and the notebook do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from common import ROOT
from support.guest import assemble
from support.runtime_example import ON_LINUX, ON_QNX, module_in

NOTEBOOK = ROOT / "examples/notebooks/quickstart.py"


def test_quickstart_runs() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "examples/python/quickstart.py"], capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "8 queens: 92 ways" in run.stdout
    assert "dividing by 2\n84 / 2 = 42\ndividing by 0\n" in run.stdout
    assert "integer divide by zero in divide (at byte 0x" in run.stdout
    assert run.stdout.splitlines()[-1].startswith("stopped: ")


@pytest.mark.row("RT-1", proof="sim")
def test_runtime_says_the_same_as_in_c() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "examples/python/runtime.py"], capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == ON_LINUX + ON_QNX


@pytest.mark.parametrize(
    ("example", "first", "name"),
    [("quickstart", "def run_a_program", "DIVIDE"), ("runtime", "MIB =", "GUEST")],
)
def test_module_of_an_example_is_its_text(example: str, first: str, name: str) -> None:
    source = (ROOT / f"examples/python/{example}.py").read_text()
    lines = [line.removeprefix("# ") for line in source.splitlines() if line.startswith("# ")]
    names: dict[str, Any] = {}
    exec(source.split(first)[0], {"__file__": str(ROOT / "x/y/z")}, names)
    assert names[name] == assemble("\n".join(lines))


@pytest.mark.parametrize("path", ["examples/c/runtime.c", "rust/wrt-platform/examples/runtime.rs"])
def test_module_of_the_runtime_is_the_same_everywhere(path: str) -> None:
    names: dict[str, Any] = {}
    exec((ROOT / "examples/python/runtime.py").read_text().split("MIB =")[0], names)
    assert module_in(path) == names["GUEST"]


def outputs(cell: Any, kind: str) -> list[Any]:
    return [output for output in cell.outputs if output.output_type == kind]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The notebook's code cells, executed by a kernel of this interpreter."""
    jupytext = pytest.importorskip("jupytext")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("notebook")
    kernel = folder / "share/jupyter/kernels/python3"
    kernel.mkdir(parents=True)
    arguments = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    (kernel / "kernel.json").write_text(
        f'{{"argv": {arguments}, "display_name": "Python 3", "language": "python"}}'
    )
    os.environ["JUPYTER_PATH"] = str(folder / "share/jupyter")
    os.environ["IPYTHONDIR"] = str(folder / "ipython")
    notebook = jupytext.read(NOTEBOOK)
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    client.execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell: Any) -> str:
    return "".join(output.text for output in outputs(cell, "stream") if output.name == "stdout")


def cell_with(cells: list[Any], words: str) -> Any:
    return next(cell for cell in cells if words in cell.source)


def test_notebook_shows_the_guests_output_and_a_table(cells: list[Any]) -> None:
    cell = cell_with(cells, 'queens.wasm", [')
    assert "8 queens: 92 ways" in text_of(cell)
    page = outputs(cell, "execute_result")[0].data["text/html"]
    assert "<td>enforced</td>" in page
    assert "guard pages" in page


def test_notebook_calls_limits_and_traps(cells: list[Any]) -> None:
    called = outputs(cell_with(cells, "exports.add(2, 3)"), "execute_result")[0]
    assert called.data["text/plain"].startswith("(5, 0.0625, [(4, 1.0), (3, 0.5)")
    assert "fuel" in text_of(cell_with(cells, "instance.fuel = 1000"))
    trapped = text_of(cell_with(cells, '"divide", 1, 0'))
    assert trapped.startswith("integer divide by zero in divide (at byte 0x")


def test_notebook_plots_fuel_and_memory(cells: list[Any]) -> None:
    shown = outputs(cell_with(cells, "plt.subplots"), "display_data")
    assert any("image/png" in output.data for output in shown)
