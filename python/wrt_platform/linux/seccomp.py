"""Filters for system calls: compiled, tried without being loaded, loaded for good. Mirrors
wrt_platform/linux/seccomp.h.

filter = (
    SeccompBuilder()
    .allow(["read", "write", "exit_group"])
    .with_default_action(SeccompAction.KILL)
    .build()
)
print(filter.simulate("openat").action)
filter.load()  # refused in a process with several threads; in a child, as a rule
"""

from __future__ import annotations

import errno as error_numbers
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from wrt_platform._enums import (
    SeccompAction,
    SeccompArchitecture,
    SeccompCompare,
    SeccompForm,
    SeccompProfile,
)
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import InvalidArgumentError, check
from wrt_platform.page_allocator import _within, _word

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "Seccomp",
    "SeccompAction",
    "SeccompArchitecture",
    "SeccompArgument",
    "SeccompBuilder",
    "SeccompCompare",
    "SeccompForm",
    "SeccompProfile",
    "SeccompReport",
    "SeccompRule",
    "SeccompVerdict",
    "call_name",
    "call_number",
    "seccomp_logging",
    "simulate",
]

Call = Union[str, int]  # a name, or the number of a call that is newer than this library


class SeccompArgument(NamedTuple):
    """One argument of a call, compared as an unsigned 64-bit number."""

    position: int  # 0 to 5
    compare: SeccompCompare
    value: int
    mask: int = 0  # of MASKED_EQUAL, else 0


class SeccompRule(NamedTuple):
    """What happens to a call whose compares all hold."""

    call: Call
    action: SeccompAction
    error: int = 0  # of ERRNO
    arguments: Sequence[SeccompArgument] = ()


class SeccompReport(NamedTuple):
    """What became of a builder's settings."""

    instruction_count: int
    call_count: int  # calls with rules of their own
    architecture: SeccompArchitecture
    added: tuple[SeccompRule, ...]  # beside the builder's rules and the profile's


class SeccompVerdict(NamedTuple):
    """What a filter answers to a call."""

    action: SeccompAction
    error: int  # of ERRNO, and what comes along with TRAP
    raw: int  # the answer itself, SECCOMP_RET_...
    steps: int  # instructions that it took


def call_number(name: str, architecture: SeccompArchitecture = SeccompArchitecture.HOST) -> int:
    """The number of the call of this name. Raises NotFoundError."""
    out = ffi.new("uint32_t *")
    check(lib.wrt_seccomp_call_number(architecture, name.encode(), out))
    return int(out[0])


def call_name(number: int, architecture: SeccompArchitecture = SeccompArchitecture.HOST) -> str:
    """The name of a call; "" if it has none here."""
    name = lib.wrt_seccomp_call_name(architecture, _word(number, "number"))
    return "" if name == ffi.NULL else str(ffi.string(name).decode())


def seccomp_logging() -> Enforcement:
    """What is logged of what with_log_failures() asks."""
    out = ffi.new("wrt_enforcement *")
    check(lib.wrt_seccomp_logging(out))
    return enforcement_of(out[0])


def simulate(
    program: bytes, call: int, arguments: Sequence[int] = (), architecture: int = 0
) -> SeccompVerdict:
    """What a program of struct sock_filter answers, anybody's. architecture: AUDIT_ARCH_...; 0:
    that of this library."""
    instructions = ffi.from_buffer("wrt_seccomp_instruction[]", program)
    seen = ffi.new("wrt_seccomp_call *")
    seen.number, seen.architecture = call % 2**32, architecture
    for index, value in enumerate(arguments):
        seen.arguments[index] = value % 2**64
    verdict = ffi.new("wrt_seccomp_verdict *")
    check(lib.wrt_seccomp_simulate(instructions, len(instructions), seen, verdict))
    return SeccompVerdict(SeccompAction(verdict.action), verdict.error, verdict.raw, verdict.steps)


class Seccomp:
    """A filter, ready to be tried or loaded; made by SeccompBuilder. It holds no resource."""

    def __init__(self, config: Any) -> None:
        report = ffi.new("wrt_seccomp_report *")
        check(lib.wrt_seccomp_compile(config, ffi.NULL, 0, report))
        count = report.instruction_count
        self._program = ffi.new("wrt_seccomp_instruction[]", count)
        check(lib.wrt_seccomp_compile(config, self._program, count, report))
        self._report = report

    @property
    def program(self) -> bytes:
        """The instructions, as the kernel's struct sock_filter."""
        return bytes(ffi.buffer(self._program))

    @property
    def report(self) -> SeccompReport:
        """What became of the settings."""
        machine = SeccompArchitecture(self._report.architecture)
        added = self._report.added[0 : self._report.added_count]
        return SeccompReport(
            self._report.instruction_count,
            self._report.call_count,
            machine,
            tuple(
                SeccompRule(call_name(rule.call, machine), SeccompAction(rule.action), rule.error)
                for rule in added
            ),
        )

    def simulate(self, call: Call, arguments: Sequence[int] = ()) -> SeccompVerdict:
        """What the filter answers to a call of its own architecture, without being loaded."""
        machine = SeccompArchitecture(self._report.architecture)
        number = call_number(call, machine) if isinstance(call, str) else call
        audit = {SeccompArchitecture.X86_64: 0xC000003E}.get(machine, 0xC00000B7)
        return simulate(self.program, number, arguments, audit)

    def load(self) -> None:
        """Loads the filter for good. Raises StateError in a process with several threads, unless
        with_all_threads() was asked for."""
        options = self._report.load_options
        check(lib.wrt_seccomp_load(self._program, len(self._program), options))


class SeccompBuilder:
    """Collects settings; the rules of linux/seccomp.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_seccomp_config")
        self._config = ffi.new("wrt_seccomp_config *", {"struct_size": size})
        self._rules: list[SeccompRule] = []

    def allow(self, calls: Iterable[Call]) -> Self:
        """Allows these calls, whatever their arguments are."""
        for call in calls:
            self.with_rule(call, SeccompAction.ALLOW)
        return self

    def with_rule(
        self,
        call: Call,
        action: SeccompAction,
        arguments: Sequence[SeccompArgument] = (),
        error: int = 0,
    ) -> Self:
        """Says what happens to a call whose compares all hold. error: of ERRNO; 0: EPERM."""
        if action == SeccompAction.ERRNO and error == 0:
            error = error_numbers.EPERM
        self._rules.append(SeccompRule(call, action, error, tuple(arguments)))
        return self

    def with_rules(self, rules: Iterable[SeccompRule]) -> Self:
        """Adds rules."""
        self._rules.extend(rules)
        return self

    def with_architecture(self, architecture: SeccompArchitecture) -> Self:
        """Whose numbers; HOST: this machine's."""
        self._config.architecture = architecture
        return self

    def with_profile(self, profile: SeccompProfile) -> Self:
        """Starts from ready-made rules; own ones for a call replace the profile's for it."""
        self._config.profile = profile
        return self

    def with_form(self, form: SeccompForm) -> Self:
        """TREE halves, LINEAR goes rule by rule."""
        self._config.form = form
        return self

    def with_default_action(self, action: SeccompAction) -> Self:
        """For calls without a rule; DEFAULT: the profile's."""
        self._config.default_action = action
        return self

    def with_default_error(self, error: int) -> Self:
        """Where the default action is ERRNO; 0: EPERM."""
        self._config.default_error = _word(error, "default_error")
        return self

    def with_unknown_action(self, action: SeccompAction) -> Self:
        """For numbers that this library has no name for; DEFAULT: ERRNO."""
        self._config.unknown_action = action
        return self

    def with_unknown_error(self, error: int) -> Self:
        """Where the unknown action is ERRNO; 0: ENOSYS."""
        self._config.unknown_error = _word(error, "unknown_error")
        return self

    def with_foreign_action(self, action: SeccompAction) -> Self:
        """For calls of another architecture; DEFAULT: KILL."""
        self._config.foreign_action = action
        return self

    def with_exact(self, enabled: bool = True) -> Self:
        """Adds nothing to the rules, not even ENOSYS for clone3 where clone is allowed."""
        self._config.exact = enabled
        return self

    def with_all_threads(self, enabled: bool = True) -> Self:
        """load() puts the filter on every thread of the process, or on none."""
        self._config.all_threads = enabled
        return self

    def with_log_failures(self, enabled: bool = True) -> Self:
        """What is not allowed goes to the audit log; seccomp_logging() says how far."""
        self._config.log_failures = enabled
        return self

    def build(self) -> Seccomp:
        """Compiles the filter. Raises InvalidArgumentError naming the broken rule, NotFoundError
        for a name that this architecture does not have."""
        config = ffi.new("wrt_seccomp_config *", self._config[0])
        machine = SeccompArchitecture(config.architecture)
        rules = ffi.new("wrt_seccomp_rule[]", max(len(self._rules), 1))
        for raw, rule in zip(rules, self._rules):
            _fill(raw, rule, machine)
        config.rules, config.rule_count = rules, len(self._rules)
        return Seccomp(config)


def _fill(raw: Any, rule: SeccompRule, machine: SeccompArchitecture) -> None:
    if isinstance(rule.call, str):
        raw.call = call_number(rule.call, machine)
    else:
        raw.call = _word(rule.call, "call")
    raw.action, raw.error = rule.action, _word(rule.error, "error")
    if len(rule.arguments) > lib.WRT_SECCOMP_ARGUMENT_MAX:
        raise InvalidArgumentError("a rule has at most 6 compares")
    raw.argument_count = len(rule.arguments)
    for place, argument in zip(raw.arguments, rule.arguments):
        place.index = _word(argument.position, "position")
        place.compare = argument.compare
        place.value = _within(argument.value, "value", 2**64)
        place.mask = _within(argument.mask, "mask", 2**64)
