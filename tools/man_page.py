"""Makes man/wrt.1 of the command's own parser: `python tools/man_page.py`.

Commands, options and exit codes are the parser's, word for word; what is written here are the
sentences that a help text has no room for. A test makes the page anew and compares it.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import wrt_platform
from wrt_platform.cli import _parser

PAGE = Path(__file__).resolve().parent.parent / "man/wrt.1"
DATE = "2026-11-21"  # when the sentences below were last looked at

DESCRIPTION = """
wrt runs WebAssembly programs that nobody has to trust. A program gets this terminal as its input
and output, and of the system what the command line names: folders, variables, and nothing else.
Limits are enforced while it runs; one that is left out is none, but for memory, which is then what
the module declares, at most 256 MiB.
"""

# More on an option, by its name; on a command, by the command's.
NOTES = {
    "--fuel": "It is exact, and the same on every machine: a unit is an instruction of the binary "
    "format.",
    "--timeout": "Wall time, waits included. It lands in a busy loop and in a host call.",
    "--memory": "Rounded down to pages of 64 KiB. A memory.grow beyond it answers -1.",
    "--dir": "With ::GUEST the program sees it under that name. Paths are resolved by the kernel "
    "below the folder; no symbolic link leads out. May be given several times.",
    "--env": "Nothing is inherited. May be given several times.",
    "--sandbox": "A sealed process is on Linux on x86-64 and 64-bit Arm only.",
    "--perf": "Printed on the standard error. What this machine can't count is named, with the "
    "reason.",
    "doctor": "Each line is an attempt, and not a look-up; what may end a process is tried in a "
    "child. Where something is missing the line says why, and what to do.",
    "selftest": "It does what a guest must not, in processes of its own, and looks for the exact "
    "fault. The exit code is 1 where a wall does not hold.",
    "inspect": "Nothing of the module is run. The bytes that the engine needs are exact.",
}

EXAMPLES = {
    "A program within limits:": "wrt run --fuel 100000000 --timeout 5s --memory 16MiB a.wasm 8",
    "With a folder, which it sees as data:": "wrt run --dir /srv/job::data orders.wasm data/a.csv",
    "In a process that has sealed itself:": "wrt run --sandbox sealed --timeout 5s program.wasm",
    "What a module wants:": "wrt inspect program.wasm",
    "What this system can do for limits, for a program:": "wrt doctor --report json",
    "Whether the walls hold here:": "wrt selftest",
    "Whether the walls hold, for a start script:": "wrt selftest",
}

SEE_ALSO = "timeout(1), prlimit(1), seccomp(2), landlock(7), cgroups(7), perf_event_open(2)"


def escaped(text: str) -> str:
    """Text as roff takes it: its own marks, hyphens that are minus signs, and dots at the start."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    return re.sub(r"^\.", r"\\&.", text, flags=re.MULTILINE)


def filled(text: str) -> str:
    """Running text: each sentence begins a line, as roff likes it, and none is longer than 80."""
    sentences = re.split(r"(?<=[.:;]) (?=[A-Z])", escaped(" ".join(text.split())))
    fill = textwrap.TextWrapper(78, break_on_hyphens=False, break_long_words=False).fill
    return "\n".join(map(fill, sentences))


def sentence(text: str) -> str:
    """A help text as a sentence."""
    return filled(text[:1].upper() + text[1:].rstrip(".") + ".")


def value_of(action: argparse.Action) -> str:
    """What stands behind an option."""
    if action.nargs == 0:
        return ""
    if action.choices:
        return "{" + "|".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.upper())


def signature(action: argparse.Action) -> str:
    """An option or a word as it is written, in roff: literal words bold, others in italics."""
    if not action.option_strings:
        return rf"\fI{escaped(value_of(action))}\fR"
    names = ", ".join(rf"\fB{escaped(name)}\fR" for name in action.option_strings)
    value = value_of(action)
    return rf"{names} \fI{escaped(value)}\fR" if value else names


def usage(action: argparse.Action) -> str:
    """The same as a part of a synopsis."""
    text = signature(action).split(", ")[-1].replace(" ", r"\~")
    if action.nargs == argparse.REMAINDER:
        return f"[{text}...]"
    if not action.option_strings:
        return text
    repeated = "..." if isinstance(action, argparse._AppendAction) else ""
    return f"[{text}]{repeated}"


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, summary and parser of each command."""
    (found,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    summaries = {one.dest: one.help or "" for one in found._choices_actions}
    for name, command in found.choices.items():
        yield name, summaries[name], command


def own_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    left_out = (argparse._HelpAction, argparse._SubParsersAction)
    return [action for action in parser._actions if not isinstance(action, left_out)]


def synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in own_actions(parser):
        yield from (".SY wrt", signature(action), ".YS")
    for name, _, command in commands(parser):
        yield from (f'.SY "wrt {name}"', *map(usage, own_actions(command)), ".YS")


def described(name: str, summary: str, command: argparse.ArgumentParser) -> Iterator[str]:
    """A command with its options."""
    yield f".SS wrt {name}"
    yield sentence(summary)
    if name in NOTES:
        yield filled(NOTES[name])
    for action in own_actions(command):
        note = next((NOTES[one] for one in action.option_strings if one in NOTES), "")
        text = sentence(action.help) if action.help else "How what is found is printed."
        yield from (".TP", signature(action), text)
        if note:
            yield filled(note)


def exit_codes(parser: argparse.ArgumentParser) -> Iterator[str]:
    """From the lines that `--help` ends with."""
    for name, _, command in commands(parser):
        codes = re.findall(r"^  (\S.*?)  +(.*)$", command.epilog or "", re.MULTILINE)
        if codes:
            yield from ("Of", f'.BR "wrt {name}" :')
        for code, meaning in codes:
            yield from (".TP", rf"\fB{escaped(code)}\fR", sentence(meaning))
        if codes:
            yield ".PP"


def page() -> str:
    parser = _parser()
    lines = [
        r".\" Made by tools/man_page.py; do not edit.",
        f'.TH WRT 1 {DATE} "wrt_platform {wrt_platform.__version__}" "User Commands"',
        ".SH NAME",
        rf"wrt \- {escaped('run WebAssembly programs inside limits that are enforced')}",
        ".SH SYNOPSIS",
        *synopsis(parser),
        ".SH DESCRIPTION",
        filled(DESCRIPTION),
        ".SH COMMANDS",
    ]
    for name, summary, command in commands(parser):
        lines += described(name, summary, command)
    lines += [
        ".SS Other options",
        ".TP",
        r"\fB\-h\fR, \fB\-\-help\fR",
        "Of wrt and of each command.",
    ]
    for action in own_actions(parser):
        lines += [".TP", signature(action), sentence(action.help or "")]
    lines += [".SH EXIT STATUS", *exit_codes(parser)]
    lines += ["Of", '.B "wrt selftest"', "it is 1 where a wall does not hold."]
    lines.append("Otherwise it is 0, or 2 if something was wrong.")
    lines.append(".SH EXAMPLES")
    for words, line in EXAMPLES.items():
        lines += [escaped(words), ".PP", ".RS 4", ".nf", escaped(line), ".fi", ".RE", ".PP"]
    lines.pop()
    lines += [".SH SEE ALSO"]
    others = [name.partition("(") for name in SEE_ALSO.split(", ")]
    lines += [f".BR {name} ({rest}" + "," for name, _, rest in others]
    lines[-1] = lines[-1].rstrip(",")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    print(PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE)
