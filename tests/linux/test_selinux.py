"""SELinux: said to be missing where it is, and under enforcement in the virtual machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from common import ROOT
from support.environments import say_in
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, UnsupportedError
from wrt_platform.linux.selinux import SeLinux

KERNEL = "system_u:system_r:kernel_t:s0"
CONFINED = "system_u:system_r:wasm_runtime_t:s0"
FILES = Path("/sys/fs/selinux")
IMPORT = "from wrt_platform.linux.selinux import *\n"

without = pytest.mark.skipif(FILES.exists(), reason="this kernel has SELinux")


@without
@pytest.mark.row("SC-4")
def test_where_it_is_missing_that_is_said() -> None:
    assert SeLinux.is_enabled() is False
    for call in (SeLinux.context, SeLinux.is_enforcing, lambda: SeLinux.set_context(CONFINED)):
        with pytest.raises(UnsupportedError) as caught:
            call()
        assert "SELinux is not there" in str(caught.value)


@pytest.mark.row("SC-4")
def test_contexts_that_are_none_are_refused() -> None:
    for text in ("", "x" * 4096):
        with pytest.raises(InvalidArgumentError):
            SeLinux.set_context(text)
    assert lib.wrt_selinux_set_context(ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT
    assert lib.wrt_selinux_context(ffi.NULL, 1) == lib.WRT_ERR_INVALID_ARGUMENT


@pytest.fixture
def policy(tmp_path: Path) -> Iterator[Path]:
    """The policy of tests/support/wasm_runtime.cil, loaded, and enforced until the test ends."""
    compiler = shutil.which("secilc") or "/usr/bin/secilc"
    if not Path(compiler).exists():
        pytest.skip("secilc is not installed")
    binary = tmp_path / "policy"
    source = ROOT / "tests/support/wasm_runtime.cil"
    command = [compiler, "-M", "true", "-c", "33", "-o", binary, "-f", "/dev/null", source]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (FILES / "load").write_bytes(binary.read_bytes())
    secret = tmp_path / "secret"
    secret.write_text("content")
    yield secret
    (FILES / "enforce").write_text("0")


@pytest.mark.vm
@pytest.mark.row("SC-4")
def test_the_policy_holds_for_a_process_that_has_gone_to_its_type(policy: Path) -> None:
    body = f"""
    print(SeLinux.is_enabled(), SeLinux.context())
    open({str(FILES / "enforce")!r}, "w").write("1")
    print(SeLinux.is_enforcing(), len(open({str(policy)!r}).read()))
    try:
        SeLinux.set_context("system_u:system_r:nobody_t:s0")
    except Exception as error:
        print(type(error).__name__)
    SeLinux.set_context({CONFINED!r})
    print(SeLinux.context())
    try:
        open({str(policy)!r})
    except PermissionError as error:
        print(errno.errorcode[error.errno])
    try:
        SeLinux.set_context({KERNEL!r})
    except Exception as error:
        print(type(error).__name__)
    """
    assert say_in("here", body, before=IMPORT) == [
        "True", KERNEL, "True", "7", "InvalidArgumentError", CONFINED, "EACCES",
        "PermissionDeniedError",
    ]  # fmt: skip
