"""The examples for Python and the notebook do what they say."""

from __future__ import annotations

import ast
import html
import mmap
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from common import ROOT
from support.environments import ENVIRONMENTS, run_in
from support.guest import assemble
from support.runtime_example import ON_LINUX, ON_QNX, module_in

NOTEBOOKS = ROOT / "examples/notebooks"


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


@pytest.mark.row("SC-5")
def test_sandbox_runs_a_program_and_ends_one_that_does_not() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "examples/python/sandbox.py"], capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert lines[:3] == ["5 queens: 10 ways, 54 calls", "system calls enforced", lines[2]]
    assert "4 queens: 2 ways" in lines[2]
    assert lines[-1] == "killed after 0.1 s: killed"


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
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Any]]:
    """Executes a notebook by a kernel of this interpreter, and gives its code cells."""
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

    def execute(name: str) -> list[Any]:
        notebook = jupytext.read(NOTEBOOKS / f"{name}.py")
        place = {"metadata": {"path": str(NOTEBOOKS)}}
        nbclient.NotebookClient(notebook, timeout=120, resources=place).execute()
        return [cell for cell in notebook.cells if cell.cell_type == "code"]

    return execute


@pytest.fixture(scope="module")
def cells(jupyter: Callable[[str], list[Any]]) -> list[Any]:
    """The cells of the first notebook."""
    return jupyter("quickstart")


@pytest.fixture(scope="module")
def cells_of_runtime(jupyter: Callable[[str], list[Any]]) -> list[Any]:
    """Those of the second one."""
    return jupyter("runtime")


@pytest.fixture(scope="module")
def cells_of_linux(jupyter: Callable[[str], list[Any]]) -> list[Any]:
    """Those of the third one."""
    return jupyter("linux")


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


@pytest.mark.row("RT-1", proof="sim")
def test_notebook_runs_tenants_on_both_kernels(cells_of_runtime: list[Any]) -> None:
    said = text_of(cell_with(cells_of_runtime, "def watch_them_work"))
    for kernel in ("Linux", "simulated QNX"):
        assert f"{kernel}: red ended with 17 pages, blue with 8\n" in said
    plots = [cell for cell in cells_of_runtime if "plt.subplots" in cell.source]
    for cell in plots:
        assert any("image/png" in output.data for output in outputs(cell, "display_data"))
    assert len(plots) == 2


@pytest.mark.row("WD-1", proof="sim")
def test_notebook_shows_a_hang_stopped_on_both_kernels(cells_of_runtime: list[Any]) -> None:
    said = text_of(cell_with(cells_of_runtime, "def hang_on"))
    assert said.count("WATCHDOG_EXPIRED, then WATCHDOG_KILLED") == 2
    assert said.count("wrt_instance_interrupt() was called") == 2
    turned = text_of(cell_with(cells_of_runtime, "VIRTUAL_CLOCK"))
    assert turned == "hung at second 40: WATCHDOG_EXPIRED\n"


def test_notebook_shows_the_kernels_tables(cells_of_runtime: list[Any]) -> None:
    def page(words: str) -> str:
        shown = outputs(cell_with(cells_of_runtime, words), "execute_result")
        return str(shown[0].data["text/html"])

    assert "<td>wrt-watchdog</td>" in page("Table(monitor_at_work)")
    assert page("Table(channels)").count("<tr>") == 3
    rows = page("Table(pulses)").split("<tr>")[2:]
    assert [row[:11] for row in rows] == ["<td>63</td>", "<td>20</td>", "<td>10</td>"]
    assert "<td>tenant1</td>" in page("Table(partitions)")


def table_of(cells: list[Any], words: str) -> list[list[str]]:
    """The rows of a table that a cell shows, without the names of the columns."""
    page = outputs(cell_with(cells, words), "execute_result")[0].data["text/html"]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in page.split("<tr>")[2:]]
    return [[html.unescape(cell) for cell in row] for row in rows]


@pytest.mark.row("LM-3")
def test_notebook_shows_where_memory_lies(cells_of_linux: list[Any]) -> None:
    plots = [cell for cell in cells_of_linux if "plt.subplots" in cell.source]
    assert len(plots) == 5
    for cell in plots:
        assert any("image/png" in output.data for output in outputs(cell, "display_data"))
    # Four times 16 KiB and two pages of 64 KiB were written.
    assert text_of(cell_with(cells_of_linux, "in RAM {stats")) == "in RAM 192 KiB of 768 KiB\n"
    placed = {row[0]: row[1:] for row in table_of(cells_of_linux, '"what came of it"')}
    assert placed["small pages"][:2] == [str(mmap.PAGESIZE // 1024), "SYSTEM"]
    assert all(int(size) >= mmap.PAGESIZE // 1024 for size, *_ in placed.values())
    nodes = table_of(cells_of_linux, '"free (MiB)"')
    assert [int(row[0]) for row in nodes] == nodes_of_this_machine()


def nodes_of_this_machine() -> list[int]:
    folders = Path("/sys/devices/system/node").glob("node[0-9]*")
    return sorted(int(folder.name[4:]) for folder in folders) or [0]


@pytest.mark.row("SC-5")
def test_notebook_lets_each_limit_bite(cells_of_linux: list[Any]) -> None:
    outcomes = table_of(cells_of_linux, '"what bites"')
    assert [row[1] for row in outcomes] == [
        *("OutOfFuelError", "TimedOutError", "TrapError", "LimitError"),
        *("TrapError", "TimedOutError", "CrashedError", "CrashedError"),
    ]
    assert not any("nothing" in row[2] for row in outcomes)
    said = {row[0]: row[2] for row in outcomes}
    assert "processor time" in said["sandbox: CPU time"]
    assert "signal 11" in said["sandbox: a crash"]
    assert text_of(cell_with(cells_of_linux, "is answered")).endswith(" -1\n")
    addresses, processor, group = table_of(cells_of_linux, "*in_cgroup()")
    assert addresses[1] in ("signalled", "exited")
    assert processor[1:] == ["signalled", "SIGKILL"]
    assert group[1:] == ["1 killed for want of memory", "SIGKILL"] or "cgroup" in group[2]


@pytest.mark.row("PE-1")
def test_notebook_shows_walls_and_counters(cells_of_linux: list[Any]) -> None:
    walls = {row[0]: row[1:] for row in table_of(cells_of_linux, "report.walls")}
    assert len(walls) == 10
    assert walls["system calls"][0] == walls["life line"][0] == "enforced"
    assert all(
        state in ("enforced", "partial", "absent", "not asked") for state, _ in walls.values()
    )
    costs = table_of(cells_of_linux, "costs(work)")
    assert {"task-clock", "page-faults"} <= {row[0] for row in costs} or "perf" in costs[0][0]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_notebook_runs_elsewhere(environment: str) -> None:
    """With fewer rights, too: it says what is missing, and goes on."""
    pytest.importorskip("matplotlib")
    path = str(NOTEBOOKS / "linux.py")
    # An ordinary user may not be allowed to read the files of this Python.
    before = f"""
import ast, runpy, matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
figure, axis = plt.subplots()
axis.bar_label(axis.barh([1], [1]))
axis.set_xscale("log")
axis.legend([])
figure.tight_layout()
figure.savefig("/dev/null", format="png")
tree = ast.parse(open({path!r}).read())
kinds = (ast.Import, ast.ImportFrom)
exec(compile(ast.Module([node for node in tree.body if isinstance(node, kinds)], []), "", "exec"))
from wrt_platform import Module
Module("(module)")
"""
    body = (
        f"names = {{}}; exec(compile(tree, {path!r}, 'exec'), names); print(len(names['outcomes']))"
    )
    done = run_in(environment, body, before=before)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "8"


@pytest.mark.vm
@pytest.mark.row("CG-1")
def test_notebook_lets_a_control_group_bite() -> None:
    """In the one machine where it may make one. Of its cells only what that needs is run there."""
    tree = ast.parse((NOTEBOOKS / "linux.py").read_text())
    needed = []
    for node in tree.body:
        text = ast.unparse(node)
        is_import = isinstance(node, (ast.Import, ast.ImportFrom))
        if is_import and not re.search("matplotlib|numpy", text):
            needed.append(node)
        if re.match(r"\(?KIB|SHELL|def in_cgroup", text):
            needed.append(node)
    names: dict[str, Any] = {}
    exec(compile(ast.Module(needed, []), "linux.py", "exec"), names)
    assert names["in_cgroup"]() == ("1 killed for want of memory", "SIGKILL")
