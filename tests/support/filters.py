"""Filters by other hands: the rules themselves, and libseccomp's compiler."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import random
import tempfile
from collections.abc import Sequence
from typing import Any, ClassVar

from wrt_platform.linux.seccomp import (
    SeccompAction,
    SeccompArgument,
    SeccompCompare,
    SeccompRule,
)

TOP = 2**64 - 1
# Values at which halves, signs and carries go wrong.
EDGES = [0, 1, 2, 127, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, TOP - 1, TOP]


def holds(argument: SeccompArgument, value: int) -> bool:
    """One compare, by Python's own numbers."""
    wanted = argument.value
    return {
        SeccompCompare.EQUAL: value == wanted,
        SeccompCompare.NOT_EQUAL: value != wanted,
        SeccompCompare.LESS: value < wanted,
        SeccompCompare.LESS_EQUAL: value <= wanted,
        SeccompCompare.GREATER: value > wanted,
        SeccompCompare.GREATER_EQUAL: value >= wanted,
        SeccompCompare.MASKED_EQUAL: value & argument.mask == wanted,
    }[argument.compare]


def decide(
    rules: Sequence[SeccompRule], number: int, arguments: Sequence[int]
) -> tuple[SeccompAction, int] | None:
    """The first rule whose compares all hold; None if there is none."""
    for rule in rules:
        values = [(one, arguments[one.position]) for one in rule.arguments]
        if rule.call == number and all(holds(one, value) for one, value in values):
            return rule.action, rule.error
    return None


def random_argument(source: random.Random) -> SeccompArgument:
    compare = SeccompCompare(source.randrange(7))
    value = source.choice([*EDGES, source.getrandbits(64), source.getrandbits(33)])
    if compare != SeccompCompare.MASKED_EQUAL:
        return SeccompArgument(source.randrange(6), compare, value)
    mask = source.choice([*EDGES, source.getrandbits(64), 0xFF, 0xFF << 32])
    return SeccompArgument(source.randrange(6), compare, value & mask, mask)


def random_rules(source: random.Random, most: int) -> list[SeccompRule]:
    """Rules of which each can decide, for numbers that lie close together and far apart."""
    numbers = [source.choice([source.randrange(470), source.randrange(2**30)]) for _ in range(most)]
    rules = []
    for number in numbers:
        for _ in range(source.randrange(3)):
            kind = SeccompAction(source.randrange(1, 6))
            compared = tuple(random_argument(source) for _ in range(source.randrange(1, 4)))
            rules.append(SeccompRule(number, kind, error_for(source, kind), compared))
    finals = set()
    for number in numbers:
        if number not in finals and source.random() < 0.8:
            kind = SeccompAction(source.randrange(1, 6))
            rules.append(SeccompRule(number, kind, error_for(source, kind)))
            finals.add(number)
    return rules


def error_for(source: random.Random, kind: SeccompAction) -> int:
    return source.randrange(1, 4096) if kind == SeccompAction.ERRNO else 0


def calls_near(source: random.Random, rules: Sequence[SeccompRule], count: int) -> list[Any]:
    """Calls that hit rules, miss them by one, and lie anywhere."""
    calls = []
    for _ in range(count):
        rule = source.choice(rules)
        assert isinstance(rule.call, int)
        number = rule.call + source.choice([0, 0, 0, -1, 1])
        values = [source.choice([*EDGES, source.getrandbits(64)]) for _ in range(6)]
        for one in rule.arguments:
            values[one.position] = (one.value + source.choice([0, 0, -1, 1, 2**32])) & TOP
        calls.append((max(number, 0), values))
    return calls


class LibSeccomp:
    """libseccomp's compiler, for x86-64. Only tests know it."""

    X86_64 = 0xC000003E

    class Compare(ctypes.Structure):
        """struct scmp_arg_cmp"""

        _fields_ = (
            ("arg", ctypes.c_uint),
            ("op", ctypes.c_int),
            ("first", ctypes.c_uint64),
            ("second", ctypes.c_uint64),
        )

    OPERATORS: ClassVar = {
        SeccompCompare.NOT_EQUAL: 1,
        SeccompCompare.LESS: 2,
        SeccompCompare.LESS_EQUAL: 3,
        SeccompCompare.EQUAL: 4,
        SeccompCompare.GREATER_EQUAL: 5,
        SeccompCompare.GREATER: 6,
        SeccompCompare.MASKED_EQUAL: 7,
    }

    @staticmethod
    def is_there() -> bool:
        return ctypes.util.find_library("seccomp") is not None

    def __init__(self, default: SeccompAction, error: int, *, tree: bool) -> None:
        self.library = ctypes.CDLL(str(ctypes.util.find_library("seccomp")))
        self.library.seccomp_init.restype = ctypes.c_void_p
        self.library.seccomp_syscall_resolve_name_arch.restype = ctypes.c_int
        self.context = ctypes.c_void_p(self.library.seccomp_init(self.action(default, error)))
        assert self.context.value
        self.library.seccomp_attr_set(self.context, 8, 2 if tree else 1)

    @staticmethod
    def action(kind: SeccompAction, error: int) -> ctypes.c_uint32:
        return ctypes.c_uint32(
            {
                SeccompAction.ALLOW: 0x7FFF0000,
                SeccompAction.LOG: 0x7FFC0000,
                SeccompAction.ERRNO: 0x00050000 | error,
                SeccompAction.TRAP: 0x00030000,
                SeccompAction.KILL: 0x80000000,
            }[kind]
        )

    def add(self, rule: SeccompRule) -> int:
        compared = (self.Compare * max(len(rule.arguments), 1))()
        for place, one in zip(compared, rule.arguments):
            masked = one.compare == SeccompCompare.MASKED_EQUAL
            place.arg, place.op = one.position, self.OPERATORS[one.compare]
            place.first, place.second = (one.mask, one.value) if masked else (one.value, 0)
        return int(
            self.library.seccomp_rule_add_exact_array(
                self.context, self.action(rule.action, rule.error), rule.call,
                len(rule.arguments), compared,
            )
        )  # fmt: skip

    def number(self, name: str, architecture: int) -> int:
        resolve = self.library.seccomp_syscall_resolve_name_arch
        return int(resolve(ctypes.c_uint32(architecture), name.encode()))

    def program(self) -> bytes:
        with tempfile.TemporaryFile() as file:
            assert self.library.seccomp_export_bpf(self.context, file.fileno()) == 0
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            return file.read()
