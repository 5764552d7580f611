"""The man page is that of the command: made of its parser, and sound for those who print it."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import man_page
import pytest
from common import ROOT, run
from wrt_platform import cli

PAGE = ROOT / "man/wrt.1"


def shown() -> str:
    """The page as a terminal has it, in one line."""
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    text = run("mandoc", "-Tutf8", "-O", "width=200", PAGE)
    return " ".join(re.sub(".\b", "", text).split())


def test_page_is_made_of_the_parser() -> None:
    assert PAGE.read_text() == man_page.page(), "make it anew: python tools/man_page.py"


def test_page_follows_a_new_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same comparison, where the command has gained one."""

    def with_another() -> argparse.ArgumentParser:
        parser = cli._parser()
        for name, _, command in man_page.commands(parser):
            if name == "run":
                command.add_argument("--colour", metavar="NAME", help="of what it prints")
        return parser

    monkeypatch.setattr(man_page, "_parser", with_another)
    made = man_page.page()
    assert made != PAGE.read_text()
    assert made.count(r"\-\-colour") == 2  # synopsis and list
    assert "Of what it prints." in made


def test_page_has_every_option_that_help_prints() -> None:
    """By the command's own help, run as a user would."""
    text = shown()
    program = [sys.executable, "-m", "wrt_platform.cli"]
    helped = run(*program, "--help")
    names = re.findall(r"^    (\w+) ", helped, re.MULTILINE)
    assert {"run", "inspect", "doctor"} <= set(names)
    for name in names:
        options = re.findall(r"^  (--[\w-]+)", run(*program, name, "--help"), re.MULTILINE)
        assert options
        assert all(text.count(option) >= 2 for option in options)  # synopsis and list
    for code in re.findall(r"^  (\d+) ", cli._EXIT_CODES, re.MULTILINE):
        assert re.search(rf"EXIT STATUS.* {code} .*EXAMPLES", text)


def test_notes_are_about_what_is_there() -> None:
    parser = cli._parser()
    there = set()
    for name, _, command in man_page.commands(parser):
        there |= {name, *(word for one in command._actions for word in one.option_strings)}
    assert set(man_page.NOTES) <= there


def test_page_is_sound() -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(["mandoc", "-Tlint", "-W", "style", PAGE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_page_is_printed_by_groff() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(["groff", "-man", "-ww", "-z", PAGE], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_page_is_installed_with_the_library(release_build: Path, tmp_path: Path) -> None:
    run("cmake", "--install", release_build, "--prefix", tmp_path)
    (installed,) = tmp_path.rglob("wrt.1")
    assert installed.relative_to(tmp_path) == Path("share/man/man1/wrt.1")
    assert installed.read_text() == PAGE.read_text()


@pytest.mark.parametrize("line", man_page.EXAMPLES.values())
def test_line_of_an_example_is_taken_by_the_parser(line: str) -> None:
    assert cli._parser().parse_args(line.split()[1:]).command in line
