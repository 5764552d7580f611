"""The feature table: what `make rows` prints is true."""

from __future__ import annotations

import sys
from pathlib import Path

import rows
from common import ROOT, run


def test_table_has_every_row_once() -> None:
    table = rows.table((ROOT / "docs/rows.csv").read_text())
    assert len({row.id for row in table}) == len(table) == 76
    documents = {name for row in table for name in row.documents.split()}
    assert len(documents) == 5


def test_rows_of_all_tests_are_known() -> None:
    report = run(sys.executable, ROOT / "tools/rows.py").splitlines()
    assert any(line.startswith("PA-4  real") for line in report)
    assert any("tests/house/test_library.py::test_core_and_engine_need" in line for line in report)
    assert report[-1].endswith("of 76 rows have tests")


def test_unknown_row_and_unknown_strength_are_mistakes(tmp_path: Path) -> None:
    (tmp_path / "test_probe.py").write_text(
        "import pytest\n"
        '@pytest.mark.row("XX-1")\ndef test_one(): pass\n'
        '@pytest.mark.row("PA-1", proof="hearsay")\ndef test_two(): pass\n'
    )
    proofs = rows.collected(tmp_path)
    table = rows.table((ROOT / "docs/rows.csv").read_text())
    first, second = rows.mistakes(table, proofs)
    assert "test_two" in first and "hearsay" in first
    assert "test_one" in second and "XX-1" in second


def test_report_names_row_strength_and_test() -> None:
    table = [rows.Row("PA-1", "pages", ""), rows.Row("PA-2", "checks", "")]
    proofs = {"PA-1": {rows.Proof("t.py::one", "sim"), rows.Proof("t.py::two", "real")}}
    first, *tests, missing, total = rows.report(table, proofs)
    assert first.split() == ["PA-1", "real,", "sim", "pages"]
    assert [test.strip() for test in tests] == ["t.py::one", "t.py::two"]
    assert missing.split() == ["PA-2", "-", "checks"]
    assert total == "1 of 2 rows have tests"
