"""Follows one converted script of the official test-suite and judges each command.

Every command gets a Verdict. What is left out is left out by rule, and the rule is written in the
verdict: nothing is skipped because it fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spec_engine import Outcome, Refused, Value, World
from spec_suite import commands
from wrt_platform._native import lib

PASSED, FAILED, LEFT_OUT = "passed", "failed", "left out"
TEXT_ONLY = "tests a reader of the text format, which this engine has none of"

QUIET_NAN = {"f32": 0x7FC00000, "f64": 0x7FF8000000000000}
SIGN = {"f32": 0x80000000, "f64": 0x8000000000000000}


class Verdict(NamedTuple):
    """On one command. The outcome is there to be compared with another way of running it."""

    line: int
    kind: str  # the command's type
    state: str  # PASSED, FAILED or LEFT_OUT
    reason: str = ""  # why it failed or was left out
    outcome: Outcome | None = None

    @property
    def is_assertion(self) -> bool:
        return self.kind.startswith("assert_")


def parse_value(written: dict[str, Any]) -> Value:
    """A number of the script. Floats come as bits, 32-bit integers with or without sign."""
    text = written["value"]
    if text == "null":
        return Value(written["type"], None)
    bits = 32 if written["type"] in ("i32", "f32") else 64
    return Value(written["type"], int(text) % 2**bits)


def matches(value: Value, expected: dict[str, Any]) -> bool:
    """Whether a result is what the script wants; of a NaN it wants a kind, not all bits."""
    if value.type != expected["type"]:
        return False
    pattern = expected.get("value")
    if pattern is None:  # any reference but null
        return value.number is not None
    if not pattern.startswith("nan:"):
        return value == parse_value(expected)
    bits, quiet = value.number or 0, QUIET_NAN[value.type]
    if pattern == "nan:canonical":
        return bits & ~SIGN[value.type] == quiet
    return bits & quiet == quiet


class Script:
    """One run of a script in a World."""

    def __init__(self, path: Path, world: World) -> None:
        self._modules = path.with_suffix("")
        self._commands = commands(path)
        self._world = world
        self._current: Any = None
        self._named: dict[str, Any] = {}
        self._definitions: dict[str, Any] = {}
        self._registered: dict[str, Any] = {"spectest": world.spectest}

    def run(self) -> list[Verdict]:
        return [self._judge(command) for command in self._commands]

    def _judge(self, command: dict[str, Any]) -> Verdict:
        line, kind = command["line"], command["type"]
        if kind.startswith("assert_") and command.get("module_type") == "text":
            return Verdict(line, kind, LEFT_OUT, TEXT_ONLY)
        judge = getattr(self, f"_{kind}", None)
        if judge is None:
            return Verdict(line, kind, FAILED, "the runner does not know this command")
        reason, outcome = judge(command)
        return Verdict(line, kind, FAILED if reason else PASSED, reason, outcome)

    # Commands. Each answers with what is wrong, empty if nothing is, and how it ended.

    def _module(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        self._current = None
        try:
            module = self._load(command)
        except Refused as refused:
            return f"refused: {refused}", None
        self._current, outcome = self._world.instantiate(module, self._registered)
        if "name" in command:
            self._named[command["name"]] = self._current
        return ("" if self._current is not None else f"no instance: {outcome}"), outcome

    def _module_definition(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        try:
            self._definitions[command.get("name", "")] = self._load(command)
        except Refused as refused:
            return f"refused: {refused}", None
        return "", None

    def _module_instance(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        module = self._definitions[command.get("module", "")]
        self._current, outcome = self._world.instantiate(module, self._registered)
        self._named[command["instance"]] = self._current
        return ("" if self._current is not None else f"no instance: {outcome}"), outcome

    def _register(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        self._registered[command["as"]] = self._target(command.get("name"))
        return "", None

    def _action(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        outcome = self._act(command["action"])
        return ("" if outcome.status == lib.WRT_OK else f"ended with {outcome}"), outcome

    def _assert_return(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        outcome = self._act(command["action"])
        if outcome.status != lib.WRT_OK:
            return f"ended with {outcome}", outcome
        expected: Sequence[dict[str, Any]] = command["expected"]
        right = len(expected) == len(outcome.values) and all(map(matches, outcome.values, expected))
        return ("" if right else f"got {outcome.values}, not {expected}"), outcome

    def _assert_trap(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        return self._want_trap(command, self._act(command["action"]))

    _assert_exhaustion = _assert_trap

    def _assert_uninstantiable(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        try:
            module = self._load(command)
        except Refused as refused:
            return f"refused: {refused}", None
        return self._want_trap(command, self._world.instantiate(module, self._registered)[1])

    def _assert_unlinkable(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        try:
            module = self._load(command)
        except Refused as refused:
            return f"refused: {refused}", None
        _, outcome = self._world.instantiate(module, self._registered)
        linked = outcome.status != lib.WRT_ERR_LINK
        return (f"ended with {outcome}, not LINK" if linked else ""), outcome

    def _assert_malformed(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        return self._want_refusal(command, lib.WRT_ERR_MALFORMED)

    def _assert_invalid(self, command: dict[str, Any]) -> tuple[str, Outcome | None]:
        return self._want_refusal(command, lib.WRT_ERR_INVALID_MODULE)

    # What the commands have in common

    def _load(self, command: dict[str, Any]) -> Any:
        return self._world.load(self._content(command))

    def _content(self, command: dict[str, Any]) -> bytes:
        file = command.get("binary_filename", command["filename"])
        return (self._modules / str(file)).read_bytes()

    def _target(self, name: str | None) -> Any:
        return self._named.get(name) if name else self._current

    def _act(self, action: dict[str, Any]) -> Outcome:
        instance = self._target(action.get("module"))
        if action["type"] == "get":
            return self._world.get(instance, action["field"])
        arguments = [parse_value(written) for written in action["args"]]
        return self._world.invoke(instance, action["field"], arguments)

    def _want_trap(self, command: dict[str, Any], outcome: Outcome) -> tuple[str, Outcome]:
        """The script may say more than the trap's text: "uninitialized element 7"."""
        if outcome.status != lib.WRT_ERR_TRAP:
            return f"ended with {outcome}, not in a trap", outcome
        right = outcome.trap_text and command["text"].startswith(outcome.trap_text)
        return ("" if right else f"{outcome.trap_text!r}, not {command['text']!r}"), outcome

    def _want_refusal(self, command: dict[str, Any], status: int) -> tuple[str, Outcome | None]:
        content = self._content(command)
        try:
            self._world.load(content)
        except Refused as refused:
            if refused.status != status:
                return f"refused with {refused}, not {status}: {command['text']}", None
            if refused.offset > len(content):
                return f"{refused}, of {len(content)}", None
            return "", Outcome(refused.status, trap_offset=refused.offset)
        return f"accepted: {command['text']}", None


def run_script(path: Path, *, stepping: bool = False, sealed: bool = False) -> list[Verdict]:
    """All verdicts of one script, in a world of its own."""
    world = World(stepping=stepping, sealed=sealed, seed=path.name)
    verdicts = Script(path, world).run()
    world.close()
    return verdicts
