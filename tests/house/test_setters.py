"""What Python's setters set: the field of the config that they are called after, and no other."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import pytest
import wrt_platform
from wrt_platform._native import ffi

# Of tables, and of sets: no plain numbers.
OF_VALUES = {"element_type", "initial_value", "kept_capabilities", "namespaces"}


def has_config(kind: Any) -> bool:
    """Whether it can be made of nothing and collects its settings in one config of C."""
    try:
        return isinstance(getattr(kind(), "_config", None), ffi.CData)
    except TypeError:
        return False


def builders() -> list[Any]:
    found = set()
    for module in pkgutil.walk_packages(wrt_platform.__path__, "wrt_platform."):
        if not module.name.endswith("._native"):
            for kind in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(kind) and kind.__module__ == module.name:
                    found.add(kind)
    with_setters = (kind for kind in found if any(name.startswith("with_") for name in dir(kind)))
    return sorted(filter(has_config, with_setters), key=lambda kind: str(kind.__qualname__))


def numbers(config: Any) -> dict[str, Any]:
    """The fields that are plain numbers."""
    kind = ffi.typeof(config).item
    plain = [name for name, field in kind.fields if field.type.kind == "primitive"]
    return {name: getattr(config, name) for name in plain}


@pytest.mark.parametrize("builder", builders(), ids=lambda kind: kind.__name__)
def test_each_setter_sets_its_field_and_no_other(builder: Any) -> None:
    for name in numbers(builder()._config).keys() - OF_VALUES:
        if not hasattr(builder, f"with_{name}"):
            continue  # the contract says which name it has instead
        made = builder()
        before = numbers(made._config)
        value = 0 if before[name] == 1 else 1
        getattr(made, f"with_{name}")(value)
        after = numbers(made._config)
        changed = {field for field in after if after[field] != before[field]}
        assert {field for field in changed if not field.startswith("has_") or field == name} == {
            name
        }
        assert after[name] == value


def test_there_are_setters() -> None:
    names = {kind.__name__ for kind in builders()}
    assert {"ThreadPoolConfig", "QnxThreadSystemBuilder", "InstanceBuilder"} <= names
    assert len(names) > 25
