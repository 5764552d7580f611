"""The checked-in bindings are those of the headers, made by the crate's own feature."""

from __future__ import annotations

import fcntl
from pathlib import Path

from cargo import CRATES, cargo, copy_of_tree, messages
from common import ROOT

BINDINGS = CRATES / "wrt-platform-sys/src/bindings.rs"
REMEDY = (
    "in the folder rust, run: WRT_PLATFORM_SYS_WRITE_BINDINGS=1 "
    "cargo build -p wrt-platform-sys --features bindgen"
)


def bindings_of(crates: Path) -> str:
    """What bindgen makes of the headers beside these crates. DOCS_RS: no C is compiled for it.

    Cargo takes a copy of the crates for the crates themselves, and gives it the same output folder:
    so one at a time, and with a value of DOCS_RS that is the folder's own, as cargo looks at that.
    """
    lock = ROOT / "build/bindings.lock"
    lock.parent.mkdir(exist_ok=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = cargo(
            *("build", "--package", "wrt-platform-sys", "--features", "bindgen"),
            *("--message-format", "json"),
            cwd=crates,
            DOCS_RS=str(crates),
        )
        folder = messages(done, "build-script-executed")[-1]["out_dir"]
        return Path(folder, "bindings.rs").read_text()


def test_checked_in_bindings_are_those_of_the_headers() -> None:
    assert bindings_of(CRATES) == BINDINGS.read_text(), REMEDY


def test_a_changed_header_is_noticed(tmp_path: Path) -> None:
    """The same comparison, where a header has gained a constant."""
    crates = copy_of_tree(tmp_path)
    header = tmp_path / "c/include/wrt_platform/status.h"
    header.write_text(header.read_text().replace("WRT_OK = 0,", "WRT_OK = 0, WRT_NEW = 99,"))
    changed = bindings_of(crates)
    assert changed != BINDINGS.read_text()
    assert "pub const WRT_NEW: wrt_status_code = 99;" in changed
