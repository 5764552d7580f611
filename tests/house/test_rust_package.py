"""The crate as it is published carries the C library, through the link to it."""

from __future__ import annotations

import shutil

import pytest
from common import ROOT, run


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_package_carries_every_c_source_and_header() -> None:
    manifest = ROOT / "rust/wrt-platform-sys/Cargo.toml"
    listed = run("cargo", "package", "--list", "--allow-dirty", "--manifest-path", manifest)
    sources = [path for path in (ROOT / "c").rglob("*") if path.suffix in (".c", ".h", ".inc")]
    assert {str(path.relative_to(ROOT)) for path in sources} <= set(listed.splitlines())
