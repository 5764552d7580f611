"""The command `wrt`.

Everything is imported when it is needed: a short program must not wait for a long start. Whatever
goes wrong is one line on the standard error and an exit code of its own, never a traceback.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]

_EXIT_CODES = """\
exit codes:
  the module's own  it ended by itself, or returned (0)
  2    refused: not a module, an import is unknown, a file or folder is missing, a wrong option
  74   the output could not be written (disk full, for instance)
  124  the time limit passed
  125  the fuel is used up
  126  the memory limit: the module wants more at the start, or trapped after more was refused
  130  Ctrl-C
  134  the module trapped
  139  the process of the sandbox died
  141  nobody reads the output any more (closed pipe)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say and returns the exit code."""
    try:
        _open_standard_streams()
        code = _main(sys.argv[1:] if arguments is None else list(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        return _closed_pipe()
    except OSError as error:
        _silence(1)
        return _say(f"standard output: {error.strerror or error}", 74)


def _open_standard_streams() -> None:
    """A file that we open must never become 0, 1 or 2, which the guest is given."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


def _main(words: list[str]) -> int:
    if words == ["--version"]:
        import wrt_platform

        return _print_line(f"wrt {wrt_platform.__version__}")
    try:
        options = _parser().parse_args(words)
    except SystemExit as ended:  # after --help, or what was wrong
        return int(ended.code or 0)
    if options.command == "run":
        return _run(options)
    if options.command == "selftest":
        return _selftest(options)
    return _inspect(options) if options.command == "inspect" else _doctor(options)


def _parser() -> argparse.ArgumentParser:
    import argparse

    class Parser(argparse.ArgumentParser):
        """Says what is wrong in one line."""

        def error(self, message: str) -> NoReturn:
            told = message.replace("MODULE, ARGS", "MODULE")
            sys.exit(_say(f"{told}; try `{self.prog} --help`", 2))

        def print_help(self, file: Any = None) -> None:
            print(self.format_help(), end="", flush=True)  # argparse's own hides a full disk

    parser = Parser(
        prog="wrt",
        description="Runs WebAssembly programs inside limits that are enforced.",
        epilog="`wrt run --help` lists the exit codes.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", prog="wrt")
    _run_parser(commands)
    for name, summary in (
        ("inspect", "what a module holds, wants, offers, and needs of memory"),
        ("doctor", "what this system can do for a guest's limits, by trying"),
        ("selftest", "whether the walls round a guest hold here, by leaning against them"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--report", choices=("table", "json"), default="table")
        if name != "inspect":
            command.add_argument(
                "--json",
                dest="report",
                action="store_const",
                const="json",
                help="the same as --report json",
            )
        if name == "inspect":
            command.add_argument("module", metavar="MODULE", help="a .wasm or .wat file")
    return parser


def _run_parser(commands: Any) -> None:
    import argparse

    run = commands.add_parser(
        "run",
        help="run a WASI program",
        description="Runs a WASI program with this terminal as its input and output.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = run.add_argument
    add("--fuel", type=int, metavar="N", help="instructions that it may execute")
    add("--timeout", metavar="TIME", help="time that it may take, like 5s or 500ms")
    add("--memory", metavar="SIZE", help="memory that it may have, like 64MiB")
    add("--dir", action="append", default=[], metavar="HOST[::GUEST]", help="folder it may use")
    add("--env", action="append", default=[], metavar="K=V", help="variable of its environment")
    add(
        "--sandbox",
        choices=("sealed", "strict", "none"),
        default="none",
        help="sealed: in a process with four system calls; strict: with all of wrt behind walls",
    )
    add(
        "--report",
        choices=("table", "json"),
        help="afterwards, on the standard error: what it used",
    )
    add("--perf", action="store_true", help="the same: what processor and kernel counted")
    add("module", metavar="MODULE", help="a .wasm or .wat file")
    add("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="passed to the program")


def _run(options: argparse.Namespace) -> int:
    from wrt_platform.errors import LimitError, WrtError

    try:
        result = _counted(options) if options.perf else _result(options)
    except LimitError as error:
        return _say(f"{options.module}: {_line(error)}", 126)
    except WrtError as error:
        return _say(f"{options.module}: {_line(error)}", 2)
    if result.error is not None:
        _say(f"{options.module}: {_explained(result)}", 0)
    if options.report is not None:
        _report(result, options.report)
    return int(result.exit_code) & 0xFF


def _counted(options: argparse.Namespace) -> Any:
    """Runs it, and prints the profile."""
    from wrt_platform.linux.perf import profile

    found = profile(_result, options)
    print(found, file=sys.stderr)
    return found.value


def _result(options: argparse.Namespace) -> Any:
    from wrt_platform.limits import Limits
    from wrt_platform.running import run

    limits = Limits(memory=options.memory, fuel=options.fuel, timeout=options.timeout)
    return run(
        options.module,
        options.arguments,
        limits=limits,
        env=_environment(options.env),
        dirs=options.dir,
        stdin="inherit",
        stdout="inherit",
        stderr="inherit",
        sandbox=options.sandbox,
    )


def _environment(pairs: list[str]) -> dict[str, str]:
    from wrt_platform.errors import InvalidArgumentError

    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not name or not separator:
            raise InvalidArgumentError(f"--env takes NAME=VALUE, not {pair!r}")
        found[name] = value
    return found


def _explained(result: Any) -> str:
    """Why a run ended, in one line."""
    from wrt_platform.errors import TrapError

    error = result.error
    if not isinstance(error, TrapError):
        return _line(error)
    text = f"trap: {error.reason}"
    if error.frames:
        text += f" in {error.frames[0]}"
    if len(error.frames) > 1:
        text += ", called from " + ", ".join(str(frame.function) for frame in error.frames[1:6])
    if result.exit_code == 126:
        text += "; the memory limit had refused it more memory"
    return text


def _report(result: Any, form: str) -> None:
    from wrt_platform.report import as_json, as_text

    if form == "table":
        print(as_text(result), file=sys.stderr)
        return
    import json

    print(json.dumps(as_json(result)), file=sys.stderr)


def _inspect(options: argparse.Namespace) -> int:
    from wrt_platform.errors import WrtError
    from wrt_platform.inspection import inspect_module, inspection_text

    try:
        found = inspect_module(options.module)
    except WrtError as error:
        return _say(f"{options.module}: {_line(error)}", 2)
    return _print(found, inspection_text(found), options.report)


def _doctor(options: argparse.Namespace) -> int:
    from wrt_platform.doctor import as_json, doctor_text, examine

    findings = examine()
    return _print(as_json(findings), doctor_text(findings), options.report)


def _selftest(options: argparse.Namespace) -> int:
    """Exit code 1 where a wall does not hold: a start script can stop there."""
    from wrt_platform.linux.selftest import SelftestBuilder

    report = SelftestBuilder().run()
    rows = [{**row._asdict(), "state": row.state.name.lower()} for row in report]
    _print({"holds": bool(report), "rows": rows}, str(report), options.report)
    return 0 if report else 1


def _print(found: dict[str, Any], text: str, form: str) -> int:
    if form == "json":
        import json

        text = json.dumps(found, indent=2)
    return _print_line(text)


def _print_line(text: str) -> int:
    print(text)
    return 0


def _line(error: BaseException) -> str:
    """An exception's text in one line, without the name of the C call that failed."""
    text = " ".join(str(error).split())
    return text.removeprefix(f"{getattr(error, 'operation', '')}: ")


def _say(text: str, code: int) -> int:
    try:
        print(f"wrt: {text}", file=sys.stderr, flush=True)
    except OSError:  # there is nobody left to tell
        _silence(2)
    return code


def _closed_pipe() -> int:
    _silence(1)
    return _say("standard output: Broken pipe", 141)


def _silence(number: int) -> None:
    """Python's own last flush must not fail once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
