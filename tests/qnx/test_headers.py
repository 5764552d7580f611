"""The headers of the simulated QNX say what the crate `libc` says, for 7.1 and for 8.0."""

from __future__ import annotations

import re
from pathlib import Path

import judge
import pytest
from cargo import require_cargo
from common import ROOT

INSPECTED = ROOT / "tests/qnx/by_inspection.txt"


@pytest.fixture(scope="module", params=sorted(judge.TARGETS))
def version(request: pytest.FixtureRequest) -> int:
    require_cargo()
    return int(request.param)


@pytest.fixture(scope="module")
def facts(version: int, tmp_path_factory: pytest.TempPathFactory) -> judge.Facts:
    return judge.gather(version, tmp_path_factory.mktemp(f"facts{version}"))


def test_crate_agrees_with_every_fact(version: int, facts: judge.Facts, tmp_path: Path) -> None:
    lines = judge.judgement(facts, version).lines
    assert len(lines) > 300
    assert judge.verdict(lines, version, tmp_path) == []


def test_what_nobody_judges_is_listed(
    version: int, facts: judge.Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list that is checked in, so that it cannot grow unseen."""
    unknown = judge.judgement(facts, version).by_inspection
    with capsys.disabled():
        print(f"\nheaders of QNX {version}, by inspection: {' '.join(unknown)}")
    text = INSPECTED.read_text()
    listed = re.search(rf"^\[{version}\]\n(.*?)(?=^\[|\Z)", text, re.M | re.S)
    assert listed is not None
    assert listed[1].split("\n")[:-1] == unknown


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("libc::ETIMEDOUT as u64 == 260", "libc::ETIMEDOUT as u64 == 110"),
        ("size_of::<libc::sched_param>() == 48", "size_of::<libc::sched_param>() == 4"),
        ("align_of::<libc::sched_param>() == 8", "align_of::<libc::sched_param>() == 4"),
        ("usize, *mut libc::_msg_info64", "i32, *mut libc::_msg_info64"),
        ("(*s).sigev_notify }) == 4", "(*s).sigev_notify }) == 8"),
    ],
)
def test_wrong_fact_is_seen(
    version: int, facts: judge.Facts, tmp_path: Path, line: str, wrong: str
) -> None:
    lines = [one for one in judge.judgement(facts, version).lines if line in one]
    assert lines != []
    assert judge.verdict([one.replace(line, wrong) for one in lines], version, tmp_path) != []
