"""The README's examples run as they stand there, and it names what the project stands on."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from common import ROOT, run

README = (ROOT / "README.md").read_text()
TABLES = README[README.index("## What it stands on") :].lower()


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("line", "".join(examples("sh")).splitlines())
def test_shell_example(line: str) -> None:
    program, *arguments = line.split()
    assert run(Path(sys.executable).with_name(program), *arguments) != ""


@pytest.mark.parametrize(
    ("number", "shown"),
    list(enumerate(["8 queens: 92 ways", r"b'F\x00\x00\x00'", "CPU_QUOTA_EXCEEDED", ""])),
)
def test_python_example(number: int, shown: str) -> None:
    assert len(examples("python")) == 4
    assert shown in run(sys.executable, "-c", examples("python")[number])


def test_c_example(release_build: Path, tmp_path: Path) -> None:
    (example,) = examples("c")
    (tmp_path / "example.c").write_text(example)
    library = [f"-L{release_build}", f"-Wl,-rpath,{release_build}", "-lwrt_platform"]
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/c/include"]
    run("gcc", *strict, tmp_path / "example.c", "-o", tmp_path / "example", *library)
    assert run(tmp_path / "example") == "a module\n"


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_rust_example(tmp_path: Path) -> None:
    (example,) = examples("rust")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/main.rs").write_text(example)
    (tmp_path / "Cargo.toml").write_text(
        '[package]\nname = "example"\nversion = "0.0.0"\nedition = "2024"\n\n'
        f'[dependencies]\nwrt-platform = {{ path = "{ROOT}/rust/wrt-platform" }}\n'
    )
    shutil.copy(ROOT / "rust/Cargo.lock", tmp_path)
    manifest = tmp_path / "Cargo.toml"
    output = run("cargo", "run", "--quiet", "--manifest-path", manifest)
    assert "8 queens: 92 ways" in output
    assert re.search(r"^\d+ instructions$", output, re.MULTILINE)


def test_every_python_dependency_is_in_the_table() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    pinned = set(re.findall(r'"([A-Za-z0-9_-]+)==[0-9.]+"', project))
    assert len(pinned) > 10
    assert {name for name in pinned if name.lower() not in TABLES} == set()


@pytest.mark.parametrize("crate", ["wrt-platform", "wrt-platform-sys"])
def test_every_crate_is_in_the_table(crate: str) -> None:
    manifest = (ROOT / "rust" / crate / "Cargo.toml").read_text()
    sections = re.findall(r"^\[[^\]]*dependencies\]\n(.*?)(?:\n\n|\Z)", manifest, re.M | re.S)
    names = set(re.findall(r"^([\w-]+)", "\n".join(sections), re.MULTILINE))
    assert {name for name in names if name not in TABLES} - {"wrt-platform-sys"} == set()


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)", README, re.MULTILINE))
def test_command_is_a_target_of_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", re.findall(r"\bexamples/[\w/.]+\w", README))
def test_file_that_is_named_is_there(path: str) -> None:
    assert list(ROOT.glob(f"{path}*")) != []
