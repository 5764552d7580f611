"""Writes the cffi module, its type stub and the enums from the public C headers.

The public headers include only stdint, stddef and stdbool. With three empty files in
their place, and no compiler extensions (-U__GNUC__), the preprocessor's output is exactly
what cffi and pycparser read: nothing is copied by hand and no text is patched.

Three files go into the output folder: _native.c (to be compiled), _native.pyi (what the
compiled module offers, for mypy) and _enums.py (one IntEnum for each C enum).
"""

from __future__ import annotations

import argparse
import copy
import keyword
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import cffi
from pycparser import c_ast, c_generator, c_parser

INCLUDE = Path(__file__).resolve().parent.parent / "c/include"
# What cffi knows by itself, and pycparser has to be told.
STANDARD_TYPES = "size_t bool int8_t uint8_t int16_t uint16_t int32_t uint32_t int64_t uint64_t"


def include_lines() -> str:
    headers = sorted((INCLUDE / "wrt_platform").rglob("*.h"))
    return "".join(f'#include "{header.relative_to(INCLUDE)}"\n' for header in headers)


def preprocessed(compiler: str) -> str:
    with tempfile.TemporaryDirectory() as empty:
        for name in ("stdint.h", "stddef.h", "stdbool.h"):
            Path(empty, name).touch()
        command = [compiler, "-std=c11", "-E", "-P", "-nostdinc", "-U__GNUC__"]
        command += [f"-I{empty}", f"-I{INCLUDE}", "-"]
        run = subprocess.run(
            command, input=include_lines(), stdout=subprocess.PIPE, text=True, check=True
        )
        return run.stdout


def syntax(text: str) -> list[Any]:
    """The declarations, as pycparser sees them."""
    known = "".join(f"typedef int {name};\n" for name in STANDARD_TYPES.split())
    tree = c_parser.CParser().parse(known + text)
    return list(tree.ext[len(STANDARD_TYPES.split()) :])


def callbacks(declarations: list[Any]) -> Iterator[str]:
    """For each `typedef R (*wrt_x_fn)(...)`, the declaration `R py_wrt_x_fn(...)`."""
    for item in declarations:
        if not isinstance(item, c_ast.Typedef) or not isinstance(item.type, c_ast.PtrDecl):
            continue
        if isinstance(item.type.type, c_ast.FuncDecl):
            function = copy.deepcopy(item.type.type)
            result = function.type
            while not isinstance(result, c_ast.TypeDecl):
                result = result.type
            result.declname = f"py_{item.name}"
            yield c_generator.CGenerator().visit(function)


def python_type(ffi: cffi.FFI, node: Any) -> str:
    """How cffi passes a C type; pointers and structs are Any."""
    if not isinstance(node, c_ast.TypeDecl) or not isinstance(node.type, c_ast.IdentifierType):
        return "Any"
    name = " ".join(node.type.names)
    if name == "void":
        return "None"
    kind = ffi.typeof(name)
    if kind.kind != "primitive":
        return "Any"
    return {"_Bool": "bool", "float": "float", "double": "float"}.get(kind.cname, "int")


def python_name(parameter: Any) -> str:
    name: str = parameter.name or ""
    return f"{name}_" if keyword.iskeyword(name) else name


def stub_method(ffi: cffi.FFI, item: Any) -> str:
    parameters = item.type.args.params if item.type.args else []
    kinds = [(python_name(parameter), python_type(ffi, parameter.type)) for parameter in parameters]
    arguments = "".join(f", {name}: {kind}" for name, kind in kinds if kind != "None")
    slash = ", /" if arguments else ""
    result = python_type(ffi, item.type.type)
    return f"    def {item.name}(self{arguments}{slash}) -> {result}: ..."


def stub(ffi: cffi.FFI, declarations: list[Any], called_back: list[str]) -> str:
    """What the compiled module offers, for mypy."""
    lines = ["from typing import Any, Final", "", "ffi: Any", "", "class _Lib:"]
    for item in declarations:
        if isinstance(item, c_ast.Decl) and isinstance(item.type, c_ast.FuncDecl):
            lines.append(stub_method(ffi, item))
    for name in called_back:
        lines.append(f"    {name}: Final[Any]")
    for _, members in enums(ffi, declarations):
        lines += [f"    {member}: Final[int]" for member in members]
    return "\n".join([*lines, "", "lib: _Lib", ""])


def enums(ffi: cffi.FFI, declarations: list[Any]) -> Iterator[tuple[str, dict[str, int]]]:
    """Each enum's tag and its members, in the header's order."""
    for item in declarations:
        if isinstance(item.type, c_ast.Enum) and item.type.values is not None:
            relements: dict[str, int] = ffi.typeof(f"enum {item.type.name}").relements
            names = [member.name for member in item.type.values.enumerators]
            yield item.type.name, {name: relements[name] for name in names}


def common_words(names: list[str]) -> str:
    """The words that all names begin with, "WRT_TRAP_" for instance; each keeps one of its own,
    and one that a name can begin with."""
    columns = list(zip(*(name.split("_")[:-1] for name in names)))
    words = [column[0] for column in takewhile(lambda words: len(set(words)) == 1, columns)]
    while words and any(name.split("_")[len(words)][0].isdigit() for name in names):
        words.pop()
    return "".join(f"{word}_" for word in words)


def enum_classes(ffi: cffi.FFI, declarations: list[Any]) -> str:
    """wrt_trap_code becomes TrapCode, WRT_TRAP_NONE its member NONE."""
    lines = ['"""The constants of the C library; written by tools/generate_native.py."""', ""]
    lines += ["from enum import IntEnum"]
    for tag, members in enums(ffi, declarations):
        lines += ["", "", f"class {tag.removeprefix('wrt_').title().replace('_', '')}(IntEnum):"]
        prefix = common_words(list(members))
        lines += [f"    {name[len(prefix) :]} = {value}" for name, value in members.items()]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", default="cc", help="C compiler, for its preprocessor")
    parser.add_argument("output", type=Path, help="folder for the three files")
    arguments = parser.parse_args()

    text = preprocessed(arguments.compiler)
    declarations = syntax(text)
    prototypes = list(callbacks(declarations))
    called_back = [syntax(f"{text}{prototype};")[-1].name for prototype in prototypes]

    builder = cffi.FFI()
    builder.cdef(text)
    builder.cdef("".join(f'extern "Python" {prototype};\n' for prototype in prototypes))
    builder.set_source("wrt_platform._native", include_lines(), py_limited_api=True)

    arguments.output.mkdir(parents=True, exist_ok=True)
    builder.emit_c_code(str(arguments.output / "_native.c"))
    (arguments.output / "_native.pyi").write_text(stub(builder, declarations, called_back))
    (arguments.output / "_enums.py").write_text(enum_classes(builder, declarations))


if __name__ == "__main__":
    main()
