"""The Python wheel: what is in it, what it asks of a machine, whether it is fresh."""

from __future__ import annotations

import json
import re
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import wrt_platform
from common import ROOT, run
from wrt_platform import _enums
from wrt_platform._native import ffi, lib


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The one that `make` built and installed."""
    (wheel,) = (ROOT / "build/wheels").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def module(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension module, out of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract("wrt_platform/_native.abi3.so", folder))


def test_one_wheel_serves_every_python_from_3_9(wheel: Path) -> None:
    assert re.search(r"-cp39-abi3-\w*linux\w*\.whl$", wheel.name)


def test_module_uses_the_stable_abi_only(wheel: Path) -> None:
    report = json.loads(run(sys.executable, "-m", "abi3audit", "--strict", "--report", wheel))
    (module,) = report["specs"][str(wheel)]["wheel"]
    assert module["result"]["is_abi3"]
    assert module["result"]["is_abi3_baseline_compatible"]
    assert module["result"]["baseline"] == "3.9"
    assert module["result"]["non_abi3_symbols"] == []


def test_wheel_holds_the_package_and_its_types_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = (ROOT / "python/wrt_platform").rglob("*.py")
    package = {str(path.relative_to(ROOT / "python")) for path in sources}
    generated = {"_native.abi3.so", "_native.pyi", "_enums.py", "py.typed"}
    package |= {f"wrt_platform/{name}" for name in generated}
    info = {name for name in names if ".dist-info/" in name}
    page = {name for name in names if name.endswith(".data/data/share/man/man1/wrt.1")}
    assert len(page) == 1
    assert names - info - page == package
    assert any(name.endswith("licenses/LICENSE") for name in info)


def test_source_package_holds_what_the_wheel_is_built_of_and_nothing_else(tmp_path: Path) -> None:
    program = (
        "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    )
    run(sys.executable, "-c", program, tmp_path)
    (package,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"tools/generate_native.py", "CMakeLists.txt", "pyproject.toml", "LICENSE"}
    for folder in ("c", "cmake", "man", "python"):
        files = [path for path in (ROOT / folder).rglob("*.*") if "__pycache__" not in path.parts]
        wanted |= {str(path.relative_to(ROOT)) for path in files if path.is_file()}
    assert wanted <= names
    extra = {"CHANGELOG.md", "CMakePresets.json", "PKG-INFO", "README.md"}
    assert names - wanted - extra == set()


def test_module_exports_nothing_but_its_entry(module: Path) -> None:
    lines = run("nm", "-D", "--defined-only", "--format=posix", module).splitlines()
    assert [line.split()[0] for line in lines] == ["PyInit__native"]


def test_module_needs_the_c_library_only(module: Path) -> None:
    needed = set(re.findall(r"NEEDED.*\[(.*?)\]", run("readelf", "-dW", module)))
    assert {name for name in needed if not name.startswith(("libc.so", "ld-linux"))} == set()


def test_stub_and_enums_are_those_of_the_headers(tmp_path: Path) -> None:
    run(sys.executable, ROOT / "tools/generate_native.py", tmp_path)
    installed = Path(str(wrt_platform.__file__)).parent
    for name in ("_native.pyi", "_enums.py"):
        assert (installed / name).read_text() == (tmp_path / name).read_text()


def test_enums_hold_what_the_compiler_made_of_the_headers() -> None:
    assert _enums.StatusCode.ERR_PENDING == lib.WRT_ERR_PENDING == 19
    assert _enums.ValueType.EXTERNREF == lib.WRT_EXTERNREF == 0x6F
    assert [flag.name for flag in _enums.TrapCode][:2] == ["NONE", "UNREACHABLE"]


def test_version_is_the_same_in_c_python_and_rust() -> None:
    version = ffi.string(lib.wrt_version()).decode()
    assert metadata.version("wrt-platform") == version
    assert f'version = "{version}"' in (ROOT / "rust/Cargo.toml").read_text()
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
