"""What cargo makes of the crates: packages that stand alone, other targets, clear refusals."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cargo import CRATES, cargo, copy_of_tree, messages, require_cargo
from common import run

SMALL = "thumbv7em-none-eabi"


def require_target() -> None:
    require_cargo()
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    library = Path(run("rustc", "--print", "sysroot").strip(), "lib/rustlib", SMALL)
    if not library.exists():
        pytest.skip(f"the target is not installed: rustup target add {SMALL}")


def commit(folder: Path) -> None:
    """Makes a repository of the folder; nothing in it is then changed or unknown."""
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")
    run("git", "init", "-q", cwd=folder)
    run("git", "add", ".", cwd=folder)
    run(*git, "commit", "-q", "-m", "a clean tree", cwd=folder)


def test_packages_of_a_clean_tree_build_alone(tmp_path: Path) -> None:
    """Cargo unpacks both elsewhere and builds them there: the C sources are in the package."""
    crates = copy_of_tree(tmp_path)
    commit(tmp_path)
    # Cargo keeps what it unpacks by the folder that it builds in: an old one would be found again.
    fresh = {"CARGO_TARGET_DIR": str(tmp_path / "target")}
    done = cargo("package", "--workspace", "--offline", cwd=crates, **fresh)
    if "--offline" in done.stderr and "download" in done.stderr:
        done = cargo("package", "--workspace", cwd=crates, **fresh)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Verifying") == 2


def test_a_crate_without_its_c_sources_says_so(tmp_path: Path) -> None:
    crates = copy_of_tree(tmp_path)
    (crates / "wrt-platform-sys/c").unlink()
    done = cargo("check", "--package", "wrt-platform-sys", cwd=crates)
    assert done.returncode != 0
    assert "the C sources (c/src) are missing from this copy of the crate" in done.stderr
    assert "core.symlinks" in done.stderr


def test_a_missing_cross_compiler_is_named() -> None:
    require_target()
    done = cargo(
        *("check", "--package", "wrt-platform-sys", "--target", SMALL),
        CC_thumbv7em_none_eabi="no-such-compiler",
    )
    assert done.returncode != 0
    assert f"could not be compiled for {SMALL}" in done.stderr
    assert "gcc-arm-none-eabi" in done.stderr


def test_a_system_without_a_port_is_refused_before_anything_is_compiled() -> None:
    """A build script is told its target by variables, so no such target has to be installed."""
    done = cargo("check", "--package", "wrt-platform-sys", "--message-format", "json")
    built = messages(done, "compiler-artifact")
    script = next(
        made["filenames"][0] for made in built if "custom-build" in made["target"]["kind"]
    )
    asked = subprocess.run(
        [script],
        cwd=CRATES / "wrt-platform-sys",
        env={**os.environ, "CARGO_CFG_TARGET_OS": "windows", "CARGO_CFG_TARGET_ARCH": "x86_64"},
        capture_output=True,
        text=True,
    )
    assert asked.returncode != 0
    assert "no port for windows on x86_64" in asked.stdout


def test_the_core_needs_neither_std_nor_a_heap() -> None:
    """A target that has no `std` at all is the proof."""
    require_target()
    for features in ("", "alloc"):
        done = cargo(
            *("check", "--package", "wrt-platform", "--target", SMALL),
            *("--no-default-features", "--features", features),
        )
        assert done.returncode == 0, done.stderr


def test_an_installed_library_is_used_when_asked(release_build: Path, tmp_path: Path) -> None:
    run("cmake", "--install", release_build, "--prefix", tmp_path)
    found = next(tmp_path.rglob("wrt_platform.pc"))
    done = cargo(
        *("test", "--package", "wrt-platform", "--test", "module"),
        CARGO_TARGET_DIR=str(tmp_path / "target"),
        LD_LIBRARY_PATH=str(found.parent.parent),
        PKG_CONFIG_PATH=str(found.parent),
        WRT_PLATFORM_SYS_USE_PKG_CONFIG="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    binary = next(
        path for path in (tmp_path / "target/debug/deps").glob("module-*") if not path.suffix
    )
    assert "libwrt_platform.so" in run("readelf", "-d", binary)


def test_a_library_that_is_not_installed_is_a_clear_error(tmp_path: Path) -> None:
    done = cargo(
        *("check", "--package", "wrt-platform-sys"),
        PKG_CONFIG_LIBDIR=str(tmp_path),
        PKG_CONFIG_PATH=str(tmp_path),
        WRT_PLATFORM_SYS_USE_PKG_CONFIG="1",
    )
    assert done.returncode != 0
    assert "Set PKG_CONFIG_PATH to the folder of wrt_platform.pc" in done.stderr


def test_documentation_is_made_without_a_c_compiler(tmp_path: Path) -> None:
    done = cargo(
        *("doc", "--no-deps", "--package", "wrt-platform"),
        CARGO_TARGET_DIR=str(tmp_path / "target"),
        CC="no-such-compiler",
        DOCS_RS="1",
        RUSTDOCFLAGS="-D warnings",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target/doc/wrt_platform/instance/struct.Instance.html").exists()
