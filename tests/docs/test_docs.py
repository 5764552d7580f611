"""The documentation is built without a warning, and leaves out nothing that is public."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import rows
from common import ROOT, run

HEADERS = sorted((ROOT / "c/include").rglob("*.h"))
MISSING = [name for name in ("sphinx", "hawkmoth", "sphinx_design", "clang") if not find_spec(name)]

needs_sphinx = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install --group docs)"
)


def sphinx(source: Path, output: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", source, output],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Warnings are errors."""
    folder = tmp_path_factory.mktemp("site")
    done = sphinx(ROOT / "docs", folder)
    assert done.returncode == 0, done.stderr
    return folder


def page(site: Path, name: str) -> str:
    return (site / f"{name}.html").read_text()


def reference(site: Path) -> str:
    return "".join(file.read_text() for file in (site / "api").glob("*.html"))


def preprocessed(source: str, *flags: str) -> str:
    done = subprocess.run(
        ["cc", "-E", *flags, "-x", "c", "-"], input=source, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    return done.stdout


def expanded_headers() -> str:
    """All declarations as the compiler sees them, system's ones aside."""
    includes = "".join(f'#include "{header}"\n' for header in HEADERS)
    ours = False
    lines = []
    for line in preprocessed(includes, f"-I{ROOT}/c/include").splitlines():
        if line.startswith("#"):
            ours = "wrt_platform/" in line
        elif ours:
            lines.append(line)
    return "\n".join(lines)


def public_functions() -> set[str]:
    return set(re.findall(r"\b(wrt_\w+)\([^*]", expanded_headers()))


def commented(name: str) -> str:
    """The doc comment right before a function's declaration."""
    for header in HEADERS:
        found = re.search(
            rf"/\*\*((?:(?!\*/).)*)\*/\nWRT_API (?:(?!/\*|;).)*\b{name}\(",
            header.read_text(),
            re.DOTALL,
        )
        if found:
            return " ".join(re.sub(r"^ \*", "", found[1], flags=re.MULTILINE).split())
    return ""


@needs_sphinx
def test_every_public_function_has_its_entry(site: Path) -> None:
    entries = set(re.findall(r'<dt[^>]* id="c\.(wrt_\w+)"', reference(site)))
    functions = public_functions()
    assert len(functions) > 60
    assert functions - entries == set()


@needs_sphinx
def test_every_type_and_constant_has_its_entry(site: Path) -> None:
    declarations = expanded_headers()
    entries = set(re.findall(r'id="c\.(?:wrt_\w+\.)?(\w+)"', reference(site)))
    types = set(re.findall(r"^(?:typedef )?(?:struct|enum|union) (wrt_\w+) \{", declarations, re.M))
    constants = set(re.findall(r"\b(WRT_[A-Z0-9_]+) = ", declarations))
    assert len(types) > 35 and len(constants) > 90
    assert (types | constants) - entries == set()


@needs_sphinx
def test_members_of_configs_are_shown_with_their_comments(site: Path) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", page(site, "api/instance")))
    config = text[text.index("struct wrt_instance_config") :][:6000]
    for field in ("maximum_table_elements", "stack_size", "has_fuel", "fuel"):
        assert re.search(rf"\b{field}\b", config)
    assert "bytes of the guest stack; 0: 65536" in config
    assert "own_memory" not in text  # private
    assert "long_branches" not in page(site, "api/module")


@needs_sphinx
def test_examples_are_whole(site: Path) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", page(site, "quick_start")))
    for first, last in (
        (".with_call(|_caller, arguments, results|", ".build()?;"),
        ("from pathlib import Path", "run_out_of_fuel()"),
        ("static wrt_status load_module(", "return code;"),
    ):
        assert first in text and last in text[text.index(first) :]


@needs_sphinx
def test_every_name_of_the_python_package_has_its_entry(site: Path) -> None:
    import wrt_platform

    entries = set(re.findall(r'id="wrt_platform\.(?:\w+\.)*(\w+)"', reference(site)))
    aliases = {"RunLimits", "WasiConfig", "WasmModule"}
    assert set(wrt_platform.__all__) - entries == aliases


@needs_sphinx
def test_every_name_of_the_rust_crate_has_its_entry(site: Path) -> None:
    library = (ROOT / "rust/wrt-platform/src/lib.rs").read_text()
    uses = re.findall(r"^pub use (?!wrt_platform_sys)[\w:]*?::(\w+;|\{[^}]*\})", library, re.M)
    names = set(re.findall(r"\b\w+\b(?!::)", " ".join(uses)))
    shown = html.unescape(re.sub(r"<[^>]+>", "", reference(site)))
    entries = set(re.findall(r"\bpub (?:[a-z]+ )*(\w+)", shown))
    of_c = {"ModuleUsage", "InstanceUsage", "PoolUsage"}  # the C structures, by another name
    assert len(names) > 50
    assert names - entries == of_c


@needs_sphinx
def test_opcode_table_has_every_opcode(site: Path) -> None:
    """Told by the preprocessor, which knows nothing of our parser."""
    source = "#define OPCODE(code, id, text, ...) @code text@\n#define OPCODE_FC OPCODE\n"
    source += f'#include "{ROOT}/c/src/engine/opcodes.inc"\n'
    names = re.findall(r'@\w+ "([^"]+)"@', preprocessed(source, "-P"))
    body = page(site, "opcodes").split("<tbody>")[1].split("</tbody>")[0]
    table = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in body.split("</tr>")[:-1]]
    assert len(names) > 190
    assert [html.unescape(re.sub(r"<[^>]+>", "", row[1])).strip() for row in table] == names
    (division,) = (row for row in table if ">i64.div_s<" in row[1])
    shown = [html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in division]
    assert shown == [
        "0x7F", "i64.div_s", "", "i64 i64 → i64", "integer divide by zero, integer overflow", "1.0"
    ]  # fmt: skip


@needs_sphinx
def test_memory_costs_are_those_of_the_programs(site: Path) -> None:
    body = page(site, "concepts").split("<tbody>")[-1].split("</tbody>")[0]
    lines = [re.sub(r"<[^>]+>", " ", line).split() for line in body.split("</tr>")[:-1]]
    programs = {
        path.name: path.stat().st_size for path in (ROOT / "examples/programs").glob("*.wasm")
    }
    assert {line[0]: int(line[1].replace(",", "")) for line in lines} == programs
    for name, module, code, kept, side_table, ratio in lines:
        numbers = [int(text.replace(",", "")) for text in (module, code, kept, side_table)]
        assert numbers[0] > numbers[1] > numbers[2] > numbers[3] > 0, name
        assert float(ratio) == pytest.approx(numbers[2] / numbers[1], abs=0.006)


@needs_sphinx
def test_wasi_page_says_which_calls_are_answered(site: Path) -> None:
    rows_of_calls = page(site, "wasi").split("<tbody>")[1].split("</tr>")[:-1]
    refused = {re.findall(r">(\w+)</span>", row)[0] for row in rows_of_calls if "ENOSYS" in row}
    assert len(rows_of_calls) == 46
    assert refused == {"proc_raise", "sock_accept", "sock_recv", "sock_send", "sock_shutdown"}


@needs_sphinx
def test_feature_table_has_every_row_and_no_proof_that_is_not_there(site: Path) -> None:
    body = page(site, "features").split("<tbody>")[-1].split("</tbody>")[0]
    table = {}
    for line in body.split("</tr>")[:-1]:
        cells = re.findall(r"<td>(.*?)</td>", line, re.DOTALL)
        name, _, _, proof, _ = (re.sub(r"<[^>]+>", "", cell).strip() for cell in cells)
        table[name] = proof != "not yet"
    collected = rows.collected(ROOT / "tests")
    expected = rows.table((ROOT / "docs/rows.csv").read_text())
    assert table == {row.id: bool(collected.get(row.id)) for row in expected}


@needs_sphinx
def test_a_call_that_a_header_names_must_be_there(tmp_path: Path) -> None:
    """The build would notice: the same site, with a header that names what is not there."""
    for name in run("git", "ls-files", "c/include", "c/src", "docs").splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("README.md", "python", "rust", "examples", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    header = tmp_path / "c/include/wrt_platform/pool.h"
    header.write_text(
        header.read_text().replace("/** Takes a block", "/** wrt_pool_take() takes a")
    )
    done = sphinx(tmp_path / "docs", tmp_path / "site")
    assert done.returncode != 0
    assert "wrt_pool_take()" in done.stderr


@pytest.mark.parametrize("name", sorted(public_functions()))
def test_function_says_what_it_does_and_how_it_fails(name: str) -> None:
    comment = commented(name)
    assert len(comment.split()) >= 4
    assert "Errors: " in comment or "cannot fail" in comment


def test_null_is_refused_as_status_h_says() -> None:
    """Each call that takes something, with NULL for every pointer."""
    from wrt_platform._native import ffi, lib

    names = re.findall(r"\bwrt_status\s+(wrt_\w+)\([^*]", expanded_headers())
    # Zeros are orders to a simulated kernel: no memory, no fault, the first row of a table.
    names = [name for name in names if not name.startswith("wrt_sim_")]
    assert len(names) > 50
    answers = {}
    for name in names:
        call = getattr(lib, name)
        arguments = [zero_of(ffi, argument) for argument in ffi.typeof(call).args]
        if arguments:
            answers[name] = call(*arguments)
    assert set(answers.values()) == {lib.WRT_ERR_INVALID_ARGUMENT}, answers


def zero_of(ffi: object, argument: object) -> object:
    kind = argument.kind  # type: ignore[attr-defined]
    if kind == "pointer":
        return ffi.NULL  # type: ignore[attr-defined]
    if kind == "union":
        return ffi.new(f"{argument.cname} *")[0]  # type: ignore[attr-defined]
    return 0
