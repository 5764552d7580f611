"""Limits: sizes, times and fuel as people write them."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wrt_platform.errors import InvalidArgumentError
from wrt_platform.limits import Limits, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("64KiB", 65536),
        ("64k", 65536),
        ("1.5 MiB", 3 << 19),
        ("2gib", 2 << 30),
        ("100kB", 100_000),
        ("1GB", 10**9),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("5s", 5),
        ("500ms", 0.5),
        ("2min", 120),
        ("1h", 3600),
        ("1.5 s", 1.5),
        ("3us", 3e-6),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert math.isclose(parse_duration(text), seconds)


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        ({"memory": "64XB"}, InvalidArgumentError, "unknown unit 'XB', try 64MiB"),
        ({"memory": "much"}, InvalidArgumentError, "'much' is not a size; write it like 64MiB"),
        ({"memory": ""}, InvalidArgumentError, "'' is not a size"),
        ({"memory": 1000}, InvalidArgumentError, "1000 bytes is less than one page"),
        ({"memory": "-1MiB"}, InvalidArgumentError, "is not a size"),
        ({"memory": 1.5}, TypeError, "memory is a whole number of bytes"),
        ({"memory": True}, TypeError, "memory is a whole number"),
        ({"fuel": -1}, InvalidArgumentError, "fuel is -1, not 0 to"),
        ({"fuel": 2**63}, InvalidArgumentError, "fuel is 9223372036854775808"),
        ({"fuel": "9"}, TypeError, "fuel is a whole number of instructions"),
        ({"timeout": "5 parsecs"}, InvalidArgumentError, "unknown unit 'parsecs', try 5s"),
        ({"timeout": "soon"}, InvalidArgumentError, "'soon' is not a time; write it like 5s"),
        ({"timeout": 0}, InvalidArgumentError, "is not above 0"),
        ({"timeout": -1}, InvalidArgumentError, "is not above 0"),
        ({"timeout": math.nan}, InvalidArgumentError, "is not above 0"),
        ({"timeout": math.inf}, InvalidArgumentError, "below 1e9"),
        ({"timeout": []}, TypeError, "timeout is seconds or text"),
    ],
)
def test_nonsense_is_refused_with_an_example(
    settings: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        Limits(**settings)


def test_limits_are_values() -> None:
    limits = Limits("64MiB", 10, "5s")
    assert limits == Limits(memory=64 << 20, fuel=10, timeout=5.0)
    assert pickle.loads(pickle.dumps(limits)) == limits
    assert limits.pages == 1024
    assert Limits().pages is None
    assert Limits(memory="100GiB").pages == 65536  # there are no more in 32 bits


@given(st.integers(65536, 1 << 32))
def test_guest_never_gets_more_than_was_granted(size: int) -> None:
    pages = Limits(memory=size).pages
    assert pages is not None
    assert pages * 65536 <= size < (pages + 1) * 65536


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_an_error_of_ours(text: str) -> None:
    for parse in (parse_size, parse_duration):
        try:
            assert parse(text) >= 0
        except InvalidArgumentError as error:
            assert repr(text) in str(error)
